//! Kind's own command.

use std::path::PathBuf;

use super::{Source, download};
use crate::docker::address::{Address, Surroundings};
use crate::error::{Code, Error, Result};
use crate::files;
use crate::host::dirs;
use crate::plan::Progress;
use crate::process::{Job, ProcessError, capture};

/// Kind, found in PATH or fetched.
#[derive(Clone, Debug)]
pub struct Kind {
    program: PathBuf,
    /// Where contexts of clusters are written; none uses the user's own kubeconfig.
    kubeconfig: Option<PathBuf>,
    /// Where it is noted that a cluster is being made.
    intents: PathBuf,
}

impl Kind {
    /// The one in PATH, else the pinned version, fetched and verified.
    ///
    /// # Errors
    /// It is not in PATH and cannot be had.
    pub async fn find(source: &Source, progress: &Progress) -> Result<Self> {
        let program = match which::which("kind") {
            Ok(program) => program,
            Err(_) => download::fetch(source, progress).await?,
        };
        Ok(Kind {
            program,
            kubeconfig: None,
            intents: source.cache.clone(),
        })
    }

    /// Writes contexts to a file of its own and leaves the user's kubeconfig alone.
    #[must_use]
    pub fn with_kubeconfig(mut self, path: PathBuf) -> Self {
        self.kubeconfig = Some(path);
        self
    }

    /// The kubeconfig of a cluster.
    ///
    /// # Errors
    /// There is no such cluster.
    pub async fn kubeconfig(&self, name: &str) -> Result<String> {
        let what = format!("kind get kubeconfig of {name}");
        self.run(&["get", "kubeconfig", "--name", name], &what, |_| {})
            .await
    }

    /// A file that is there while this tool makes a cluster of this name. It is written only when
    /// there is none: half a cluster beside it is this tool's own.
    fn intent(&self, name: &str) -> PathBuf {
        self.intents.join(format!("kind-{name}.creating"))
    }

    pub(super) fn has_begun(&self, name: &str) -> bool {
        self.intent(name).is_file()
    }

    pub(super) fn begin(&self, name: &str) -> Result<()> {
        dirs::make(&self.intents, 0o755)?;
        files::write_atomic(&self.intent(name), b"", 0o644)
    }

    pub(super) fn end(&self, name: &str) -> Result<()> {
        files::remove(&self.intent(name))
    }

    pub(super) async fn create(&self, name: &str, config: &str, progress: &Progress) -> Result<()> {
        // On standard input: the configuration is nobody else's business and needs no file.
        let args = [
            "create", "cluster", "--name", name, "--config", "-", "--wait", "0s",
        ];
        let mut job = self.job(&args);
        let input = crate::process::pipe(config).map_err(|error| {
            Error::new(
                Code::Process,
                format!("cannot hand kind its configuration: {error}"),
            )
        })?;
        job.input = Some(input);
        progress.observe("kind creates the cluster");
        let result = capture(&job, |line| {
            let line = line.trim_matches(|c: char| c.is_whitespace() || c == '•' || c == '✓');
            if line.ends_with("...") || line.ends_with("…") {
                progress.observe(line);
            }
        });
        result.await.map(drop).map_err(|error| {
            failed(
                &format!("kind could not create the cluster `{name}`"),
                &error,
            )
        })
    }

    pub(super) async fn delete(&self, name: &str) -> Result<()> {
        let what = format!("kind could not delete the cluster `{name}`");
        self.run(&["delete", "cluster", "--name", name], &what, |_| {})
            .await
            .map(drop)
    }

    async fn run(&self, args: &[&str], what: &str, on_line: impl FnMut(&str)) -> Result<String> {
        capture(&self.job(args), on_line)
            .await
            .map_err(|error| failed(what, &error))
    }

    fn job(&self, args: &[&str]) -> Job {
        let mut job = Job::new(&self.program, args.iter().copied());
        // Kind asks the `docker` command; it must mean the same engine as this tool does.
        let address = Address::choose(&Surroundings::here());
        job.env.insert("DOCKER_HOST".into(), address.url);
        job.env
            .insert("KIND_EXPERIMENTAL_PROVIDER".into(), "docker".into());
        if let Some(path) = &self.kubeconfig {
            job.env
                .insert("KUBECONFIG".into(), path.display().to_string());
        }
        job
    }
}

fn failed(what: &str, error: &ProcessError) -> Error {
    let lines = error
        .tail()
        .into_iter()
        .filter(|line| !line.trim().is_empty());
    Error::new(Code::Process, format!("{what}: {error}")).details(lines)
}
