//! `profile`: what a profile means.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::context;
use super::stdout::say;
use crate::cli::{Global, ProfileCommand};
use crate::error::Result;
use crate::profile;
use crate::report::Output;

pub(super) fn run(global: &Global, command: ProfileCommand) -> Result<ExitCode> {
    match command {
        ProfileCommand::Show => show(global),
        ProfileCommand::List => list(global),
    }
}

fn show(global: &Global) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?.masked()?;
    let leaves = loaded.tree.leaves();
    match global.output {
        Output::Json => {
            let values: Vec<Value> = leaves
                .iter()
                .map(|(path, node)| {
                    json!({
                        "key": path,
                        "value": node.to_json(),
                        "origin": node.origin.to_string(),
                    })
                })
                .collect();
            say!("{}", json!({ "profile": loaded.name, "values": values }));
        }
        Output::Text => {
            let lines: Vec<(String, String)> = leaves
                .iter()
                .map(|(path, node)| {
                    let value = match node.to_json() {
                        Value::Null => "~".to_owned(),
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    (format!("{path}: {value}"), node.origin.to_string())
                })
                .collect();
            let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
            for (line, origin) in lines {
                say!("{line:<width$}  # {origin}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(global: &Global) -> Result<ExitCode> {
    let names = profile::names(&context::root());
    match global.output {
        Output::Json => say!("{}", json!({ "profiles": names })),
        Output::Text => {
            for name in names {
                say!("{name}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
