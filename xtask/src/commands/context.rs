//! What every command needs: the repository, the environment, output.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::stdout::say;
use super::{cluster, diagnose};
use crate::cli::Global;
use crate::components;
use crate::diagnose::Finding;
use crate::diagnose::confirmed::confirmed;
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Result};
use crate::files::write_atomic;
use crate::platform::host::Dirs;
use crate::platform::host::prerequisites::Wanted;
use crate::platform::{Platform, docker};
use crate::profile::schema::PlatformChoice;
use crate::profile::{self, Loaded, Profile, Selection};
use crate::report::text::Palette;
use crate::report::{self, Output};

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
    if let Some(context) = &global.context {
        set.push(format!("kubernetes.context={context}"));
    }
    Selection {
        profile: global.profile.clone(),
        set,
    }
}

/// Loads the profile as the command line gives it, with the ports that `up --ports auto` chose.
pub(super) fn load(selection: &Selection) -> Result<Loaded> {
    let root = root();
    let loaded = components::load(&root, selection)?;
    let chosen = chosen_ports(&Dirs::of(&loaded.name)?)?;
    if chosen.is_empty() {
        return Ok(loaded);
    }
    let mut selection = selection.clone();
    for Wanted { key, port, .. } in profile::all_ports(&loaded.profile) {
        let choice = chosen.get(&key);
        // A user who has set another port since means that one.
        if let Some(choice) = choice.filter(|choice| choice.wanted == port) {
            selection.set.push(format!("{key}={}", choice.chosen));
        }
    }
    components::load(&root, &selection)
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

/// What `up` was given, so that later commands mean the same environment.
#[derive(Debug, Deserialize, Serialize)]
struct Remembered {
    profile: String,
    set: Vec<String>,
    /// What `auto` came to. Environments of older versions are all on `host`.
    #[serde(default = "host")]
    platform: Platform,
}

fn host() -> Platform {
    Platform::Host
}

/// The platform of an environment; none if nothing was made.
pub(super) fn remembered_platform(dirs: &Dirs) -> Result<Option<Platform>> {
    Ok(remembered(dirs)?.map(|remembered| remembered.platform))
}

/// The platform of the environment that a command line means; none if nothing was made.
pub(super) fn platform_of(global: &Global) -> Option<Platform> {
    let dirs = Dirs::of(&profile_name(global).ok()?).ok()?;
    remembered_platform(&dirs).ok()?
}

/// What `up` was given when it made this environment; none if nothing was made.
fn remembered(dirs: &Dirs) -> Result<Option<Remembered>> {
    let path = dirs.selection();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path, &error)),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Error::new(Code::Io, format!("{} is damaged: {error}", path.display()))
            .hint("cargo xtask up")
    })
}

/// Remembers what `up` was given. Overrides may hold a password: the file is the owner's alone.
///
/// # Errors
/// The environment was made by another profile of the same name.
pub(super) fn remember(dirs: &Dirs, selection: &Selection, platform: Platform) -> Result<()> {
    let remembered = Remembered {
        profile: match Path::new(&selection.profile).canonicalize() {
            Ok(path) if path.is_file() => path.display().to_string(),
            _ => selection.profile.clone(),
        },
        set: selection.set.clone(),
        platform,
    };
    let path = dirs.selection();
    // A damaged file is written again.
    let before = self::remembered(dirs).ok().flatten();
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

/// The environment that runs, if what a command was given fits its profile: what cannot be is refused without
/// an environment.
///
/// # Errors
/// It does not fit, or see [`existing`].
pub(super) async fn existing_for(
    global: &Global,
    fits: impl FnOnce(&Profile) -> Result<()>,
) -> Result<Arc<Environment>> {
    fits(&remembered_profile(global)?.profile)?;
    existing(global).await
}

/// The environment that `up` made, for commands that look at it or work on it: the remembered
/// overrides, and those of this command line above them.
pub(super) async fn existing(global: &Global) -> Result<Arc<Environment>> {
    let name = profile_name(global)?;
    let remembered = remembered(&Dirs::of(&name)?)?.ok_or_else(|| {
        Error::new(Code::NotUp, format!("nothing is up for profile `{name}`"))
            .hint("cargo xtask up")
    })?;
    let loaded = remembered_profile(global)?;
    let env = Environment::new(&root(), loaded, remembered.platform, Secrets::Existing)?;
    cluster::attach(&env).await?;
    Ok(Arc::new(env))
}

/// The profile with what `up` was given, if anything was made, and this command line's overrides.
pub(super) fn remembered_profile(global: &Global) -> Result<Loaded> {
    let mut selection = selection(global);
    let remembered = remembered(&Dirs::of(&profile_name(global)?)?)?;
    let mut set = remembered
        .map(|remembered| remembered.set)
        .unwrap_or_default();
    set.append(&mut selection.set);
    selection.set = set;
    load(&selection)
}

/// What was left out, for JSON.
pub(super) fn left_out(env: &Environment) -> Vec<serde_json::Value> {
    env.left_out
        .iter()
        .map(|left| serde_json::json!({ "component": left.component, "reason": left.reason }))
        .collect()
}

/// A platform, and the line that says why it is this one.
pub(super) struct Chosen {
    pub(super) platform: Platform,
    pub(super) why: String,
}

/// The platform that the profile means on this machine.
///
/// # Errors
/// The environment is up on another one.
pub(super) async fn choose_platform(loaded: &Loaded) -> Result<Chosen> {
    let chosen = |platform: Platform, why: &str| Chosen {
        platform,
        why: format!("platform {}{why}", platform.name()),
    };
    let before = remembered_platform(&Dirs::of(&loaded.name)?)?;
    let wanted = match loaded.profile.platform {
        PlatformChoice::Host => Platform::Host,
        PlatformChoice::Kind => Platform::Kind,
        PlatformChoice::Kubernetes => Platform::Kubernetes,
        PlatformChoice::Auto => {
            return Ok(match before {
                Some(platform) => chosen(platform, " (auto): this environment exists already"),
                None if docker::answers().await => {
                    chosen(Platform::Kind, " (auto): a Docker engine answers")
                }
                None => chosen(Platform::Host, " (auto): no Docker engine answers"),
            });
        }
    };
    match before {
        Some(before) if before != wanted => Err(Error::new(
            Code::Platform,
            format!(
                "environment `{}` is on the platform `{}`, not `{}`",
                loaded.name,
                before.name(),
                wanted.name()
            ),
        )
        .hint(format!(
            "cargo xtask down, or continue there: --platform {}",
            before.name()
        ))),
        _ => Ok(chosen(wanted, ", as asked for")),
    }
}

/// Prints an error, and what causes it, where and how the user wants it.
pub(super) fn print_error(output: Output, error: &Error, causes: &[Finding]) {
    let is_asked = std::io::stdin().is_terminal();
    match output {
        Output::Text => {
            eprintln!("error: {}", confirmed(&error.to_string(), is_asked));
            if !causes.is_empty() {
                let colour = report::is_coloured(&std::io::stderr());
                eprint!("\n{}", diagnose::lines(causes, Palette { colour }));
            }
        }
        Output::Json => {
            let mut told = error.to_json();
            confirm(&mut told, is_asked);
            let mut value = serde_json::json!({ "error": told });
            value["findings"] = serde_json::json!(causes);
            say!("{value}");
        }
    }
}

/// Has the commands of an error, and of those that came with it, work as they stand.
fn confirm(error: &mut serde_json::Value, is_asked: bool) {
    if let Some(hint) = error["hint"].as_str() {
        error["hint"] = confirmed(hint, is_asked).into();
    }
    for other in error["others"].as_array_mut().into_iter().flatten() {
        confirm(other, is_asked);
    }
}

/// Resolves when the user interrupts.
pub(super) async fn interrupted() -> Error {
    let interrupt = || {
        Error::new(Code::Interrupted, "interrupted").hint(
            "what was started keeps running; run the same command again to finish, or `cargo xtask down`",
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
