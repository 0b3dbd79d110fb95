//! `query`: one statement, its rows.

use std::io::Read;
use std::process::ExitCode;

use super::{context, stdout};
use crate::cli::{Global, Query};
use crate::components;
use crate::components::console::{Console, Form};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};

pub(super) async fn run(global: &Global, args: &Query) -> Result<ExitCode> {
    let name = &args.component;
    let mut sql = String::new();
    let env = context::existing_for(global, |profile| {
        components::able(profile, name, |it| Console::sql(it).map(drop))?;
        sql = statement(args)?;
        Ok(())
    });
    let env = env.await?;
    let component = components::named(&env, name)?;
    let form = Form {
        output: global.output,
        palette: stdout::palette(),
    };
    let answer = async {
        let mut session = Console::sql(component)?.open(&env).await?;
        session.run(&sql, form).await
    };
    match answer.await {
        Ok(text) => stdout::print(&text)?,
        Err(error) => return Err(explained(&env, name, error).await),
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be run.
fn statement(args: &Query) -> Result<String> {
    let sql = match args.sql.as_str() {
        "-" => {
            let mut text = String::new();
            let read = std::io::stdin().lock().read_to_string(&mut text);
            read.map_err(|error| Error::io("read", "standard input", &error))?;
            text
        }
        sql => sql.to_owned(),
    };
    match sql.trim().is_empty() {
        true => Err(Error::new(Code::Usage, "there is no statement")
            .hint(format!("cargo xtask query {} \"SELECT 1\"", args.component))),
        false => Ok(sql),
    }
}

/// Adds what the platform knows about a service that does not answer.
async fn explained(env: &Environment, component: &str, error: Error) -> Error {
    let silent = error.message.contains("does not answer");
    match env.blocked_by(component).await {
        Some(blocked) if silent => error.detail(blocked.message).hint("cargo xtask status"),
        None if silent => error.hint("cargo xtask status"),
        _ => error,
    }
}
