//! From a component's process template to a running process with exactly that configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::daemon::{self, Found};
use super::user::{RefusesRoot, Unprivileged};
use super::{Dirs, artifacts::lockfile, dirs};
use crate::error::{Code, Error, Result};
use crate::files::{write_atomic, write_if_changed};
use crate::plan::{Outcome, Progress};
use crate::process::{Daemon, Job, Publish, Stop, User, capture};

/// `manifests/<component>/host/process.yaml.hbs`, rendered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessTemplate {
    program: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    stop: Stop,
    /// It reads from another process of the environment, and is stopped before that one.
    #[serde(default)]
    reads: bool,
    /// Configuration files: name in the configuration directory, template beside this one.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Makes the first data directory, under its unfinished name.
    init: Option<Init>,
    /// A file with the program's pid, which the program takes for a running process as long as
    /// anything has that pid, even what is left of a killed one.
    pid_file: Option<PathBuf>,
    /// A JVM's archive of loaded classes. It is used if it is there, and made at a clean stop if it
    /// is not; so it is no part of the configuration.
    class_archive: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Init {
    program: PathBuf,
    args: Vec<String>,
    /// Where a finished result is kept for other environments, if it is the same for all of them.
    cache: Option<PathBuf>,
    /// A secret file that the program may read as `{{init_secret}}` while it runs: a copy of its
    /// own, since it may run as another user.
    secret: Option<PathBuf>,
}

/// A component's process, rendered and ready to start.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Component.
    pub component: String,
    /// Configuration files: path and content.
    pub files: Vec<(PathBuf, String)>,
    template: ProcessTemplate,
    digest: String,
    runs_as: Option<Unprivileged>,
}

impl Rendered {
    /// Has root run it as another user, if its program refuses root.
    ///
    /// # Errors
    /// There is no such user.
    pub fn refusing_root(mut self, refuses: Option<RefusesRoot>) -> Result<Self> {
        let runs_as = refuses.map(RefusesRoot::unprivileged).transpose()?;
        self.runs_as = runs_as.flatten();
        Ok(self)
    }

    fn user(&self) -> Option<User> {
        self.runs_as.map(|it| it.user)
    }

    /// The command line, for people.
    pub fn command_line(&self) -> String {
        std::iter::once(self.template.program.display().to_string())
            .chain(self.template.args.iter().cloned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Names the configuration that it would run with.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// What a process's templates may name beside the profile: where its files are.
pub fn paths(dirs: &Dirs, component: &str) -> Value {
    json!({
        "data": dirs.data(component),
        "unfinished_data": dirs.unfinished_data(component),
        "config": dirs.config(component),
        "init_secret": init_secret(dirs, component),
    })
}

impl ProcessTemplate {
    /// The process with its configuration files, each the text of the template that is named.
    /// `seen` is what else its configuration depends on.
    ///
    /// # Errors
    /// A file's template is wrong.
    pub fn rendered(
        self,
        dirs: &Dirs,
        component: &str,
        file: impl Fn(&str) -> Result<String>,
        seen: Option<&Value>,
    ) -> Result<Rendered> {
        let config = dirs.config(component);
        let files = self
            .files
            .iter()
            .map(|(name, template)| Ok((config.join(name), file(template)?)))
            .collect::<Result<Vec<_>>>()?;
        let described = json!({
            "program": self.program,
            "args": self.args,
            "env": self.env,
            "files": files,
            "digest_extra": seen,
        });
        Ok(Rendered {
            component: component.to_owned(),
            files,
            template: self,
            digest: lockfile::digest(&described.to_string()),
            runs_as: None,
        })
    }
}

/// Has the process running with this configuration afterwards: started, restarted if it ran with
/// another one, or left alone.
///
/// # Errors
/// Its files cannot be written, its data cannot be made, or it does not start.
pub async fn ensure(dirs: &Dirs, rendered: &Rendered, progress: &Progress) -> Result<Outcome> {
    let component = rendered.component.as_str();
    let found = daemon::find(dirs, component)?;
    if let Found::Running(record, _) = &found {
        if record.digest == rendered.digest {
            return Ok(Outcome::Unchanged(format!("running, pid {}", record.pid)));
        }
        progress.observe("stopping: its configuration changed");
        daemon::stop(dirs, component, progress).await?;
    }
    for (path, text) in &rendered.files {
        if let Some(parent) = path.parent() {
            dirs::make(parent, 0o755)?;
        }
        write_if_changed(path, text.as_bytes(), 0o644)?;
    }
    daemon::wait_for_orphans(&dirs.data(component), progress).await?;
    if let (Found::Gone(record), Some(path)) = (&found, &rendered.template.pid_file) {
        remove_stale(path, record.pid)?;
    }
    make_data(dirs, rendered, progress).await?;
    let (archive_flag, publish) = class_archive(rendered);
    let mut args = rendered.template.args.clone();
    args.splice(0..0, archive_flag);
    progress.observe("starting");
    let pid = daemon::start(
        dirs,
        component,
        &Daemon {
            program: rendered.template.program.clone(),
            args,
            env: rendered.template.env.clone(),
            stop: rendered.template.stop,
            reads: rendered.template.reads,
            publish,
            dir: dirs.data(component),
            user: rendered.user(),
            record: dirs.record(component),
            digest: rendered.digest.clone(),
        },
    )
    .await?;
    Ok(Outcome::Changed(match found {
        Found::Running(..) => format!("restarted with its new configuration, pid {pid}"),
        Found::Gone(record) => format!("started again, pid {pid} (pid {} was gone)", record.pid),
        Found::Never => format!("started, pid {pid}"),
    }))
}

/// The JVM flag that uses the archive, or the one that makes it. It is made under another name and
/// published by the stop that saw it finished: a kill leaves no half of one to start with.
fn class_archive(rendered: &Rendered) -> (Option<String>, Option<Publish>) {
    let Some(archive) = &rendered.template.class_archive else {
        return (None, None);
    };
    if archive.is_file() {
        return (
            Some(format!("-XX:SharedArchiveFile={}", archive.display())),
            None,
        );
    }
    let unfinished = archive.with_extension(format!("{}.new", std::process::id()));
    let flag = format!("-XX:ArchiveClassesAtExit={}", unfinished.display());
    let publish = Publish {
        from: unfinished,
        to: archive.clone(),
    };
    (Some(flag), Some(publish))
}

/// Removes a pid file that names the process that is known to be gone.
fn remove_stale(path: &Path, gone: u32) -> Result<()> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    if text.lines().next().map(str::trim) != Some(&gone.to_string()) {
        return Ok(());
    }
    std::fs::remove_file(path).map_err(|source| Error::io("remove", path, &source))
}

fn init_secret(dirs: &Dirs, component: &str) -> PathBuf {
    dirs.all_data().join(format!(".{component}.secret"))
}

/// A secret file's copy for another user, removed when dropped.
struct SecretCopy(PathBuf);

impl SecretCopy {
    fn new(source: &Path, path: &Path, user: Option<User>) -> Result<Self> {
        let text = std::fs::read(source).map_err(|error| Error::io("read", source, &error))?;
        write_atomic(path, &text, 0o600)?;
        let copy = SecretCopy(path.to_owned());
        #[cfg(unix)]
        if let Some(user) = user {
            std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))
                .map_err(|error| Error::io("change the owner of", path, &error))?;
        }
        Ok(copy)
    }
}

impl Drop for SecretCopy {
    fn drop(&mut self) {
        // A copy that stays is still readable by its owner alone, and the next run replaces it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes the data directory once. It gets its name only when it is complete, so that a kill in the
/// middle is followed by a fresh start and never by a start on half of it.
async fn make_data(dirs: &Dirs, rendered: &Rendered, progress: &Progress) -> Result<()> {
    let component = rendered.component.as_str();
    let data = dirs.data(component);
    if data.is_dir() {
        return Ok(());
    }
    let unfinished = dirs.unfinished_data(component);
    // What a killed command left may still be writing there.
    daemon::wait_for_orphans(&unfinished, progress).await?;
    dirs::remove(&unfinished)?;
    dirs::make(&unfinished, 0o700)?;
    if let Some(stranger) = rendered.runs_as {
        stranger.check_reachable(&dirs.state)?;
        stranger.check_reachable(&rendered.template.program)?;
        #[cfg(unix)]
        let User { uid, gid } = stranger.user;
        #[cfg(unix)]
        std::os::unix::fs::chown(&unfinished, Some(uid), Some(gid))
            .map_err(|source| Error::io("change the owner of", &unfinished, &source))?;
    }
    let cached = rendered
        .template
        .init
        .as_ref()
        .and_then(|init| init.cache.as_ref());
    if let Some(cached) = cached.filter(|cached| cached.is_dir()) {
        copy_files(cached, &unfinished)?;
    } else if let Some(init) = &rendered.template.init {
        progress.observe("creating its first data");
        let job = Job {
            program: init.program.clone(),
            args: init.args.clone(),
            env: rendered.template.env.clone(),
            dir: Some(unfinished.clone()),
            user: rendered.user(),
            input: None,
        };
        let own = init_secret(dirs, component);
        let copy = |secret: &PathBuf| SecretCopy::new(secret, &own, rendered.user());
        let copy = init.secret.as_ref().map(copy).transpose()?;
        let made = capture(&job, |_| {}).await;
        drop(copy);
        made.map_err(|error| {
            Error::new(
                Code::Process,
                format!("{component}: its first data could not be made: {error}"),
            )
            .details(error.tail())
        })?;
        if let Some(cached) = cached {
            publish_copy(&unfinished, cached)?;
        }
    }
    std::fs::rename(&unfinished, &data).map_err(|source| Error::io("create", &data, &source))
}

/// Copies the files of a directory that holds nothing else.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    let entries = std::fs::read_dir(from).map_err(|source| Error::io("read", from, &source))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let target = to.join(path.file_name().unwrap_or_default());
        std::fs::copy(&path, &target).map_err(|source| Error::io("copy", &path, &source))?;
    }
    Ok(())
}

/// Keeps a copy in the cache; of two at once the first one stays.
fn publish_copy(from: &Path, cached: &Path) -> Result<()> {
    let unfinished = cached.with_extension(format!("{}.new", std::process::id()));
    dirs::remove(&unfinished)?;
    dirs::make(&unfinished, 0o755)?;
    copy_files(from, &unfinished)?;
    if std::fs::rename(&unfinished, cached).is_err() {
        dirs::remove(&unfinished)?;
    }
    Ok(())
}
