//! Where an environment and the artifacts live.
//!
//! State: `$XDG_STATE_HOME/cdc-xtask/<profile>`; artifacts: `$XDG_CACHE_HOME/cdc-xtask`. For root,
//! whose home others may not enter, the defaults are `/var/lib` and `/var/cache`: PostgreSQL runs
//! as another user and must reach its files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};
use crate::files::if_there;

const NAME: &str = "cdc-xtask";

/// An environment's directories.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// Everything of this environment.
    pub state: PathBuf,
    /// Artifacts, shared by all environments.
    pub cache: PathBuf,
}

impl Dirs {
    /// The directories of an environment. Nothing is created.
    ///
    /// # Errors
    /// No home directory is known.
    pub fn of(environment: &str) -> Result<Self> {
        Ok(Dirs {
            state: all_states()?.join(environment),
            cache: cache()?,
        })
    }

    /// The data of all components, finished or not.
    pub fn all_data(&self) -> PathBuf {
        self.state.join("data")
    }

    /// A component's data.
    pub fn data(&self, component: &str) -> PathBuf {
        self.all_data().join(component)
    }

    /// A component's first data while it is being made; renamed to [`Dirs::data`] when complete.
    pub fn unfinished_data(&self, component: &str) -> PathBuf {
        self.all_data().join(format!(".{component}.new"))
    }

    /// A component's rendered configuration files.
    pub fn config(&self, component: &str) -> PathBuf {
        self.state.join("config").join(component)
    }

    /// A component's log.
    pub fn log(&self, component: &str) -> PathBuf {
        self.state.join("logs").join(format!("{component}.log"))
    }

    /// The log of the run before.
    pub fn previous_log(&self, component: &str) -> PathBuf {
        self.state
            .join("logs")
            .join(format!("{component}.previous.log"))
    }

    /// What a component's process recorded about itself.
    pub fn record(&self, component: &str) -> PathBuf {
        self.state.join("run").join(format!("{component}.json"))
    }

    /// What a component's process was started with.
    pub fn launch_spec(&self, component: &str) -> PathBuf {
        self.state
            .join("run")
            .join(format!("{component}.launch.json"))
    }

    /// A directory of secret files.
    pub fn secrets(&self) -> PathBuf {
        self.state.join("secrets")
    }

    /// What `up` was given: the profile and its overrides.
    pub fn selection(&self) -> PathBuf {
        self.state.join("selection.json")
    }

    /// The lines that were typed to a component's shell.
    pub fn shell_history(&self, component: &str) -> PathBuf {
        self.state.join(format!("shell-{component}.history"))
    }

    /// Ports that `--ports auto` chose.
    pub fn chosen_ports(&self) -> PathBuf {
        self.state.join("ports.json")
    }

    /// What a connector's reset has done so far; not there once it is finished.
    pub fn reset(&self, connector: &str) -> PathBuf {
        let name = format!("reset-{connector}.json");
        self.state.join("journal").join(name)
    }

    /// The lock that a changing command holds.
    pub fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }

    /// Whether `up` ever began here.
    pub fn exists(&self) -> bool {
        self.selection().is_file()
    }

    /// Creates the environment's directories.
    ///
    /// # Errors
    /// One cannot be created.
    pub fn create(&self) -> Result<()> {
        for name in ["data", "config", "logs", "run"] {
            make(&self.state.join(name), 0o755)?;
        }
        make(&self.secrets(), 0o700)?;
        make(&self.cache, 0o755)
    }
}

/// Where environments have their directories.
fn all_states() -> Result<PathBuf> {
    Ok(base("XDG_STATE_HOME", ".local/state", "/var/lib")?.join(NAME))
}

/// Where artifacts are.
///
/// # Errors
/// No home directory is known.
pub fn cache() -> Result<PathBuf> {
    Ok(base("XDG_CACHE_HOME", ".cache", "/var/cache")?.join(NAME))
}

/// The names of all environments that have a directory, sorted.
///
/// # Errors
/// The directories cannot be read.
pub fn environments() -> Result<Vec<String>> {
    let states = all_states()?;
    let io = |source| Error::io("read", &states, &source);
    let Some(entries) = if_there(fs::read_dir(&states)).map_err(io)? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn base(variable: &str, below_home: &str, for_root: &str) -> Result<PathBuf> {
    match std::env::var_os(variable).map(PathBuf::from) {
        // The XDG specification: a relative path is to be ignored.
        Some(path) if path.is_absolute() => return Ok(path),
        _ => {}
    }
    if super::user::is_root() {
        return Ok(PathBuf::from(for_root));
    }
    std::env::home_dir()
        .map(|home| home.join(below_home))
        .ok_or_else(|| {
            Error::new(
                Code::Directory,
                format!("neither {variable} nor HOME is set"),
            )
            .hint(format!("set {variable} to a directory of yours"))
        })
}

/// Creates a directory and its parents with the given permissions.
///
/// # Errors
/// It cannot be created.
pub fn make(path: &Path, mode: u32) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    builder
        .create(path)
        .map_err(|source| unusable("create", path, &source))
}

/// Removes a directory if it is there.
///
/// # Errors
/// It cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    if_there(fs::remove_dir_all(path))
        .map(drop)
        .map_err(|source| unusable("remove", path, &source))
}

/// Removes a directory or a file if it is there.
///
/// # Errors
/// It cannot be removed.
pub fn remove_any(path: &Path) -> Result<()> {
    if path.is_dir() && !path.is_symlink() {
        return remove(path);
    }
    if_there(fs::remove_file(path))
        .map(drop)
        .map_err(|source| unusable("remove", path, &source))
}

fn unusable(action: &str, path: &Path, source: &io::Error) -> Error {
    Error::new(
        Code::Directory,
        format!("cannot {action} {}: {source}", path.display()),
    )
    .hint("choose other directories with XDG_STATE_HOME and XDG_CACHE_HOME")
}
