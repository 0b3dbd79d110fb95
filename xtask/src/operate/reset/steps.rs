//! A reset's steps, each of which can be done twice.
//!
//! A snapshot counts as read when the connector has committed a position outside of a snapshot: its
//! heartbeat commits one right after. A canary proves the rest.

use std::time::Duration;

use super::journal::Step;
use super::{Reset, missing};
use crate::clients::connect::TargetState;
use crate::clients::kafka::OffsetAt;
use crate::components::connect::settled;
use crate::components::position::position;
use crate::components::source::{Key, Undo};
use crate::components::{kafka, service, target};
use crate::error::Result;
use crate::observe::unread::unread_before;
use crate::operate::backup;
use crate::operate::control;
use crate::plan::{Outcome, Progress};
use crate::readiness::{self, Status};
use crate::up::canary;
use crate::wait::{self, Patience};

/// A snapshot reads whole tables: only a failure ends this wait before a day is over.
const SNAPSHOT: Duration = Duration::from_secs(24 * 3600);

fn earlier() -> Outcome {
    Outcome::Unchanged("done before".into())
}

/// A step's work.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    Stop,
    Undo(Undo),
    Save,
    DeleteOffsets,
    Truncate,
    Start,
    Snapshot,
    Changes,
    Compare,
}

impl Reset {
    pub(super) async fn work(&self, work: Work, progress: &Progress) -> Result<Outcome> {
        match work {
            Work::Stop => self.stop(progress).await,
            Work::Undo(undo) => self.undo(undo, progress).await,
            Work::Save => self.save().await,
            Work::DeleteOffsets => self.delete_offsets(progress).await,
            Work::Truncate => self.truncate().await,
            Work::Start => self.start(progress).await,
            Work::Snapshot => self.snapshot(progress).await,
            Work::Changes => self.changes(progress).await,
            Work::Compare => self.compare(progress).await,
        }
    }

    async fn stop(&self, progress: &Progress) -> Result<Outcome> {
        if self.is_done(Step::Started) {
            return Ok(earlier());
        }
        // From here on the reset is under way.
        self.record(|_| {})?;
        control::set_state(&self.env, &self.name, TargetState::Stopped, progress).await
    }

    async fn save(&self) -> Result<Outcome> {
        if self.is_done(Step::Saved) {
            return Ok(earlier());
        }
        let groups: Vec<String> = self.flows().map(|(_, flow)| flow.group.clone()).collect();
        let saved = backup::gather(&self.env, std::slice::from_ref(&self.name), &groups).await?;
        let path = self.journal().backup.clone();
        backup::write(&path, &saved)?;
        self.done(Step::Saved)?;
        Ok(Outcome::Changed(path.display().to_string()))
    }

    async fn delete_offsets(&self, progress: &Progress) -> Result<Outcome> {
        if self.is_done(Step::OffsetsDeleted) {
            return Ok(earlier());
        }
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
        let recorded = match undo {
            Undo::Release | Undo::Forget => Step::SlotDropped,
            Undo::Unpublish => Step::PublicationDropped,
        };
        if self.is_done(recorded) {
            return Ok(earlier());
        }
        let outcome = self
            .source()
            .undo(&self.env, &self.connector, undo, progress);
        let outcome = outcome.await?;
        match undo {
            Undo::Release => {}
            Undo::Forget | Undo::Unpublish => self.done(recorded)?,
        }
        Ok(outcome)
    }

    async fn truncate(&self) -> Result<Outcome> {
        if self.is_done(Step::TargetTruncated) {
            return Ok(earlier());
        }
        for (name, flow) in self.flows() {
            target(&self.env, flow)?
                .table(&self.env, name, flow)
                .truncate()
                .await?;
        }
        self.done(Step::TargetTruncated)?;
        Ok(Outcome::Changed("emptied".into()))
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
        if self.is_done(Step::Proven) {
            return Ok(earlier());
        }
        let client = self.env.connect_client();
        let patience = Patience::local(SNAPSHOT);
        let seen = wait::until("the snapshot is read", patience, progress, || async {
            let status = match client.status(&self.name).await {
                Ok(status) => readiness::connect::connector(status.as_ref()),
                Err(error) if error.is_transient() => {
                    return Status::in_progress(error.to_string());
                }
                Err(error) => return Status::failed(error.to_string()),
            };
            if status.state != readiness::State::Current {
                return status;
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
        if self.is_done(Step::Proven) {
            return Ok(earlier());
        }
        let mut proven = Vec::new();
        for (name, flow) in self.flows() {
            if flow.canary.is_some() {
                canary::gate(&self.env, name, progress).await?;
                proven.push(name.as_str());
            }
            let client = kafka::client(&self.env).await?;
            let topic = self.env.profile.topic(flow);
            let ends = client.offsets(&topic, OffsetAt::Latest).await;
            let ends = ends.map_err(|error| service(&error))?;
            let patience = Patience::local(SNAPSHOT);
            wait::until(
                "the target has read the topic",
                patience,
                progress,
                || async {
                    match unread_before(&client, &topic, &flow.group, &ends).await {
                        Ok(0) => Status::current("read"),
                        Ok(changes) => Status::in_progress(format!("{changes} changes to go")),
                        Err(error) => Status::in_progress(error.to_string()),
                    }
                },
            )
            .await?;
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
