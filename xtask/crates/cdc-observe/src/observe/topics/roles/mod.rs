//! What topics are for, and what their settings ought to be. No IO.
//!
//! The values are the operations manual's, except two: the schema history's min ISR is 2, so that
//! one of three brokers may restart, and topics that the profile makes are compared with the
//! profile; what differs there from the manual is a note.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{replicas, setting};
use crate::clients::kafka::{ConfigSource, ConfigValue, TopicInfo};
use crate::profile::Profile;
use crate::profile::topics::topics;

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Changes of a table.
    Cdc,
    /// The history of a source's table definitions.
    SchemaHistory,
    /// Messages that a sink could not process.
    Dlq,
    /// A connector's heartbeats.
    Heartbeat,
    /// Which tables a connector captures, and how far it is with those that it reads again.
    Tables,
    /// Begins and ends of a source's transactions.
    Transaction,
    /// Connect's own.
    Connect,
    /// Kafka's own.
    Internal,
    /// Anything else.
    Other,
}

impl Role {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Cdc => "CDC data",
            Role::SchemaHistory => "schema history",
            Role::Dlq => "DLQ",
            Role::Heartbeat => "heartbeat",
            Role::Tables => "captured tables",
            Role::Transaction => "transactions",
            Role::Connect => "Connect's own",
            Role::Internal => "Kafka's own",
            Role::Other => "-",
        }
    }
}

/// What a topic is for: by the profile's connectors and their settings, else by its name.
pub fn role(profile: &Profile, topic: &TopicInfo) -> Role {
    let name = topic.name.as_str();
    if topic.internal {
        return Role::Internal;
    }
    let configured = |key: &str| {
        let mut connectors = profile.connectors.values();
        connectors.any(|connector| connector.config.get(key).is_some_and(|value| value == name))
    };
    let lower = name.to_lowercase();
    let words = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let group = profile.connect.group.as_str();
    if ["configs", "offsets", "status"]
        .iter()
        .any(|part| name == format!("{group}-{part}"))
    {
        return Role::Connect;
    }
    if name.starts_with("__debezium-heartbeat") {
        return Role::Heartbeat;
    }
    let own = profile
        .connectors
        .values()
        .filter_map(|it| profile.rereads(it));
    if own
        .into_iter()
        .any(|it| name == it.tables || name == it.notifications)
    {
        return Role::Tables;
    }
    if configured("schema.history.internal.kafka.topic")
        || words(&[
            "schema-history",
            "schema_history",
            "schemahistory",
            "dbhistory",
        ])
    {
        return Role::SchemaHistory;
    }
    if configured("errors.deadletterqueue.topic.name")
        || words(&["dead-letter", "dead_letter", "deadletter"])
        || lower.split(['.', '-', '_']).any(|word| word == "dlq")
    {
        return Role::Dlq;
    }
    let of_connector = profile.connectors.values().find_map(|connector| {
        name.strip_prefix(connector.prefix.as_str())?
            .strip_prefix('.')
    });
    match of_connector {
        Some("transaction") => Role::Transaction,
        Some(_) => Role::Cdc,
        None => match profile
            .flows
            .values()
            .any(|flow| profile.topic(flow) == name)
        {
            true => Role::Cdc,
            false => Role::Other,
        },
    }
}

/// What a setting has to be. `-1` is more than any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Exactly(&'static str),
    AtLeast(i64),
    AtMost(i64),
}

impl Rule {
    fn holds(self, value: &str) -> bool {
        let number = || match value.parse() {
            Ok(-1) => Some(i64::MAX),
            Ok(number) => Some(number),
            Err(_) => None,
        };
        match self {
            Rule::Exactly(text) => value == text,
            Rule::AtLeast(least) => number().is_some_and(|number| number >= least),
            Rule::AtMost(most) => number().is_some_and(|number: i64| number <= most),
        }
    }

    /// The value to set where the rule does not hold.
    fn value(self) -> String {
        match self {
            Rule::Exactly(text) => text.to_owned(),
            Rule::AtLeast(number) | Rule::AtMost(number) => number.to_string(),
        }
    }

    fn text(self) -> String {
        match self {
            Rule::Exactly(text) => text.to_owned(),
            Rule::AtLeast(number) => format!("{number} or more"),
            Rule::AtMost(number) => format!("{number} or less"),
        }
    }
}

const HOUR: i64 = 3_600_000;

/// What a role's topics need.
struct Needs {
    settings: Vec<(&'static str, Rule)>,
    most_partitions: usize,
    /// With enough brokers.
    min_insync: usize,
}

/// From so many partitions on a table counts as one of many changes.
const HIGH_VOLUME: usize = 4;

fn needs(role: Role, partitions: usize) -> Option<Needs> {
    // All but changes are forgotten by their age, and come in one partition.
    let aged = |retention: Rule, min_insync| Needs {
        settings: vec![
            ("cleanup.policy", Rule::Exactly("delete")),
            ("retention.ms", retention),
        ],
        most_partitions: 1,
        min_insync,
    };
    Some(match role {
        Role::Cdc => Needs {
            settings: vec![
                ("cleanup.policy", Rule::Exactly("compact")),
                ("retention.ms", Rule::Exactly("-1")),
                (
                    "delete.retention.ms",
                    Rule::AtLeast(if partitions >= HIGH_VOLUME { 168 } else { 48 } * HOUR),
                ),
            ],
            most_partitions: 6,
            min_insync: 2,
        },
        Role::SchemaHistory => aged(Rule::Exactly("-1"), 2),
        Role::Dlq => aged(Rule::AtLeast(720 * HOUR), 2),
        Role::Heartbeat => aged(Rule::AtMost(HOUR), 1),
        Role::Tables | Role::Transaction | Role::Connect | Role::Internal | Role::Other => {
            return None;
        }
    })
}

/// The settings that a new topic of a role gets with so many brokers, and how many partitions.
pub fn defaults(
    role: Role,
    high_volume: bool,
    brokers: usize,
) -> Option<(i32, BTreeMap<String, String>)> {
    let partitions = if high_volume { 3 } else { 1 };
    let needs = needs(role, if high_volume { HIGH_VOLUME } else { 1 })?;
    let insync = min_insync(needs.min_insync, brokers).to_string();
    let settings = needs
        .settings
        .iter()
        .map(|(key, rule)| ((*key).to_owned(), rule.value()));
    let insync = ("min.insync.replicas".to_owned(), insync);
    Some((partitions, settings.chain([insync]).collect()))
}

/// How many replicas a topic shall have.
fn wanted_replicas(brokers: usize) -> usize {
    brokers.clamp(1, 3)
}

/// How many replicas must confirm a message: with one broker down, writing must still work.
fn min_insync(wanted: usize, brokers: usize) -> usize {
    wanted
        .min(wanted_replicas(brokers).saturating_sub(1))
        .max(1)
}

/// A setting that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The topic.
    pub topic: String,
    /// What it is for.
    pub role: Role,
    /// The setting; `partitions` and `replicas` for those.
    pub key: String,
    /// What it is.
    pub is: String,
    /// What it should be.
    pub should_be: String,
    /// What comes of it.
    pub why: String,
    /// Whether the profile has it so: nobody's mistake, and no difference.
    pub note: bool,
    /// What fixes it.
    pub next: Option<String>,
}

/// Holds a topic against the profile that made it, and against what its role needs.
pub fn check(
    profile: &Profile,
    brokers: usize,
    topic: &TopicInfo,
    config: &BTreeMap<String, ConfigValue>,
) -> Vec<Finding> {
    let role = role(profile, topic);
    let Some(needs) = needs(role, topic.partitions.len()) else {
        return Vec::new();
    };
    let mut check = Check {
        topic,
        role,
        findings: Vec::new(),
    };
    let own = topics(profile)
        .into_iter()
        .find(|own| own.name == topic.name);
    let chosen = own.as_ref().map(|own| &own.config);
    let is = |key: &str| setting(config, key).unwrap_or("(not set)");
    for (key, value) in chosen.into_iter().flatten() {
        if is(key) != *value {
            let why = "the profile made it otherwise";
            check.setting(key, is(key), value, value, why);
        }
    }
    let compacts = is("cleanup.policy").contains("compact");
    for (key, rule) in &needs.settings {
        let value = is(key);
        let unused = *key == "delete.retention.ms" && !compacts;
        if rule.holds(value) || unused {
            continue;
        }
        let why = reason(role, key);
        match chosen.map(|chosen| chosen.get(key)) {
            // It is the profile's, or a difference from the profile that was found above.
            Some(Some(wanted)) if *wanted != value => {}
            Some(Some(_)) => check.note(key, value, &rule.text(), "the profile's own choice"),
            Some(None) if set_on_topic(config, key) => {
                check.setting(key, value, "(not set), as in the profile", "", why);
            }
            Some(None) => check.note(
                key,
                value,
                &rule.text(),
                "the profile leaves it to the broker",
            ),
            None => check.setting(key, value, &rule.text(), &rule.value(), why),
        }
    }
    check.partitions(needs.most_partitions);
    check.replication(needs.min_insync, brokers, is("min.insync.replicas"));
    check.findings
}

fn set_on_topic(config: &BTreeMap<String, ConfigValue>, key: &str) -> bool {
    config
        .get(key)
        .is_some_and(|value| value.source == ConfigSource::Topic)
}

fn reason(role: Role, key: &str) -> &'static str {
    match (role, key) {
        (Role::SchemaHistory, "cleanup.policy") => {
            "compaction loses definitions; the connector cannot start again"
        }
        (Role::SchemaHistory, _) => {
            "definitions that expire keep the connector from starting again"
        }
        (Role::Cdc, "cleanup.policy") => "a reader from the beginning does not find every row",
        (Role::Cdc, "retention.ms") => {
            "rows that stay unchanged for longer are lost to new readers"
        }
        (Role::Cdc, _) => "a reader that is away for longer misses deletes",
        (Role::Dlq, "cleanup.policy") => "failed messages without a key cannot be stored",
        (Role::Dlq, _) => "failed messages are deleted before somebody looks at them",
        (_, "cleanup.policy") => "beats pile up",
        _ => "old beats are of no use",
    }
}

struct Check<'a> {
    topic: &'a TopicInfo,
    role: Role,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn add(&mut self, key: &str, is: &str, should_be: &str, why: &str, next: Option<String>) {
        self.findings.push(Finding {
            topic: self.topic.name.clone(),
            role: self.role,
            key: key.to_owned(),
            is: is.to_owned(),
            should_be: should_be.to_owned(),
            why: why.to_owned(),
            note: false,
            next,
        });
    }

    fn setting(&mut self, key: &str, is: &str, should_be: &str, value: &str, why: &str) {
        let next = format!(
            "cargo xtask topic config {} --alter {key}={value}",
            self.topic.name
        );
        self.add(key, is, should_be, why, Some(next));
    }

    fn note(&mut self, key: &str, is: &str, should_be: &str, why: &str) {
        self.add(key, is, should_be, why, None);
        if let Some(last) = self.findings.last_mut() {
            last.note = true;
        }
    }

    fn partitions(&mut self, most: usize) {
        let is = self.topic.partitions.len();
        if is <= most {
            return;
        }
        let (should_be, why) = match most {
            1 => ("1".to_owned(), "there is an order within a partition only"),
            most => (format!("1 to {most}"), "more than a table's changes need"),
        };
        // Kafka takes no partition away.
        let next = "make another topic, and point what writes at it".to_owned();
        self.add("partitions", &is.to_string(), &should_be, why, Some(next));
    }

    fn replication(&mut self, wanted_insync: usize, brokers: usize, insync: &str) {
        let replicas = replicas(self.topic);
        let wanted = wanted_replicas(brokers);
        let number = |number: usize| number.to_string();
        if replicas < wanted {
            let next = "kafka-reassign-partitions.sh, or make another topic".to_owned();
            let why = "a broker's loss takes the topic along";
            self.add(
                "replicas",
                &number(replicas),
                &number(wanted),
                why,
                Some(next),
            );
        }
        let key = "min.insync.replicas";
        let wanted = min_insync(wanted_insync, replicas.min(brokers));
        let why = match insync.parse::<usize>() {
            Ok(is) if is > replicas => "more than there are replicas: nothing can be written",
            Ok(is) if is < wanted => "a message is confirmed that one broker's loss loses",
            Ok(is) if is == replicas && replicas > 1 => {
                "nothing can be written while one broker restarts"
            }
            _ => return,
        };
        self.setting(key, insync, &number(wanted), &number(wanted), why);
    }
}

#[cfg(test)]
mod tests;
