//! A reset's steps, each of which can be done twice.
//!
//! A snapshot counts as read when the connector has committed a position outside of a snapshot: its
//! heartbeat commits one right after. A canary proves the rest.

use std::time::Duration;

use super::Reset;
use super::journal::Step;
use crate::clients::connect::TargetState;
use crate::components::connect::{self, settled};
use crate::components::position::position;
use crate::components::source::{Key, Undo};
use crate::components::target;
use crate::error::Result;
use crate::operate::backup;
use crate::plan::{Outcome, Progress};
use crate::readiness::{self, Status};
use crate::up::{canary, control, missing, unread};
use crate::wait::{self, Patience};

/// A step's work.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    Stop,
    Undo(Undo),
    Save,
    DeleteOffsets,
    Truncate,
    Above,
    Start,
    Snapshot,
    Changes,
    Compare,
}

impl Work {
    /// What is recorded when there is nothing left of it to do.
    fn recorded(self) -> Option<Step> {
        Some(match self {
            Work::Stop => Step::Started,
            Work::Undo(Undo::Release | Undo::Forget) => Step::SlotDropped,
            Work::Undo(Undo::Unpublish) => Step::PublicationDropped,
            Work::Save => Step::Saved,
            Work::DeleteOffsets => Step::OffsetsDeleted,
            Work::Truncate => Step::TargetTruncated,
            Work::Snapshot | Work::Changes => Step::Proven,
            Work::Above | Work::Start | Work::Compare => return None,
        })
    }
}

impl Reset {
    pub(super) async fn work(&self, work: Work, progress: &Progress) -> Result<Outcome> {
        if work.recorded().is_some_and(|step| self.is_done(step)) {
            return Ok(Outcome::Unchanged("done before".into()));
        }
        match work {
            Work::Stop => self.stop(progress).await,
            Work::Undo(undo) => self.undo(undo, progress).await,
            Work::Save => self.save().await,
            Work::DeleteOffsets => self.delete_offsets(progress).await,
            Work::Truncate => self.truncate().await,
            Work::Above => self.remove_above(progress).await,
            Work::Start => self.start(progress).await,
            Work::Snapshot => self.snapshot(progress).await,
            Work::Changes => self.changes(progress).await,
            Work::Compare => self.compare(progress).await,
        }
    }

    async fn stop(&self, progress: &Progress) -> Result<Outcome> {
        // From here on the reset is under way.
        self.record(|_| {})?;
        control::set_state(&self.env, &self.name, TargetState::Stopped, progress).await
    }

    async fn save(&self) -> Result<Outcome> {
        let groups: Vec<String> = self.flows().map(|(_, flow)| flow.group.clone()).collect();
        let saved = backup::gather(&self.env, std::slice::from_ref(&self.name), &groups).await?;
        let path = self.journal().backup.clone();
        backup::write(&path, &saved)?;
        self.done(Step::Saved)?;
        Ok(Outcome::Changed(path.display().to_string()))
    }

    async fn delete_offsets(&self, progress: &Progress) -> Result<Outcome> {
        let client = self.env.connect_client();
        settled(progress, || client.delete_offsets(&self.name)).await?;
        let patience = Patience::local(Duration::from_secs(60));
        wait::until("no offset is left", patience, progress, || async {
            match client.offsets(&self.name).await {
                Ok(Some(left)) if left.offsets.is_empty() => Status::current("none is left"),
                Ok(_) => Status::in_progress("Connect still knows offsets"),
                Err(error) => Status::in_progress(error.to_string()),
            }
        })
        .await?;
        self.done(Step::OffsetsDeleted)?;
        Ok(Outcome::Changed("deleted".into()))
    }

    /// A step at the source.
    async fn undo(&self, undo: Undo, progress: &Progress) -> Result<Outcome> {
        let source = self.source();
        let outcome = source
            .undo(&self.env, &self.connector, undo, progress)
            .await?;
        match undo {
            Undo::Release => {}
            Undo::Forget => self.done(Step::SlotDropped)?,
            Undo::Unpublish => self.done(Step::PublicationDropped)?,
        }
        Ok(outcome)
    }

    async fn truncate(&self) -> Result<Outcome> {
        for (name, flow) in self.flows() {
            target(&self.env, flow)?
                .table(&self.env, name, flow)
                .truncate()
                .await?;
        }
        self.done(Step::TargetTruncated)?;
        Ok(Outcome::Changed("emptied".into()))
    }

    /// A restored source counts from lower positions again. The changes of a past that it does not have would
    /// win over its snapshot, those that still wait in the topic, too.
    async fn remove_above(&self, progress: &Progress) -> Result<Outcome> {
        if self.is_done(Step::Started) {
            return Ok(Outcome::Unchanged("done before".into()));
        }
        let Some(end) = self.source().end(&self.env, &self.connector).await? else {
            return Ok(Outcome::Unchanged("positions only grow".into()));
        };
        let mut removed = 0;
        for (name, flow) in self.flows() {
            if !missing::replaces(flow) {
                continue;
            }
            unread::none(&self.env, flow, progress).await?;
            let table = target(&self.env, flow)?.table(&self.env, name, flow);
            let above = table.above(end).await?;
            if above > 0 {
                table.remove_above(end).await?;
                removed += above;
            }
        }
        Ok(match removed {
            0 => Outcome::Unchanged("none".into()),
            _ => Outcome::Changed(format!("{removed} changes that the source does not have")),
        })
    }

    async fn start(&self, progress: &Progress) -> Result<Outcome> {
        self.source().prepare(&self.env, &self.connector).await?;
        let outcome =
            control::set_state(&self.env, &self.name, TargetState::Running, progress).await?;
        if !self.is_done(Step::Started) {
            self.done(Step::Started)?;
        }
        Ok(outcome)
    }

    /// The snapshot is over when the connector has committed a place that is of no snapshot: its
    /// heartbeat does so right after, even where nothing changes.
    async fn snapshot(&self, progress: &Progress) -> Result<Outcome> {
        let client = self.env.connect_client();
        let patience = Patience::local(unread::READS);
        let seen = wait::until("the snapshot is read", patience, progress, || async {
            let status = connect::probe_tasks(&self.env, &self.name).await;
            if status.state != readiness::State::Current {
                return status;
            }
            // A new slot may wait for somebody, who is named.
            let reading = self.source().reading(&self.env, &self.connector).await;
            if let Some(reading) = reading
                && reading.status.state == readiness::State::InProgress
            {
                return reading.status;
            }
            match client.offsets(&self.name).await {
                Ok(found) => {
                    let offsets = found.unwrap_or_default().offsets;
                    let mut positions = offsets.iter().filter_map(|one| position(&one.offset));
                    match positions.next() {
                        None => Status::in_progress("nothing committed yet"),
                        Some(position) if position.snapshot => Status::in_progress("being read"),
                        Some(position) => {
                            Status::current(format!("streams from {}", position.place))
                        }
                    }
                }
                Err(error) => Status::in_progress(error.to_string()),
            }
        })
        .await?;
        Ok(Outcome::Changed(seen))
    }

    /// After the canary everything that was in the topic before it has been read too, in one
    /// partition; the others are waited for by the group's own offsets.
    async fn changes(&self, progress: &Progress) -> Result<Outcome> {
        let mut proven = Vec::new();
        for (name, flow) in self.flows() {
            if flow.canary.is_some() {
                canary::gate(&self.env, name, progress).await?;
                proven.push(name.as_str());
            }
            unread::none(&self.env, flow, progress).await?;
        }
        self.done(Step::Proven)?;
        Ok(Outcome::Unchanged(match proven.is_empty() {
            true => "no flow has a canary".into(),
            false => format!("{} proven", proven.join(", ")),
        }))
    }

    async fn compare(&self, progress: &Progress) -> Result<Outcome> {
        let mut seen = 0;
        for (name, flow) in self.flows() {
            let found = |keys: &[Key]| {
                self.record(|journal| {
                    let all = journal.missing.entry(name.clone()).or_default();
                    all.extend(keys.iter().map(missing::shown));
                })
            };
            seen += missing::mark(&self.env, name, flow, progress, found).await?;
        }
        let marked: usize = self.journal().missing.values().map(|keys| keys.len()).sum();
        Ok(match marked {
            0 => Outcome::Unchanged(format!("none of {seen}")),
            count => Outcome::Changed(format!("{count} of {seen} marked as deleted")),
        })
    }
}
