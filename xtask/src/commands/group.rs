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
use crate::report::table::Table;
use crate::report::text::{Ink, Palette};

pub(super) async fn run(global: &Global, command: &GroupCommand) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    let work = async {
        let client = kafka::client(&env).await?;
        match command {
            GroupCommand::List => {
                let rows = groups::list(&client).await?;
                let object = json!({ "groups": rows });
                stdout::answer(global.output, object, || listed(&rows, palette()))
            }
            GroupCommand::Describe(args) => {
                let group = groups::describe(&client, &args.name).await?;
                stdout::answer(global.output, json!(group), || described(&group, palette()))
            }
        }
    };
    match work.await {
        Ok(code) => Ok(code),
        Err(error) => Err(explained(&env, error).await),
    }
}

fn number(value: Option<i64>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

/// A group that reads is well; one without members may be meant to be so.
fn ink(state: &str) -> Ink {
    match state {
        "Stable" => Ink::Green,
        "Dead" => Ink::Red,
        _ => Ink::Yellow,
    }
}

fn listed(rows: &[GroupRow], palette: Palette) -> String {
    let mut table = Table::titled("GROUP  STATE  PROTOCOL  >MEMBERS  >LAG  TOPICS");
    for row in rows {
        let protocol = if row.protocol.is_empty() {
            "-"
        } else {
            &row.protocol
        };
        table.inked([
            (row.name.clone(), None),
            (row.state.clone(), Some(ink(&row.state))),
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
    let state = palette.ink(ink(&group.state), group.state.as_str());
    let mut text = format!("{}: {state}, lag {}\n", group.name, number(group.lag));
    if !group.members.is_empty() {
        let mut table = Table::titled("CLIENT  HOST  >PARTITIONS  MEMBER");
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
        let mut table = Table::titled("TOPIC  >PARTITION  >POSITION  >END  >LAG  READ BY");
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
