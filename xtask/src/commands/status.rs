//! `status`: components, connectors and flows at a glance.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::stdout::{self, Reader};
use super::terminal::Keys;
use super::{context, diagnose};
use crate::cli::{Global, StatusArgs};
use crate::clock;
use crate::diagnose::Finding;
use crate::environment::Environment;
use crate::error::{Exit, Result};
use crate::observe::status::{Component, ConnectorRow, FlowRow, Overview, SinkRow, gather};
use crate::printed;
use crate::readiness::{State, Status};
use crate::report::Output;
use crate::report::text::{Ink, Palette, bytes};
use crate::wait;

pub(super) async fn run(global: &Global, args: &StatusArgs) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    if args.watch {
        return watch(global.output, &env).await;
    }
    let overview = gather(&env).await;
    let causes = match overview.is_current() {
        true => Vec::new(),
        false => diagnose::broken(&env).await,
    };
    print(global.output, &env, &overview, &causes, "")?;
    Ok(stdout::ended(overview.is_current(), Exit::Failed))
}

/// Refreshes until interrupted, or until `q` is pressed.
async fn watch(output: Output, env: &Arc<Environment>) -> Result<ExitCode> {
    let mut keys = Keys::listen();
    loop {
        let look = async {
            let overview = gather(env).await;
            if print(output, env, &overview, &[], stdout::home())? == Reader::Gone {
                return Ok(Reader::Gone);
            }
            wait::pause(Duration::from_secs(1)).await;
            Ok(Reader::There)
        };
        let reader = tokio::select! {
            () = keys.press(b"qQ") => Reader::Gone,
            reader = look => reader?,
        };
        if reader == Reader::Gone {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn print(
    output: Output,
    env: &Environment,
    overview: &Overview,
    causes: &[Finding],
    prefix: &str,
) -> Result<Reader> {
    let text = match output {
        Output::Json => {
            let mut value = serde_json::to_value(overview).unwrap_or_default();
            value["current"] = overview.is_current().into();
            value["findings"] = serde_json::json!(causes);
            value["left_out"] = serde_json::json!(env.left_out);
            format!("{value}\n")
        }
        Output::Text => {
            let palette = stdout::palette();
            let mut text = describe(env, overview, palette);
            if !causes.is_empty() {
                text += &format!("\n{}", diagnose::lines(causes, palette));
            } else if !overview.is_current() {
                text += &printed::ours("next: cargo xtask diagnose\n");
            }
            stdout::folded(text)
        }
    };
    stdout::write(format!("{prefix}{text}").as_bytes())
}

fn mark(status: &Status, palette: Palette) -> String {
    let (mark, ink) = match status.state {
        State::Current => ("✓", Ink::Green),
        State::InProgress => ("…", Ink::Dim),
        State::Failed => ("✗", Ink::Red),
        State::NotFound | State::Unknown => ("?", Ink::Red),
    };
    palette.ink(ink, mark).into_owned()
}

fn describe(env: &Environment, overview: &Overview, palette: Palette) -> String {
    let mut lines = vec![format!(
        "{} on {}: {}",
        overview.profile,
        overview.platform.name(),
        if overview.is_current() {
            palette.ink(Ink::Green, "everything works")
        } else {
            palette.ink(Ink::Red, "not everything works")
        }
    )];
    lines.push(String::new());
    for component in &overview.components {
        component_lines(component, palette, &mut lines);
    }
    for left_out in &env.left_out {
        lines.push(format!(
            "  - {:<11} {}",
            left_out.component, left_out.reason
        ));
    }
    for flow in &overview.flows {
        let connector = overview
            .connectors
            .iter()
            .find(|connector| connector.name == flow.connector);
        let to = |sink: &&SinkRow| Some(&sink.name) == flow.to.as_ref();
        let sink = overview.sinks.iter().find(to);
        lines.push(String::new());
        flow_lines(flow, connector, sink, palette, &mut lines);
    }
    for (connector, under_way) in &overview.rereads {
        lines.push(String::new());
        lines.push(format!("  {connector} reads {}", under_way.words()));
    }
    lines.push(String::new());
    lines.push(format!("  passwords: {}", env.dirs.secrets().display()));
    lines.join("\n") + "\n"
}

fn component_lines(component: &Component, palette: Palette, lines: &mut Vec<String>) {
    let process = match &component.process {
        Some(process) if process.running => format!(
            "pid {}, up {}, {}",
            process.pid,
            clock::span(clock::now_ms().saturating_sub(process.since)),
            bytes(process.resident)
        ),
        Some(process) => format!("pid {} is gone", process.pid),
        None if component.external => "external".into(),
        None => String::new(),
    };
    lines.push(format!(
        "  {} {:<11} {:<9} {:<24} {}",
        mark(&component.status, palette),
        component.name,
        component.version.as_deref().unwrap_or("-"),
        component.endpoint,
        palette.ink(Ink::Dim, process)
    ));
    trouble(&component.status, lines);
}

/// Why something is not as wanted; nothing where it is.
fn trouble(status: &Status, lines: &mut Vec<String>) {
    if status.state == State::Current {
        return;
    }
    lines.push(format!("      {}", status.message));
    for line in &status.evidence {
        lines.push(format!("      | {line}"));
    }
}

/// A flow as it is: source, connector, topic, silver, with what waits between them.
fn flow_lines(
    flow: &FlowRow,
    connector: Option<&ConnectorRow>,
    sink: Option<&SinkRow>,
    palette: Palette,
    lines: &mut Vec<String>,
) {
    let number = |value: Option<i64>| value.map_or("?".to_owned(), |value| value.to_string());
    let (head, note) = match connector {
        Some(row) => (
            format!(
                "{} ─▶ {} {}",
                row.source,
                mark(&row.status, palette),
                row.name
            ),
            row.unconfirmed_wal
                .map(|wal| format!("{} of WAL unconfirmed", bytes(wal))),
        ),
        None => (format!("? ─▶ {}", flow.connector), None),
    };
    let newest = match flow.newest_ms {
        Some(age) => format!("newest {} ago", clock::span(age)),
        // When its rows came stands in no column.
        None if flow.rows > Some(0) => format!("{} rows", flow.rows.unwrap_or_default()),
        None => "no row yet".into(),
    };
    let target = match sink {
        Some(row) => {
            let mark = mark(&row.status, palette);
            format!("{mark} {} ─▶ {} {}", row.name, row.sink, flow.silver)
        }
        None => flow.silver.clone(),
    };
    lines.push(format!(
        "  {}: {head} ─▶ {} ─▶ {target}",
        flow.name, flow.topic
    ));
    let mut notes: Vec<String> = note.into_iter().collect();
    notes.push(format!("{} messages", number(flow.messages)));
    notes.push(format!("{} waiting", number(flow.lag)));
    notes.push(newest);
    if let Some(errors) = flow.errors.filter(|errors| *errors > 0) {
        let text = format!(
            "{errors} messages that are not changes, in {}_errors",
            flow.name
        );
        notes.push(palette.ink(Ink::Red, text).into_owned());
    }
    lines.push(format!("    {}", notes.join(" · ")));
    if let Some(drift) = &flow.drift {
        let added = (!drift.added.is_empty()).then(|| {
            format!(
                "the target has no column {} yet: {}",
                drift.added.join(", "),
                printed::ours("cargo xtask up")
            )
        });
        let reported = (!drift.reported.is_empty())
            .then(|| format!("the source has new columns: {}", drift.reported.join(", ")));
        let wrong = drift.wrong.iter().map(|it| it.cause.clone());
        for text in added.into_iter().chain(reported).chain(wrong) {
            lines.push(format!("    {}", palette.ink(Ink::Red, text)));
        }
    }
    let connector = connector.map(|row| &row.status);
    for status in connector.into_iter().chain(sink.map(|row| &row.status)) {
        trouble(status, lines);
    }
}
