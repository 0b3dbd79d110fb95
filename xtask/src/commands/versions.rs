//! `versions`: every pin, what it runs with, what is known about it, and what its update changes.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{context, stdout};
use crate::cli::{Global, VersionsArgs};
use crate::components;
use crate::error::{Exit, Result};
use crate::profile::advisories::{Advisories, Known};
use crate::profile::pins::{Pin, keys, pins};
use crate::profile::{self, Loaded, Selection};

/// Where a pin stands that no profile has made its own.
const DEFAULTS: &str = "profiles/versions.yaml";

pub(super) fn run(global: &Global, args: &VersionsArgs) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?;
    let advisories = Advisories::read(&context::root(), &keys(&loaded.tree))?;
    let pins = pins(&loaded, &advisories);
    let findings = findings(&loaded, &pins, &advisories)?;
    let object = json!({
        "profile": loaded.name,
        "checked": advisories.checked,
        "vulnerable": findings.vulnerable,
        "kept": findings.kept,
        "pins": pins.iter().map(to_json).collect::<Vec<_>>(),
    });
    stdout::answer(global.output, object, || match args.check {
        true => checked(&loaded, &advisories, &findings),
        false => pins.iter().map(text).collect(),
    })?;
    let fine = !args.check || findings.vulnerable.is_empty();
    Ok(stdout::ended(fine, Exit::Differences))
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

fn checked(loaded: &Loaded, advisories: &Advisories, found: &Findings) -> String {
    let mut text = String::new();
    for line in &found.vulnerable {
        text += &format!("vulnerable: {line}\n");
    }
    for line in &found.kept {
        text += &format!("kept by its own profile: {line}\n");
    }
    if found.vulnerable.is_empty() {
        let (name, day) = (&loaded.name, &advisories.checked);
        text += &format!("{name}: no pin in use has a known advisory (as of {day})\n");
    }
    text
}

fn text(pin: &Pin<'_>) -> String {
    let mut text = format!("{} {}\n", pin.key, pin.version);
    if !pin.used {
        text += "  not used by this profile\n";
    }
    for with in &pin.runs_with {
        text += &format!("  runs with   {with}\n");
    }
    for known in &pin.known {
        text += &format!("  VULNERABLE  {}\n", described(known));
    }
    for (place, what) in [("host", pin.update.host), ("clusters", pin.update.clusters)] {
        if !what.is_empty() {
            text += &format!("  on update   {place}: {what}\n");
        }
    }
    text
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
