//! Projections: tables that events of an outbox add up in.
//!
//! `run` reads the topic and adds up in PostgreSQL, where the positions are, so it may be killed anywhere. `replay` does the same
//! into a table beside the projection's own, from the first event on, and then gives the projection's table its rows.
//! `verify` compares the table with what the database of the outbox says itself. What cannot be added up is kept in the queue
//! with the reason before the positions move past it; a kill in between leaves it there twice.

mod event;
mod runner;
mod verify;

use crate::clients::kafka::OffsetAt;
use crate::components::projections::{Place, Projections, Session};
use crate::components::{self, kafka, named};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::schema::Projection;
use runner::offsets;
pub use runner::{Done, Runner};
pub use verify::{Difference, Verified, verify};

/// A projection of the profile: the named one, or the only one.
///
/// # Errors
/// There is none, or there are several; with their names.
pub fn chosen<'a>(env: &'a Environment, name: Option<&str>) -> Result<(&'a str, &'a Projection)> {
    let all = &env.profile.projections;
    let names = || all.keys().map(String::as_str);
    match (name, all.first()) {
        (_, None) => {
            let error = Error::new(Code::Usage, "the profile has no projection");
            Err(error.hint("add one under `projections`, as profiles/outbox.yaml has it"))
        }
        (None, Some((name, projection))) if all.len() == 1 => Ok((name, projection)),
        (None, Some(_)) => {
            let error = Error::new(Code::Usage, "which projection is meant?");
            Err(error.hint(format!(
                "there are: {}",
                names().collect::<Vec<_>>().join(", ")
            )))
        }
        (Some(name), Some(_)) => match all.get_key_value(name) {
            Some((name, projection)) => Ok((name, projection)),
            None => {
                let error = Error::new(Code::Usage, format!("there is no projection `{name}`"));
                Err(error.meant(name, names(), "see `projections` in the profile"))
            }
        },
    }
}

/// A session with a component in which events add up.
async fn session(env: &Environment, component: &str) -> Result<Box<dyn Session>> {
    able(env, component)?.open(env).await
}

fn able<'a>(env: &'a Environment, component: &str) -> Result<&'a dyn Projections> {
    let found = named(env, component)?;
    found.projections().ok_or_else(|| {
        let what = format!("events cannot add up in `{component}`");
        let components = env.profile.components.values();
        let able = components.filter(|it| components::of(it).projections().is_some());
        let able: Vec<&str> = able.map(|it| it.name.as_str()).collect();
        let hint = format!(
            "set `into` of the projection to one of: {}",
            able.join(", ")
        );
        Error::new(Code::Usage, what).hint(hint)
    })
}

/// How far a projection is.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Status {
    /// The projection.
    pub projection: String,
    /// Whether `projection run` runs somewhere.
    pub running: bool,
    /// Events and others of the topic that are not read yet.
    pub unread: i64,
    /// Rows of its table.
    pub rows: usize,
    /// Messages in its queue.
    pub queued: i64,
}

/// Looks how far a projection is.
///
/// # Errors
/// The broker or the database does not answer.
pub async fn status(env: &Environment, name: &str, projection: &Projection) -> Result<Status> {
    let client = kafka::client(env).await?;
    let session = session(env, &projection.into).await?;
    session.prepare(projection).await?;
    let positions = session.positions(name, Place::Own).await?;
    let topic = &projection.topic;
    let first = offsets(&client, topic, OffsetAt::Earliest).await?;
    let end = offsets(&client, topic, OffsetAt::Latest).await?;
    let unread = end.iter().map(|(partition, end)| {
        let from = positions.get(partition).or_else(|| first.get(partition));
        end - from.copied().unwrap_or_default()
    });
    let kept = offsets(&client, &projection.queue, OffsetAt::Earliest).await?;
    let queued = offsets(&client, &projection.queue, OffsetAt::Latest).await?;
    Ok(Status {
        projection: name.to_owned(),
        running: session.is_claimed(name).await?,
        unread: unread.sum(),
        rows: session.rows(projection, None).await?.len(),
        queued: queued.values().sum::<i64>() - kept.values().sum::<i64>(),
    })
}
