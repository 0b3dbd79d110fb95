//! `versions`: every pin, what it runs with, what is known about it, and what its update changes.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::context;
use super::stdout::say;
use crate::cli::{Global, VersionsArgs};
use crate::components;
use crate::error::{Exit, Result};
use crate::profile::advisories::{Advisories, Known};
use crate::profile::pins::{Pin, keys, pins};
use crate::profile::{self, Loaded, Selection};
use crate::report::Output;

/// Where a pin stands that no profile has made its own.
const DEFAULTS: &str = "profiles/versions.yaml";

pub(super) fn run(global: &Global, args: &VersionsArgs) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?;
    let advisories = Advisories::read(&context::root(), &keys(&loaded.tree))?;
    let pins = pins(&loaded, &advisories);
    let findings = findings(&loaded, &pins, &advisories)?;
    match global.output {
        Output::Json => {
            let pins: Vec<Value> = pins.iter().map(to_json).collect();
            say!(
                "{}",
                json!({
                    "profile": loaded.name,
                    "checked": advisories.checked,
                    "vulnerable": findings.vulnerable,
                    "kept": findings.kept,
                    "pins": pins,
                })
            );
        }
        Output::Text if args.check => print_check(&loaded, &advisories, &findings),
        Output::Text => pins.iter().for_each(print),
    }
    Ok(match args.check && !findings.vulnerable.is_empty() {
        true => ExitCode::from(Exit::Differences as u8),
        false => ExitCode::SUCCESS,
    })
}

/// What is known to be vulnerable, one line each.
#[derive(Debug, Default)]
struct Findings {
    /// Of the selected profile, and of the defaults that any profile of the repository uses.
    vulnerable: BTreeSet<String>,
    /// What other profiles of the repository have pinned themselves.
    kept: BTreeSet<String>,
}

fn findings(loaded: &Loaded, own: &[Pin<'_>], advisories: &Advisories) -> Result<Findings> {
    let mut found = Findings::default();
    found.vulnerable.extend(vulnerable(own).map(line));
    let root = context::root();
    for name in profile::names(&root) {
        if name == loaded.name {
            continue;
        }
        let selection = Selection {
            profile: name.clone(),
            set: Vec::new(),
        };
        let other = components::load(&root, &selection)?;
        for pin in vulnerable(&pins(&other, advisories)) {
            match pin.origin.file == DEFAULTS {
                true => found.vulnerable.insert(line(pin)),
                false => found.kept.insert(format!("{name}: {}", line(pin))),
            };
        }
    }
    Ok(found)
}

fn vulnerable<'a>(pins: &'a [Pin<'_>]) -> impl Iterator<Item = &'a Pin<'a>> {
    pins.iter().filter(|pin| pin.used && !pin.known.is_empty())
}

fn line(pin: &Pin<'_>) -> String {
    let ids: Vec<&str> = pin
        .known
        .iter()
        .flat_map(|known| known.advisory.ids.iter().map(String::as_str))
        .collect();
    format!(
        "{} {} ({}): {}",
        pin.key,
        pin.version,
        pin.origin,
        ids.join(", ")
    )
}

fn print_check(loaded: &Loaded, advisories: &Advisories, found: &Findings) {
    for line in &found.vulnerable {
        say!("vulnerable: {line}");
    }
    for line in &found.kept {
        say!("kept by its own profile: {line}");
    }
    if found.vulnerable.is_empty() {
        say!(
            "{}: no pin in use has a known advisory (as of {})",
            loaded.name,
            advisories.checked
        );
    }
}

fn print(pin: &Pin<'_>) {
    say!("{} {}", pin.key, pin.version);
    if !pin.used {
        say!("  not used by this profile");
    }
    for with in &pin.runs_with {
        say!("  runs with   {with}");
    }
    for known in &pin.known {
        say!("  VULNERABLE  {}", described(known));
    }
    for (place, text) in [("host", pin.update.host), ("clusters", pin.update.clusters)] {
        if !text.is_empty() {
            say!("  on update   {place}: {text}");
        }
    }
}

fn described(known: &Known<'_>) -> String {
    let advisory = known.advisory;
    let fixed = match known.fixed {
        Some(version) => format!("fixed in {version}"),
        None => "no fix yet".into(),
    };
    format!(
        "{}: {}; {fixed} ({}, {})",
        advisory.ids.join(", "),
        advisory.what,
        advisory.date,
        advisory.source
    )
}

fn to_json(pin: &Pin<'_>) -> Value {
    let known: Vec<Value> = pin
        .known
        .iter()
        .map(|known| {
            json!({
                "ids": known.advisory.ids,
                "what": known.advisory.what,
                "fixed": known.fixed,
                "date": known.advisory.date,
                "source": known.advisory.source,
            })
        })
        .collect();
    json!({
        "pin": pin.key,
        "version": pin.version,
        "origin": pin.origin.to_string(),
        "used": pin.used,
        "runs_with": pin.runs_with,
        "advisories": known,
        "on_update": { "host": pin.update.host, "clusters": pin.update.clusters },
    })
}
