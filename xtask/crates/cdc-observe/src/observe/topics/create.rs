//! Making a topic, or proving that it is as wanted.

use std::collections::BTreeMap;

use serde::Serialize;

use super::settings::refused;
use super::{lost, replicas, setting};
use crate::clients::kafka::{CreateOutcome, KafkaClient, TopicInfo, TopicSpec};
use crate::error::{Code, Error, Result};

/// A topic as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// Name.
    pub name: String,
    /// Number of partitions; none leaves it to the broker.
    pub partitions: Option<i32>,
    /// Number of replicas; none leaves it to the broker.
    pub replicas: Option<i16>,
    /// Settings.
    pub config: BTreeMap<String, String>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is new.
    Created,
    /// It would be new.
    WouldCreate,
    /// It was there, as wanted.
    Unchanged,
}

/// Refuses names that Kafka does not take, before it is asked.
///
/// # Errors
/// The name is none for a topic.
pub fn named(name: &str) -> Result<()> {
    let strange = |char: char| !(char.is_ascii_alphanumeric() || "._-".contains(char));
    let why = match name {
        "" => "is empty".to_owned(),
        "." | ".." => "is a directory's".to_owned(),
        _ if name.len() > 249 => "is longer than 249 characters".to_owned(),
        _ => match name.chars().find(|char| strange(*char)) {
            Some(char) => format!("holds {char:?}"),
            None => return Ok(()),
        },
    };
    let what = format!("`{name}` is not a valid topic name: it {why}");
    Err(Error::new(Code::Usage, what).hint("letters, digits, `.`, `_` and `-`"))
}

/// Makes the topic unless it is there as wanted.
///
/// # Errors
/// It is there and different; the broker refuses.
pub async fn ensure(client: &KafkaClient, wanted: &Wanted, dry_run: bool) -> Result<Outcome> {
    if let Some(there) = find(client, &wanted.name).await? {
        return compare(client, &there, wanted).await;
    }
    if dry_run {
        return Ok(Outcome::WouldCreate);
    }
    let spec = TopicSpec {
        name: wanted.name.clone(),
        partitions: wanted.partitions.unwrap_or(-1),
        replication_factor: wanted.replicas.unwrap_or(-1),
        configs: wanted.config.clone(),
    };
    let made = client.create_topics(&[spec]).await.map_err(refused)?;
    // Somebody else was faster.
    if made
        .iter()
        .any(|(_, outcome)| *outcome == CreateOutcome::AlreadyExists)
        && let Some(there) = find(client, &wanted.name).await?
    {
        return compare(client, &there, wanted).await;
    }
    Ok(Outcome::Created)
}

async fn find(client: &KafkaClient, name: &str) -> Result<Option<TopicInfo>> {
    let found = client.topics(Some(&[name])).await.map_err(lost)?;
    Ok(found.into_iter().next())
}

async fn compare(client: &KafkaClient, there: &TopicInfo, wanted: &Wanted) -> Result<Outcome> {
    let config = client.topic_configs(&there.name).await.map_err(lost)?;
    let is = |key: &str| setting(&config, key).unwrap_or("(not set)").to_owned();
    let replicas_wanted = wanted.replicas.map(i32::from);
    let numbers = [
        ("partitions", there.partitions.len(), wanted.partitions),
        ("replicas", replicas(there), replicas_wanted),
    ];
    let numbers = numbers.into_iter().filter_map(|(key, is, wanted)| {
        let wanted = wanted.filter(|wanted| i32::try_from(is) != Ok(*wanted))?;
        Some(format!("{key} is {is}, wanted {wanted}"))
    });
    let settings = wanted.config.iter();
    let settings = settings.filter(|(key, value)| is(key) != **value);
    let others = settings.clone();
    let others = others.map(|(key, value)| format!("{key} is {}, wanted {value}", is(key)));
    let differences: Vec<String> = numbers.chain(others).collect();
    if differences.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    let alter: Vec<String> = settings
        .map(|(key, value)| format!(" --alter {key}={value}"))
        .collect();
    let name = &there.name;
    let what = format!("topic `{name}` is there and different; it was not changed");
    let next = match alter.is_empty() {
        true => format!("cargo xtask topic describe {name}"),
        false => format!("cargo xtask topic config {name}{}", alter.concat()),
    };
    Err(Error::new(Code::Drift, what)
        .details(differences)
        .hint(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kafka_takes() {
        for good in ["a", "postgres.public.users", "__x-1", &"a".repeat(249)] {
            assert!(named(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ü", "a/b", &"a".repeat(250)] {
            assert_eq!(named(bad).unwrap_err().code, Code::Usage, "{bad}");
        }
    }
}
