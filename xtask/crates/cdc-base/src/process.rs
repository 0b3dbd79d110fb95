//! The only module that starts processes.
//!
//! Five ways: [`capture`] runs a program to its end and keeps what it says; [`run`] and [`read`] run it in
//! the foreground, through `xshell`; [`run_visible`] does so where the user can answer it; [`spawn_daemon`]
//! starts one that outlives this command, and [`become_daemon`] is that daemon's first half second: this same executable, which records its
//! own pid and start time and then becomes the program. Because the record is written by the
//! process it describes, before that process does anything, a kill at any instant leaves either no
//! process or a recorded one.

pub mod procinfo;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use xshell::{Cmd, Shell, cmd};

use crate::error::{Code, Error, Result};

/// Why a program that was to run to its end did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It ended with an error.
    #[error("{program} ended with {status}")]
    Ended {
        /// The program.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The last lines it wrote, standard error first.
        tail: Vec<String>,
    },
}

impl ProcessError {
    /// The last lines the program wrote.
    pub fn tail(&self) -> Vec<String> {
        match self {
            ProcessError::Ended { tail, .. } => tail.clone(),
            ProcessError::Start { .. } => Vec::new(),
        }
    }
}

/// A program to run to its end.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Path or name of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to this process's own environment.
    pub env: BTreeMap<String, String>,
    /// Where it runs; the current directory if none.
    pub dir: Option<PathBuf>,
    /// The user and group to run as; unchanged if none.
    pub user: Option<User>,
    /// Its standard input; nothing if none. A lock's file is empty to read, and lets the job keep the
    /// lock until it has ended even when this process is killed before it.
    pub input: Option<Arc<std::fs::File>>,
}

/// A system user by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Job {
    /// A job with arguments.
    pub fn new(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Job {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            ..Job::default()
        }
    }

    fn stdin(&self) -> io::Result<Stdio> {
        match &self.input {
            Some(file) => Ok(file.try_clone()?.into()),
            None => Ok(Stdio::null()),
        }
    }

    fn foreground<'a>(&self, shell: &'a Shell) -> Cmd<'a> {
        if let Some(dir) = &self.dir {
            shell.change_dir(dir);
        }
        let (program, args) = (&self.program, &self.args);
        cmd!(shell, "{program} {args...}").envs(&self.env)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(&self.env);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        #[cfg(unix)]
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }
}

/// A standard input that holds a text. It must be smaller than what a pipe holds: no one reads while
/// it is written.
///
/// # Errors
/// The text is too long, or the system has no pipe.
pub fn pipe(text: &str) -> io::Result<Arc<std::fs::File>> {
    use std::io::Write;
    // What pipes hold at least: macOS and Linux more than Windows.
    const SMALLEST: usize = if cfg!(windows) { 4096 } else { 16_384 };
    if text.len() > SMALLEST {
        return Err(io::Error::other("longer than a pipe holds"));
    }
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(text.as_bytes())?;
    #[cfg(unix)]
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
    #[cfg(windows)]
    let file = std::fs::File::from(std::os::windows::io::OwnedHandle::from(reader));
    Ok(Arc::new(file))
}

const TAIL: usize = 20;

/// Kills a program and all that it started, unless it has ended: killed alone, PostgreSQL's `initdb`
/// leaves a server behind that still writes.
#[cfg(unix)]
struct KillGroup(Option<Pid>);

#[cfg(unix)]
impl Drop for KillGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // A group that has ended in the meantime is what was wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs the job to its end and returns its standard output. `on_line` hears every line of both
/// streams as it comes. The program is killed, with all that it started, if the caller gives up.
///
/// # Errors
/// It cannot be started, or ends with an error; its last lines are in the error.
pub async fn capture(job: &Job, mut on_line: impl FnMut(&str)) -> Result<String, ProcessError> {
    let program = job.program.display().to_string();
    let start = |source| ProcessError::Start {
        program: program.clone(),
        source,
    };
    let mut command = job.command();
    command
        .stdin(job.stdin().map_err(start)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(start)?;
    #[cfg(unix)]
    let group = KillGroup(
        child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw),
    );
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(start(io::Error::other("its output is not connected")));
    };
    let mut out = BufReader::new(stdout).lines();
    let mut err = BufReader::new(stderr).lines();
    let (mut text, mut errors) = (Vec::new(), Vec::new());
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        tokio::select! {
            line = out.next_line(), if out_open => match line.map_err(start)? {
                Some(line) => { on_line(&line); text.push(line); }
                None => out_open = false,
            },
            line = err.next_line(), if err_open => match line.map_err(start)? {
                Some(line) => { on_line(&line); errors.push(line); }
                None => err_open = false,
            },
        }
    }
    let status = child.wait().await.map_err(start)?;
    // It has ended, and its number may soon be another's.
    #[cfg(unix)]
    std::mem::forget(group);
    if status.success() {
        return Ok(text.join("\n"));
    }
    let said = if errors.is_empty() { text } else { errors };
    Err(ProcessError::Ended {
        program,
        status,
        tail: said[said.len().saturating_sub(TAIL)..].to_vec(),
    })
}

/// Runs the job to its end in the foreground, and says so first. Its output is this command's.
///
/// # Errors
/// It cannot be started, or ends with an error.
pub fn run(job: &Job) -> Result<()> {
    let run = || job.foreground(&Shell::new()?).run();
    run().map_err(|error| Error::new(Code::Process, error.to_string()))
}

/// Runs the job to its end in the foreground and returns its standard output.
///
/// # Errors
/// It cannot be started, or ends with an error.
pub fn read(job: &Job) -> Result<String> {
    let read = || job.foreground(&Shell::new()?).quiet().read();
    read().map_err(|error| Error::new(Code::Process, error.to_string()))
}

/// Runs the job to its end where the user sees it and can answer it: it reads standard input, and
/// both its streams go to standard error, since standard output is for results.
///
/// It is not killed if the caller gives up: a terminal's Ctrl-C reaches it as well, and a package
/// manager must be let finish.
///
/// # Errors
/// It cannot be started, or ends with an error.
#[cfg(unix)]
pub async fn run_visible(job: &Job) -> Result<(), ProcessError> {
    use std::os::fd::AsFd;
    let program = job.program.display().to_string();
    let start = |source| ProcessError::Start {
        program: program.clone(),
        source,
    };
    let output = std::io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .map_err(start)?;
    let shell = Shell::new().map_err(|error| start(io::Error::other(error)))?;
    let mut command = std::process::Command::from(job.foreground(&shell));
    command.stdout(Stdio::from(output));
    drop(shell);
    let status = Command::from(command).status().await.map_err(start)?;
    if status.success() {
        return Ok(());
    }
    Err(ProcessError::Ended {
        program,
        status,
        tail: Vec::new(),
    })
}

/// A program that outlives the command that starts it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Daemon {
    /// Path of the program.
    pub program: PathBuf,
    /// Its arguments. Never a secret: arguments are visible to every user of the machine.
    pub args: Vec<String>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
    /// How it is asked to end.
    #[serde(default)]
    pub stop: Stop,
    /// It reads from another process, and is ended before that one.
    #[serde(default)]
    pub reads: bool,
    /// A file that it makes when it ends by itself, to be published then.
    pub publish: Option<Publish>,
    /// Where it runs.
    pub dir: PathBuf,
    /// The user to become; unchanged if none.
    pub user: Option<User>,
    /// Where it records itself before it starts.
    pub record: PathBuf,
    /// Names the configuration that it runs with.
    pub digest: String,
}

/// How a daemon is asked to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// SIGTERM: finish and end.
    #[serde(rename = "TERM")]
    Term,
    /// SIGINT: PostgreSQL's fast shutdown. Every program here takes it; so it is what ends a process
    /// that was started before its signal was kept.
    #[default]
    #[serde(rename = "INT")]
    Int,
}

/// A file that gets its name only when it is known to be complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// Where it is made.
    pub from: PathBuf,
    /// Its name when complete.
    pub to: PathBuf,
}

/// What a daemon records about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Process id.
    pub pid: u32,
    /// When the system says that it started, with the boot it belongs to: together with the pid
    /// this names one process for ever.
    pub start: String,
    /// The configuration it runs with.
    pub digest: String,
    /// Milliseconds since the epoch.
    pub since: u64,
}

/// This executable, as a program to start. A build that replaces its file while it runs leaves the
/// old one without a name; Linux can still start it.
///
/// # Errors
/// The system does not tell.
pub fn this_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe()
}

/// Starts a daemon through [`become_daemon`] with both output streams appended to `log`.
///
/// # Errors
/// The executable or the log cannot be opened.
pub fn spawn_daemon(spec: &Path, log: &std::fs::File) -> io::Result<tokio::process::Child> {
    Command::new(this_program()?)
        .arg("launch")
        .arg(spec)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
}

/// Records this process and becomes the daemon. Returns only if that fails.
#[cfg(unix)]
pub fn become_daemon(spec: &Path) -> io::Error {
    fn prepare(spec: &Path) -> io::Result<(Daemon, std::process::Command)> {
        use std::os::unix::process::CommandExt;
        let daemon: Daemon = serde_json::from_str(&std::fs::read_to_string(spec)?)?;
        // A session of its own: the terminal's hang-up and Ctrl-C are not for daemons.
        rustix::process::setsid()?;
        let pid = std::process::id();
        let record = Record {
            pid,
            start: procinfo::look(pid)
                .map(|seen| seen.start)
                .ok_or_else(|| io::Error::other("this process cannot see its own start time"))?,
            digest: daemon.digest.clone(),
            since: crate::clock::now_ms(),
        };
        crate::files::replace(
            &daemon.record,
            serde_json::to_string(&record)?.as_bytes(),
            0o600,
        )?;
        let mut command = std::process::Command::new(&daemon.program);
        command
            .args(&daemon.args)
            .envs(&daemon.env)
            .current_dir(&daemon.dir);
        if let Some(user) = daemon.user {
            command.uid(user.uid).gid(user.gid);
        }
        Ok((daemon, command))
    }
    match prepare(spec) {
        Ok((daemon, mut command)) => {
            let error = std::os::unix::process::CommandExt::exec(&mut command);
            io::Error::new(
                error.kind(),
                format!("cannot run {}: {error}", daemon.program.display()),
            )
        }
        Err(error) => error,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::Progress;
    use crate::status::Status;
    use crate::wait::{self, Patience};

    #[tokio::test]
    async fn what_a_program_started_ends_with_it_when_the_caller_gives_up() {
        let job = Job::new("sh", ["-c", "sleep 60 & echo $!; wait"]);
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut tell = Some(tell);
        let run = tokio::spawn(async move {
            capture(&job, |line| {
                let pid: u32 = line.parse().expect("a pid");
                tell.take().expect("one line").send(pid).expect("a hearer");
            })
            .await
        });
        let pid = told.await.expect("a pid");
        let runs = || procinfo::look(pid).is_some_and(|seen| !seen.zombie);
        assert!(runs());
        run.abort();
        let patience = Patience::local(Duration::from_secs(30));
        let gone = || async {
            if runs() {
                Status::in_progress("it runs")
            } else {
                Status::current("gone")
            }
        };
        wait::until("it ends", patience, &Progress::silent(), gone)
            .await
            .expect("it was killed");
    }
}
