//! `doctor`: check this machine's prerequisites, and with `--fix` install what is missing.

use std::borrow::Cow;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::{context, stdout};
use crate::cli::{Doctor, Global};
use crate::components::of;
use crate::error::{Code, Error, Result};
use crate::platform::host::prerequisites::{self, Check, Needed, Rights, Status, System};
use crate::platform::kind::prerequisites as kind;
use crate::platform::kubernetes::prerequisites as kubernetes;
use crate::platform::{self, Platform};
use crate::process::{Job, run_visible};
use crate::profile::combinations::{InUse, refuse};
use crate::profile::parts;
use crate::profile::schema::PlatformChoice;
use crate::profile::{self, Loaded};
use crate::report::Output;
use crate::report::text::Ink;
use crate::up::cluster::kind_ports;

/// Where the message begins: after the mark and the longest name.
const NAME: usize = 15;
/// What was found may be this wide before its reason leaves the column.
const FOUND: usize = 58;

pub(super) async fn run(global: &Global, args: &Doctor) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?;
    let platform = context::choose_platform(&loaded).await?.platform;
    check(&loaded, platform, args, global.output).await
}

/// Checks what the profile needs on a platform, whatever runs already.
///
/// # Errors
/// Something is missing, or cannot be installed.
pub(super) async fn check(
    loaded: &Loaded,
    platform: Platform,
    args: &Doctor,
    output: Output,
) -> Result<ExitCode> {
    let system = System::here();
    let mut checks = look(loaded, platform, &system).await;
    let mut commands = prerequisites::fixes(&checks, &system);
    if args.fix && !commands.is_empty() {
        if output == Output::Text {
            stdout::print(&table(&checks))?;
        }
        fix(&commands, &system, args.yes).await?;
        checks = look(loaded, platform, &system).await;
        commands = prerequisites::fixes(&checks, &system);
    }
    let error = blocking(&checks, !commands.is_empty() && !args.fix);
    let commands: Vec<String> = commands.iter().map(|command| command.join(" ")).collect();
    let document = json!({
        "profile": loaded.name,
        "platform": platform.name(),
        "system": { "name": system.name, "package_manager": system.manager },
        "ok": error.is_none(),
        "checks": checks,
        "fix": commands,
        "error": error.as_ref().map(Error::to_json),
    });
    let fine = stdout::answer(output, document, || table(&checks))?;
    match (error, output) {
        (None, _) => Ok(fine),
        (Some(error), Output::Text) => Err(error),
        // One document: the error is part of it.
        (Some(error), Output::Json) => Ok(error.code.exit().into()),
    }
}

/// Installs what a first `up` on this machine needs and does not find, after asking, or with `yes` at once. What a package
/// manager does not help with, the command itself says.
///
/// # Errors
/// There is no terminal to ask at, or it cannot be installed.
pub(super) async fn provide(loaded: &Loaded, yes: bool) -> Result<()> {
    let system = System::here();
    let checks = look(loaded, Platform::Host, &system).await;
    let commands = prerequisites::fixes(&checks, &system);
    let Some(error) = blocking(&checks, true).filter(|_| !commands.is_empty()) else {
        return Ok(());
    };
    if !yes && !std::io::stdin().is_terminal() {
        return Err(error.hint("cargo xtask up --yes installs it first"));
    }
    eprint!("{}", table(&checks));
    fix(&commands, &system, yes).await
}

async fn look(loaded: &Loaded, platform: Platform, system: &System) -> Vec<Check> {
    let profile = &loaded.profile;
    if platform == Platform::Host {
        let components = profile.components.values().filter(|it| !it.is_external());
        let needed = Needed::of(components.map(|it| (it.path.as_str(), of(it).needs())));
        let ports = profile::all_ports(profile);
        let seen = prerequisites::observe(&loaded.name, &needed, ports).await;
        return prerequisites::evaluate(&needed, &seen, system);
    }
    let nothing = Needed::default();
    let shared = prerequisites::observe(&loaded.name, &nothing, Vec::new());
    let mut checks = if platform == Platform::Kind {
        kind(loaded).await
    } else {
        let seen = kubernetes::observe(profile.kubernetes.context.as_deref()).await;
        vec![kubernetes::evaluate(&seen)]
    };
    checks.extend(prerequisites::evaluate_shared(&shared.await, system));
    checks
}

async fn kind(loaded: &Loaded) -> Vec<Check> {
    let profile = &loaded.profile;
    let source = platform::kind::Source {
        version: profile.versions.of(&parts::KIND).to_owned(),
        root: context::root(),
        cache: PathBuf::new(),
    };
    let name = profile.kind_name(&loaded.name);
    let image = platform::kind::node_image(profile.versions.of(&parts::KIND_NODE));
    let seen = kind::observe(&source, &name, &image, &kind_ports(profile)).await;
    let refused = seen.docker.as_ref().ok().and_then(|facts| {
        let used = InUse::of(profile, PlatformChoice::Kind, Some(facts.cgroup_version));
        refuse(&loaded.tree, &used).err()
    });
    kind::evaluate(&seen, refused.as_ref())
}

/// The error that the command ends with, if `up` would fail.
fn blocking(checks: &[Check], fixable: bool) -> Option<Error> {
    let blocking: Vec<&Check> = checks
        .iter()
        .filter(|check| check.status.blocks())
        .collect();
    let first = blocking.first()?;
    let code = if blocking.iter().all(|check| check.id.starts_with("port.")) {
        Code::PortTaken
    } else {
        Code::Missing
    };
    let names: Vec<&str> = blocking.iter().map(|check| check.name.as_str()).collect();
    let error = Error::new(code, format!("not as it should be: {}", names.join(", ")));
    Some(if fixable {
        error.hint("cargo xtask doctor --fix")
    } else {
        match first.install.as_ref().or(first.hint.as_ref()) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })
}

/// Runs the commands after the user agreed to them.
async fn fix(commands: &[Vec<String>], system: &System, yes: bool) -> Result<()> {
    eprintln!("\nTo install what is missing on {}:", system.name);
    for command in commands {
        eprintln!("  {}", command.join(" "));
    }
    // Homebrew refuses root and needs no rights.
    if system.rights == Rights::None && std::env::consts::OS != "macos" {
        let what = "installing needs root, and there is no `sudo` here";
        return Err(Error::new(Code::Missing, what)
            .hint("run the commands above as root, then: cargo xtask doctor"));
    }
    if !yes {
        confirm().await?;
    }
    for command in commands {
        let Some((program, args)) = command.split_first() else {
            continue;
        };
        eprintln!("+ {}", command.join(" "));
        run_visible(&Job::new(program, args))
            .await
            .map_err(|error| {
                Error::new(Code::Process, error.to_string())
                    .detail(format!("command: {}", command.join(" ")))
                    .hint("fix what it says above, then: cargo xtask doctor --fix")
            })?;
    }
    Ok(())
}

async fn confirm() -> Result<()> {
    if !std::io::stdin().is_terminal() {
        let what = "`doctor --fix` asks before it installs, and there is no terminal to ask at";
        return Err(Error::new(Code::Usage, what).hint("cargo xtask doctor --fix --yes"));
    }
    eprint!("Run them? [y/N] ");
    let io = |source| Error::io("read", "the answer", &source);
    std::io::stderr().flush().map_err(io)?;
    // On a thread of its own, so that Ctrl-C is heard meanwhile.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut answer)
            .map(|_| answer)
    });
    let answer = answer
        .await
        .map_err(|error| Error::new(Code::Io, error.to_string()))?
        .map_err(io)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    Err(
        Error::new(Code::Missing, "not confirmed; nothing was changed")
            .hint("run the commands above yourself, then: cargo xtask doctor"),
    )
}

fn table(checks: &[Check]) -> String {
    let found: Vec<String> = checks.iter().map(found).collect();
    let width = found
        .iter()
        .map(|text| text.chars().count())
        .filter(|width| *width <= FOUND)
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (check, found) in checks.iter().zip(&found) {
        let mark = mark(check.status);
        let line = format!(
            "{mark} {:<NAME$}  {found:<width$}  {}",
            check.name, check.why
        );
        text.push_str(line.trim_end());
        text.push('\n');
        if check.status == Status::Ok {
            continue;
        }
        for (label, value) in [("install", &check.install), ("next", &check.hint)] {
            if let Some(value) = value {
                text.push_str(&format!("  {:<NAME$}  {label}: {value}\n", ""));
            }
        }
    }
    text
}

/// What was found, in words.
fn found(check: &Check) -> String {
    let status = match check.status {
        Status::Ok | Status::Unusable => None,
        // The message says it better.
        Status::Missing | Status::OptionalMissing if check.message.is_some() => None,
        Status::Missing | Status::OptionalMissing => Some("not found"),
        Status::TooOld => Some("too old"),
        Status::Low => Some("low"),
        Status::Unknown => Some("unknown"),
    };
    let parts = [
        status.map(str::to_owned),
        check.version.clone(),
        check.path.as_ref().map(|path| path.display().to_string()),
        check.message.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn mark(status: Status) -> Cow<'static, str> {
    let (ink, mark) = match status {
        Status::Ok => (Ink::Green, "✓"),
        Status::Missing | Status::TooOld | Status::Unusable => (Ink::Red, "✗"),
        Status::Low | Status::Unknown => (Ink::Yellow, "!"),
        Status::OptionalMissing => (Ink::Dim, "-"),
    };
    stdout::palette().ink(ink, mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, status: Status) -> Check {
        Check {
            id: id.into(),
            name: id.into(),
            status,
            version: None,
            path: None,
            message: None,
            why: "why".into(),
            install: None,
            hint: Some("do something".into()),
            fix: None,
        }
    }

    #[test]
    fn optional_and_low_do_not_fail() {
        let fine = [
            Status::Ok,
            Status::Low,
            Status::Unknown,
            Status::OptionalMissing,
        ];
        let checks = fine.map(|status| check("x", status));
        assert!(blocking(&checks, false).is_none());
    }

    #[test]
    fn the_error_names_what_and_the_next_command() {
        let java = check("java", Status::Missing);
        let port = check("port.kafka.port", Status::Unusable);
        let error = blocking(&[java, port.clone()], true).expect("an error");
        assert_eq!(error.code, Code::Missing);
        assert_eq!(error.hint.as_deref(), Some("cargo xtask doctor --fix"));
        let error = blocking(&[port], false).expect("an error");
        assert_eq!(error.code, Code::PortTaken);
        assert_eq!(error.hint.as_deref(), Some("do something"));
    }

    #[test]
    fn the_table_aligns_and_shows_what_to_do_only_where_it_is_needed() {
        let text = table(&[check("java", Status::Missing), check("mvn", Status::Ok)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].find("why"), lines[2].find("why"));
        assert!(
            lines[1].trim() == "next: do something" && lines.len() == 3,
            "{text}"
        );
    }
}
