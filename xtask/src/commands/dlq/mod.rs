//! `dlq`: what sinks could not process, and what becomes of it.

mod list;
mod purge;
mod redrive;
mod show;

use std::process::ExitCode;

use super::context;
use super::topic::explained;
use crate::cli::{DlqCommand, Global};
use crate::components::kafka;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::operate::dlq::filter::Filter;

pub(super) async fn run(global: &Global, command: &DlqCommand) -> Result<ExitCode> {
    // What can be wrong on the command line is said before anything is asked.
    let filter = match command {
        DlqCommand::Show(args) => Filter::parse(&args.which.filter)?,
        DlqCommand::Redrive(args) => Filter::parse(&args.which.filter)?,
        DlqCommand::Purge(args) => purge::check(args).map(|()| Filter::default())?,
        DlqCommand::List => Filter::default(),
    };
    let env = context::existing(global).await?;
    let work = async {
        let client = kafka::client(&env).await?;
        match command {
            DlqCommand::List => list::run(&env, &client, global.output).await,
            DlqCommand::Show(args) => show::run(&env, &client, args, &filter, global.output).await,
            DlqCommand::Redrive(args) => redrive::run(global, &env, &client, args, filter).await,
            DlqCommand::Purge(args) => purge::run(&env, &client, args, global.output).await,
        }
    };
    match work.await {
        Ok(code) => Ok(code),
        Err(error) => Err(explained(&env, error).await),
    }
}

/// The error for a flow's name where only queues can be meant.
fn no_flow(env: &Environment, name: &str, verb: &str) -> Error {
    let flow = env.profile.flows.get(name);
    if let Some(sink) = flow.and_then(|flow| flow.to.as_ref()) {
        let what =
            format!("{name} is a flow: what its sink could not process is in the queue of {sink}");
        return Error::new(Code::Usage, what).hint(format!("cargo xtask dlq show {sink}"));
    }
    let mut components = env.profile.components.values();
    let target = components.find(|it| it.kind.reads_topics.is_some());
    let target = target.map_or("the target", |it| it.kind.title);
    Error::new(
        Code::Usage,
        format!(
            "{name} is a flow: what {target} could not read of it is in the table {name}_errors, which no command \
             can {verb}"
        ),
    )
    .hint(format!(
        "cargo xtask dlq show {name}; a change of the row at the source, or a new snapshot, is read again"
    ))
}
