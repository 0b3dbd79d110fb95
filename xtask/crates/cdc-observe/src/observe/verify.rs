//! Proves a flow: insert, update and delete at the source, each read at the target.

use std::time::Instant;

use serde::Serialize;

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::units::Span;
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
            proofs.push(proof(&canary, name, change, Some(&wanted), begin, progress).await?);
        }
        Ok(())
    }
    .await;
    let begin = Instant::now();
    canary.delete().await?;
    result?;
    proofs.push(proof(&canary, name, "delete", None, begin, progress).await?);
    canary.sweep().await?;
    Ok(proofs)
}

/// Waits for a change that was made at `begin`, until the target shows what is wanted.
async fn proof(
    canary: &Canary<'_>,
    flow: &str,
    change: &'static str,
    wanted: Option<&str>,
    begin: Instant,
    progress: &Progress,
) -> Result<Proof> {
    let arrived = canary.arrives(wanted, progress).await;
    arrived.map_err(|error| unproven(flow, change, error))?;
    Ok(Proof {
        flow: flow.to_owned(),
        change,
        took_ms: Span(begin.elapsed()).ms(),
    })
}

fn unproven(flow: &str, change: &str, cause: Error) -> Error {
    let what = format!("{flow}: the {change} did not arrive: {}", cause.message);
    let next = "cargo xtask status shows where it stopped";
    let next = cause.hint.unwrap_or_else(|| next.to_owned());
    Error::new(Code::Verify, what)
        .details(cause.details)
        .hint(next)
}
