//! Settings as people write them, and changing them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{lost, setting};
use crate::clients::kafka::{ConfigSource, ConfigValue, ErrorCode, KafkaClient, KafkaError};
use crate::error::{Code, Error, Result};

/// Reads `KEY=VALUE`s.
///
/// # Errors
/// One has no `=`, no key, or names a key twice.
pub fn parse(pairs: &[String]) -> Result<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(
                Error::new(Code::Usage, format!("`{pair}` is not a setting"))
                    .hint("KEY=VALUE, for example retention.ms=3600000"),
            );
        };
        if settings.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Error::new(Code::Usage, format!("`{key}` is set twice")));
        }
    }
    Ok(settings)
}

/// One setting that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alteration {
    /// Its name.
    pub key: String,
    /// What it is.
    pub is: Option<String>,
    /// What it will be; none returns it to the broker's default.
    pub becomes: Option<String>,
}

/// What has to change so that the settings are as wanted; an empty value wants the broker's default.
///
/// # Errors
/// There is no such setting.
pub fn alterations(
    config: &BTreeMap<String, ConfigValue>,
    wanted: &BTreeMap<String, String>,
) -> Result<Vec<Alteration>> {
    let mut alterations = Vec::new();
    for (key, value) in wanted {
        let Some(there) = config.get(key) else {
            let what = format!("topics have no setting `{key}`");
            let (known, all) = (
                config.keys().map(String::as_str),
                "cargo xtask topic config NAME --all shows all settings",
            );
            return Err(Error::new(Code::Usage, what).meant(key, known, all));
        };
        let is_set = there.source == ConfigSource::Topic;
        let same = match value.is_empty() {
            true => !is_set,
            false => is_set && there.value.as_deref() == Some(value),
        };
        if !same {
            alterations.push(Alteration {
                key: key.clone(),
                is: setting(config, key).map(str::to_owned),
                becomes: (!value.is_empty()).then(|| value.clone()),
            });
        }
    }
    Ok(alterations)
}

/// Changes settings through the broker.
///
/// # Errors
/// The broker refuses a value, or does not answer.
pub async fn alter(client: &KafkaClient, topic: &str, changes: &[Alteration]) -> Result<()> {
    let changes = changes
        .iter()
        .map(|change| (change.key.clone(), change.becomes.clone()))
        .collect();
    let altered = client.alter_topic_configs(topic, &changes).await;
    altered.map_err(refused)
}

/// A value that the broker does not take is the user's to fix; anything else is not.
pub fn refused(error: KafkaError) -> Error {
    match error.code() {
        Some(
            ErrorCode::InvalidConfig
            | ErrorCode::InvalidPartitions
            | ErrorCode::InvalidReplicationFactor
            | ErrorCode::InvalidRequest
            | ErrorCode::InvalidTopicException,
        ) => Error::new(Code::Usage, error.to_string()),
        _ => lost(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> BTreeMap<String, ConfigValue> {
        let value = |text: &str, source| ConfigValue {
            value: Some(text.to_owned()),
            source,
        };
        BTreeMap::from([
            ("retention.ms".to_owned(), value("5", ConfigSource::Topic)),
            (
                "cleanup.policy".to_owned(),
                value("delete", ConfigSource::Default),
            ),
        ])
    }

    #[test]
    fn settings_are_pairs() {
        let pairs = ["a=b=c".to_owned(), "d=".to_owned()];
        let settings = parse(&pairs).unwrap();
        assert_eq!(settings["a"], "b=c");
        assert_eq!(settings["d"], "");
        for bad in [vec!["a"], vec!["=b"], vec!["a=1", "a=2"]] {
            let bad: Vec<String> = bad.into_iter().map(str::to_owned).collect();
            assert_eq!(parse(&bad).unwrap_err().code, Code::Usage);
        }
    }

    #[test]
    fn only_what_differs_changes() {
        let wanted = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let changes = |key, value| alterations(&config(), &wanted(key, value)).unwrap().len();
        assert_eq!(changes("retention.ms", "5"), 0);
        assert_eq!(changes("retention.ms", "6"), 1);
        assert_eq!(changes("retention.ms", ""), 1);
        assert_eq!(changes("cleanup.policy", ""), 0);
        // The default of today is not the default of tomorrow.
        assert_eq!(changes("cleanup.policy", "delete"), 1);
        let error = alterations(&config(), &wanted("retention.sm", "1")).unwrap_err();
        assert!(error.hint.unwrap().contains("`retention.ms`"));
    }
}
