//! `dlq redrive`: sending records back.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::no_flow;
use crate::cli::{DlqRedrive, Global};
use crate::clients::kafka::KafkaClient;
use crate::commands::{confirm, stdout, steps};
use crate::environment::Environment;
use crate::error::{Error, Exit, Result};
use crate::operate::dlq::Place;
use crate::operate::dlq::decide::{Allowed, Held, Outgoing};
use crate::operate::dlq::edit;
use crate::operate::dlq::filter::Filter;
use crate::operate::dlq::prepare::{Prepared, Wanted, prepare};
use crate::operate::dlq::redrive::{Redrive, Summary};
use crate::platform::host::lock;
use crate::report::Output;
use crate::report::text::{count, one_line};

/// How many records a person is shown of each kind.
const SHOWN: usize = 20;

pub(super) async fn run(
    global: &Global,
    env: &Arc<Environment>,
    client: &KafkaClient,
    args: &DlqRedrive,
    filter: Filter,
) -> Result<ExitCode> {
    let there = args.edit_file.as_deref().filter(|path| path.exists());
    let wanted = Wanted {
        name: args.name.clone(),
        filter,
        allowed: Allowed {
            rounds: args.rounds,
            superseded: args.include_superseded,
        },
        edits: there.map(edit::read).transpose()?,
    };
    let prepared = prepare(env, client, &wanted)
        .await
        .map_err(|error| of_flow(env, args, error))?;
    if args.dry_run {
        return shown(global.output, &prepared, Why::DryRun);
    }
    if let (Some(path), None) = (&args.edit_file, there) {
        return written(global.output, path, &prepared);
    }
    if prepared.is_idle() {
        return shown(global.output, &prepared, Why::Idle);
    }
    prepared.refuse_resting_sinks()?;
    if !args.yes && !prepared.decisions.send.is_empty() {
        let name = match prepared.queues.as_slice() {
            [only] => only,
            _ => &env.name,
        };
        let records = count(prepared.decisions.send.len(), "record");
        let what = words(&prepared, format!("send {records}")).join("\n");
        let way = "if that is what you want: add --yes; --dry-run only looks";
        confirm::typed(name, &what, way)?;
    }
    let _lock = lock::take(&env.dirs.lock(), "cargo xtask dlq redrive")?;
    // Another run may have sent some of it while this one asked.
    let prepared = prepare(env, client, &wanted).await?;
    if prepared.is_idle() {
        return shown(global.output, &prepared, Why::Idle);
    }
    prepared.refuse_resting_sinks()?;
    let redrive = Arc::new(Redrive::new(env.clone(), client.clone(), prepared));
    steps::run(global, redrive.plan()).await?;
    let summary = redrive.summary();
    stdout::answer(global.output, result(&summary), || text(&summary))?;
    Ok(stdout::ended(summary.is_fine(), Exit::Failed))
}

/// A flow's name is a name that `list` shows: it deserves its own answer.
fn of_flow(env: &Environment, args: &DlqRedrive, error: Error) -> Error {
    match &args.name {
        Some(name) if env.profile.flows.contains_key(name) => no_flow(env, name, "send back"),
        _ => error,
    }
}

fn written(output: Output, path: &Path, prepared: &Prepared) -> Result<ExitCode> {
    let send = &prepared.decisions.send;
    if send.is_empty() {
        return shown(output, prepared, Why::Idle);
    }
    edit::write(path, send)?;
    let stay = &prepared.decisions.held;
    let object = json!({ "file": path, "records": send.len(), "held": held(stay) });
    stdout::answer(output, object, || {
        format!(
            "{}: {}\nedit keys and values, remove the lines of records that should stay, then run the same \
             command again\n{}",
            path.display(),
            count(send.len(), "record"),
            held_text(stay)
        )
    })
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The user only looks.
    DryRun,
    /// There is nothing to send.
    Idle,
}

/// What would be done, or that there is nothing.
fn shown(output: Output, prepared: &Prepared, why: Why) -> Result<ExitCode> {
    let decisions = &prepared.decisions;
    let (object, begin) = match why {
        Why::Idle => (
            result(&Summary::idle(&decisions.held)),
            "nothing to send".to_owned(),
        ),
        Why::DryRun => {
            let object = json!({
                "dry_run": true,
                "send": decisions.send.iter().map(object).collect::<Vec<_>>(),
                "held": held(&decisions.held),
                "before": decisions.before.len(),
                "unproven": prepared.unproven(),
                "readers": prepared.readers,
            });
            (
                object,
                format!("would send {}", count(decisions.send.len(), "record")),
            )
        }
    };
    stdout::answer(output, object, || {
        let words = words(prepared, begin).join("\n");
        format!("{words}\n{}", held_text(&decisions.held))
    })
}

fn object(one: &Outgoing) -> serde_json::Value {
    json!({
        "from": one.from,
        "to": format!("{}/{}", one.origin.topic, one.origin.partition),
        "origin": one.origin,
        "connector": one.connector,
        "round": one.round,
        "edited": one.edited,
        "superseded": one.superseded,
        "exception": one.exception,
    })
}

fn held(held: &[(Place, Held)]) -> Vec<serde_json::Value> {
    let rows = held.iter().map(|(at, held)| {
        let mut row = json!(held);
        row["at"] = json!(at);
        row["words"] = json!(held.words());
        row
    });
    rows.collect()
}

fn words(prepared: &Prepared, begin: String) -> Vec<String> {
    let decisions = &prepared.decisions;
    let mut lines = vec![begin];
    let mut partitions: BTreeMap<(&String, i32, &String), usize> = BTreeMap::new();
    for one in &decisions.send {
        let Place {
            topic, partition, ..
        } = &one.origin;
        *partitions
            .entry((topic, *partition, &one.connector))
            .or_default() += 1;
    }
    for ((topic, partition, connector), number) in partitions {
        lines.push(format!(
            "  {number} to {topic}/{partition}, for {connector}"
        ));
    }
    for one in decisions.send.iter().take(SHOWN) {
        let mut note = match one.round {
            1 => String::new(),
            round => format!(", for the {} time", ordinal(round)),
        };
        if one.edited {
            note.push_str(", changed");
        }
        if one.superseded {
            note.push_str(", although something newer came or may have come");
        }
        let why = one.exception.as_deref().unwrap_or("?");
        let why = why.rsplit('.').next().unwrap_or(why);
        let words = format!("{} of {}: {why}{note}", one.from, one.origin);
        lines.push(format!("    {}", one_line(&words)));
    }
    if decisions.send.len() > SHOWN {
        lines.push(format!("    and {} more", decisions.send.len() - SHOWN));
    }
    if !prepared.readers.is_empty() {
        lines.push(format!(
            "  read again by {} too",
            prepared.readers.join(", ")
        ));
    }
    if !decisions.before.is_empty() {
        let came = match prepared.back_before {
            0 => String::new(),
            came => format!(", of which {came} came back"),
        };
        lines.push(format!("  {} sent before{came}", decisions.before.len()));
    }
    if prepared.unproven() > 0 {
        lines.push(format!(
            "  {} of these still to be proven",
            prepared.unproven()
        ));
    }
    lines
}

fn ordinal(number: u32) -> String {
    match number {
        2 => "second".into(),
        3 => "third".into(),
        number => format!("{number}th"),
    }
}

/// What stays, and what could be done about it; nothing where nothing does.
fn held_text(held: &[(Place, Held)]) -> String {
    if held.is_empty() {
        return String::new();
    }
    let mut text = format!("{} stay in the queue:\n", count(held.len(), "record"));
    for (at, why) in held.iter().take(SHOWN) {
        text += &format!("  {}\n", one_line(&format!("{at}: {}", why.words())));
    }
    if held.len() > SHOWN {
        let more = held.len() - SHOWN;
        text += &format!("  and {more} more: --output json lists all\n");
    }
    let any = |is: fn(&Held) -> bool| held.iter().any(|(_, why)| is(why));
    if any(|why| matches!(why, Held::CameBack { .. })) {
        text +=
            "  sending these back again needs --rounds N, and --edit-file FILE to change them\n";
    }
    if any(|why| matches!(why, Held::Superseded { .. } | Held::Unknown { .. })) {
        text += "  what is superseded would set the target back; to send it all the same: --include-superseded\n";
    }
    text
}

fn result(summary: &Summary) -> serde_json::Value {
    let mut document = json!(summary);
    document["dry_run"] = json!(false);
    document["held"] = json!(held(&summary.held));
    document
}

fn text(summary: &Summary) -> String {
    let before = match summary.sent_before {
        0 => String::new(),
        before => format!(" and {before} before"),
    };
    let (sent, delivered, back) = (summary.sent, summary.delivered, summary.came_back.len());
    let mut text = format!("{sent} sent{before}, {delivered} delivered, {back} came back\n");
    for back in summary.came_back.iter().take(SHOWN) {
        let why = [back.exception.as_deref(), back.message.as_deref()];
        let why = why.into_iter().flatten().collect::<Vec<_>>().join(": ");
        let line = format!("{} came back as {}: {why}", back.from, back.at);
        text += &format!("  {}\n", one_line(&line));
    }
    if back > SHOWN {
        text += &format!("  and {} more\n", back - SHOWN);
    }
    for late in &summary.overtaken {
        text += &format!(
            "  {} was overtaken while it was written: offset {} has a newer record of its key, and the target \
             the older one now; write that change at its source again\n",
            late.from, late.by
        );
    }
    for (sink, looked) in &summary.target {
        if looked.found > 0 {
            text += &format!("  {sink}: {} found at the target\n", looked.found);
        }
        for (why, number) in &looked.not_looked_up {
            text += &format!("  {sink}: {number} proven by its positions: {why}\n");
        }
        for missing in looked.missing.iter().take(SHOWN) {
            text += &format!("  {sink} has read {missing}, and the target is not as it says\n");
        }
    }
    text + &held_text(&summary.held)
}
