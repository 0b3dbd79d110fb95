//! How a node ended, in the words and marks of every report.

use super::text::Ink;
use crate::plan::run::{Ended, RunReport};
use crate::plan::{Kind, Outcome};

/// How a node ended. `Passed` sets a gate apart from a step that found nothing to change: both are
/// [`Outcome::Unchanged`], but one is evidence and the other is idempotence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// A step changed something.
    Changed,
    /// A step found nothing to change.
    Unchanged,
    /// A gate is current.
    Passed,
    /// It failed.
    Failed,
    /// It did not run.
    Skipped,
}

impl Verdict {
    /// The verdict on a node that ended well.
    pub(super) fn done(kind: Kind, outcome: &Outcome) -> Self {
        match (kind, outcome) {
            (_, Outcome::Changed(_)) => Verdict::Changed,
            (Kind::Step, Outcome::Unchanged(_)) => Verdict::Unchanged,
            (Kind::Gate, Outcome::Unchanged(_)) => Verdict::Passed,
        }
    }

    /// The verdict on a node of a finished run.
    pub(super) fn of(report: &RunReport, node: usize) -> Self {
        match &report.nodes[node].ended {
            Ended::Done(outcome) => Verdict::done(report.graph.nodes()[node].kind, outcome),
            Ended::Failed(_) => Verdict::Failed,
            Ended::Skipped(_) => Verdict::Skipped,
        }
    }

    /// The word for prose and tables.
    pub(super) fn word(self) -> &'static str {
        match self {
            Verdict::Changed => "changed",
            Verdict::Unchanged => "unchanged",
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Skipped => "skipped",
        }
    }

    /// The word in plain lines; always four letters, so that a log stays in columns.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Verdict::Changed => "done",
            Verdict::Unchanged => "same",
            Verdict::Passed => "pass",
            Verdict::Failed => "FAIL",
            Verdict::Skipped => "skip",
        }
    }

    /// The mark on a terminal.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Verdict::Changed | Verdict::Passed => "✓",
            Verdict::Unchanged => "=",
            Verdict::Failed => "✗",
            Verdict::Skipped => "-",
        }
    }

    /// The colour on a terminal.
    pub(super) fn ink(self) -> Ink {
        match self {
            Verdict::Changed | Verdict::Passed => Ink::Green,
            Verdict::Unchanged | Verdict::Skipped => Ink::Dim,
            Verdict::Failed => Ink::Red,
        }
    }
}
