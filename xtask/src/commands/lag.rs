//! `lag`: how far behind each part of each flow is.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::context;
use super::stdout::{self, Reader};
use super::terminal::Keys;
use crate::cli::{Global, Lag};
use crate::clock;
use crate::components::source::Wal;
use crate::error::Result;
use crate::observe::lag::{FlowLag, gather};
use crate::report::Output;
use crate::report::text::{Ink, Palette, bytes};
use crate::wait;

pub(super) async fn run(global: &Global, args: &Lag) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    let palette = stdout::palette();
    let prefix = if args.watch { stdout::home() } else { "" };
    let mut keys = args.watch.then(Keys::listen);
    loop {
        let flows = gather(&env).await;
        let text = match global.output {
            Output::Json => format!("{}\n", json!({ "profile": env.name, "flows": flows })),
            Output::Text => flows.iter().map(|flow| described(flow, palette)).collect(),
        };
        let reader = stdout::write(format!("{prefix}{text}").as_bytes())?;
        let Some(keys) = keys.as_mut().filter(|_| reader == Reader::There) else {
            return Ok(ExitCode::SUCCESS);
        };
        tokio::select! {
            () = keys.press(b"qQ") => return Ok(ExitCode::SUCCESS),
            () = wait::pause(Duration::from_secs(1)) => {}
        }
    }
}

/// From the source to the target, a line each.
fn described(flow: &FlowLag, palette: Palette) -> String {
    let dim = |text: &str| palette.ink(Ink::Dim, text.to_owned()).into_owned();
    let unknown = || dim("unknown");
    let mut text = format!("{}\n", flow.flow);
    let mut line = |name: &str, what: String| {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "  {name:<10} {what}");
    };
    match (&flow.wal, &flow.oplog, &flow.binlog) {
        (Some(wal), ..) => {
            line("source", format!("at {}", wal.position));
            line("slot", slot(wal, palette));
        }
        (None, Some(oplog), _) => {
            let window = oplog.newest.saturating_sub(oplog.oldest);
            let left = oplog
                .window_left
                .map_or(unknown(), |left| clock::span(left * 1000));
            line("source", format!("at {}", clock::utc(oplog.newest)));
            line(
                "oplog",
                format!(
                    "holds {}, {left} of it before the connector's position",
                    clock::span(window)
                ),
            );
        }
        (None, None, Some(binlog)) => {
            line("source", format!("at {}", binlog.position));
            let unread = binlog.unread.map_or(unknown(), bytes);
            let oldest = &binlog.oldest;
            line(
                "binlog",
                format!("{unread} to go; keeps files from {oldest}"),
            );
        }
        (None, None, None) => line("source", unknown()),
    }
    let state = match flow.state.as_deref() {
        Some("RUNNING") => palette.ink(Ink::Green, "RUNNING").into_owned(),
        Some(state) => palette.ink(Ink::Red, state.to_owned()).into_owned(),
        None => unknown(),
    };
    let place = match &flow.committed {
        Some(position) => {
            let age = position.at.map(|at| clock::now_ms().saturating_sub(at));
            let age = age.map_or(String::new(), |age| {
                format!(", event of {} ago", clock::span(age))
            });
            let snapshot = if position.snapshot {
                ", snapshot under way"
            } else {
                ""
            };
            format!("{}{age}{snapshot}", position.place)
        }
        None => unknown(),
    };
    line(
        "connector",
        format!("{} {state} at {place}", flow.connector),
    );
    if let Some(under_way) = &flow.rereads {
        line("snapshot", under_way.words());
    }
    let messages = flow.messages.map_or(unknown(), |count| count.to_string());
    line("topic", format!("{} with {messages} messages", flow.topic));
    let waiting = match flow.unread {
        Some(0) => palette.ink(Ink::Green, "nothing waits").into_owned(),
        Some(1) => "1 change waits".into(),
        Some(count) => format!("{count} changes wait"),
        None => unknown(),
    };
    let newest = match (flow.newest_ms, flow.rows) {
        (Some(age), _) => format!("newest row {} old", clock::span(age)),
        (None, Some(rows @ 1..)) => format!("{rows} rows"),
        (None, Some(0) | None) => "no row".into(),
    };
    let errors = match flow.errors {
        Some(0) | None => String::new(),
        Some(count) => palette
            .ink(Ink::Red, format!(", {count} messages were no change"))
            .into_owned(),
    };
    line("target", format!("{waiting}, {newest}{errors}"));
    text
}

fn slot(wal: &Wal, palette: Palette) -> String {
    let size = |value: Option<u64>| value.map_or("unknown".into(), bytes);
    let confirmed = wal.confirmed_flush_lsn.as_deref().unwrap_or("nothing");
    let kept = wal.restart_lsn.as_deref().unwrap_or("nowhere");
    let mut text = format!(
        "confirmed {confirmed}, {} to go; keeps {} from {kept}",
        size(wal.unconfirmed),
        size(wal.retained),
    );
    match (wal.full_in, wal.free) {
        (Some(seconds), Some(free)) => {
            let full = format!(
                "; at this rate {} are full in {}",
                bytes(free),
                clock::span(seconds * 1000)
            );
            text += &palette.ink(Ink::Yellow, full);
        }
        (None, Some(free)) => text += &format!("; {} free, not growing", bytes(free)),
        (_, None) => {}
    }
    if let Some(status @ ("unreserved" | "lost")) = wal.status.as_deref() {
        text += &palette.ink(Ink::Red, format!("; WAL is {status}"));
    }
    text
}
