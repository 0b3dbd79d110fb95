//! Containers that ended: how, and whether the next run can end otherwise.

use kube::core::DynamicObject;
use serde_json::Value;

use super::super::Seen;
use super::super::fields::{number, text};
use super::super::recovery::{Excuse, ended};
use super::Trouble;
use crate::readiness::Cause;

/// A container that pauses because it ended again and again.
pub(super) fn crash(
    pod: &DynamicObject,
    who: &str,
    status: &Value,
    spec: Option<&Value>,
    seen: &Seen,
) -> Trouble {
    let ended = ended(status);
    let why = ended.map_or_else(String::new, |ended| format!(": {}", end(ended, spec)));
    let said = ended.and_then(|ended| text(ended, &["message"]));
    let waiting = text(status, &["state", "waiting", "message"]).unwrap_or_default();
    let message = format!("container {who} keeps ending{why}");
    let mut trouble = Trouble::new(pod, &format!("{who}/crash"), message)
        .evidence(waiting)
        .evidence(said.unwrap_or_default())
        .log(pod, who);
    trouble.cause = ended.and_then(ended_by);
    let Some(excuse) = ended.and_then(|ended| Excuse::of(pod, ended, seen)) else {
        return trouble.final_now();
    };
    let mut trouble = Trouble {
        message: format!("{}; {}", trouble.message, excuse.message()),
        grace: excuse.holds(),
        ..trouble
    };
    if let Excuse::WasReady(until) = excuse {
        // The next outage has a time of its own.
        trouble.key += &format!("/{until}");
    }
    trouble
}

/// Why a container ended, where its end shows that.
pub(super) fn ended_by(ended: &Value) -> Option<Cause> {
    match number(ended, &["exitCode"]) {
        _ if text(ended, &["reason"]) == Some("OOMKilled") => Some(Cause::OutOfMemory),
        Some(127) => Some(Cause::ProgramMissing),
        _ => None,
    }
}

/// How a container ended.
pub(super) fn end(ended: &Value, spec: Option<&Value>) -> String {
    let code = number(ended, &["exitCode"]).unwrap_or_default();
    if text(ended, &["reason"]) == Some("OOMKilled") {
        let limit = spec
            .and_then(|spec| text(spec, &["resources", "limits", "memory"]))
            .map_or_else(String::new, |limit| format!(" of {limit}"));
        return format!("OOMKilled, it needs more than its memory limit{limit}");
    }
    match code {
        126 => "exit code 126, its command cannot be executed".into(),
        127 => "exit code 127, its command was not found".into(),
        code => format!("exit code {code}"),
    }
}
