//! Programs inside running containers.

use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::failed;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::readiness::Status;
use crate::wait::{self, Patience};

/// What a program said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Exit status.
    pub code: i64,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Standard output, if the program ended well.
    ///
    /// # Errors
    /// It did not; its last lines are the evidence.
    pub fn ok(self, container: &str, what: &str) -> Result<String> {
        if self.code == 0 {
            return Ok(self.stdout);
        }
        let said = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        Err(Error::new(
            Code::Service,
            format!("{container}: {what} ended with status {}", self.code),
        )
        .details(lines[lines.len().saturating_sub(8)..].to_vec()))
    }
}

/// Runs a program in a container to its end.
///
/// # Errors
/// It cannot be started. An exit status is no error here.
pub async fn exec(docker: &Docker, container: &str, command: &[&str]) -> Result<Said> {
    run(docker, container, command, None).await
}

/// Runs a program that reads what comes through the channel. When the program ends before it has
/// read everything, the channel is closed and the program's status tells why.
///
/// # Errors
/// It cannot be started, or the connection breaks.
pub async fn exec_with_input(
    docker: &Docker,
    container: &str,
    command: &[&str],
    input: mpsc::Receiver<Bytes>,
) -> Result<Said> {
    run(docker, container, command, Some(input)).await
}

async fn run(
    docker: &Docker,
    container: &str,
    command: &[&str],
    source: Option<mpsc::Receiver<Bytes>>,
) -> Result<Said> {
    let what = format!("run {} in {container}", command.first().unwrap_or(&""));
    let options = CreateExecOptions {
        attach_stdin: Some(source.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..CreateExecOptions::default()
    };
    let failed = |error| failed(&what, &error);
    let created = docker.create_exec(container, options).await;
    let created = created.map_err(failed)?;
    let started = docker.start_exec(&created.id, None).await;
    let started = started.map_err(failed)?;
    let StartExecResults::Attached { mut output, input } = started else {
        return Err(Error::new(Code::Service, format!("{what}: not attached")));
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let read = async {
        while let Some(chunk) = output.next().await {
            match chunk.map_err(failed)? {
                LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    stdout.extend_from_slice(&message);
                }
                LogOutput::StdIn { .. } => {}
            }
        }
        Ok::<(), Error>(())
    };
    match source {
        None => {
            read.await?;
            drop(input);
        }
        Some(source) => {
            // A program that ends early ends the output; what it has not read is not waited for.
            tokio::select! {
                result = read => result?,
                result = feed_then_wait(input, source) => match result {
                    Ok(never) => match never {},
                    Err(error) => return Err(Error::new(Code::Service, format!("{what}: {error}"))),
                },
            }
        }
    }
    Ok(Said {
        code: exit_code(docker, &created.id, &what).await?,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

/// Writes everything and closes the input. It returns only when the connection breaks while there
/// is something to write: the program's end is seen at its output.
async fn feed_then_wait(
    mut input: std::pin::Pin<Box<dyn AsyncWrite + Send>>,
    mut source: mpsc::Receiver<Bytes>,
) -> std::io::Result<std::convert::Infallible> {
    while let Some(bytes) = source.recv().await {
        if input.write_all(&bytes).await.is_err() {
            // The program has gone; its status says why, and the sender sees a closed channel.
            drop(source);
            return std::future::pending().await;
        }
    }
    input.shutdown().await?;
    // Dropping the half would close the connection under the program's last words.
    let _open = input;
    std::future::pending().await
}

/// The engine closes the output a moment before it has recorded the status.
async fn exit_code(docker: &Docker, id: &str, what: &str) -> Result<i64> {
    let patience = Patience::local(Duration::from_secs(10));
    wait::answer(what, patience, &Progress::silent(), || async {
        match docker.inspect_exec(id).await {
            Ok(seen) if seen.running == Some(false) => seen
                .exit_code
                .ok_or_else(|| Status::in_progress("ended without a status")),
            Ok(_) => Err(Status::in_progress("running")),
            Err(error) => Err(Status::failed(error.to_string())),
        }
    })
    .await
}
