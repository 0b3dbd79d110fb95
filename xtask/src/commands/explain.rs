//! `explain`: more about a code.

use std::process::ExitCode;

use serde_json::json;

use super::stdout::say;
use crate::cli::{Explain, Global};
use crate::diagnose::rules;
use crate::diagnose::{Remedy, Severity};
use crate::error::{Code, Error, Result, nearest};
use crate::report::Output;

/// A code with what is to be said about it.
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
    match (global.output, args.code.is_some()) {
        (Output::Json, _) => {
            let list: Vec<_> = shown
                .iter()
                .map(|it| json!({ "code": it.code, "title": it.title, "about": it.about, "notes": it.notes }))
                .collect();
            say!("{}", json!({ "codes": list }));
        }
        (Output::Text, true) => {
            for entry in shown {
                say!("{}: {}", entry.code, entry.title);
                if let Some(about) = entry.about {
                    say!("\n{about}");
                }
                say!("\n{}", entry.notes.join("; "));
            }
        }
        (Output::Text, false) => {
            let width = shown.iter().map(|it| it.code.len()).max().unwrap_or(0);
            for entry in shown {
                say!("{:<width$}  {}", entry.code, entry.title);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(code: &str, entries: &[Entry]) -> Error {
    let error = Error::new(Code::Usage, format!("there is no code `{code}`"));
    let upper = code.to_uppercase();
    match nearest(&upper, entries.iter().map(|it| it.code)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("cargo xtask explain lists them"),
    }
}
