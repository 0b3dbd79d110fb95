//! Connectors as they run: which ones are meant, what they do, and having them do something else.

pub mod control;
pub mod view;

use super::names;
use crate::clients::connect::ConnectError;
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::profile::schema::Source;
use crate::readiness::Status;
use crate::wait::{self, Patience};

use std::time::Duration;

/// How long Connect may rebalance before it counts as broken.
const REBALANCES: Duration = Duration::from_secs(60);

/// Asks Connect, again while it rebalances or begins: it refuses requests then, and every worker does
/// so for some seconds after one has come or gone.
///
/// # Errors
/// Connect refuses for another reason, or rebalances for a minute.
pub async fn settled<T, F>(progress: &Progress, ask: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    let patience = Patience {
        deadline: REBALANCES,
        first: Duration::from_millis(100),
        slowest: Duration::from_secs(1),
    };
    let answer = wait::answer("Connect has rebalanced", patience, progress, || async {
        match ask().await {
            Err(error) if error.is_rebalance() => {
                Err(Status::in_progress("Connect is rebalancing"))
            }
            Err(error @ ConnectError::Unmounted { .. }) => {
                Err(Status::in_progress(error.to_string()))
            }
            other => Ok(other),
        }
    })
    .await
    .map_err(|error| {
        error.hint("workers that come and go keep it from ending: cargo xtask logs connect")
    })?;
    answer.map_err(|error| match error {
        ConnectError::Silent { .. } => service(&error).hint("cargo xtask diagnose connect"),
        error => service(&error),
    })
}

/// The connectors that exist and that the patterns mean: a name, `*` and `?` in a name, or a
/// source (`postgres`, `mongo`). No pattern means all.
///
/// # Errors
/// A pattern means none; with the nearest name.
pub async fn named(env: &Environment, patterns: &[String]) -> Result<Vec<String>> {
    let client = env.connect_client();
    let mut existing = settled(&Progress::silent(), || client.connectors()).await?;
    existing.sort();
    let by_source = |source: Source| -> Vec<String> {
        let connectors = env.profile.connectors.iter();
        connectors
            .filter(|(_, connector)| connector.source == source)
            .map(|(name, _)| name.clone())
            .collect()
    };
    select(&existing, &by_source, patterns)
}

/// The one connector that a pattern means.
///
/// # Errors
/// It means none, or several.
pub async fn one(env: &Environment, pattern: &str) -> Result<String> {
    let mut found = named(env, &[pattern.to_owned()]).await?;
    match (found.pop(), found.is_empty()) {
        (Some(name), true) => Ok(name),
        (last, _) => {
            found.extend(last);
            Err(Error::new(
                Code::Usage,
                format!("`{pattern}` means several connectors: {}", found.join(", ")),
            )
            .hint("name one of them"))
        }
    }
}

fn select(
    existing: &[String],
    by_source: &dyn Fn(Source) -> Vec<String>,
    patterns: &[String],
) -> Result<Vec<String>> {
    if patterns.is_empty() {
        return Ok(existing.to_vec());
    }
    let mut wanted = Vec::new();
    for pattern in patterns {
        let source = match pattern.as_str() {
            _ if existing.contains(pattern) => None,
            "postgres" => Some(Source::Postgres),
            "mongo" | "mongodb" => Some(Source::Mongodb),
            _ => None,
        };
        match source.map(by_source) {
            Some(names) if !names.is_empty() => wanted.extend(names),
            _ => wanted.push(pattern.clone()),
        }
    }
    let known: Vec<&str> = existing.iter().map(String::as_str).collect();
    names::choose("connector", &wanted, &known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16) -> ConnectError {
        let message = match status {
            500 => "Request cannot be completed because a rebalance is expected",
            _ => "no",
        };
        ConnectError::Refused {
            status,
            message: message.into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rebalance_is_waited_for_and_nothing_else() {
        let progress = Progress::silent();
        let asked = std::sync::atomic::AtomicU32::new(0);
        let count = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let answer = settled(&progress, || async {
            match count() {
                0 | 1 => Err(refusal(409)),
                2 => Err(refusal(500)),
                number => Ok(number),
            }
        });
        assert_eq!(answer.await.expect("an answer"), 3);
        let error = settled::<(), _>(&progress, || async { Err(refusal(400)) }).await;
        let error = error.expect_err("refused");
        assert_eq!(error.code, Code::Service);
        let error = settled::<(), _>(&progress, || async { Err(refusal(409)) }).await;
        let error = error.expect_err("for ever");
        assert_eq!(error.code, Code::GateTimeout);
        assert!(error.to_string().contains("rebalancing"), "{error}");
        let next = error.hint.expect("what to do");
        assert!(next.contains("cargo xtask logs connect"), "{next}");
    }

    #[test]
    fn a_source_means_its_connectors() {
        let existing = ["mongo-connector", "pg-a", "pg-b"].map(str::to_owned);
        let by_source = |source| match source {
            Source::Postgres => vec!["pg-a".to_owned()],
            Source::Mongodb => vec!["mongo-connector".to_owned()],
        };
        let select = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
            select(&existing, &by_source, &patterns)
        };
        assert_eq!(select(&[]).expect("all"), existing);
        assert_eq!(select(&["postgres"]).expect("by source"), ["pg-a"]);
        assert_eq!(select(&["pg-*", "pg-a"]).expect("once"), ["pg-a", "pg-b"]);
        let error = select(&["mongo-conector"]).expect_err("unknown");
        assert!(
            error
                .hint
                .is_some_and(|hint| hint.contains("`mongo-connector`"))
        );
        assert_eq!(error.code, Code::Usage);
    }
}
