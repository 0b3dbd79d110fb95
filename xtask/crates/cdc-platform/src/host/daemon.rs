//! A component's process: find it, start it, stop it.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};

use super::Dirs;
use crate::error::{Code, Error, Result};
use crate::files::{self, tail};
use crate::plan::Progress;
use crate::process::{Daemon, Publish, Record, Stop, procinfo, spawn_daemon};
use crate::readiness::Status;
use crate::wait::{self, Patience};

/// How many lines of a dead process's log an error shows.
const EVIDENCE: usize = 12;

/// What is known of a component's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It never ran here.
    Never,
    /// It ran and is gone, without having been stopped by this tool.
    Gone(Record),
    /// It runs.
    Running(Record, procinfo::Seen),
}

/// Looks a component's process up by its record: the same pid *and* the same start.
///
/// # Errors
/// The record is there and cannot be read.
pub fn find(dirs: &Dirs, component: &str) -> Result<Found> {
    let path = dirs.record(component);
    let Some(text) = files::read_if_there(&path)? else {
        return Ok(Found::Never);
    };
    let record: Record = serde_json::from_str(&text).map_err(|error| {
        Error::new(
            Code::Io,
            format!("{} is no process record: {error}", path.display()),
        )
        .hint(format!("remove it: rm {}", path.display()))
    })?;
    Ok(match procinfo::look(record.pid) {
        Some(seen) if seen.start == record.start && !seen.zombie => Found::Running(record, seen),
        _ => Found::Gone(record),
    })
}

/// The components that have a process record, running or not.
///
/// # Errors
/// The directory is there and cannot be read.
pub fn recorded(dirs: &Dirs) -> Result<Vec<String>> {
    let run = dirs.state.join("run");
    let entries = files::if_there(std::fs::read_dir(&run));
    let entries = entries.map_err(|error| Error::io("read", run, &error))?;
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let stem = name.strip_suffix(".json")?;
            (!stem.contains('.')).then(|| stem.to_owned())
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Starts a component's process and waits until it is the program itself. The log of the run
/// before is kept beside the new one.
///
/// # Errors
/// It cannot be started, or ended at once; then with its last log lines.
pub async fn start(dirs: &Dirs, component: &str, daemon: &Daemon) -> Result<u32> {
    let log = dirs.log(component);
    if log.is_file() {
        std::fs::rename(&log, dirs.previous_log(component))
            .map_err(|source| Error::io("rename", &log, &source))?;
    }
    let file = File::options()
        .append(true)
        .create(true)
        .open(&log)
        .map_err(|source| Error::io("open", &log, &source))?;
    let spec = dirs.launch_spec(component);
    let text = serde_json::to_vec_pretty(daemon)
        .map_err(|error| Error::new(Code::Process, format!("{component}: {error}")))?;
    files::write_atomic(&spec, &text, 0o600)?;
    // What the record of an earlier process says is not about this one.
    files::remove(&dirs.record(component))?;
    let mut child = spawn_daemon(&spec, &file).map_err(|source| {
        Error::new(Code::Process, format!("cannot start {component}: {source}"))
    })?;
    let pid = child.id().unwrap_or_default();
    // The child outlives this command; while both live, somebody must collect it when it dies.
    let end = tokio::spawn(async move { child.wait().await });
    wait::until(
        &format!("{component} starts"),
        Patience::local(Duration::from_secs(30)),
        &Progress::silent(),
        || async {
            match find(dirs, component) {
                _ if end.is_finished() => {
                    Status::failed("it ended at once").with_evidence(evidence(&log))
                }
                Ok(Found::Running(..)) => Status::current("started"),
                _ => Status::in_progress("starting"),
            }
        },
    )
    .await?;
    Ok(pid)
}

/// Waits for what a killed process left behind: PostgreSQL's backends, for example, hold its shared
/// memory until they notice that their parent is gone. They are known by their working directory,
/// which is this one or below it.
///
/// # Errors
/// They do not end.
pub async fn wait_for_orphans(data: &Path, progress: &Progress) -> Result<()> {
    let Ok(data) = data.canonicalize() else {
        // No data, and so nobody who works in it.
        return Ok(());
    };
    let patience = Patience::local(Duration::from_secs(30));
    wait::until(
        "what was left of it is ending",
        patience,
        progress,
        || async {
            match procinfo::working_in(&data).as_slice() {
                [] => Status::current("nothing is left"),
                left => {
                    Status::in_progress(format!("pid {left:?} of the process before still runs"))
                }
            }
        },
    )
    .await
    .map(drop)
}

/// A status if the process is not there to wait for: its end, with the log lines that say why.
pub fn ended(dirs: &Dirs, component: &str) -> Option<Status> {
    let message = match find(dirs, component) {
        Ok(Found::Running(..)) => return None,
        Ok(Found::Gone(record)) => format!("its process (pid {}) has ended", record.pid),
        Ok(Found::Never) => "its process was never started".into(),
        Err(error) => error.message,
    };
    let log = dirs.log(component);
    Some(Status::failed(message).with_evidence(evidence(&log)))
}

/// The lines of a log that say most about an end: those with an error first, else the last ones.
pub fn evidence(log: &Path) -> Vec<String> {
    let lines = match tail(log, 200) {
        Ok(lines) => lines,
        Err(error) => return vec![format!("cannot read {}: {error}", log.display())],
    };
    let telling: Vec<String> = lines
        .iter()
        .filter(|line| {
            ["ERROR", "FATAL", "PANIC", "Exception", "Error:"]
                .iter()
                .any(|word| line.contains(word))
        })
        .cloned()
        .collect();
    let mut lines = if telling.is_empty() { lines } else { telling };
    let mut last = lines.split_off(lines.len().saturating_sub(EVIDENCE));
    last.push(format!("log: {}", log.display()));
    last
}

/// Stops a component's process if it runs, and forgets it. Says whether it ran.
///
/// # Errors
/// It may not be signalled, or does not end even when killed.
pub async fn stop(dirs: &Dirs, component: &str, progress: &Progress) -> Result<bool> {
    let Found::Running(record, _) = find(dirs, component)? else {
        files::remove(&dirs.record(component))?;
        return Ok(false);
    };
    let launched = launched(dirs, component)?;
    let signal = match launched.as_ref().map(|it| it.stop).unwrap_or_default() {
        Stop::Term => Signal::TERM,
        Stop::Int => Signal::INT,
    };
    send(component, &record, signal)?;
    let gone = || async {
        match find(dirs, component) {
            Ok(Found::Running(..)) => Status::in_progress(format!("pid {} is ending", record.pid)),
            Ok(_) => Status::current("gone"),
            Err(error) => Status::unknown(error.message),
        }
    };
    let what = format!("{component} stops");
    let patience = Patience::local(Duration::from_secs(20));
    if wait::until(&what, patience, progress, gone).await.is_err() {
        progress.observe(format!("pid {} does not end: killing it", record.pid));
        send(component, &record, Signal::KILL)?;
        wait::until(&what, patience, progress, gone).await?;
    } else {
        publish(launched)?;
    }
    files::remove(&dirs.record(component))?;
    Ok(true)
}

/// What a component's process was started with; none if that was not kept.
fn launched(dirs: &Dirs, component: &str) -> Result<Option<Daemon>> {
    let spec = dirs.launch_spec(component);
    let Some(text) = files::read_if_there(&spec)? else {
        return Ok(None);
    };
    let read = serde_json::from_str(&text);
    read.map(Some)
        .map_err(|error| Error::new(Code::Io, format!("{}: {error}", spec.display())))
}

/// Stops these components: what reads from others before them, and what is independent at the same
/// time. Returns the names of those that ran.
///
/// # Errors
/// All that [`stop`] had; none keeps the others running.
pub async fn stop_all(dirs: &Dirs, components: &[String]) -> Result<Vec<String>> {
    let (mut stopped, mut errors) = (Vec::new(), Vec::new());
    let (mut readers, mut others) = (Vec::new(), Vec::new());
    for component in components {
        match launched(dirs, component) {
            Ok(Some(daemon)) if daemon.reads => readers.push(component),
            Ok(_) => others.push(component),
            Err(error) => errors.push(error),
        }
    }
    for wave in [readers, others] {
        let ends = wave
            .into_iter()
            .map(async |component| (component, stop(dirs, component, &Progress::silent()).await));
        for (component, end) in join_all(ends).await {
            match end {
                Ok(true) => stopped.push(component.clone()),
                Ok(false) => {}
                Err(error) => errors.push(error),
            }
        }
    }
    Error::together(errors).map_or(Ok(stopped), Err)
}

/// Publishes what a daemon made as it ended by itself.
fn publish(daemon: Option<Daemon>) -> Result<()> {
    match daemon.and_then(|it| it.publish) {
        Some(Publish { from, to }) if from.is_file() => {
            std::fs::rename(&from, &to).map_err(|source| Error::io("create", &to, &source))
        }
        _ => Ok(()),
    }
}

/// Lets a suspended process of the environment go on. Says whose it is.
///
/// # Errors
/// It is no process of the environment, or may not be signalled.
pub fn resume(dirs: &Dirs, pid: u32) -> Result<String> {
    for component in recorded(dirs)? {
        if let Found::Running(record, _) = find(dirs, &component)?
            && record.pid == pid
        {
            send(&component, &record, Signal::CONT)?;
            return Ok(component);
        }
    }
    Err(Error::new(
        Code::Process,
        format!("pid {pid} is no process of this environment"),
    ))
}

fn send(component: &str, record: &Record, signal: Signal) -> Result<()> {
    let pid = i32::try_from(record.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Err(Error::new(
            Code::Process,
            format!("{component}: {} is no process id", record.pid),
        ));
    };
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::new(
            Code::Process,
            format!("{component}: cannot signal pid {}: {error}", record.pid),
        )
        .hint("run the command as the user that ran `cargo xtask up`")),
    }
}
