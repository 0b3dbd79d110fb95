//! `render`: everything that would be used on the chosen platform.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::context;
use super::stdout::say;
use crate::cli::{Global, Render};
use crate::components;
use crate::environment::{Environment, Secrets};
use crate::error::{Error, Result};
use crate::report::Output;

pub(super) async fn run(global: &Global, args: &Render) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?.masked()?;
    let platform = context::choose_platform(&loaded).await?.platform;
    let env = Environment::new(&context::root(), loaded, platform, Secrets::Existing)?;
    let files = files(&env)?;
    match (&args.dir, global.output) {
        (Some(dir), _) => {
            for (name, text) in &files {
                write(&dir.join(name), text)?;
            }
            say!("{} files in {}", files.len(), dir.display());
        }
        (None, Output::Json) => {
            let map: serde_json::Map<_, _> = files
                .into_iter()
                .map(|(name, text)| (name, json!(text)))
                .collect();
            say!("{}", json!({ "files": map }));
        }
        (None, Output::Text) => {
            for (name, text) in files {
                say!("# ---- {name}\n{}\n", text.trim_end());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every rendered text with a relative name. Passwords are references to files, never values.
fn files(env: &Environment) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for process in components::processes(env)? {
        let component = &process.component;
        files.push((format!("{component}/command"), process.command_line()));
        for (path, text) in &process.files {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            files.push((format!("{component}/{name}"), text.clone()));
        }
    }
    for (name, connector) in &env.profile.connectors {
        let manifest = components::connect::manifest(env, name, connector)?;
        let text = format!(
            "{:#}\n",
            json!({ "class": manifest.class, "config": manifest.config })
        );
        files.push((format!("connectors/{name}.json"), text));
    }
    for (name, flow) in &env.profile.flows {
        let statements = components::clickhouse::statements(env, name, flow)?;
        let text = statements.join(";\n\n") + ";\n";
        files.push((format!("clickhouse/{name}.sql"), text));
    }
    Ok(files)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|source| Error::io("create", parent, &source))?;
    }
    std::fs::write(path, text).map_err(|source| Error::io("write", path, &source))
}
