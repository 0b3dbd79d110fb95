//! What the `host` platform needs of this machine.
//!
//! [`probe`] looks, [`evaluate`] decides. Only the first does IO.

mod needs;
mod probe;
mod system;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

pub use needs::{InPath, Needed, Needs, Without};
pub use probe::observe;
pub use system::{Manager, Rights, System, Tool};

use super::java;
use super::user::RefusesRoot;
use crate::report::text;

/// What is downloaded for the default profile, and a pipeline's first data.
const DISK: u64 = 2_000_000_000;
/// Two JVMs and the databases with the default profile's limits.
const MEMORY: u64 = 2_500_000_000;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Not here, and nothing works without it.
    Missing,
    /// Here, but too old.
    TooOld,
    /// Here, but it cannot be used: a directory that is closed, a port that is taken.
    Unusable,
    /// Less than is wanted; it may still do.
    Low,
    /// Not here; something is left out without it.
    OptionalMissing,
    /// Could not be found out.
    Unknown,
}

impl Status {
    /// Whether `up` would fail for it.
    pub fn blocks(self) -> bool {
        matches!(self, Status::Missing | Status::TooOld | Status::Unusable)
    }
}

/// One prerequisite, checked.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Stable name for programs.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// What was found.
    pub status: Status,
    /// The version found.
    pub version: Option<String>,
    /// Where it was found.
    pub path: Option<PathBuf>,
    /// What else there is to say of it.
    pub message: Option<String>,
    /// What it is for.
    pub why: String,
    /// The command that installs it on this system.
    pub install: Option<String>,
    /// What to do where no command does it.
    pub hint: Option<String>,
    /// How `--fix` fixes it.
    #[serde(skip)]
    pub fix: Option<Fix>,
}

/// What fixes a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Packages of the system's package manager.
    Packages(&'static [&'static str]),
    /// A command.
    Command(Vec<String>),
}

impl Check {
    pub(crate) fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Check {
            id: id.into(),
            name: name.into(),
            status: Status::Ok,
            version: None,
            path: None,
            message: None,
            why: why.into(),
            install: None,
            hint: None,
            fix: None,
        }
    }

    pub(crate) fn found(mut self, tool: &Found) -> Self {
        self.version.clone_from(&tool.version);
        self.path = Some(tool.path.clone());
        self
    }

    pub(crate) fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        self.hint_if(Some(hint))
    }

    /// Adds what to do, if anything is known.
    pub(crate) fn hint_if(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into).or(self.hint);
        self
    }

    /// Adds how to install it, where that is known.
    fn install(self, system: &System, tool: Tool) -> Self {
        let mut check = self.packages(system, system.packages(tool));
        if let Some(then) = system.after_install(tool) {
            check.hint = Some(then.to_owned());
        }
        check
    }

    fn packages(mut self, system: &System, packages: &'static [&'static str]) -> Self {
        if let Some(command) = system.install(packages) {
            self.install = Some(command.join(" "));
            self.fix = Some(Fix::Packages(packages));
        }
        self
    }
}

/// A port of this machine that a component is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The component.
    pub component: String,
    /// The profile's key that gives it.
    pub key: String,
    /// The port.
    pub port: u16,
}

/// A program that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// Its version, if it could be found out.
    pub version: Option<String>,
}

/// Python, asked what it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The program.
    pub found: Found,
    /// The modules that it lacks, or why it does not run; none if it did not answer in time.
    pub lacks: Option<Result<Vec<String>, String>>,
}

/// A port of the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// `kafka.port`.
    pub key: String,
    /// Number.
    pub number: u16,
    /// Who has it.
    pub holder: Holder,
}

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// This environment's own process.
    Ours(u32),
    /// Another process, as the system names it.
    Other(String),
}

/// A directory that the tool writes to, whether or not it is there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// `state` or `cache`.
    pub id: &'static str,
    /// Where.
    pub path: Option<PathBuf>,
    /// Why it cannot be used, and what to do.
    pub problem: Option<(String, Option<String>)>,
}

/// Everything that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Java; the version from its `release` file or its own mouth.
    pub java: Option<Found>,
    /// The value of `JAVA_HOME`, if it is set.
    pub java_home: Option<String>,
    /// Maven.
    pub maven: Option<Found>,
    /// The programs that run components, by their names.
    pub programs: BTreeMap<&'static str, Found>,
    /// Python.
    pub python: Option<Python>,
    /// The user ids for what refuses root, by the system's user for it; none when the caller is not root.
    pub users: BTreeMap<&'static str, Result<Option<u32>, String>>,
    /// The directories.
    pub directories: Vec<Directory>,
    /// Free bytes per file system, named by the directory there.
    pub disk: Vec<(PathBuf, u64)>,
    /// Bytes that new processes may have, this environment's own included.
    pub memory: Option<u64>,
    /// The Docker engine's version, or why there is none.
    pub docker: Result<String, String>,
    /// The profile's ports.
    pub ports: Vec<Port>,
}

/// Decides on what was seen, in the order in which a person would fix it.
pub fn evaluate(needed: &Needed, seen: &Observed, system: &System) -> Vec<Check> {
    let fetches = format!("fetches {}", text::list(&needed.maven));
    let mut checks = vec![java(seen, system), maven(fetches, seen, system)];
    checks.extend(needed.programs.iter().map(|it| program(it, seen, system)));
    checks.extend(needed.refusals.iter().enumerate().filter_map(|(at, it)| {
        let mut check = user(it, seen, system)?;
        // The first keeps the plain id, whichever type it is of.
        if at > 0 {
            check.id = format!("user.{}", it.user);
        }
        Some(check)
    }));
    checks.extend(seen.directories.iter().map(directory));
    checks.extend(seen.disk.iter().map(|(path, free)| disk(path, *free)));
    checks.push(memory(&needed.memory, seen.memory));
    checks.push(docker(&seen.docker));
    checks.extend(seen.ports.iter().map(port));
    checks
}

/// What every platform needs: what is not here goes into an image, which is made here.
pub fn evaluate_shared(seen: &Observed, system: &System) -> Vec<Check> {
    let fetches = "fetches Debezium for the workers' image".into();
    let mut checks = vec![maven(fetches, seen, system)];
    checks.extend(seen.directories.iter().map(directory));
    checks.extend(seen.disk.iter().map(|(path, free)| disk(path, *free)));
    checks
}

fn java(seen: &Observed, system: &System) -> Check {
    let minimum = java::MINIMUM;
    let check = Check::new(
        "java",
        "java",
        format!("Kafka and Connect run on it: {minimum} or newer"),
    );
    let at_home = |text: &str| seen.java_home.as_ref().map(|home| text.replace("{}", home));
    let Some(found) = &seen.java else {
        let hint = at_home("JAVA_HOME={} has no bin/java; unset it or correct it");
        let check = check.status(Status::Missing).install(system, Tool::Java);
        return check.hint_if(hint);
    };
    let check = check.found(found);
    match found.version.as_deref().and_then(java::major) {
        None => check
            .status(Status::Unknown)
            .message("its version could not be found out"),
        Some(major) if major < minimum => {
            let hint = at_home("JAVA_HOME={} chooses it; unset it or point it at a newer one");
            let check = check.status(Status::TooOld).install(system, Tool::Java);
            check.hint_if(hint)
        }
        Some(_) => check,
    }
}

fn maven(why: String, seen: &Observed, system: &System) -> Check {
    let check = Check::new("maven", "mvn", why);
    match &seen.maven {
        None => check.status(Status::Missing).install(system, Tool::Maven),
        Some(found) => check.found(found),
    }
}

/// A program that runs a component, or what there is without it.
fn program(program: &InPath, seen: &Observed, system: &System) -> Check {
    let check = Check::new(program.name, program.name, program.why);
    let found = seen.programs.get(program.name);
    match (found, program.without) {
        (Some(found), _) => check.found(found),
        (None, Without::Python { why, oldest }) => {
            let instead = format!("a `{}` binary in PATH does instead", program.name);
            python(why, oldest, &instead, seen, system)
        }
        (None, Without::LeftOut { packages, page }) => {
            let mut packages = packages.iter();
            let packages = packages.find(|(manager, _)| system.manager == Some(*manager));
            let check = check
                .status(Status::OptionalMissing)
                .packages(system, packages.map_or(&[], |(_, packages)| packages));
            match check.install {
                Some(_) => check,
                None => check.hint(page),
            }
        }
    }
}

fn python(why: &str, oldest: (u32, u32), instead: &str, seen: &Observed, system: &System) -> Check {
    let (major, minor) = oldest;
    let why = format!("{why}: {major}.{minor} or newer, with venv and ensurepip");
    let check = Check::new("python", "python3", why);
    let Some(python) = &seen.python else {
        return check
            .status(Status::Missing)
            .install(system, Tool::Python)
            .hint(instead);
    };
    let check = check.found(&python.found);
    let lacks = match &python.lacks {
        None => return check.status(Status::Unknown).message("it did not answer"),
        Some(Err(reason)) => {
            return check
                .status(Status::Unusable)
                .message(format!("it does not run: {reason}"))
                .hint(instead);
        }
        Some(Ok(lacks)) => lacks,
    };
    let mut parts = python.found.version.as_deref().unwrap_or("0").split('.');
    let mut next = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    if (next(), next()) < oldest {
        return check
            .status(Status::TooOld)
            .install(system, Tool::Python)
            .hint(instead);
    }
    if lacks.is_empty() {
        return check;
    }
    check
        .status(Status::Missing)
        .message(format!("without {}", lacks.join(" and ")))
        .install(system, Tool::PythonVenv)
        .hint(instead)
}

fn user(who: &RefusesRoot, seen: &Observed, system: &System) -> Option<Check> {
    let why = format!("{} refuses to run as root", who.title);
    let check = Check::new("user", "user", why);
    match seen.users.get(who.user)? {
        Ok(None) => None,
        Ok(Some(uid)) => Some(check.message(format!("user id {uid} instead of root"))),
        Err(reason) => {
            let command = system.create_user(who.user);
            let mut check = check.status(Status::Missing).message(reason);
            check.install = Some(command.join(" "));
            check.fix = Some(Fix::Command(command));
            Some(check)
        }
    }
}

fn directory(directory: &Directory) -> Check {
    let why = match directory.id {
        "state" => "data, logs and passwords of this profile",
        _ => "downloads, shared by all profiles",
    };
    let mut check = Check::new(directory.id, format!("{} directory", directory.id), why);
    check.path.clone_from(&directory.path);
    if let Some((problem, hint)) = &directory.problem {
        check = check.status(Status::Unusable).message(problem);
        check.hint.clone_from(hint);
    }
    check
}

fn disk(path: &std::path::Path, free: u64) -> Check {
    let why = format!("{} wanted for downloads and data", text::bytes(DISK));
    let mut check = Check::new("disk", "disk", why).message(format!("{} free", text::bytes(free)));
    check.path = Some(path.to_owned());
    match free {
        DISK.. => check,
        _ => check.status(Status::Low),
    }
}

fn memory(keys: &[String], available: Option<u64>) -> Check {
    let why = format!(
        "{} wanted for two JVMs and the databases",
        text::bytes(MEMORY)
    );
    let check = Check::new("memory", "memory", why);
    let Some(bytes) = available else {
        return check.status(Status::Unknown);
    };
    let check = check.message(format!("{} available", text::bytes(bytes)));
    match bytes {
        MEMORY.. => check,
        _ => check
            .status(Status::Low)
            .hint(format!("end something, or lower {}", text::list(keys))),
    }
}

fn docker(engine: &Result<String, String>) -> Check {
    let check = Check::new(
        "docker",
        "docker",
        "optional: the `kind` platform needs an engine, `host` does not",
    );
    match engine {
        Ok(version) => check.version(version),
        Err(reason) => check.status(Status::OptionalMissing).message(reason),
    }
}

pub(crate) fn port(port: &Port) -> Check {
    let check = Check::new(
        format!("port.{}", port.key),
        format!("port {}", port.number),
        port.key.as_str(),
    );
    match &port.holder {
        Holder::Nobody => check.message("free"),
        Holder::Ours(pid) => check.message(format!("ours, pid {pid}")),
        Holder::Other(owner) => check
            .status(Status::Unusable)
            .message(format!("taken by {owner}"))
            .hint("end that process, or run: cargo xtask up --ports auto"),
    }
}

/// The commands that fix what blocks, with one call of the package manager for all packages.
pub fn fixes(checks: &[Check], system: &System) -> Vec<Vec<String>> {
    let mut packages: Vec<&str> = Vec::new();
    let mut commands: Vec<Vec<String>> = Vec::new();
    for fix in checks
        .iter()
        .filter(|check| check.status.blocks())
        .filter_map(|check| check.fix.as_ref())
    {
        match fix {
            Fix::Packages(more) => {
                let new = more.iter().filter(|package| !packages.contains(*package));
                packages.extend(new.copied().collect::<Vec<_>>());
            }
            Fix::Command(command) => commands.push(command.clone()),
        }
    }
    if let Some(install) = system.install(&packages) {
        commands.splice(0..0, system.refresh().into_iter().chain([install]));
    }
    commands
}

#[cfg(test)]
mod tests;
