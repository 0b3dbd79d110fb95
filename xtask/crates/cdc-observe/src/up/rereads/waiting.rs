//! The wait for tables that a connector reads again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Held;

use super::noted::{Follower, Seen};
use super::{Pending, committed, reads};
use crate::clock;
use crate::components::{connect, service, source};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::profile::schema::Connector;
use crate::readiness::{State, Status};
use crate::report::text::list;
use crate::up::unread::READS;
use crate::wait::{self, Patience};

/// For how long a connector may not run: what failed is restarted by `heal`, a worker by whoever keeps it.
const GONE_FOR: u64 = 120_000;
/// A connector that says nothing for so long waits for transactions at its source.
const SILENT_FOR: u64 = 10_000;

/// What is left, and how far it is.
enum Look {
    Untold(BTreeSet<String>),
    Reads(String),
    Ended(Seen),
}

/// A wait for the tables that are asked for.
pub(super) struct Waiting<'a> {
    pub(super) env: &'a Environment,
    /// The connector.
    pub(super) name: &'a str,
    pub(super) pending: &'a Pending,
}

impl Waiting<'_> {
    async fn follower(&self) -> Result<Held<Follower<'_>>> {
        let follower = Follower::begin(
            &self.pending.client,
            &self.pending.topics,
            &self.pending.asked,
        )
        .await;
        Ok(Held::new(follower.map_err(service)?))
    }

    /// Those that the connector neither reads nor has read.
    pub(super) async fn untold(&self, progress: &Progress) -> Result<BTreeSet<String>> {
        let follower = self.follower().await?;
        let what = format!("{} tells how far it is", self.name);
        wait::answer(&what, self.env.patience(), progress, || async {
            Ok(match self.look(&follower).await? {
                Look::Untold(left) => left,
                Look::Reads(_) | Look::Ended(_) => BTreeSet::new(),
            })
        })
        .await
    }

    /// Waits until the connector has read all tables; none if it does not read any more what it has not read.
    pub(super) async fn until_read(
        &self,
        connector: &Connector,
        progress: &Progress,
    ) -> Result<Option<Seen>> {
        let follower = self.follower().await?;
        let gone_since = Mutex::new(None);
        let patience = Patience {
            deadline: READS,
            first: Duration::from_millis(100),
            slowest: Duration::from_millis(500),
        };
        let tables: Vec<&String> = self.pending.asked.tables.iter().collect();
        let what = format!("{} has read {}", self.name, list(&tables));
        let read = wait::answer(&what, patience, progress, || async {
            let runs = connect::probe_tasks(self.env, self.name).await;
            if runs.state != State::Current {
                let mut since = gone_since.lock().unwrap_or_else(PoisonError::into_inner);
                let now = clock::now_ms();
                let message = format!("{}: {}", self.name, runs.message);
                return Err(match now - *since.get_or_insert(now) < GONE_FOR {
                    true => Status::in_progress(message),
                    false => Status::failed(message).next("cargo xtask diagnose"),
                });
            }
            *gone_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
            match self.look(&follower).await? {
                Look::Ended(seen) => Ok(Some(seen)),
                Look::Reads(words) => Err(Status::in_progress(words)),
                Look::Untold(_) => Ok(None),
            }
        });
        tokio::select! {
            seen = read => seen,
            () = source(self.env, connector).attend(self.env) => {
                Err(Error::new(Code::Plan, "the wait was given up"))
            }
        }
    }

    async fn look(&self, follower: &Held<Follower<'_>>) -> Result<Look, Status> {
        // What it has committed comes first: it tells the end of a table before it commits that.
        let committed = committed(self.env, self.name, &Progress::silent()).await;
        let committed = committed.map_err(|error| Status::in_progress(error.message))?;
        let mut follower = follower.lock().await;
        let seen = follower.look().await;
        let seen = seen.map_err(|error| Status::in_progress(error.to_string()))?;
        let left = self.pending.asked.tables.iter();
        let left: BTreeSet<String> = left
            .filter(|it| !seen.ended.contains_key(*it))
            .cloned()
            .collect();
        if left.is_empty() {
            return Ok(Look::Ended(seen.clone()));
        }
        if !reads(&committed, &left) {
            return Ok(Look::Untold(left));
        }
        let names: Vec<&String> = left.iter().collect();
        let waits = clock::now_ms().saturating_sub(seen.last) > SILENT_FOR && seen.last > 0;
        Ok(Look::Reads(match (waits, seen.words()) {
            (true, _) => format!("{} waits for what is open at the source", list(&names)),
            (false, Some(words)) => words,
            (false, None) => format!("{} is begun", list(&names)),
        }))
    }
}
