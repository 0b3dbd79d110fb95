//! A row that proves the pipeline: inserted at the source, read at the target, removed again.
//!
//! Its key is negative, or a text or UUID that begins as no real one does, so it can meet no real row.

use std::time::Duration;

use crate::components::source::{CanaryChange, CanaryKey, Source, SourceTable};
use crate::components::target::{Canaries, TargetTable};
use crate::components::{Stage, connect, flow_source, of, target, travelled};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::Kind;
use crate::plan::{Outcome, Progress};
use crate::profile::schema::{Flow, Settings};
use crate::readiness::{State, Status};
use crate::up::rereads;
use crate::wait::{self, Patience};

/// How long a change may take to arrive before the pipeline counts as broken. A first snapshot of
/// other tables may be under way.
const ARRIVES: Duration = Duration::from_secs(90);

/// A canary's number counts down with the milliseconds: one that is this much higher is this old.
const LEFTOVER_AGE: i64 = 300_000;

/// One canary row on its way.
pub struct Canary<'a> {
    env: &'a Environment,
    flow: &'a Flow,
    fields: Settings,
    id: i64,
    /// What the first column of its key may hold; of documents a text.
    kind: Kind,
    source: Box<dyn SourceTable + 'a>,
    target: Box<dyn TargetTable + 'a>,
    /// What restarts the flow's connectors once, where they may: a task that failed over a server that was away may
    /// say so only after its gate.
    watchers: Option<[connect::Watcher; 2]>,
}

impl<'a> Canary<'a> {
    /// Connects to both ends. Nothing is written yet.
    ///
    /// # Errors
    /// An end does not answer, or the flow has no canary.
    pub async fn prepare(env: &'a Environment, flow_name: &str) -> Result<Canary<'a>> {
        let flow = self::flow(env, flow_name)?;
        let template = flow.canary.as_ref().ok_or_else(|| {
            Error::new(Code::Usage, format!("flow `{flow_name}` has no canary")).hint(format!(
                "give it one in the profile: flows.{flow_name}.canary"
            ))
        })?;
        // Unique enough among the canaries of one table, and within 31 bits for `serial` keys.
        let id = -(i64::try_from(crate::clock::now_ms() % 2_000_000_000)
            .unwrap_or(1)
            .max(1));
        let of = read_by(env, flow_name, flow)?;
        let (columns, source) = tokio::try_join!(of.columns(env, flow), of.table(env, flow))?;
        let columns = columns.unwrap_or_default();
        let key = columns.iter().find(|it| Some(&it.name) == flow.key.first());
        Ok(Canary {
            env,
            flow,
            fields: fields(template, id),
            id,
            kind: key.map_or(Kind::Text, |it| it.kind),
            source,
            target: target(env, flow)?.table(env, flow_name, flow),
            watchers: None,
        })
    }

    /// Becomes the next canary: same connections, another row.
    pub fn renew(&mut self) {
        self.id -= 1;
        if let Some(template) = &self.flow.canary {
            self.fields = fields(template, self.id);
        }
    }

    /// The number that is in the canary's message key.
    pub fn token(&self) -> String {
        self.id.unsigned_abs().to_string()
    }

    fn key(&self) -> CanaryKey {
        CanaryKey::of(self.kind, self.id)
    }

    /// The column that an update changes: the first of the canary's.
    fn changing(&self) -> (&str, &str) {
        self.fields
            .first()
            .map_or(("", ""), |(name, value)| (name, value))
    }

    /// The value that the changing column has after the insert, and after the update.
    pub fn values(&self) -> (String, String) {
        let value = self.changing().1;
        (value.to_owned(), format!("{value} (updated)"))
    }

    /// Removes canaries that a killed command left at the source. One of a command that runs right
    /// now is younger and stays.
    ///
    /// # Errors
    /// The source refuses.
    pub async fn clear_leftovers(&self) -> Result<()> {
        let (column, _) = self.changing();
        let template = self.flow.canary.as_ref();
        let Some(pattern) = template.and_then(|template| template.get(column)) else {
            return Ok(());
        };
        let older = CanaryChange::DeleteOlder {
            than: &CanaryKey::of(self.kind, self.id + LEFTOVER_AGE),
            column,
            template: pattern,
        };
        self.source.canary(&self.key(), older).await
    }

    /// Inserts the row at the source.
    ///
    /// # Errors
    /// The source refuses.
    pub async fn insert(&self) -> Result<()> {
        let insert = CanaryChange::Insert(&self.fields);
        self.source.canary(&self.key(), insert).await
    }

    /// Changes the row at the source.
    ///
    /// # Errors
    /// The source refuses.
    pub async fn update(&self) -> Result<()> {
        let (column, _) = self.changing();
        let (_, value) = self.values();
        let update = CanaryChange::Update {
            column,
            value: &value,
        };
        self.source.canary(&self.key(), update).await
    }

    /// Deletes the row at the source.
    ///
    /// # Errors
    /// The source refuses.
    pub async fn delete(&self) -> Result<()> {
        self.source.canary(&self.key(), CanaryChange::Delete).await
    }

    /// Waits until silver shows this in the canary's changing column, or no row.
    ///
    /// # Errors
    /// It does not within a minute and a half, or cannot: its connector has failed, say.
    pub async fn arrives(&self, wanted: Option<&str>, progress: &Progress) -> Result<()> {
        let what = match (wanted, &self.flow.to) {
            (None, None) => "the canary's delete reaches silver",
            (Some(_), None) => "the canary row reaches silver",
            (None, Some(_)) => "the canary's delete reaches the target",
            (Some(_), Some(_)) => "the canary row reaches the target",
        };
        let patience = Patience {
            deadline: ARRIVES,
            first: Duration::from_millis(5),
            slowest: Duration::from_millis(20),
        };
        let (key, (column, _)) = (self.key(), self.changing());
        let look = || async {
            match self.target.shown(&key, column).await {
                Ok(seen) if seen.as_deref() == wanted => Status::current("there"),
                Ok(_) => Status::in_progress(what),
                Err(status) => status,
            }
        };
        wait::until_or_stopped(what, patience, progress, look, || self.hindrance())
            .await
            .map(drop)
    }

    /// Why a change will not arrive, however long one waits.
    async fn hindrance(&self) -> Option<Status> {
        let read = self.env.profile.source(self.flow).map(|it| &it.name);
        let components = travelled(self.env).into_iter().map(|it| it.name());
        let sources = |name: &&str| {
            let own = self.env.profile.component(name).map(of);
            own.is_none_or(|it| it.stage() != Stage::Source) || read.is_some_and(|it| it == name)
        };
        for component in components.filter(sources) {
            let seen = self.env.blocked_by(component).await;
            if let Some(failed) = seen.filter(|seen| seen.state == State::Failed) {
                return Some(Status {
                    message: format!("{component}: {}", failed.message),
                    next: Some(format!("cargo xtask logs {component}")),
                    ..failed
                });
            }
        }
        let names = [Some(&self.flow.connector), self.flow.to.as_ref()];
        for (at, name) in names.into_iter().enumerate() {
            let name = name?;
            let Some(blocked) = connect::hindrance(self.env, name).await else {
                continue;
            };
            if rereads::has_stopped(self.env, name).await {
                continue;
            }
            let seen = match &self.watchers {
                Some(all) => {
                    let progress = Progress::silent();
                    all[at].again(self.env, name, blocked, &progress).await
                }
                None => blocked,
            };
            if seen.state == State::Failed {
                return Some(seen);
            }
        }
        None
    }

    /// Removes what is left of the canary at the target.
    ///
    /// # Errors
    /// The target refuses.
    pub async fn sweep(&self) -> Result<()> {
        self.target.remove(Canaries::One(&self.key())).await
    }

    /// Removes what is left of every canary that was deleted at the source.
    ///
    /// # Errors
    /// The target refuses.
    pub async fn sweep_all(&self) -> Result<()> {
        self.target.remove(Canaries::Deleted(&self.key())).await
    }
}

/// The profile's flow of this name.
///
/// # Errors
/// It has none.
pub fn flow<'a>(env: &'a Environment, name: &str) -> Result<&'a Flow> {
    let flow = env.profile.flows.get(name);
    flow.ok_or_else(|| Error::new(Code::Usage, format!("the profile has no flow `{name}`")))
}

/// The source that a flow reads.
///
/// # Errors
/// Its connector is not there.
pub fn read_by<'a>(env: &'a Environment, name: &str, flow: &Flow) -> Result<&'a dyn Source> {
    flow_source(env, flow).ok_or_else(|| {
        let what = format!("flow `{name}` has no connector");
        Error::new(Code::ProfileInvalid, what)
    })
}

fn fields(template: &Settings, id: i64) -> Settings {
    let id = id.unsigned_abs().to_string();
    let fields = template.iter();
    fields
        .map(|(name, value)| (name.clone(), value.replace("{id}", &id)))
        .collect()
}

/// Sends a canary through and removes it again; says how long the insert took to arrive.
///
/// # Errors
/// It does not arrive, or an end refuses.
pub async fn gate(env: &Environment, flow: &str, progress: &Progress) -> Result<Outcome> {
    let mut canary = Canary::prepare(env, flow).await?;
    canary.watchers = Some(Default::default());
    canary.clear_leftovers().await?;
    let begin = std::time::Instant::now();
    canary.insert().await?;
    let arrived = canary.arrives(Some(&canary.values().0), progress).await;
    let took = begin.elapsed();
    // Also when it did not arrive: a canary must not stay at the source.
    canary.delete().await?;
    arrived?;
    canary.arrives(None, progress).await?;
    canary.sweep().await?;
    Ok(Outcome::Unchanged(format!(
        "insert to {} in {} ms",
        match canary.flow.to {
            Some(_) => "the target",
            None => "silver",
        },
        took.as_millis()
    )))
}
