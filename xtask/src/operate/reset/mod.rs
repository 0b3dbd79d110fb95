//! A connector's new beginning: a full snapshot, proven, and the deletes that a snapshot cannot tell.
//!
//! Offsets are deleted while the connector exists and is stopped, and the slot is dropped only after
//! its reader is gone: every other order is refused by Connect or PostgreSQL, or loses changes in
//! silence. What was begun is finished by the same command after a kill ([`journal`]).

pub mod journal;
mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::backup;
use crate::clock;
use crate::components::source::{Source, Undo, UndoStep};
use crate::components::target::Loaded;
use crate::components::{source, target};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Plan;
use crate::profile::schema::{Connector, Flow};
use crate::up::missing;
use journal::{Choice, Journal, Step};
use steps::Work;

/// A reset under way.
pub struct Reset {
    env: Arc<Environment>,
    name: String,
    connector: Connector,
    path: PathBuf,
    journal: Mutex<Journal>,
}

/// What a reset did.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The connector.
    pub connector: String,
    /// Where offsets and positions were saved.
    pub backup: PathBuf,
    /// From the confirmation to the end, in milliseconds.
    pub took_ms: u64,
    /// Each flow.
    pub flows: Vec<FlowSummary>,
}

/// What a reset did to one flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowSummary {
    /// Flow.
    pub flow: String,
    /// Rows at the target that the snapshot brought.
    pub rows: u64,
    /// From the confirmation to the first of them, in milliseconds.
    pub first_row_ms: Option<u64>,
    /// From the confirmation to the last of them, in milliseconds.
    pub last_row_ms: Option<u64>,
    /// Keys that the source no longer had, now marked as deleted.
    pub deleted: Vec<String>,
}

impl Reset {
    /// The reset of a connector: the unfinished one, or a new one.
    ///
    /// # Errors
    /// The profile does not have the connector, or an unfinished reset was begun with other choices.
    pub fn open(env: &Arc<Environment>, name: &str, choice: Choice) -> Result<(Self, bool)> {
        let connector = env.profile.connectors.get(name).cloned().ok_or_else(|| {
            Error::new(
                Code::Usage,
                format!("connector `{name}` is not of this profile: its slot and tables are not known here"),
            )
        })?;
        let path = journal::path(env, name);
        let before = Journal::read(&path)?;
        if let Some(before) = &before
            && before.choice != choice
        {
            let command = before.choice.command(name);
            let what =
                format!("a reset of {name} that was started with other options is unfinished");
            return Err(Error::new(Code::Usage, what).hint(format!("finish it first: {command}")));
        }
        let goes_on = before.is_some();
        let journal = before.unwrap_or_else(|| {
            let begun = clock::now_ms();
            let file = format!("{name}-{begun}.json");
            Journal {
                connector: name.to_owned(),
                choice,
                begun,
                backup: backup::directory(env).join(file),
                done: Default::default(),
                missing: BTreeMap::new(),
            }
        });
        let reset = Reset {
            env: env.clone(),
            name: name.to_owned(),
            connector,
            path,
            journal: Mutex::new(journal),
        };
        Ok((reset, goes_on))
    }

    /// What will happen and what is lost, in words; for the confirmation and for `--dry-run`.
    ///
    /// # Errors
    /// Something does not answer.
    pub async fn words(&self) -> Result<Vec<String>> {
        let name = &self.name;
        let mut words = vec![format!(
            "stop {name}, save its offsets to {}, delete them",
            self.journal().backup.display()
        )];
        for step in self.undo_steps() {
            let Some(mut what) = step.words else { continue };
            if step.undo == Undo::Forget {
                match self.source().mark(&self.env, &self.connector).await? {
                    None => what.push_str(" (it is not there)"),
                    Some(mark) => what.extend(mark.unconfirmed.map(|bytes| {
                        format!(
                            "; {} of WAL that it has not confirmed are never read one by one",
                            crate::report::text::bytes(bytes)
                        )
                    })),
                }
            }
            words.push(what);
        }
        let choice = self.journal().choice;
        let tables: Vec<&str> = self.flows().map(|(_, flow)| flow.table.as_str()).collect();
        if choice.truncate_target {
            let flows: Vec<&str> = self.flows().map(|(name, _)| name.as_str()).collect();
            words.push(format!("empty the target's tables of {}", flows.join(", ")));
        }
        if let Some(end) = self.source().end(&self.env, &self.connector).await? {
            for (name, flow) in self.flows().filter(|(_, flow)| missing::replaces(flow)) {
                let table = target(&self.env, flow)?.table(&self.env, name, flow);
                match table.above(end).await? {
                    0 => {}
                    above => words.push(format!(
                        "remove {above} changes of {name} from a past that the source does not have: it was restored"
                    )),
                }
            }
        }
        words.push(format!(
            "start it: it reads all of {} again",
            tables.join(", ")
        ));
        words.push(
            "what changes from the stop to the snapshot arrives as its result only: no single changes, \
             and deletes are found by comparing keys"
                .into(),
        );
        for (name, flow) in self.flows() {
            if !missing::replaces(flow) && !choice.truncate_target {
                words.push(format!(
                    "{name} keeps every change: the snapshot's rows come on top"
                ));
            }
        }
        Ok(words)
    }

    /// The steps. Those that are done already are passed by.
    pub fn plan(self: &Arc<Self>) -> Plan {
        let undo = self.undo_steps();
        let at_source = |of: Undo| {
            let steps = undo.iter().filter(move |step| step.undo == of);
            steps.map(|step| (step.id, step.title, Work::Undo(step.undo)))
        };
        let mut steps = vec![("stop", "until it has no task", Work::Stop)];
        steps.extend(at_source(Undo::Release));
        let forget = "Connect forgets the offsets";
        steps.extend([
            ("save", "offsets and positions to a file", Work::Save),
            ("offsets/delete", forget, Work::DeleteOffsets),
        ]);
        steps.extend(at_source(Undo::Forget));
        steps.extend(at_source(Undo::Unpublish));
        if self.journal().choice.truncate_target {
            let title = "empty the target's tables";
            steps.push(("target/truncate", title, Work::Truncate));
        }
        let above = "changes that a restored source does not have";
        steps.push(("target/above", above, Work::Above));
        let compare = "rows that the source no longer has";
        steps.extend([
            ("start", "the connector runs", Work::Start),
            ("snapshot", "read to its end", Work::Snapshot),
            ("changes", "a canary travels to silver", Work::Changes),
            ("target/compare", compare, Work::Compare),
        ]);
        let mut plan = Plan::default();
        let mut last: Option<&str> = None;
        for (id, title, work) in steps {
            let needs: Vec<&str> = last.into_iter().collect();
            let reset = self.clone();
            plan.step(id, title, &needs, async move |progress| {
                reset.work(work, &progress).await
            });
            last = Some(id);
        }
        plan
    }

    /// What it did. The journal goes: the reset is finished.
    ///
    /// # Errors
    /// The target does not answer, or the journal cannot be removed.
    pub async fn finish(&self) -> Result<Summary> {
        let journal = self.journal().clone();
        let mut flows = Vec::new();
        for (name, flow) in self.flows() {
            let table = target(&self.env, flow)?.table(&self.env, name, flow);
            let Loaded { rows, first, last } = table.snapshot(journal.begun).await?;
            let since = |at: u64| (rows > 0 && at > 0).then(|| at.saturating_sub(journal.begun));
            let deleted = journal.missing.get(name).cloned().unwrap_or_default();
            flows.push(FlowSummary {
                flow: name.clone(),
                rows,
                first_row_ms: since(first),
                last_row_ms: since(last),
                deleted: deleted.into_iter().collect(),
            });
        }
        std::fs::remove_file(&self.path)
            .map_err(|source| Error::io("remove", &self.path, &source))?;
        Ok(Summary {
            connector: self.name.clone(),
            backup: journal.backup,
            took_ms: clock::now_ms().saturating_sub(journal.begun),
            flows,
        })
    }

    fn source(&self) -> &dyn Source {
        source(&self.env, &self.connector)
    }

    /// What is undone at the source.
    fn undo_steps(&self) -> Vec<UndoStep> {
        let unpublish = self.journal().choice.drop_publication;
        let mut steps = self.source().undo_steps(&self.connector);
        steps.retain(|step| unpublish || step.undo != Undo::Unpublish);
        steps
    }

    fn flows(&self) -> impl Iterator<Item = (&String, &Flow)> {
        let flows = self.env.profile.flows.iter();
        flows.filter(|(_, flow)| flow.connector == self.name)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_done(&self, step: Step) -> bool {
        self.journal().done.contains(&step)
    }

    fn record(&self, change: impl FnOnce(&mut Journal)) -> Result<()> {
        let mut journal = self.journal();
        change(&mut journal);
        journal.write(&self.path)
    }

    fn done(&self, step: Step) -> Result<()> {
        self.record(|journal| {
            journal.done.insert(step);
        })
    }
}

/// Refuses to touch a connector that is in the middle of a reset.
///
/// # Errors
/// It is.
pub fn refuse_unfinished(env: &Environment, name: &str) -> Result<()> {
    match Journal::read(&journal::path(env, name))? {
        None => Ok(()),
        Some(_) => Err(
            Error::new(Code::Usage, format!("a reset of {name} is unfinished")).hint(format!(
                "finish it first: cargo xtask reset-connector {name}"
            )),
        ),
    }
}
