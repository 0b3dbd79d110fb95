//! Connect: worker, plugins, connectors.

use serde::Deserialize;

use super::Status;
use crate::report::text::count;

/// A connector's or task's state as Connect reports it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StateEntry {
    /// Task number; none for the connector itself.
    pub id: Option<u32>,
    /// `RUNNING`, `FAILED`, `PAUSED`, `STOPPED`, `UNASSIGNED`, `RESTARTING`.
    pub state: String,
    /// The worker that runs it.
    #[serde(default)]
    pub worker_id: String,
    /// The stack trace of a failure.
    pub trace: Option<String>,
}

/// `GET /connectors/NAME/status`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConnectorStatus {
    /// The connector's name.
    pub name: String,
    /// The connector itself.
    pub connector: StateEntry,
    /// Its tasks.
    pub tasks: Vec<StateEntry>,
}

impl ConnectorStatus {
    /// Whether it was asked to do nothing.
    pub fn rests(&self) -> bool {
        matches!(self.connector.state.as_str(), "PAUSED" | "STOPPED")
    }
}

/// `GET /connector-plugins`.
#[derive(Clone, Debug, Deserialize)]
pub struct Plugin {
    /// The class.
    pub class: String,
    /// Its version, where the plugin tells one.
    pub version: Option<String>,
}

/// Whether the worker has every plugin class that the profile's connectors need.
pub fn plugins(loaded: &[Plugin], needed: &[&str]) -> Status {
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|class| !loaded.iter().any(|plugin| plugin.class == *class))
        .collect();
    if missing.is_empty() {
        Status::current(format!("{} plugin classes loaded", loaded.len()))
    } else {
        // Plugins are scanned once at start: a class that is missing now will not come.
        Status::failed(format!("plugin class not loaded: {}", missing.join(", ")))
    }
}

/// A connector's status as Connect reports it. `RUNNING` with no task or with a task that does not
/// run is not current.
pub fn connector(status: Option<&ConnectorStatus>) -> Status {
    let Some(status) = status else {
        return Status::not_found("the connector is not registered");
    };
    let failed = std::iter::once(&status.connector)
        .chain(&status.tasks)
        .find(|entry| entry.state == "FAILED");
    if let Some(entry) = failed {
        let who = match entry.id {
            Some(id) => format!("task {id}"),
            None => "the connector".into(),
        };
        let trace = entry.trace.as_deref().unwrap_or_default();
        return Status::failed(format!("{who} FAILED: {}", root_cause(trace)))
            .with_evidence(trace.lines().take(8).map(str::to_owned).collect())
            .next("cargo xtask logs connect");
    }
    // Somebody had it rest: waiting does not change that.
    if status.rests() {
        return Status::failed(format!("the connector is {}", status.connector.state))
            .next(format!("cargo xtask connector resume {}", status.name));
    }
    if status.connector.state != "RUNNING" {
        return Status::in_progress(format!("the connector is {}", status.connector.state));
    }
    if status.tasks.is_empty() {
        return Status::in_progress("RUNNING without a task");
    }
    match status.tasks.iter().find(|task| task.state != "RUNNING") {
        Some(task) => Status::in_progress(format!(
            "task {} is {}",
            task.id.unwrap_or_default(),
            task.state
        )),
        None => Status::current(format!("RUNNING, {}", count(status.tasks.len(), "task"))),
    }
}

/// Whether a status still tells a failure of the one before: connector and tasks are written one after
/// the other.
pub fn still_fails(status: &ConnectorStatus, before: &ConnectorStatus) -> bool {
    let entries = |status: &ConnectorStatus| -> Vec<StateEntry> {
        let entries = std::iter::once(&status.connector).chain(&status.tasks);
        entries.filter(|it| it.state == "FAILED").cloned().collect()
    };
    let before = entries(before);
    entries(status).iter().any(|entry| before.contains(entry))
}

/// Why no change will come through a connector, if it stays as it is. `listed` is whether Connect
/// knows its name: a status may not have been written yet, and outlives its connector for a moment.
pub fn hindrance(name: &str, status: Option<&ConnectorStatus>, listed: bool) -> Option<Status> {
    if !listed {
        let gone = format!("connector {name} does not exist");
        return Some(Status::failed(gone).next("cargo xtask up"));
    }
    let seen = connector(Some(status?));
    (seen.state == super::State::Failed).then(|| Status {
        message: format!("connector {name}: {}", seen.message),
        ..seen
    })
}

/// What sources say of a login that they refuse: any of these, with all of its parts.
pub const LOGIN_REFUSED: &[&[&str]] = &[
    &["password authentication failed"],
    &["no password was provided"],
    &["SCRAM-based authentication", "no password"],
    &["Authentication failed"],
    &["AuthenticationFailed"],
    &["AUTHENTICATION_FAILED"],
    &["SASL", "authentication failed"],
    &["SCRAM failure"],
    &["Login failed for user"],
];

/// Whether a text says that a login was refused.
pub fn is_login_refused(text: &str) -> bool {
    let said = |parts: &&[&str]| parts.iter().all(|part| text.contains(part));
    LOGIN_REFUSED.iter().any(said)
}

/// The last `Caused by:` of a Java stack trace, or its first line.
pub fn root_cause(trace: &str) -> &str {
    trace
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("Caused by: "))
        .or_else(|| trace.lines().next())
        .unwrap_or("no trace was reported")
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::State;

    fn entry(id: Option<u32>, state: &str, trace: Option<&str>) -> StateEntry {
        StateEntry {
            id,
            state: state.into(),
            worker_id: "w".into(),
            trace: trace.map(str::to_owned),
        }
    }

    fn status(connector: &str, tasks: &[&str]) -> ConnectorStatus {
        ConnectorStatus {
            name: "c".into(),
            connector: entry(None, connector, None),
            tasks: tasks
                .iter()
                .zip(0..)
                .map(|(state, id)| {
                    entry(
                        Some(id),
                        state,
                        Some("a.B: x\n  at y\nCaused by: c.D: the cause\n at z"),
                    )
                })
                .collect(),
        }
    }

    #[test]
    fn running_needs_tasks_that_run() {
        for (connector_state, tasks, want) in [
            ("RUNNING", &["RUNNING"][..], State::Current),
            ("RUNNING", &["RUNNING", "RUNNING"], State::Current),
            ("RUNNING", &[], State::InProgress),
            ("RUNNING", &["UNASSIGNED"], State::InProgress),
            ("UNASSIGNED", &[], State::InProgress),
            ("PAUSED", &["PAUSED"], State::Failed),
            ("STOPPED", &[], State::Failed),
            ("RUNNING", &["RUNNING", "FAILED"], State::Failed),
            ("FAILED", &[], State::Failed),
        ] {
            let status = connector(Some(&status(connector_state, tasks)));
            assert_eq!(
                status.state, want,
                "{connector_state} {tasks:?}: {}",
                status.message
            );
        }
        assert_eq!(connector(None).state, State::NotFound);
    }

    #[test]
    fn a_failure_names_its_root_cause() {
        let status = connector(Some(&status("RUNNING", &["FAILED"])));
        assert_eq!(status.message, "task 0 FAILED: c.D: the cause");
        assert_eq!(status.evidence.len(), 4);
        assert_eq!(root_cause(""), "no trace was reported");
        assert_eq!(root_cause("x: y\n at z"), "x: y");
    }

    #[test]
    fn waiting_for_a_change_is_vain_when_nothing_can_bring_it() {
        let of = |state: &str, tasks: &[&str]| hindrance("c", Some(&status(state, tasks)), true);
        for (state, tasks) in [
            ("RUNNING", &["RUNNING"][..]),
            // A rebalance, a restart.
            ("UNASSIGNED", &[]),
            ("RUNNING", &["RESTARTING"]),
            ("RUNNING", &[]),
        ] {
            assert_eq!(of(state, tasks), None, "{state} {tasks:?}");
        }
        let failed = of("RUNNING", &["FAILED"]).expect("final");
        assert_eq!(failed.state, State::Failed);
        assert_eq!(failed.message, "connector c: task 0 FAILED: c.D: the cause");
        assert_eq!(failed.next.as_deref(), Some("cargo xtask logs connect"));
        for state in ["PAUSED", "STOPPED"] {
            let held = of(state, &[]).expect("final");
            assert!(held.message.contains(state), "{}", held.message);
            assert!(held.next.is_some());
        }
        assert_eq!(hindrance("c", None, true), None);
        let gone = hindrance("c", None, false).expect("final");
        assert_eq!(gone.message, "connector c does not exist");
        assert_eq!(gone.next.as_deref(), Some("cargo xtask up"));
    }

    #[test]
    fn a_failure_is_an_old_one_until_it_was_written_anew() {
        let before = status("FAILED", &["FAILED"]);
        assert!(still_fails(&before, &before));
        // The connector has begun, its task has not.
        assert!(still_fails(&status("RUNNING", &["FAILED"]), &before));
        assert!(!still_fails(&status("RUNNING", &["RESTARTING"]), &before));
        let mut other = status("RUNNING", &["FAILED"]);
        other.tasks[0].trace = Some("something else".into());
        assert!(!still_fails(&other, &before));
    }

    #[test]
    fn a_missing_plugin_is_terminal() {
        let loaded = [Plugin {
            class: "a.B".into(),
            version: None,
        }];
        assert_eq!(plugins(&loaded, &["a.B"]).state, State::Current);
        assert_eq!(plugins(&loaded, &["a.B", "c.D"]).state, State::Failed);
    }
}
