//! What every command needs: the repository, the environment, output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::stdout::say;
use super::{cluster, diagnose, naming};
use crate::cli::{DEFAULT_PROFILE, Global};
use crate::components;
use crate::diagnose::Finding;
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Result};
use crate::files::{read_if_there, write_atomic};
use crate::platform::host::Dirs;
use crate::platform::host::prerequisites::Wanted;
use crate::platform::{Platform, docker};
use crate::printed;
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
    let named = |mut loaded: Loaded| {
        loaded.name = naming::of(&selection.profile)?.name;
        Ok(loaded)
    };
    let root = root();
    let loaded = named(components::load(&root, selection)?)?;
    let chosen = chosen_ports(&Dirs::of(&loaded.name)?)?;
    if chosen.is_empty() {
        return Ok(loaded);
    }
    let mut with_ports = selection.clone();
    for Wanted { key, port, .. } in profile::all_ports(&loaded.profile) {
        let choice = chosen.get(&key);
        // A user who has set another port since means that one.
        if let Some(choice) = choice.filter(|choice| choice.wanted == port) {
            with_ports.set.push(format!("{key}={}", choice.chosen));
        }
    }
    named(components::load(&root, &with_ports)?)
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
    let hint = format!("rm {}", path.display());
    Ok(read(&path, &hint)?.unwrap_or_default())
}

/// What this tool remembers in a file; none if the file is not there. `hint` says what to do about one that
/// is damaged.
fn read<T: DeserializeOwned>(path: &Path, hint: &str) -> Result<Option<T>> {
    let Some(text) = read_if_there(path)? else {
        return Ok(None);
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Error::new(Code::Io, format!("{} is damaged: {error}", path.display())).hint(hint)
    })
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
    read(&dirs.selection(), "cargo xtask up")
}

/// Remembers what `up` was given. Overrides may hold a password: the file is the owner's alone.
///
/// # Errors
/// It cannot be written.
pub(super) fn remember(dirs: &Dirs, selection: &Selection, platform: Platform) -> Result<()> {
    let remembered = Remembered {
        profile: naming::path(&root(), &selection.profile)?
            .display()
            .to_string(),
        set: selection.set.clone(),
        platform,
    };
    let text = format!("{:#}", serde_json::json!(remembered));
    write_atomic(&dirs.selection(), text.as_bytes(), 0o600)
}

/// The profile that made an environment; none if nothing was made.
pub(super) fn made_by(dirs: &Dirs) -> Result<Option<String>> {
    Ok(remembered(dirs)?.map(|it| it.profile))
}

/// What an environment was made with, for looking at it alone.
pub(super) fn made_with(dirs: &Dirs) -> Result<Option<(Selection, Platform)>> {
    Ok(remembered(dirs)?.map(
        |Remembered {
             profile,
             set,
             platform,
         }| { (Selection { profile, set }, platform) },
    ))
}

/// The name of the selected profile's environment.
pub(super) fn profile_name(global: &Global) -> Result<String> {
    Ok(naming::of(&global.profile)?.name)
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
    let named = naming::of(&global.profile)?;
    let remembered = remembered(&Dirs::of(&named.name)?)?.ok_or_else(|| {
        let what = format!("nothing is up for profile `{}`", named.name);
        Error::new(Code::NotUp, what)
            .details(named.why())
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
pub(super) fn print_error(output: Output, error: &mut Error, causes: &[Finding]) {
    complete(error);
    match output {
        Output::Text => {
            eprintln!("error: {error}");
            if !causes.is_empty() {
                let colour = report::is_coloured(&std::io::stderr());
                eprint!("\n{}", diagnose::lines(causes, Palette { colour }));
            }
        }
        Output::Json => {
            let mut value = serde_json::json!({ "error": error.to_json() });
            value["findings"] = serde_json::json!(causes);
            say!("{value}");
        }
    }
}

/// Has the commands of an error, and of those that came with it, work as they stand.
fn complete(error: &mut Error) {
    error.hint = error.hint.as_deref().map(printed::ours);
    error.others.iter_mut().for_each(complete);
}

/// The options that chose this run's environment, for the commands that it prints. A password that stands in an
/// override is asked for again.
pub(super) fn options(global: &Global) -> printed::Options {
    let mut options = Vec::new();
    // A terminal that has none of this one's variables may be where the command is typed.
    let has_variable = std::env::var_os("CDC_PROFILE").is_some();
    if global.profile != DEFAULT_PROFILE || has_variable {
        options.push(("--profile".to_owned(), global.profile.clone()));
    }
    if let Some(platform) = global.platform {
        let name = clap::ValueEnum::to_possible_value(&platform);
        options.extend(name.map(|it| ("--platform".to_owned(), it.get_name().to_owned())));
    }
    if let Some(context) = &global.context {
        options.push(("--context".to_owned(), context.clone()));
    }
    options.extend(global.set.iter().filter_map(|set| shown(set)));
    printed::Options {
        chosen: options,
        made: Vec::new(),
    }
}

/// The overrides that the environment was made with which a command line means, where it does not set their keys.
pub(super) fn made(global: &Global) -> Vec<(String, String)> {
    let key = |set: &str| set.split_once('=').map(|(key, _)| key.to_owned());
    let given: Vec<Option<String>> = global.set.iter().map(|it| key(it)).collect();
    let remembered = profile_name(global).and_then(|name| remembered(&Dirs::of(&name)?));
    // What cannot be read is an error of the command itself.
    let remembered = remembered.ok().flatten().map(|it| it.set);
    let sets = remembered.into_iter().flatten();
    // A component's password is in the environment's secrets since; a connector's own is not, and is asked for again.
    let is_kept = |set: &str| {
        let kept =
            key(set).filter(|key| !key.starts_with("connectors.") && !key.starts_with("sinks."));
        kept.is_some_and(|key| profile::is_secret(&key))
    };
    let sets = sets.filter(|set| !given.contains(&key(set)) && !is_kept(set));
    let option = |set: &String| match set.split_once('=') {
        // Options of their own, which `selection` has among the overrides.
        Some(("platform", name)) => global
            .platform
            .is_none()
            .then(|| ("--platform".to_owned(), name.to_owned())),
        Some(("kubernetes.context", name)) => global
            .context
            .is_none()
            .then(|| ("--context".to_owned(), name.to_owned())),
        _ => shown(set),
    };
    sets.filter_map(|set| option(&set)).collect()
}

/// An override as an option, without a password.
fn shown(set: &str) -> Option<(String, String)> {
    let shown = match set.split_once('=') {
        Some((key, value)) if profile::is_secret(key) && !value.starts_with('@') => {
            format!("{key}=@-")
        }
        // A map or a list may hold a password deep inside.
        Some((_, value)) if value.starts_with(['{', '[']) && profile::names_secret(value) => {
            return None;
        }
        _ => set.to_owned(),
    };
    Some(("--set".to_owned(), shown))
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
