//! `topic`: what is in the broker's topics, and how they are set.

mod config;
mod create;
mod tail;

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::stdout::palette;
use super::{context, stdout};
use crate::cli::{Global, TopicCommand, TopicCount, TopicDescribe, TopicList};
use crate::clients::kafka::{ConfigSource, ConfigValue, KafkaClient};
use crate::components::kafka;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::observe::topics::{self, Count, TopicRow, lost};
use crate::report::Output;
use crate::report::table::Table;
use crate::report::text::{Ink, Palette};

pub(super) async fn run(global: &Global, command: &TopicCommand) -> Result<ExitCode> {
    // What can be wrong on the command line is said before anything is asked.
    match command {
        TopicCommand::Tail(args) => tail::check(args)?,
        TopicCommand::Create(args) => create::check(args)?,
        TopicCommand::Config(args) => config::validate(args)?,
        _ => {}
    }
    let env = context::existing(global).await?;
    let output = global.output;
    let work = async {
        let client = kafka::client(&env).await?;
        match command {
            TopicCommand::List(args) => list(&env, &client, args, output).await,
            TopicCommand::Describe(args) => describe(&env, &client, args, output).await,
            TopicCommand::Count(args) => count(&env, &client, args, output).await,
            TopicCommand::Tail(args) => tail::run(&client, args, output).await,
            TopicCommand::Create(args) => create::run(&env, &client, args, output).await,
            TopicCommand::Config(args) => config::run(&env, &client, args, output).await,
        }
    };
    match work.await {
        Ok(code) => Ok(code),
        Err(error) => Err(explained(&env, error).await),
    }
}

/// Adds to a service's error what its platform knows about it: a process that has ended explains a
/// refused connection.
pub(super) async fn explained(env: &Environment, error: Error) -> Error {
    if error.code != crate::error::Code::Service {
        return error;
    }
    let error = match env.blocked_by("kafka").await {
        Some(blocked) => error.detail(blocked.message),
        None => error,
    };
    match error.hint {
        Some(_) => error,
        None => error.hint("cargo xtask status"),
    }
}

fn counted(count: Option<Count>) -> String {
    match count {
        None => "?".to_owned(),
        Some(Count {
            count,
            compacted: true,
        }) if count > 0 => format!("<= {count}"),
        Some(Count { count, .. }) => count.to_string(),
    }
}

/// Milliseconds as people say them, where they are a round number of something.
pub(super) fn kept(ms: i64) -> String {
    match ms {
        -1 | i64::MAX => "forever".to_owned(),
        ms if ms > 0 && ms % 86_400_000 == 0 => format!("{} d", ms / 86_400_000),
        ms if ms > 0 && ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        ms if ms > 0 && ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms => format!("{ms} ms"),
    }
}

async fn list(
    env: &Environment,
    client: &KafkaClient,
    args: &TopicList,
    output: Output,
) -> Result<ExitCode> {
    let mut names = args.names.clone();
    if args.internal && names.is_empty() {
        names = vec!["*".to_owned(), "__*".to_owned()];
    }
    let topics = topics::choose(client, &names).await?;
    let rows = topics::rows(client, &env.profile, &topics)
        .await
        .map_err(lost)?;
    stdout::answer(output, json!({ "topics": rows }), || {
        listed(&rows, palette())
    })
}

fn listed(rows: &[TopicRow], palette: Palette) -> String {
    let mut table = Table::titled("TOPIC  ROLE  >PARTITIONS  >REPLICAS  >MESSAGES  CLEANUP  KEPT");
    for row in rows {
        let degraded = match row.degraded {
            0 => row.replicas.to_string(),
            bad => format!("{} ({bad} degraded)", row.replicas),
        };
        let cleanup = row.cleanup.as_deref().unwrap_or("?");
        let kept = match row.retention_ms {
            // Compaction alone knows no age.
            _ if cleanup == "compact" => "newest per key".to_owned(),
            Some(ms) => kept(ms),
            None => "?".to_owned(),
        };
        table.inked([
            (row.name.clone(), None),
            (row.role.name().to_owned(), Some(Ink::Dim)),
            (row.partitions.to_string(), None),
            (degraded, (row.degraded > 0).then_some(Ink::Red)),
            (counted(row.messages), None),
            (cleanup.to_owned(), None),
            (kept, None),
        ]);
    }
    match table.is_empty() {
        true => "no topics\n".to_owned(),
        false => table.text(palette),
    }
}

async fn count(
    env: &Environment,
    client: &KafkaClient,
    args: &TopicCount,
    output: Output,
) -> Result<ExitCode> {
    let topics = topics::choose(client, &args.names).await?;
    let rows = topics::rows(client, &env.profile, &topics)
        .await
        .map_err(lost)?;
    let known = rows.iter().filter_map(|row| row.messages);
    let total = Count {
        count: known.clone().map(|count| count.count).sum(),
        compacted: known
            .clone()
            .any(|count| count.compacted && count.count > 0),
    };
    let unknown = rows.iter().any(|row| row.messages.is_none());
    let whole = (!unknown).then_some(total);
    let counts = rows.iter().map(|row| {
        json!({
            "name": row.name,
            "count": row.messages.map(|count| count.count),
            "compacted": row.messages.map(|count| count.compacted),
        })
    });
    let object = json!({
        "topics": counts.collect::<Vec<_>>(),
        "total": whole.map(|total| total.count),
    });
    stdout::answer(output, object, || {
        let mut table = Table::titled(">MESSAGES  TOPIC");
        for row in &rows {
            table.row([counted(row.messages), row.name.clone()]);
        }
        if rows.len() > 1 {
            table.inked([(counted(whole), None), ("total".to_owned(), Some(Ink::Dim))]);
        }
        let mut text = table.text(palette());
        if total.compacted {
            text.push_str("<=: compacted; the offsets of removed messages are counted too\n");
        }
        if unknown {
            text.push_str("?: a partition has no leader\n");
        }
        text
    })
}

async fn describe(
    env: &Environment,
    client: &KafkaClient,
    args: &TopicDescribe,
    output: Output,
) -> Result<ExitCode> {
    let found = topics::choose(client, std::slice::from_ref(&args.name)).await?;
    let (mut texts, mut objects) = (Vec::new(), Vec::new());
    for topic in &found {
        let one = std::slice::from_ref(topic);
        let (rows, ranges, config) = tokio::try_join!(
            topics::rows(client, &env.profile, one),
            topics::ranges(client, one),
            client.topic_configs(&topic.name)
        )
        .map_err(lost)?;
        let Some(row) = rows.first() else { continue };
        let range = |index: i32| ranges.get(&topic.name)?.get(&index).copied();
        let partitions = topic.partitions.iter();
        objects.push(json!({
            "topic": row,
            "partitions": partitions.clone().map(|one| json!({
                "partition": one.index,
                "leader": one.leader,
                "replicas": one.replicas,
                "isr": one.isr,
                "begin": range(one.index).map(|range| range.0),
                "end": range(one.index).map(|range| range.1),
            })).collect::<Vec<_>>(),
            "config": settings(&config, args.all),
        }));
        let mut table = Table::titled(">PARTITION  >LEADER  REPLICAS  IN SYNC  >BEGIN  >END");
        for one in partitions {
            let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
            let number =
                |value: Option<i64>| value.map_or("?".to_owned(), |value| value.to_string());
            let bad = one.isr.len() < one.replicas.len();
            table.inked([
                (one.index.to_string(), None),
                (
                    one.leader.map_or("none".to_owned(), |id| id.to_string()),
                    one.leader.is_none().then_some(Ink::Red),
                ),
                (ids(&one.replicas), None),
                (ids(&one.isr), bad.then_some(Ink::Red)),
                (number(range(one.index).map(|range| range.0)), None),
                (number(range(one.index).map(|range| range.1)), None),
            ]);
        }
        texts.push(format!(
            "{}: {}, {} messages\n\n{}\n{}",
            topic.name,
            row.role.name().replace('-', "no role"),
            counted(row.messages),
            table.text(palette()),
            config::listed(&config, args.all, palette()),
        ));
    }
    // One name, one document; a pattern may mean several.
    let document = match (objects.len(), crate::observe::names::is_pattern(&args.name)) {
        (1, false) => objects.remove(0),
        _ => json!({ "topics": objects }),
    };
    stdout::answer(output, document, || texts.join("\n"))
}

/// Settings as JSON: those of the topic, or all.
fn settings(config: &BTreeMap<String, ConfigValue>, all: bool) -> Value {
    let shown = config
        .iter()
        .filter(|(_, value)| all || value.source == ConfigSource::Topic);
    let pairs = shown.map(|(key, value)| {
        let value = json!({ "value": value.value, "source": source(value.source) });
        (key.clone(), value)
    });
    Value::Object(pairs.collect())
}

fn source(source: ConfigSource) -> &'static str {
    match source {
        ConfigSource::Topic => "topic",
        ConfigSource::Broker => "broker",
        ConfigSource::Default => "default",
        ConfigSource::Unknown => "unknown",
    }
}
