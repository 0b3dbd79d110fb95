//! Which dead letter queues there are, and which connectors have none.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::clients::connect::Listed;
use crate::clients::kafka::{KafkaClient, TopicInfo};
use crate::components::connect::settled;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::observe::names;
use crate::observe::topics::lost;
use crate::observe::topics::roles::{Role, role};
use crate::plan::Progress;
use crate::profile::topics::sink_group;
use crate::readiness::{self, Status};

/// The setting that names a sink's queue.
pub const QUEUE: &str = "errors.deadletterqueue.topic.name";
/// The setting without which a record does not say where it comes from.
pub const CONTEXT: &str = "errors.deadletterqueue.context.headers.enable";

/// A sink connector, as far as its failures go.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Name.
    pub name: String,
    /// Configuration. It may hold secrets: nothing of it is printed.
    pub config: IndexMap<String, String>,
    /// What it does.
    pub status: Status,
}

impl Sink {
    /// Its queue.
    pub fn queue(&self) -> Option<&str> {
        let name = self.config.get(QUEUE).map(|name| name.trim());
        name.filter(|name| !name.is_empty())
    }

    /// Whether it goes on after a record that it cannot process.
    pub fn is_tolerant(&self) -> bool {
        let tolerance = self.config.get("errors.tolerance");
        tolerance.is_some_and(|tolerance| tolerance.eq_ignore_ascii_case("all"))
    }

    /// Whether its records say where they come from.
    pub fn has_context(&self) -> bool {
        let enabled = self.config.get(CONTEXT);
        enabled.is_some_and(|enabled| enabled.eq_ignore_ascii_case("true"))
    }

    /// The group that its tasks read with.
    pub fn group(&self) -> String {
        match self.config.get("consumer.override.group.id") {
            Some(group) => group.clone(),
            None => sink_group(&self.name),
        }
    }
}

/// A dead letter queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Name of the topic.
    pub name: String,
    /// Sinks that write to it; none for a topic that is only called like a queue.
    pub sinks: Vec<String>,
    /// The topic; none if it is not there yet.
    pub topic: Option<TopicInfo>,
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Queues, by name.
    pub queues: Vec<Queue>,
    /// All sinks, by name.
    pub sinks: Vec<Sink>,
    /// Source connectors for which a queue is set, which does nothing.
    pub sources_with_queue: Vec<String>,
    /// All source connectors.
    pub sources: Vec<String>,
}

/// Asks Connect for its connectors and the broker for its topics.
///
/// # Errors
/// One of them does not answer.
pub async fn find(env: &Environment, client: &KafkaClient) -> Result<Found> {
    let connect = env.connect_client();
    let listed = settled(&Progress::silent(), || connect.all()).await?;
    let topics = client.topics(None).await.map_err(lost)?;
    let queues = topics.iter().filter(|topic| !topic.internal);
    let queues = queues.filter(|topic| role(&env.profile, topic) == Role::Dlq);
    let named: Vec<String> = queues.map(|topic| topic.name.clone()).collect();
    Ok(found(listed, &topics, named))
}

fn found(listed: IndexMap<String, Listed>, topics: &[TopicInfo], named: Vec<String>) -> Found {
    let mut found = Found::default();
    for (name, listed) in listed {
        let sink = Sink {
            status: readiness::connect::connector(Some(&listed.status)),
            config: listed.info.config,
            name,
        };
        match listed.info.kind.as_str() {
            "sink" => found.sinks.push(sink),
            _ => {
                let has_keys = sink
                    .config
                    .keys()
                    .any(|key| key.starts_with("errors.deadletterqueue."));
                if has_keys {
                    found.sources_with_queue.push(sink.name.clone());
                }
                found.sources.push(sink.name);
            }
        }
    }
    found.sinks.sort_by(|one, other| one.name.cmp(&other.name));
    found.sources.sort();
    found.sources_with_queue.sort();
    let mut queues: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in named {
        queues.entry(name).or_default();
    }
    for sink in &found.sinks {
        if let Some(queue) = sink.queue() {
            queues
                .entry(queue.to_owned())
                .or_default()
                .push(sink.name.clone());
        }
    }
    found.queues = queues
        .into_iter()
        .map(|(name, sinks)| Queue {
            topic: topics.iter().find(|topic| topic.name == name).cloned(),
            name,
            sinks,
        })
        .collect();
    found
}

impl Found {
    /// The sink of this name.
    pub fn sink(&self, name: &str) -> Option<&Sink> {
        self.sinks.iter().find(|sink| sink.name == name)
    }

    /// What of the connectors' settings deserves a word.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for sink in &self.sinks {
            let name = &sink.name;
            match (sink.queue(), sink.is_tolerant()) {
                (None, true) => notes.push(format!(
                    "{name} loses records silently: errors.tolerance=all and no {QUEUE}"
                )),
                (Some(queue), false) => notes.push(format!(
                    "{name} stops at the first record that it cannot process and writes none to {queue}: \
                     set errors.tolerance=all"
                )),
                _ => {}
            }
            if sink.queue().is_some() && !sink.has_context() {
                notes.push(format!(
                    "{name}'s records do not say where they come from and cannot be redriven: set {CONTEXT}=true"
                ));
            }
        }
        for name in &self.sources_with_queue {
            notes.push(format!(
                "{name} is a source: dead letter queues are for sinks, its errors.deadletterqueue.* settings do nothing"
            ));
        }
        notes
    }

    /// The queues that a topic's or a connector's name or a pattern means; without one, all.
    ///
    /// # Errors
    /// It means none; with the reason, or the nearest name.
    pub fn choose(&self, wanted: Option<&str>) -> Result<Vec<&Queue>> {
        let Some(wanted) = wanted else {
            return Ok(self.queues.iter().collect());
        };
        if let Some(queue) = self.queues.iter().find(|queue| queue.name == wanted) {
            return Ok(vec![queue]);
        }
        if self.sources.iter().any(|name| name == wanted) {
            let what =
                format!("{wanted} is a source connector; only sinks have dead letter queues");
            let next = format!("cargo xtask connector status {wanted}");
            return Err(Error::new(Code::Usage, what).hint(next));
        }
        if self.sink(wanted).is_some_and(|sink| sink.queue().is_none()) {
            return Err(
                Error::new(Code::Usage, format!("{wanted} has no dead letter queue")).hint(format!(
                    "set errors.tolerance=all, {QUEUE}=NAME and {CONTEXT}=true in its configuration"
                )),
            );
        }
        let queued = self.sinks.iter().filter(|sink| sink.queue().is_some());
        let known: Vec<&str> = self
            .queues
            .iter()
            .map(|queue| queue.name.as_str())
            .chain(queued.map(|sink| sink.name.as_str()))
            .collect();
        let chosen = names::choose("dlq", &[wanted.to_owned()], &known);
        let chosen = chosen.map_err(|error| Error {
            message: none(wanted),
            ..error
        })?;
        let queues = self.queues.iter();
        Ok(queues
            .filter(|queue| {
                chosen
                    .iter()
                    .any(|name| *name == queue.name || queue.sinks.contains(name))
            })
            .collect())
    }
}

/// What a name is not, or a pattern does not fit.
fn none(wanted: &str) -> String {
    let what = "the topic of a dead letter queue nor a sink connector that has one";
    match names::is_pattern(wanted) {
        true => format!("`{wanted}` fits neither {what}"),
        false => format!("`{wanted}` is neither {what}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listed() -> IndexMap<String, Listed> {
        let connector = |name: &str, kind: &str, config: serde_json::Value| {
            json!({
                "status": {
                    "name": name,
                    "connector": { "state": "RUNNING", "worker_id": "w" },
                    "tasks": [{ "id": 0, "state": "RUNNING", "worker_id": "w" }],
                },
                "info": { "type": kind, "config": config },
            })
        };
        let queue = |name: &str| json!({ QUEUE: name, "errors.tolerance": "all", CONTEXT: "true" });
        serde_json::from_value(json!({
            "orders": connector("orders", "sink", queue("dlq.orders")),
            "strict": connector("strict", "sink", json!({ QUEUE: "dlq.orders" })),
            "silent": connector("silent", "sink", json!({ "errors.tolerance": "all" })),
            "plain": connector("plain", "sink", json!({})),
            "pg": connector("pg", "source", queue("dlq.pg")),
        }))
        .unwrap()
    }

    fn sample() -> Found {
        found(listed(), &[], vec!["old-dlq".into()])
    }

    #[test]
    fn queues_have_their_sinks_and_sources_have_none() {
        let found = sample();
        let queues: Vec<_> = found
            .queues
            .iter()
            .map(|queue| (queue.name.as_str(), queue.sinks.join(",")))
            .collect();
        assert_eq!(
            queues,
            [
                ("dlq.orders", "orders,strict".to_owned()),
                ("old-dlq", String::new())
            ]
        );
        assert_eq!(found.sources_with_queue, ["pg"]);
        assert_eq!(found.sink("orders").unwrap().group(), "connect-orders");
    }

    #[test]
    fn what_is_set_wrongly_is_said() {
        let notes = sample().notes();
        assert_eq!(notes.len(), 4, "{notes:#?}");
        assert!(notes[0].starts_with("silent loses records silently"));
        assert!(notes[1].starts_with("strict stops at the first record"));
        assert!(notes[2].contains("context.headers.enable=true"));
        assert!(notes[3].starts_with("pg is a source"));
    }

    #[test]
    fn a_name_is_a_topic_a_connector_or_a_pattern() {
        let found = sample();
        let choose = |name: &str| -> Result<Vec<String>> {
            let queues = found.choose(Some(name))?;
            Ok(queues.into_iter().map(|queue| queue.name.clone()).collect())
        };
        assert_eq!(choose("dlq.orders").unwrap(), ["dlq.orders"]);
        assert_eq!(choose("strict").unwrap(), ["dlq.orders"]);
        assert_eq!(choose("*dlq*").unwrap(), ["dlq.orders", "old-dlq"]);
        assert_eq!(found.choose(None).unwrap().len(), 2);
        for (name, words) in [
            ("pg", "source connector"),
            ("silent", "no dead letter queue"),
            (
                "dlq.order",
                "neither the topic of a dead letter queue nor a sink",
            ),
            ("x*", "`x*` fits neither"),
        ] {
            let error = choose(name).unwrap_err();
            assert!(error.message.contains(words), "{error}");
            assert_eq!(error.code, Code::Usage);
        }
        let error = choose("dlq.order").unwrap_err();
        assert!(error.hint.unwrap().contains("`dlq.orders`"));
    }
}
