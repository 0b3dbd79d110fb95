//! `group`: who reads the topics, and how far behind.

use std::process::ExitCode;

use serde_json::json;

use super::stdout::palette;
use super::topic::explained;
use super::{context, stdout};
use crate::cli::{Global, GroupCommand};
use crate::components::kafka;
use crate::error::Result;
use crate::observe::groups::{self, Described, GroupRow};
use crate::report::Output;
use crate::report::table::{Side, Table};
use crate::report::text::{Ink, Palette};

pub(super) async fn run(global: &Global, command: &GroupCommand) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    let work = async {
        let client = kafka::client(&env).await?;
        Ok(match command {
            GroupCommand::List => {
                let rows = groups::list(&client).await?;
                match global.output {
                    Output::Json => format!("{}\n", json!({ "groups": rows })),
                    Output::Text => listed(&rows, palette()),
                }
            }
            GroupCommand::Describe(args) => {
                let group = groups::describe(&client, &args.name).await?;
                match global.output {
                    Output::Json => format!("{}\n", json!(group)),
                    Output::Text => described(&group, palette()),
                }
            }
        })
    };
    match work.await {
        Ok(text) => stdout::print(&text)?,
        Err(error) => return Err(explained(&env, error).await),
    }
    Ok(ExitCode::SUCCESS)
}

fn number(value: Option<i64>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

/// A group that reads is well; one without members may be meant to be so.
fn ink(state: &str) -> Option<Ink> {
    match state {
        "Stable" => Some(Ink::Green),
        "Dead" => Some(Ink::Red),
        _ => Some(Ink::Yellow),
    }
}

fn listed(rows: &[GroupRow], palette: Palette) -> String {
    let mut table = Table::new([
        ("GROUP", Side::Left),
        ("STATE", Side::Left),
        ("PROTOCOL", Side::Left),
        ("MEMBERS", Side::Right),
        ("LAG", Side::Right),
        ("TOPICS", Side::Left),
    ]);
    for row in rows {
        let protocol = if row.protocol.is_empty() {
            "-"
        } else {
            &row.protocol
        };
        table.inked([
            (row.name.clone(), None),
            (row.state.clone(), ink(&row.state)),
            (protocol.to_owned(), None),
            (row.members.to_string(), None),
            (number(row.lag), None),
            (row.topics.join(", "), Some(Ink::Dim)),
        ]);
    }
    match table.is_empty() {
        true => "no consumer groups\n".to_owned(),
        false => table.text(palette),
    }
}

fn described(group: &Described, palette: Palette) -> String {
    let state = match ink(&group.state) {
        Some(ink) => palette.ink(ink, group.state.as_str()).into_owned(),
        None => group.state.clone(),
    };
    let mut text = format!("{}: {state}, lag {}\n", group.name, number(group.lag));
    if !group.members.is_empty() {
        let mut table = Table::new([
            ("CLIENT", Side::Left),
            ("HOST", Side::Left),
            ("PARTITIONS", Side::Right),
            ("MEMBER", Side::Left),
        ]);
        for member in &group.members {
            table.inked([
                (member.client.clone(), None),
                (member.host.clone(), None),
                (member.partitions.to_string(), None),
                (member.id.clone(), Some(Ink::Dim)),
            ]);
        }
        text.push_str(&format!("\n{}", table.text(palette)));
    }
    if !group.partitions.is_empty() {
        let mut table = Table::new([
            ("TOPIC", Side::Left),
            ("PARTITION", Side::Right),
            ("POSITION", Side::Right),
            ("END", Side::Right),
            ("LAG", Side::Right),
            ("READ BY", Side::Left),
        ]);
        for one in &group.partitions {
            table.inked([
                (one.topic.clone(), None),
                (one.partition.to_string(), None),
                (number(one.position), one.lost.then_some(Ink::Red)),
                (number(one.end), None),
                (number(one.lag), None),
                (
                    one.client.clone().unwrap_or("nobody".into()),
                    Some(Ink::Dim),
                ),
            ]);
        }
        text.push_str(&format!("\n{}", table.text(palette)));
    }
    if group.partitions.iter().any(|one| one.lost) {
        text.push_str("\na position is outside of what its partition keeps: this group lost messages, or the topic was made again\n");
    }
    text
}
