//! `profile`: what a profile means.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{context, stdout};
use crate::cli::{Global, ProfileCommand};
use crate::error::Result;
use crate::profile;

pub(super) fn run(global: &Global, command: ProfileCommand) -> Result<ExitCode> {
    match command {
        ProfileCommand::Show => show(global),
        ProfileCommand::List => list(global),
    }
}

fn show(global: &Global) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?.masked()?;
    let leaves = loaded.tree.leaves();
    let values = leaves.iter().map(|(path, node)| {
        json!({ "key": path, "value": node.to_json(), "origin": node.origin.to_string() })
    });
    let object = json!({ "profile": loaded.name, "values": values.collect::<Vec<_>>() });
    stdout::answer(global.output, object, || {
        let lines = leaves.iter().map(|(path, node)| {
            let value = match node.to_json() {
                Value::Null => "~".to_owned(),
                Value::String(text) => text,
                other => other.to_string(),
            };
            (format!("{path}: {value}"), &node.origin)
        });
        let lines: Vec<_> = lines.collect();
        let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
        let lines = lines.iter();
        let lines = lines.map(|(line, origin)| format!("{line:<width$}  # {origin}\n"));
        lines.collect()
    })
}

fn list(global: &Global) -> Result<ExitCode> {
    let names = profile::names(&context::root());
    stdout::answer(global.output, json!({ "profiles": names }), || {
        names.iter().map(|name| format!("{name}\n")).collect()
    })
}
