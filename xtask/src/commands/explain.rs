//! `explain`: more about a code.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::stdout;
use crate::cli::{Explain, Global};
use crate::diagnose::rules;
use crate::diagnose::{Remedy, Severity};
use crate::error::{Code, Error, Result};
use crate::printed;

/// A code with what is to be said about it.
#[derive(Serialize)]
struct Entry {
    code: &'static str,
    title: &'static str,
    about: Option<&'static str>,
    notes: Vec<String>,
}

/// All codes: the rules', then the errors'.
fn entries() -> Vec<Entry> {
    let rules = rules::all().map(|rule| Entry {
        code: rule.code,
        title: rule.title,
        about: Some(rule.about),
        notes: vec![
            match rule.severity {
                Severity::Broken => "changes do not arrive".into(),
                Severity::Degraded => "changes arrive for now".into(),
            },
            match rule.remedy {
                Remedy::Restart => {
                    "a restart can fix it: `heal` and `diagnose --fix` try that".into()
                }
                Remedy::Wait => "it passes by itself".into(),
                Remedy::Person => "a person must fix it: `heal` leaves it alone".into(),
            },
        ],
    });
    let errors = Code::ALL.iter().map(|code| Entry {
        code: code.as_str(),
        title: code.meaning(),
        about: None,
        notes: vec![format!("exit code {}", code.exit() as u8)],
    });
    rules.chain(errors).collect()
}

pub(super) fn run(global: &Global, args: &Explain) -> Result<ExitCode> {
    let entries = entries();
    let shown: Vec<&Entry> = match &args.code {
        None => entries.iter().collect(),
        Some(code) => {
            let found = entries.iter().find(|it| it.code.eq_ignore_ascii_case(code));
            vec![found.ok_or_else(|| unknown(code, &entries))?]
        }
    };
    stdout::answer(global.output, json!({ "codes": shown }), || {
        let width = shown.iter().map(|it| it.code.len()).max().unwrap_or(0);
        let text = |entry: &&Entry| {
            let Entry {
                code,
                title,
                about,
                notes,
            } = entry;
            if args.code.is_none() {
                return format!("{code:<width$}  {title}\n");
            }
            let about = about.map_or(String::new(), |about| {
                format!("\n{}\n", printed::ours(about))
            });
            format!("{code}: {title}\n{about}\n{}\n", notes.join("; "))
        };
        shown.iter().map(text).collect()
    })
}

fn unknown(code: &str, entries: &[Entry]) -> Error {
    let codes = entries.iter().map(|it| it.code);
    Error::new(Code::Usage, format!("there is no code `{code}`")).meant(
        &code.to_uppercase(),
        codes,
        "cargo xtask explain lists them",
    )
}
