//! A ClickHouse installation of Altinity's operator.
//!
//! `Completed` says that the operator has done its work, not that ClickHouse answers: it is also
//! said over pods that are not ready. Its port has to be asked after this.

use kube::core::DynamicObject;

use super::fields::{list, number, short, text};
use super::pods;
use super::{Ages, OperatorLog, Seen, Verdict, judge};
use crate::readiness::Status;

/// The operator logs in to ClickHouse as a user of its own, and until it can it reports nothing but
/// `InProgress`. Beside its container there is one with metrics.
pub static ALTINITY_LOG: OperatorLog = OperatorLog {
    name: OPERATOR,
    why: refused_login,
};

const OPERATOR: &str = "clickhouse-operator";

pub(super) fn evaluate(object: &DynamicObject, seen: &Seen, ages: &mut Ages) -> Verdict {
    judge(progress(object, seen), pods::all_troubles(seen), ages)
}

/// Whether the operator is at work although every pod is ready, and names no trouble.
pub(super) fn awaits_operator(object: &DynamicObject, seen: &Seen) -> bool {
    let state = text(&object.data, &["status", "status"]);
    let ready = !seen.pods.is_empty() && seen.pods.iter().all(|pod| pods::ready(pod));
    state == Some("InProgress") && ready && trouble(object).is_none()
}

/// The newest trouble that the operator tells of. That it makes a service again is none, however it is reported.
fn trouble(object: &DynamicObject) -> Option<&str> {
    let errors = list(&object.data, &["status", "errors"]).iter();
    let mut errors = errors.filter_map(|error| error.as_str());
    let newest = errors.find(|error| !error.contains("just recreate"))?;
    // Each begins with its time.
    Some(newest.split_once("Z ").map_or(newest, |(_, said)| said))
}

fn progress(object: &DynamicObject, seen: &Seen) -> Status {
    let status = |key: &str| text(&object.data, &["status", key]);
    let count = |key: &str| number(&object.data, &["status", key]);
    let ready = seen.pods.iter().filter(|pod| pods::ready(pod)).count();
    let all: Vec<&DynamicObject> = seen.pods.iter().map(AsRef::as_ref).collect();
    let hosts = count("hosts").and_then(|hosts| usize::try_from(hosts).ok());
    let wanted = hosts.unwrap_or(1).max(1);
    let counted = pods::count(ready, wanted);
    let Some(state) = status("status") else {
        return Status::in_progress("the operator has not reported yet");
    };
    let generation = object.metadata.generation.unwrap_or_default();
    if count("generation").is_some_and(|seen| seen < generation) {
        return Status::in_progress("the operator has not taken up the newest specification");
    }
    match state {
        "Completed" => {}
        // The operator gave up on this specification, and starts again with the next one only.
        "Aborted" => {
            let why = status("error").unwrap_or("no reason was given");
            let errors = list(&object.data, &["status", "errors"]);
            return Status::failed(format!("Aborted: {}", short(why))).with_evidence(
                errors
                    .iter()
                    .filter_map(|line| line.as_str())
                    .take(8)
                    .map(str::to_owned)
                    .collect(),
            );
        }
        state => {
            let why = trouble(object).map_or_else(String::new, |why| format!("; {}", short(why)));
            return Status::in_progress(format!("{state}; {counted}{why}"));
        }
    }
    // Nothing is known of the pods' number before the operator has counted the hosts.
    if hosts.is_none() || ready < wanted || seen.pods.len() > ready {
        let told = pods::told(counted, &all, seen);
        return Status::in_progress(format!("Completed, but {told}"));
    }
    Status::current(format!("Completed, {counted}"))
}

/// The login that the operator has tried in vain since it last had what it wanted of a host.
pub(super) fn refused_login(log: &str) -> Option<String> {
    let mut refused = None;
    for line in log.lines() {
        if line.contains("Reconcile Host completed") || line.contains("reconcile completed") {
            refused = None;
        } else if let Some((_, rest)) = line.split_once("FAILED connect(") {
            // `http://user:***@host:8123) for SQL: ...`
            let login = rest.split(')').next().unwrap_or_default();
            let login = login.split_once("://").map_or(login, |(_, rest)| rest);
            refused = login.split_once('@').or(refused);
        }
    }
    let (user, host) = refused?;
    let user = user.split(':').next().unwrap_or_default();
    Some(format!(
        "its operator cannot log in to {host} as {user} (kubectl logs deployment/{OPERATOR} -c {OPERATOR})"
    ))
}
