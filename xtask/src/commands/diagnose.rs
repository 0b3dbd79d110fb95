//! `diagnose`: what is wrong, why, and the next command.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::{context, reconcile, stdout, steps};
use crate::cli::{Diagnose, Global};
use crate::diagnose::facts::{Facts, WAIT};
use crate::diagnose::{self, Diagnosis, Finding, Remedy, Severity, Unseen};
use crate::environment::Environment;
use crate::error::{Code, Error, Exit, Result};
use crate::operate::{bundle, fix};
use crate::platform::host::lock;
use crate::printed;
use crate::report::text::{Ink, Palette};

/// How many lines of evidence a finding shows.
const SHOWN: usize = 6;

pub(super) async fn run(global: &Global, args: &Diagnose) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    if let Some(subject) = &args.subject {
        named(&env, subject)?;
    }
    let wait = args.wait;
    let (mut facts, mut diagnosis) = diagnose::run(&env, wait).await;
    let mut fixed = Vec::new();
    if args.fix {
        fixed = mend(global, &env, &diagnosis).await?;
        if !fixed.is_empty() {
            (facts, diagnosis) = diagnose::run(&env, wait).await;
        }
    }
    if args.data {
        let subject = args.subject.as_ref();
        diagnosis = compare(&env, &mut facts, diagnosis, subject).await?;
    }
    if let Some(path) = &args.bundle {
        bundle::write(&env, &facts, &diagnosis, path).await?;
    }
    let sound = diagnosis.is_sound();
    if let Some(subject) = &args.subject {
        diagnosis.narrow(&facts, subject);
    }
    let mut value = json!(diagnosis);
    value["sound"] = json!(sound);
    value["fixed"] = json!(fixed);
    value["bundle"] = json!(args.bundle);
    stdout::answer(global.output, value, || {
        let text = describe(&diagnosis, stdout::palette());
        match &args.bundle {
            Some(path) => format!("{text}\nwrote {}\n", path.display()),
            None => text,
        }
    })?;
    Ok(stdout::ended(sound, Exit::Failed))
}

/// Compares the rows of the flows, and judges again. Where changes do not arrive there is nothing to learn: the fence
/// would not arrive either.
async fn compare(
    env: &Arc<Environment>,
    facts: &mut Facts,
    mut diagnosis: Diagnosis,
    subject: Option<&String>,
) -> Result<Diagnosis> {
    if diagnosis.is_broken() {
        diagnosis.unknown.push(Unseen {
            fact: "rows".into(),
            why: "they are compared when changes arrive".into(),
        });
        return Ok(diagnosis);
    }
    let flows = env.profile.flows.keys();
    let named = subject.filter(|it| env.profile.flows.contains_key(*it));
    let flows = flows.filter(|flow| named.is_none_or(|it| it == *flow));
    facts.rows = reconcile::flows(env, flows).await?.tables;
    Ok(diagnose::judge_as_printed(facts))
}

/// What breaks the pipeline, for commands that met it.
pub(super) async fn broken(env: &Arc<Environment>) -> Vec<Finding> {
    let (_, diagnosis) = diagnose::run(env, WAIT).await;
    let findings = diagnosis.findings.into_iter();
    findings
        .filter(|it| it.severity == Severity::Broken)
        .collect()
}

/// Findings for people.
pub(super) fn lines(findings: &[Finding], palette: Palette) -> String {
    findings
        .iter()
        .map(|finding| one(finding, palette))
        .collect()
}

/// Refuses a name that nothing has.
fn named(env: &Environment, subject: &str) -> Result<()> {
    let connectors = env.profile.connectors.keys().map(String::as_str);
    let flows = env.profile.flows.keys().map(String::as_str);
    let components = env.profile.components.keys().map(String::as_str);
    let known: Vec<&str> = components.chain(connectors).chain(flows).collect();
    if known.contains(&subject) {
        return Ok(());
    }
    let what = format!("there is no component, connector or flow `{subject}`");
    let all = format!("there are: {}", known.join(", "));
    Err(Error::new(Code::Usage, what).meant(subject, known, all))
}

/// Does what fixes the findings, each once.
async fn mend(
    global: &Global,
    env: &Arc<Environment>,
    diagnosis: &Diagnosis,
) -> Result<Vec<String>> {
    let mut done: Vec<String> = Vec::new();
    let _lock = lock::take(&env.dirs.lock(), "cargo xtask diagnose --fix")?;
    for finding in &diagnosis.findings {
        let Some(fix) = &finding.fix else { continue };
        let command = fix.command();
        if done.contains(&command) {
            continue;
        }
        let shown = printed::ours(&command);
        eprintln!("{} {}: {shown}", finding.code, finding.subject);
        steps::run(global, fix::plan(env, fix)?)
            .await
            .map_err(|error| match error.hint {
                Some(_) => error,
                None => error.hint("cargo xtask diagnose shows what is left"),
            })?;
        done.push(command);
    }
    Ok(done)
}

/// The diagnosis for people.
pub(super) fn describe(diagnosis: &Diagnosis, palette: Palette) -> String {
    let mut text = String::new();
    if diagnosis.findings.is_empty() && diagnosis.unknown.is_empty() {
        let fine = palette.ink(Ink::Green, "no problem found");
        return format!("{}: {fine}\n", diagnosis.profile);
    }
    for finding in &diagnosis.findings {
        text += &one(finding, palette);
    }
    // What a cause explains need not be said again.
    let explained = |fact: &str| {
        let mut grave = diagnosis
            .findings
            .iter()
            .filter(|it| it.severity == Severity::Broken);
        grave.any(|it| it.subject.name() == fact || fact.starts_with("offsets of"))
    };
    let open = diagnosis.unknown.iter().filter(|it| !explained(&it.fact));
    for unseen in open {
        let mark = palette.ink(Ink::Dim, "? not known:");
        text += &format!("{mark} {}: {}\n", unseen.fact, unseen.why);
    }
    text
}

/// One finding for people.
fn one(finding: &Finding, palette: Palette) -> String {
    let (mark, ink) = match finding.severity {
        Severity::Broken => ("✗", Ink::Red),
        Severity::Degraded => ("!", Ink::Yellow),
    };
    let head = palette.ink(ink, format!("{mark} {}", finding.code));
    let mut text = format!("{head} {}: {}\n", finding.subject, finding.cause);
    for line in finding.evidence.iter().take(SHOWN) {
        text += &palette.ink(Ink::Dim, format!("  | {line}\n"));
    }
    for follows in &finding.consequences {
        let code = palette.ink(Ink::Dim, follows.code);
        text += &format!("  └ {code} {}: {}\n", follows.subject, follows.cause);
    }
    let wait = match finding.remedy {
        Remedy::Wait if !finding.next.starts_with("wait") => "it may pass by itself; else: ",
        _ => "",
    };
    let more = printed::ours(&format!("cargo xtask explain {}", finding.code));
    text += &format!("  next: {wait}{}\n  more: {more}\n\n", finding.next);
    text
}
