//! `topic config`: settings shown, changed, and held against what they should be.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::json;

use super::kept;
use crate::cli::TopicConfig;
use crate::clients::kafka::{ConfigSource, ConfigValue, KafkaClient, TopicInfo};
use crate::commands::stdout::{self, palette};
use crate::environment::Environment;
use crate::error::{Code, Error, Exit, Result};
use crate::observe::topics::roles::{self, Finding};
use crate::observe::topics::settings::{self, Alteration};
use crate::observe::topics::{self, lost, owner};
use crate::printed;
use crate::report::Output;
use crate::report::table::Table;
use crate::report::text::{Ink, Palette, count};

type Configs = BTreeMap<String, BTreeMap<String, ConfigValue>>;

pub(super) fn validate(args: &TopicConfig) -> Result<()> {
    settings::parse(&args.alter)?;
    if args.names.is_empty() && !args.check {
        return Err(
            Error::new(Code::Usage, "whose settings? No topic is named").hint(
                "cargo xtask topic config NAME, or all of them: cargo xtask topic config --check",
            ),
        );
    }
    Ok(())
}

pub(super) async fn run(
    env: &Environment,
    client: &KafkaClient,
    args: &TopicConfig,
    output: Output,
) -> Result<ExitCode> {
    let topics = topics::choose(client, &args.names).await?;
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let configs = client.configs_of(&names).await.map_err(lost)?;
    if args.check {
        let brokers = client.cluster().await.map_err(lost)?.brokers.len();
        return check(env, brokers, &topics, &configs, args.strict, output);
    }
    if !args.alter.is_empty() {
        return alter(env, client, &configs, args, output).await;
    }
    let topics = configs.iter();
    let topics = topics.map(|(name, config)| (name, super::settings(config, args.all)));
    let object = json!({ "topics": topics.collect::<BTreeMap<_, _>>() });
    stdout::answer(output, object, || {
        let texts = configs.iter().map(|(name, config)| {
            let settings = listed(config, args.all, palette());
            format!("{name}\n{settings}")
        });
        texts.collect::<Vec<_>>().join("\n")
    })
}

/// Settings as a table: those of the topic, or all.
pub(super) fn listed(
    config: &BTreeMap<String, ConfigValue>,
    all: bool,
    palette: Palette,
) -> String {
    let mut table = Table::titled("SETTING  VALUE  FROM");
    for (key, value) in config {
        if !all && value.source != ConfigSource::Topic {
            continue;
        }
        let text = value.value.as_deref().unwrap_or("(withheld by the broker)");
        let ms = text.parse::<i64>().ok().filter(|_| key.ends_with(".ms"));
        let span = ms.map(kept).filter(|span| !span.ends_with(" ms"));
        let span = span.map(|span| format!("{text} ({span})"));
        table.inked([
            (key.clone(), None),
            (span.unwrap_or_else(|| text.to_owned()), None),
            (super::source(value.source).to_owned(), Some(Ink::Dim)),
        ]);
    }
    match table.is_empty() {
        true => "no setting of its own: the broker's defaults\n".to_owned(),
        false => table.text(palette),
    }
}

fn check(
    env: &Environment,
    brokers: usize,
    topics: &[TopicInfo],
    configs: &Configs,
    strict: bool,
    output: Output,
) -> Result<ExitCode> {
    let nothing = BTreeMap::new();
    let mut findings: Vec<Finding> = topics
        .iter()
        .flat_map(|topic| {
            let config = configs.get(&topic.name).unwrap_or(&nothing);
            roles::check(&env.profile, brokers, topic, config)
        })
        .collect();
    for finding in &mut findings {
        finding.next = finding.next.as_deref().map(printed::ours);
        finding.note &= !strict;
    }
    let differences = findings.iter().filter(|finding| !finding.note).count();
    let object = json!({
        "topics": topics.len(),
        "brokers": brokers,
        "differences": differences,
        "findings": findings,
    });
    stdout::answer(output, object, || {
        report(&findings, topics.len(), differences, palette())
    })?;
    Ok(stdout::ended(differences == 0, Exit::Differences))
}

fn report(findings: &[Finding], topics: usize, differences: usize, palette: Palette) -> String {
    let mut text = String::new();
    let mut topic = "";
    for finding in findings {
        if finding.topic != topic {
            topic = &finding.topic;
            text.push_str(&format!("{topic} ({})\n", finding.role.name()));
        }
        let (mark, ink) = match finding.note {
            true => ("·", Ink::Dim),
            false => ("✗", Ink::Red),
        };
        text.push_str(&format!(
            "  {} {} is {}, should be {}: {}\n",
            palette.ink(ink, mark),
            finding.key,
            finding.is,
            finding.should_be,
            finding.why
        ));
        if let Some(next) = &finding.next {
            text.push_str(&format!("      next: {next}\n"));
        }
    }
    let notes = findings.len() - differences;
    let result = match differences {
        0 => "as they should be".to_owned(),
        _ => count(differences, "difference"),
    };
    text += &format!("{}: {result}", count(topics, "topic"));
    if notes > 0 {
        let notes = count(notes, "note");
        text += &format!(", {notes} (·) of the profile's own choices; --strict counts them");
    }
    text + "\n"
}

async fn alter(
    env: &Environment,
    client: &KafkaClient,
    configs: &Configs,
    args: &TopicConfig,
    output: Output,
) -> Result<ExitCode> {
    let wanted = settings::parse(&args.alter)?;
    let mut planned: Vec<(&String, Vec<Alteration>)> = Vec::new();
    for (name, config) in configs {
        planned.push((name, settings::alterations(config, &wanted)?));
    }
    let mut objects = Vec::new();
    let mut text = String::new();
    for (name, changes) in &planned {
        let resource = match changes.is_empty() {
            true => None,
            false => owner::resource(env, name).await?,
        };
        if !args.dry_run && !changes.is_empty() {
            match &resource {
                Some(resource) => owner::alter(env, resource, changes).await?,
                None => settings::alter(client, name, changes).await?,
            }
        }
        if changes.is_empty() {
            text.push_str(&format!("{name}: is as wanted\n"));
        }
        for change in changes {
            let did = if args.dry_run { "would set" } else { "set" };
            let is = change.is.as_deref().unwrap_or("(not set)");
            let becomes = change.becomes.as_deref().unwrap_or("the broker's default");
            let at = match &resource {
                Some(resource) => format!(", in the KafkaTopic {resource}"),
                None => String::new(),
            };
            text.push_str(&format!(
                "{name}: {did} {} from {is} to {becomes}{at}\n",
                change.key
            ));
        }
        objects.push(json!({ "name": name, "changes": changes, "resource": resource }));
    }
    let object = json!({ "dry_run": args.dry_run, "topics": objects });
    stdout::answer(output, object, || text)
}
