//! Looks at this machine, at everything at once. Changes nothing.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;

use super::{Directory, Found, Holder, Needed, Observed, Port, Python, System, Wanted};
use crate::docker;
use crate::error::Error;
use crate::host::daemon::{self, Found as Process};
use crate::host::user::{self, RefusesRoot, Unprivileged};
use crate::host::{Dirs, java, ports};
use crate::process::{Job, ProcessError, capture};

/// A program that does not even tell its version in this time is taken as it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// Prints Python's version and the modules that it lacks.
const ASK_PYTHON: &str = "
import sys
words = ['.'.join(map(str, sys.version_info[:3]))]
for name in ('venv', 'ensurepip'):
    try:
        __import__(name)
    except ImportError:
        words.append(name)
print(' '.join(words))
";

impl System {
    /// This system.
    pub fn here() -> System {
        let os_release = ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default();
        System::detect(std::env::consts::OS, &os_release, user::is_root(), |name| {
            which::which(name).is_ok()
        })
    }
}

/// Sees everything that [`super::evaluate`] decides on. `wanted` are the profile's ports:
/// component, key and number.
pub async fn observe(environment: &str, needed: &Needed, wanted: Vec<Wanted>) -> Observed {
    let dirs = Dirs::of(environment);
    let refusals = needed.refusals.clone();
    let programs = needed.programs.iter().map(|it| asked(it.name));
    let (java, maven, programs, python, docker, here) = tokio::join!(
        java(),
        maven(),
        join_all(programs),
        python(),
        docker::version(),
        tokio::task::spawn_blocking(move || here(dirs, &refusals, &wanted)),
    );
    let here = here.unwrap_or_default();
    Observed {
        java,
        java_home: std::env::var("JAVA_HOME")
            .ok()
            .filter(|home| !home.is_empty()),
        maven,
        programs: programs.into_iter().flatten().collect(),
        python,
        users: here.users,
        directories: here.directories,
        disk: here.disk,
        memory: here.memory,
        docker,
        ports: here.ports,
    }
}

/// Runs a program and returns all that it says; none if it does not end in time.
async fn ask(program: &Path, args: &[&str]) -> Option<Result<String, ProcessError>> {
    let job = Job::new(program, args.iter().copied());
    let mut said = String::new();
    let run = capture(&job, |line| {
        said.push_str(line);
        said.push('\n');
    });
    let ended = tokio::time::timeout(PATIENCE, run).await.ok()?;
    Some(ended.map(|_| said))
}

/// The first word that looks like a version: `db version v8.0.4` is 8.0.4.
fn version_in(text: &str) -> Option<String> {
    text.split_whitespace()
        .map(|word| {
            word.trim_matches(['"', ',', '(', ')'])
                .trim_start_matches('v')
        })
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .map(|word| word.trim_end_matches('.').to_owned())
}

async fn asked_at(path: PathBuf, arg: &str) -> Found {
    let said = ask(&path, &[arg]).await;
    let version = said.and_then(Result::ok).and_then(|text| version_in(&text));
    Found { path, version }
}

async fn asked(name: &'static str) -> Option<(&'static str, Found)> {
    let path = which::which(name).ok()?;
    Some((name, asked_at(path, "--version").await))
}

async fn java() -> Option<Found> {
    let java = java::find()?;
    match java.version {
        Some(version) => Some(Found {
            path: java.program,
            version: Some(version),
        }),
        None => Some(asked_at(java.program, "-version").await),
    }
}

async fn maven() -> Option<Found> {
    let path = which::which("mvn").ok()?;
    let real = path.canonicalize().unwrap_or_else(|_| path.clone());
    match maven_version(&real) {
        Some(version) => Some(Found {
            path: real,
            version: Some(version),
        }),
        None => Some(asked_at(path, "--version").await),
    }
}

/// Maven's version as its core library holds it: asking Maven would start a JVM.
fn maven_version(program: &Path) -> Option<String> {
    let home = program.parent()?.parent()?;
    let core = ["lib", "libexec/lib"].iter().find_map(|lib| {
        let entries = std::fs::read_dir(home.join(lib)).ok()?;
        entries.flatten().map(|entry| entry.path()).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("maven-core-") && name.ends_with(".jar")
        })
    })?;
    let mut jar = zip::ZipArchive::new(std::fs::File::open(core).ok()?).ok()?;
    let mut text = String::new();
    jar.by_name("META-INF/maven/org.apache.maven/maven-core/pom.properties")
        .ok()?
        .read_to_string(&mut text)
        .ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("version="))
        .map(|version| version.trim().to_owned())
}

async fn python() -> Option<Python> {
    let path = which::which("python3").ok()?;
    let said = ask(&path, &["-c", ASK_PYTHON]).await;
    let mut found = Found {
        path,
        version: None,
    };
    let lacks = said.map(|said| match said {
        Ok(text) => {
            let mut words = text.split_whitespace().map(str::to_owned);
            found.version = words.next();
            Ok(words.collect())
        }
        Err(error) => Err(error
            .tail()
            .into_iter()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or_else(|| error.to_string())),
    });
    Some(Python { found, lacks })
}

/// What is seen without running anything.
#[derive(Default)]
struct Here {
    users: BTreeMap<&'static str, Result<Option<u32>, String>>,
    directories: Vec<Directory>,
    disk: Vec<(PathBuf, u64)>,
    memory: Option<u64>,
    ports: Vec<Port>,
}

fn here(dirs: Result<Dirs, Error>, refusals: &[RefusesRoot], wanted: &[Wanted]) -> Here {
    let mut users = BTreeMap::new();
    let mut strangers = Vec::new();
    for who in refusals {
        let found = who.unprivileged().map_err(|error| error.message);
        strangers.extend(found.clone().ok().flatten());
        users.insert(who.user, found.map(|it| it.map(|it| it.user.uid)));
    }
    let dirs = match dirs {
        Ok(dirs) => dirs,
        Err(error) => {
            let problem = Some((error.message, error.hint));
            let directory = |id| Directory {
                id,
                path: None,
                problem: problem.clone(),
            };
            return Here {
                users,
                directories: vec![directory("state"), directory("cache")],
                memory: memory(),
                ..Here::default()
            };
        }
    };
    let directories = [("state", &dirs.state), ("cache", &dirs.cache)]
        .map(|(id, path)| Directory {
            id,
            path: Some(path.clone()),
            problem: problem(path, &strangers),
        })
        .to_vec();
    let running: u64 = daemon::recorded(&dirs)
        .unwrap_or_default()
        .iter()
        .filter_map(|component| match daemon::find(&dirs, component) {
            Ok(Process::Running(_, seen)) => Some(seen.resident),
            _ => None,
        })
        .sum();
    Here {
        users,
        directories,
        disk: disk(&[&dirs.state, &dirs.cache]),
        memory: memory().map(|bytes| bytes + running),
        ports: wanted
            .iter()
            .map(|own| Port {
                key: own.key.clone(),
                number: own.port,
                holder: holder(&dirs, &own.component, own.port),
            })
            .collect(),
    }
}

fn holder(dirs: &Dirs, component: &str, port: u16) -> Holder {
    if ports::is_free(port) {
        return Holder::Nobody;
    }
    let owner = ports::owner(port);
    match daemon::find(dirs, component) {
        // Another user's process has no name here; a running component's port is its own then.
        Ok(Process::Running(record, _))
            if !owner.contains("(pid ") || owner.contains(&format!("(pid {})", record.pid)) =>
        {
            Holder::Ours(record.pid)
        }
        _ => Holder::Other(owner),
    }
}

/// The directory itself, or where it would be created.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|dir| dir.symlink_metadata().is_ok())
}

fn problem(path: &Path, strangers: &[Unprivileged]) -> Option<(String, Option<String>)> {
    let places =
        || Some("choose other directories with XDG_STATE_HOME and XDG_CACHE_HOME".to_owned());
    let dir = existing(path)?;
    if !dir.is_dir() {
        return Some((format!("{} is no directory", dir.display()), places()));
    }
    #[cfg(unix)]
    {
        use rustix::fs::{Access, access};
        if let Err(error) = access(dir, Access::WRITE_OK | Access::EXEC_OK) {
            return Some((format!("cannot write {}: {error}", dir.display()), places()));
        }
    }
    let mut strangers = strangers.iter();
    let error = strangers.find_map(|it| it.check_reachable(path).err())?;
    Some((error.message, error.hint))
}

/// Free bytes of each file system that these paths are on.
#[cfg(unix)]
fn disk(paths: &[&Path]) -> Vec<(PathBuf, u64)> {
    use std::os::unix::fs::MetadataExt;
    let mut devices = Vec::new();
    let mut found = Vec::new();
    for dir in paths.iter().filter_map(|path| existing(path)) {
        let (Ok(meta), Ok(stat)) = (dir.metadata(), rustix::fs::statvfs(dir)) else {
            continue;
        };
        if !devices.contains(&meta.dev()) {
            devices.push(meta.dev());
            found.push((dir.to_owned(), stat.f_bavail * stat.f_frsize));
        }
    }
    found
}

/// Not known here.
#[cfg(not(unix))]
fn disk(_paths: &[&Path]) -> Vec<(PathBuf, u64)> {
    Vec::new()
}

/// Bytes that new processes may have.
#[cfg(target_os = "linux")]
fn memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let free = field(&read("/proc/meminfo")?, "MemAvailable:")? * 1024;
    // A container's own limit, if it has one.
    let limit = || {
        let limit: u64 = read("/sys/fs/cgroup/memory.max")?.trim().parse().ok()?;
        let used: u64 = read("/sys/fs/cgroup/memory.current")?.trim().parse().ok()?;
        let cached = field(&read("/sys/fs/cgroup/memory.stat")?, "inactive_file").unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    };
    Some(limit().map_or(free, |limit: u64| limit.min(free)))
}

/// Not known here: other systems tell it by running programs.
#[cfg(not(target_os = "linux"))]
fn memory() -> Option<u64> {
    None
}

/// The number after a name in a file of lines such as `MemAvailable:  123 kB`.
#[cfg(target_os = "linux")]
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, version) in [
            (
                "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK",
                Some("17.0.15"),
            ),
            ("db version v8.0.4\nBuild Info: {", Some("8.0.4")),
            (
                "ClickHouse local version 25.8.1.5101 (official build).",
                Some("25.8.1.5101"),
            ),
            ("Apache Maven 3.9.9 (8e8579a9e7)", Some("3.9.9")),
            ("no idea", None),
        ] {
            assert_eq!(version_in(text).as_deref(), version, "{text}");
        }
    }

    #[test]
    fn a_place_below_a_file_cannot_be_used() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("written");
        assert_eq!(problem(&dir.path().join("a/b"), &[]), None);
        let (problem, _) = problem(&file.join("a/b"), &[]).expect("a problem");
        assert!(problem.ends_with("file is no directory"), "{problem}");
        assert_eq!(disk(&[&dir.path().join("a"), dir.path()]).len(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn meminfo() {
        let text = "MemTotal:  100 kB\nMemAvailable:   23 kB\n";
        assert_eq!(field(text, "MemAvailable:"), Some(23));
        assert_eq!(field(text, "Mem"), None);
        assert!(memory().is_some_and(|bytes| bytes > 0));
    }
}
