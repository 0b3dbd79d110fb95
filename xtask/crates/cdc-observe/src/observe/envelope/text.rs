//! A change on one line.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Change, Event, Fields, Op, UNAVAILABLE};
use crate::clock;
use crate::report::text::{Ink, Palette};

/// The longest value that is shown whole, in characters.
const LONGEST: usize = 120;

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Colours, if any.
    pub palette: Palette,
    /// The time that ages are counted from, in milliseconds since the epoch.
    pub now_ms: u64,
}

/// Appends the event's line, without its end.
pub fn write(line: &mut String, event: &Event, style: Style) {
    let palette = style.palette;
    match event {
        Event::Change(change) => write_change(line, change, style),
        Event::Tombstone(key) => {
            label(line, palette, Ink::Dim, "tombstone");
            pairs(line, key, |_, _| true);
        }
        Event::Heartbeat(made) => {
            label(line, palette, Ink::Dim, "heartbeat");
            age(line, *made, style);
        }
        Event::Transaction { status, id } => {
            let word = if status == "BEGIN" { "begin" } else { "end" };
            label(line, palette, Ink::Dim, word);
            line.push_str(&harmless(&format!("transaction {id}")));
        }
        Event::Schema(ddl) => {
            label(line, palette, Ink::Yellow, "schema");
            line.push_str(&cut(&harmless(ddl)));
        }
        Event::Other(text) => {
            label(line, palette, Ink::Yellow, "no change");
            line.push_str(&cut(&harmless(text)));
        }
    }
    line.truncate(line.trim_end().len());
}

fn write_change(line: &mut String, change: &Change, style: Style) {
    let ink = match change.op {
        Op::Insert => Ink::Green,
        Op::Update => Ink::Cyan,
        Op::Delete | Op::Truncate => Ink::Red,
        Op::Read | Op::Message => Ink::Dim,
    };
    label(line, style.palette, ink, change.op.name());
    pairs(line, &change.key, |_, _| true);
    let new = |name: &str, value: &Value| change.key.get(name) != Some(value);
    match (change.op, &change.before, &change.after) {
        (Op::Update, _, after) => {
            match (change.changed(), after) {
                (Some(changed), _) => {
                    for (name, old, value) in &changed {
                        let _ = write!(
                            line,
                            "{}: {} -> {} ",
                            harmless(name),
                            shown(old),
                            shown(value)
                        );
                    }
                    if changed.is_empty() && change.removed.is_empty() {
                        line.push_str("(no column differs) ");
                    }
                }
                // What was before is not in the source's log.
                (None, Some(after)) => {
                    for (name, value) in after.iter().filter(|(name, value)| new(name, value)) {
                        let _ = write!(line, "{} -> {} ", harmless(name), shown(value));
                    }
                }
                (None, None) => line.push_str("(the row was not sent) "),
            }
            for name in &change.removed {
                let _ = write!(line, "{} removed ", harmless(name));
            }
        }
        // A source that logs keys only has nothing but nulls for the rest.
        (Op::Delete, Some(before), _) => {
            pairs(line, before, |name, value| {
                new(name, value) && !value.is_null()
            });
        }
        (Op::Truncate, ..) => {
            line.push_str(&harmless(change.table.as_deref().unwrap_or_default()));
            line.push(' ');
        }
        (_, _, Some(after)) => pairs(line, after, new),
        _ => {}
    }
    if let Some(position) = &change.position {
        let _ = write!(
            line,
            " {} ",
            style.palette.ink(Ink::Dim, harmless(position))
        );
    }
    age(line, change.committed_ms, style);
}

fn label(line: &mut String, palette: Palette, ink: Ink, word: &str) {
    line.push_str(&palette.ink(ink, word));
    let width = 11_usize.saturating_sub(word.len());
    line.extend(std::iter::repeat_n(' ', width));
}

fn pairs(line: &mut String, fields: &Fields, wanted: impl Fn(&str, &Value) -> bool) {
    for (name, value) in fields.iter().filter(|(name, value)| wanted(name, value)) {
        let _ = write!(line, "{}={} ", harmless(name), shown(value));
    }
}

fn age(line: &mut String, at: Option<i64>, style: Style) {
    if let Some(at) = at.and_then(|at| u64::try_from(at).ok()) {
        let age = clock::span(style.now_ms.saturating_sub(at));
        let _ = write!(
            line,
            " {}",
            style.palette.ink(Ink::Dim, format!("{age} ago"))
        );
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text == UNAVAILABLE => "(not sent)".to_owned(),
        value => cut(&harmless(&value.to_string())),
    }
}

/// Control characters would command the reader's terminal.
fn harmless(text: &str) -> String {
    if text.contains(char::is_control) {
        return text.replace(char::is_control, " ");
    }
    text.to_owned()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
