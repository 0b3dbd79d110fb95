//! Proves a flow: insert, update and delete at the source, each read at the target.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::up::canary::Canary;

/// One change that arrived.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// Flow.
    pub flow: String,
    /// `insert`, `update` or `delete`.
    pub change: &'static str,
    /// From the commit's call to the row at the target, in milliseconds.
    pub took_ms: u64,
}

/// Sends the three changes through, in order, and leaves nothing behind.
///
/// # Errors
/// A change does not arrive; the error says which. The canary is removed at the source all the
/// same.
pub async fn flow(env: &Environment, name: &str, progress: &Progress) -> Result<Vec<Proof>> {
    let canary = Canary::prepare(env, name).await?;
    let (inserted, updated) = canary.values();
    let mut proofs = Vec::new();
    let result = async {
        for (change, wanted) in [("insert", inserted), ("update", updated)] {
            let begin = Instant::now();
            match change {
                "insert" => canary.insert().await?,
                _ => canary.update().await?,
            }
            canary
                .arrives(Some(&wanted), progress)
                .await
                .map_err(|error| unproven(name, change, error))?;
            proofs.push(proof(name, change, begin.elapsed()));
        }
        Ok(())
    }
    .await;
    let begin = Instant::now();
    canary.delete().await?;
    result?;
    canary
        .arrives(None, progress)
        .await
        .map_err(|error| unproven(name, "delete", error))?;
    proofs.push(proof(name, "delete", begin.elapsed()));
    canary.sweep().await?;
    Ok(proofs)
}

fn proof(flow: &str, change: &'static str, took: Duration) -> Proof {
    Proof {
        flow: flow.to_owned(),
        change,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

fn unproven(flow: &str, change: &str, cause: Error) -> Error {
    let mut error = Error::new(
        Code::Verify,
        format!("{flow}: the {change} did not arrive: {}", cause.message),
    )
    .hint("cargo xtask status shows where it stopped");
    error.hint = cause.hint.or(error.hint);
    error.details = cause.details;
    error
}
