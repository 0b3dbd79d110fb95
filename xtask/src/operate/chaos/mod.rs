//! Proof that nothing is lost: rows are written whose values are known, components and connections are broken meanwhile,
//! and at the end of each round every row must be at its target as it was acknowledged.
//!
//! `workload`, `faults` and `random` are pure: what is written and what is broken follows from a seed. `load`, `sql`
//! and `proxy` are the edges; `round` plays one, with the code of `diagnose`, `heal` and `reconcile`, and commands as they
//! are printed (`typed`). All of it happens in an environment of its own, which whoever calls this has brought up.

pub mod faults;
mod load;
pub mod proxy;
pub mod random;
pub mod report;
mod round;
mod sql;
#[cfg(test)]
mod tests;
pub mod typed;
pub mod workload;

use std::sync::Arc;

use faults::Round;
use load::{Load, Place};
use proxy::Proxy;
use report::Report;
use round::Ring;
use typed::Typed;
use workload::Table;

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::Profile;

/// The setting of a source's connector that says to which port it connects: the proxy's.
const PORT: &str = "database.port";

/// The port that the connection which is cut goes to, and the source's component that is behind it.
///
/// # Errors
/// The profile has none.
pub fn cut(profile: &Profile) -> Result<(String, u16, String)> {
    let mut connectors = profile.connectors.iter();
    let found = connectors.find_map(|(name, it)| {
        let port = it.config.get(PORT)?.parse().ok()?;
        Some((name.clone(), port, it.source.clone()))
    });
    found.ok_or_else(|| {
        let what = format!("no connector of the profile has a port of its own ({PORT})");
        Error::new(Code::ProfileInvalid, what)
    })
}

/// The setting of that port, as `--set` has it.
pub fn cut_key(connector: &str) -> String {
    format!("connectors.{connector}.config.{PORT}")
}

/// Plays rounds until one is not as it should be. `report` has what was played, however this ends.
///
/// # Errors
/// A fault could not be made, or it cannot be known what is there.
pub async fn run(
    env: &Arc<Environment>,
    rounds: &[Round],
    proxy: &Proxy,
    typed: &Typed,
    report: &mut Report,
    tell: &mut dyn FnMut(&str),
) -> Result<()> {
    let (_, _, component) = cut(&env.profile)?;
    let tables = env.profile.flows.iter().map(|(flow, it)| Table {
        flow: flow.clone(),
        name: it.table.clone(),
        key: it.key.clone(),
    });
    let place = Place {
        env: env.clone(),
        component,
        tables: tables.collect(),
    };
    let load = Load::begin(place, report.seed);
    let ring = Ring {
        env,
        load: &load,
        proxy,
        typed,
    };
    for round in rounds {
        let played = ring.play(round).await?;
        tell(&round::line(&played, rounds.len()));
        let is_lost = !played.differences.is_empty();
        report.rounds.push(played);
        // What differs now would differ in every round that follows.
        if is_lost {
            break;
        }
    }
    Ok(())
}
