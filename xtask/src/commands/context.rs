//! What every command needs: the repository, the environment, output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::stdout::say;
use crate::cli::Global;
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Result};
use crate::files::write_atomic;
use crate::platform::docker;
use crate::platform::host::Dirs;
use crate::profile::schema::PlatformChoice;
use crate::profile::{self, Loaded, Selection};
use crate::report::Output;

/// The repository: where cargo says that this package is, or where it was built.
pub(super) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map(Path::to_owned).unwrap_or(package)
}

/// What the command line says about the profile.
pub(super) fn selection(global: &Global) -> Selection {
    let mut set = global.set.clone();
    if let Some(platform) = global.platform {
        let name = serde_json::to_value(platform).unwrap_or_default();
        set.push(format!("platform={}", name.as_str().unwrap_or("auto")));
    }
    Selection {
        profile: global.profile.clone(),
        set,
    }
}

/// Loads the profile as the command line gives it, with the ports that `up --ports auto` chose.
pub(super) fn load(selection: &Selection) -> Result<Loaded> {
    let root = root();
    let loaded = profile::load(&root, selection)?;
    let chosen = chosen_ports(&Dirs::of(&loaded.name)?)?;
    if chosen.is_empty() {
        return Ok(loaded);
    }
    let mut selection = selection.clone();
    for (component, key, port) in profile::all_ports(&loaded.profile) {
        let choice = chosen.get(&format!("{component}.{key}"));
        // Somebody who has set another port since means that one.
        if let Some(choice) = choice.filter(|choice| choice.wanted == port) {
            selection
                .set
                .push(format!("{component}.{key}={}", choice.chosen));
        }
    }
    profile::load(&root, &selection)
}

/// A port that was taken, and the one that `up --ports auto` chose instead.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Choice {
    /// The profile's.
    pub(super) wanted: u16,
    /// The free one.
    pub(super) chosen: u16,
}

/// The choices by key, `kafka.port`. They last until `down`.
pub(super) fn chosen_ports(dirs: &Dirs) -> Result<BTreeMap<String, Choice>> {
    let path = dirs.chosen_ports();
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| {
            Error::new(Code::Io, format!("{} is damaged: {error}", path.display()))
                .hint(format!("rm {}", path.display()))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(Error::io("read", path, &error)),
    }
}

/// What `up` was told, so that later commands mean the same environment.
#[derive(Debug, Deserialize, Serialize)]
struct Remembered {
    profile: String,
    set: Vec<String>,
}

/// Remembers what `up` was told. Overrides may hold a password: the file is the owner's alone.
///
/// # Errors
/// The environment was made by another profile of the same name.
pub(super) fn remember(dirs: &Dirs, selection: &Selection) -> Result<()> {
    let remembered = Remembered {
        profile: match Path::new(&selection.profile).canonicalize() {
            Ok(path) if path.is_file() => path.display().to_string(),
            _ => selection.profile.clone(),
        },
        set: selection.set.clone(),
    };
    let path = dirs.selection();
    let before = std::fs::read_to_string(&path).ok();
    let before = before.and_then(|text| serde_json::from_str::<Remembered>(&text).ok());
    if let Some(before) = before.filter(|before| before.profile != remembered.profile) {
        return Err(Error::new(
            Code::Locked,
            format!(
                "this environment was made by the profile {}, which has the same name as {}",
                before.profile, remembered.profile
            ),
        )
        .hint("rename one of the two files, or remove the environment first: cargo xtask down"));
    }
    let text = serde_json::to_vec_pretty(&remembered)
        .map_err(|error| Error::new(Code::Io, error.to_string()))?;
    write_atomic(&path, &text, 0o600).map_err(|source| Error::io("write", path, &source))
}

/// The name of the selected profile, which is also its environment's.
pub(super) fn profile_name(global: &Global) -> Result<String> {
    profile::name(&root(), &global.profile)
}

/// The environment that `up` made, for commands that look at it or work on it: the remembered
/// overrides, and those of this command line above them.
pub(super) fn existing(global: &Global) -> Result<Arc<Environment>> {
    let mut selection = selection(global);
    let name = profile_name(global)?;
    let dirs = Dirs::of(&name)?;
    let path = dirs.selection();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(
                Error::new(Code::NotUp, format!("nothing is up for profile `{name}`"))
                    .hint("cargo xtask up"),
            );
        }
        Err(error) => return Err(Error::io("read", path, &error)),
    };
    let remembered: Remembered = serde_json::from_str(&text).map_err(|error| {
        Error::new(Code::Io, format!("{} is damaged: {error}", path.display()))
            .hint("cargo xtask up")
    })?;
    let mut set = remembered.set;
    set.append(&mut selection.set);
    selection.set = set;
    let loaded = load(&selection)?;
    require_host(&loaded)?;
    Environment::new(&root(), loaded, Secrets::Existing).map(Arc::new)
}

/// What was left out, for JSON.
pub(super) fn left_out(env: &Environment) -> Vec<serde_json::Value> {
    env.left_out
        .iter()
        .map(|left| serde_json::json!({ "component": left.component, "reason": left.reason }))
        .collect()
}

/// The platform that the profile means here, in a line that says which and why.
pub(super) async fn choose_platform(loaded: &Loaded) -> Result<String> {
    require_host(loaded)?;
    if loaded.profile.platform == PlatformChoice::Host {
        return Ok("platform host, as the profile says".into());
    }
    Ok(if docker::answers().await {
        "platform host (auto): a Docker engine answers, but this version has no `kind` platform yet"
            .into()
    } else {
        "platform host (auto): no Docker engine answers".into()
    })
}

/// Only the host platform is there in this version.
pub(super) fn require_host(loaded: &Loaded) -> Result<()> {
    match loaded.profile.platform {
        PlatformChoice::Auto | PlatformChoice::Host => Ok(()),
        PlatformChoice::Kind | PlatformChoice::Kubernetes => Err(Error::new(
            Code::Platform,
            "this version runs pipelines on the `host` platform only",
        )
        .hint("cargo xtask up --platform host")),
    }
}

/// Prints an error where and how the user wants it.
pub(super) fn print_error(output: Output, error: &Error) {
    match output {
        Output::Text => eprintln!("error: {error}"),
        Output::Json => say!("{}", serde_json::json!({ "error": error.to_json() })),
    }
}

/// Resolves when the user interrupts.
pub(super) async fn interrupted() -> Error {
    let interrupt = || {
        Error::new(Code::Interrupted, "interrupted").hint(
            "what was started goes on; run the same command again to finish, or `cargo xtask down`",
        )
    };
    #[cfg(unix)]
    if let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    {
        tokio::select! {
            _ = term.recv() => return interrupt(),
            _ = tokio::signal::ctrl_c() => return interrupt(),
        }
    }
    // Without a handler the system's default applies, which also ends the command.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    interrupt()
}
