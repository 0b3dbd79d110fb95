//! What `reconcile` prints for people, and the files that it writes.

use std::path::PathBuf;

use super::stdout;
use crate::cli::{Format, Reconcile};
use crate::clock;
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::printed;
use crate::reconcile::Kind;
use crate::reconcile::formats::{self, word};
use crate::reconcile::repair::Repair;
use crate::reconcile::report::{Difference, Report, Status, TableReport};
use crate::report::Output;
use crate::report::table::Table;
use crate::report::text::{Ink, Palette, without_escapes};

/// So many rows that differ are listed of each table.
const LISTED: usize = 20;
/// So many characters of a value are shown.
const WIDEST: usize = 60;

/// Prints the report, and writes it to where it was asked for.
pub(super) fn print(output: Output, args: &Reconcile, report: &Report) -> Result<()> {
    let usual = usual(output);
    let palette = stdout::palette();
    if !is_written(args) {
        return stdout::print(&text(report, args.format.unwrap_or(usual), palette));
    }
    let file = written(args, report);
    stdout::print(&text(report, usual, palette))?;
    eprintln!("wrote {}", file?.display());
    Ok(())
}

/// Whether it goes to a file.
pub(super) fn is_written(args: &Reconcile) -> bool {
    args.output_file.is_some() || args.output_dir.is_some()
}

/// Writes the report to its file, and says which that is.
///
/// # Errors
/// It cannot be written.
pub(super) fn written(args: &Reconcile, report: &Report) -> Result<PathBuf> {
    let format = args.format.unwrap_or(Format::Json);
    let file = match (&args.output_file, &args.output_dir) {
        (Some(file), _) => file.clone(),
        (None, dir) => {
            let time = clock::utc(report.at)
                .replace([' ', ':'], "-")
                .replace("-UTC", "");
            let name = format!("reconcile-{}-{time}.{}", report.profile, ending(format));
            let dir = dir.clone().unwrap_or_default();
            std::fs::create_dir_all(&dir).map_err(|source| Error::io("create", &dir, &source))?;
            dir.join(name)
        }
    };
    let plain = Palette { colour: false };
    // Rows of a table are for their owner alone.
    write_atomic(&file, text(report, format, plain).as_bytes(), 0o600)?;
    Ok(file)
}

fn usual(output: Output) -> Format {
    match output {
        Output::Json => Format::Json,
        Output::Text => Format::Console,
    }
}

fn text(report: &Report, format: Format, palette: Palette) -> String {
    match format {
        Format::Console => console(report, palette),
        Format::Json => format!("{}\n", report.to_json()),
        Format::Csv => formats::csv(report),
        Format::Html => formats::html(report),
        Format::Junit => formats::junit(report),
    }
}

fn ending(format: Format) -> &'static str {
    match format {
        Format::Console => "txt",
        Format::Json => "json",
        Format::Csv => "csv",
        Format::Html => "html",
        Format::Junit => "xml",
    }
}

/// The whole report.
pub(super) fn console(report: &Report, palette: Palette) -> String {
    let mut table = Table::titled(
        "TABLE  STATUS  >SOURCE  >TARGET  >MISSING  >EXTRA  >CHANGED  SEVERITY  >TIME",
    );
    for it in &report.tables {
        let severity = match it.differing() {
            0 => String::new(),
            _ => word(&it.severity()),
        };
        let count = |rows: u64| (rows.to_string(), (rows > 0).then_some(Ink::Red));
        let plain = |text: String| (text, None);
        table.inked([
            plain(it.table.clone()),
            (word(&it.status), Some(ink(it.status))),
            plain(it.source_count.to_string()),
            plain(it.target_count.to_string()),
            count(it.missing_rows),
            count(it.extra_rows),
            count(it.changed_rows),
            plain(severity),
            plain(took(it.took_ms)),
        ]);
    }
    let mut text = table.text(palette);
    for it in &report.tables {
        text += &details(it, palette);
    }
    for name in &report.not_begun {
        text += &format!("{name}: not begun\n");
    }
    text += &format!("{}: {}\n", word(&report.status()), report.summary());
    for it in report.recommendations() {
        text += &format!("  next: {}\n", printed::ours(&it));
    }
    text
}

fn took(ms: u64) -> String {
    crate::report::text::duration(std::time::Duration::from_millis(ms))
}

fn ink(status: Status) -> Ink {
    match status {
        Status::Pass => Ink::Green,
        Status::Fail | Status::Error => Ink::Red,
        Status::NoData | Status::Interrupted => Ink::Yellow,
    }
}

fn details(table: &TableReport, palette: Palette) -> String {
    let mut text = String::new();
    if let Some(error) = &table.error {
        let part = |key: &str| error[key].as_str().unwrap_or_default();
        text += &format!(
            "{}: error: {} [{}]\n",
            table.table,
            part("message"),
            part("code")
        );
        if !part("hint").is_empty() {
            text += &format!("  next: {}\n", part("hint"));
        }
    }
    if table.not_settled > 0 {
        text += &format!(
            "{}: {} rows kept changing: no difference is proven\n",
            table.table, table.not_settled
        );
    }
    let listed = table
        .differences
        .iter()
        .filter(|it| it.cells.is_empty())
        .take(LISTED);
    let cells = table.differences.iter().filter(|it| !it.cells.is_empty());
    let all: Vec<String> = cells
        .map(|it| side_by_side(table, it, palette))
        .chain(listed.map(|it| format!("  {}\n", table.named(it))))
        .collect();
    if !all.is_empty() {
        text += &format!("{}\n{}", table.table, all.concat());
    }
    let rest = table.differing().saturating_sub(all.len() as u64);
    if rest > 0 && table.values {
        text += &format!("  and {rest} more\n");
    }
    if let Some(repair) = &table.repair {
        text += &repaired(table, repair);
    }
    for it in &table.not_compared {
        text += &format!(
            "{}: {} is not compared: {}\n",
            table.table, it.column, it.reason
        );
    }
    text
}

/// What would be done.
fn repaired(table: &TableReport, repair: &Repair) -> String {
    let mut text = String::new();
    if repair.sent > 0 {
        let what = match &repair.condition {
            Some(condition) => format!(
                "{} rows of {} again: {}",
                repair.sent,
                repair.table,
                clipped(condition, 0)
            ),
            None => format!(
                "all rows of {} again: too many differ to be named",
                repair.table
            ),
        };
        text += &format!("  would have {} send {what}\n", repair.connector);
    }
    if repair.marked > 0 {
        text += &format!(
            "  would mark {} rows of {} as deleted\n",
            repair.marked, table.target
        );
    }
    let next = format!("cargo xtask reconcile {} --repair --yes", table.table);
    text + &format!("  next: {}\n", printed::ours(&next))
}

/// A row's cells, those that differ marked.
fn side_by_side(table: &TableReport, difference: &Difference, palette: Palette) -> String {
    let mut cells = Table::titled("   COLUMN  SOURCE  TARGET");
    for cell in &difference.cells {
        let from = match (&cell.source, &cell.target) {
            (Some(source), Some(target)) => apart(source, target),
            _ => 0,
        };
        let shown = |value: &Option<String>| match value {
            Some(text) => clipped(text, from),
            None => "NULL".into(),
        };
        let ink = cell.differs.then_some(Ink::Red);
        let mark = if cell.differs { "*" } else { " " };
        let (source, target) = match difference.kind {
            Kind::Missing => (shown(&cell.source), "-".into()),
            Kind::Extra => ("-".into(), shown(&cell.target)),
            Kind::Changed => (shown(&cell.source), shown(&cell.target)),
        };
        cells.inked([
            (format!(" {mark} {}", cell.column), ink),
            (source, ink),
            (target, ink),
        ]);
    }
    format!("  {}\n{}", table.named(difference), cells.text(palette))
}

/// How many characters two texts begin with that are the same.
fn apart(one: &str, other: &str) -> usize {
    let same = one.chars().zip(other.chars());
    same.take_while(|(one, other)| one == other).count()
}

/// The part of a text around this character, on one line. Blanks at its ends are seen.
fn clipped(text: &str, from: usize) -> String {
    let skipped = match from > WIDEST - 10 {
        true => from - 10,
        false => 0,
    };
    let part: String = text.chars().skip(skipped).take(WIDEST).collect();
    // Blanks may be all that differs.
    let line = without_escapes(&part).replace(char::is_control, " ");
    let line = match line.trim() == line && !line.is_empty() {
        true => line,
        false => format!("'{line}'"),
    };
    let before = if skipped > 0 { "..." } else { "" };
    let after = if text.chars().count() > skipped + WIDEST {
        "..."
    } else {
        ""
    };
    format!("{before}{line}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_is_shown_in_which_values_differ() {
        assert_eq!(clipped("ab ", 3), "'ab '");
        assert_eq!(clipped("", 0), "''");
        let (one, other) = (
            format!("{}x", "a".repeat(100)),
            format!("{}y", "a".repeat(100)),
        );
        assert_eq!(clipped(&one, apart(&one, &other)), "...aaaaaaaaaax");
        assert_eq!(clipped(&one, 0), format!("{}...", "a".repeat(WIDEST)));
    }
}
