//! What a finished run cost, and where the time went.

use std::time::Duration;

use serde_json::{Value, json};

use super::text::{self, Ink, Palette};
use super::verdict::Verdict;
use super::{id_width, longest_path};
use crate::plan::run::RunReport;

/// Cells of the bar that shows a share.
const BAR: usize = 10;

/// In which order counts are reported.
const VERDICTS: [Verdict; 5] = [
    Verdict::Changed,
    Verdict::Unchanged,
    Verdict::Passed,
    Verdict::Failed,
    Verdict::Skipped,
];

/// The run in a few lines: how long, what came out, and the longest path with the cost of each
/// node on it. No run can be shorter than its longest path, so that is where a faster run begins.
///
/// `done` is what a run without errors has achieved, such as `ready` or `removed`. No
/// newline at the end.
pub fn text(report: &RunReport, done: &str, colour: bool) -> String {
    let palette = Palette { colour };
    let mut lines = vec![headline(report, done, palette), tally(report, palette)];
    lines.extend(path_lines(report, palette));
    lines.join("\n")
}

/// The run for programs: `ok`, `wall_ms`, `longest_path_ms`, `ratio` (wall to longest path, null
/// if nothing took time), `counts` by verdict, `longest_path` (`node`, `kind`, `title`,
/// `started_ms`, `took_ms`, `share`) and `failed` ids.
pub fn json(report: &RunReport) -> Value {
    let whole = report.critical_time();
    let path: Vec<Value> = longest_path(report)
        .into_iter()
        .map(|node| {
            let (spec, run) = (&report.graph.nodes()[node], &report.nodes[node]);
            json!({
                "node": spec.id,
                "kind": spec.kind,
                "title": spec.title,
                "started_ms": ms(run.started),
                "took_ms": ms(run.took),
                "share": thousandths(text::fraction(run.took, whole)),
            })
        })
        .collect();
    json!({
        "ok": failed(report).is_empty(),
        "wall_ms": ms(report.wall),
        "longest_path_ms": ms(whole),
        "ratio": ratio(report).map(thousandths),
        "counts": VERDICTS
            .map(|verdict| (verdict.word().to_owned(), Value::from(count(report, verdict))))
            .into_iter()
            .collect::<serde_json::Map<_, _>>(),
        "longest_path": path,
        "failed": failed(report),
    })
}

/// Wall time over the longest path's; 1 is a run that waited for nothing else.
pub(super) fn ratio(report: &RunReport) -> Option<f64> {
    let longest = report.critical_time();
    (!longest.is_zero()).then(|| report.wall.as_secs_f64() / longest.as_secs_f64())
}

/// The verdicts that occur, with how often they do.
pub(super) fn counts(report: &RunReport) -> Vec<(Verdict, usize)> {
    VERDICTS
        .into_iter()
        .map(|verdict| (verdict, count(report, verdict)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn count(report: &RunReport, verdict: Verdict) -> usize {
    (0..report.nodes.len())
        .filter(|&node| Verdict::of(report, node) == verdict)
        .count()
}

fn failed(report: &RunReport) -> Vec<&str> {
    let nodes = report.graph.nodes().iter().enumerate();
    nodes
        .filter(|(node, _)| Verdict::of(report, *node) == Verdict::Failed)
        .map(|(_, spec)| spec.id.as_str())
        .collect()
}

fn headline(report: &RunReport, done: &str, palette: Palette) -> String {
    let wall = text::duration(report.wall);
    let result = if failed(report).is_empty() {
        palette.ink(Ink::Green, format!("{done} in {wall}"))
    } else {
        palette.ink(Ink::Red, format!("failed after {wall}"))
    };
    match ratio(report) {
        None => result.into_owned(),
        Some(ratio) => {
            let longest = text::duration(report.critical_time());
            let aside = format!("(longest path {longest}, {ratio:.2}x)");
            format!("{result}   {}", palette.ink(Ink::Dim, aside))
        }
    }
}

fn tally(report: &RunReport, palette: Palette) -> String {
    let counts: Vec<String> = counts(report)
        .into_iter()
        .map(|(verdict, count)| {
            let text = format!("{count} {}", verdict.word());
            palette.ink(verdict.ink(), text).into_owned()
        })
        .collect();
    if counts.is_empty() {
        return "  nothing to do".into();
    }
    format!("  {}", counts.join(", "))
}

/// A line for each node of the longest path.
fn path_lines(report: &RunReport, palette: Palette) -> impl Iterator<Item = String> {
    let whole = report.critical_time();
    let width = id_width(&report.graph);
    longest_path(report).into_iter().map(move |node| {
        let (spec, run) = (&report.graph.nodes()[node], &report.nodes[node]);
        let line = format!(
            "  {:>8} {:>3} %  {}  {:width$}  {}",
            text::duration(run.took),
            text::percent(run.took, whole),
            palette.ink(Ink::Yellow, bar(text::fraction(run.took, whole))),
            spec.id,
            palette.ink(Ink::Dim, text::one_line(&spec.title)),
        );
        line.trim_end().to_owned()
    })
}

/// A share as a bar of [`BAR`] cells, in eighths of a cell; what took time at all is visible.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * (BAR * 8) as f64).ceil() as usize;
    let bar = format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8]);
    format!("{bar:BAR$}")
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{bad, good, run};
    use super::*;

    #[test]
    fn a_good_run() {
        assert_eq!(
            text(&good(), "ready", false),
            "\
ready in 4.0 s   (longest path 3.9 s, 1.03x)
  2 changed, 1 unchanged, 2 passed
     0.9 s  23 %  ██▍         kafka/start       Start Kafka
     2.0 s  51 %  █████▎      kafka/ready       Kafka answers
     1.0 s  26 %  ██▋         connect/register  Register"
        );
    }

    #[test]
    fn a_bad_run_does_not_count_what_did_not_run() {
        assert_eq!(
            text(&bad(), "ready", false),
            "\
failed after 0.9 s   (longest path 0.9 s, 1.00x)
  1 changed, 1 failed, 2 skipped
     0.9 s 100 %  ██████████  kafka/start       Start Kafka"
        );
    }

    #[test]
    fn an_empty_run() {
        assert_eq!(
            text(&run(Vec::new()), "ready", false),
            "ready in 0 s\n  nothing to do"
        );
        assert_eq!(json(&run(Vec::new()))["ratio"], Value::Null);
    }

    #[test]
    fn colour_only_when_asked() {
        assert!(!text(&bad(), "ready", false).contains('\u{1b}'));
        assert!(text(&bad(), "ready", true).contains("\u{1b}[31mfailed after 0.9 s\u{1b}[0m"));
    }

    #[test]
    fn the_json() {
        let json = json(&good());
        assert_eq!(
            json,
            json!({
                "ok": true,
                "wall_ms": 4000,
                "longest_path_ms": 3900,
                "ratio": 1.026,
                "counts": {"changed": 2, "unchanged": 1, "passed": 2, "failed": 0, "skipped": 0},
                "longest_path": [
                    {"node": "kafka/start", "kind": "step", "title": "Start Kafka",
                     "started_ms": 0, "took_ms": 900, "share": 0.231},
                    {"node": "kafka/ready", "kind": "gate", "title": "Kafka answers",
                     "started_ms": 900, "took_ms": 2000, "share": 0.513},
                    {"node": "connect/register", "kind": "step", "title": "Register",
                     "started_ms": 2950, "took_ms": 1000, "share": 0.256},
                ],
                "failed": [],
            })
        );
        assert_eq!(super::json(&bad())["failed"], json!(["kafka/start"]));
    }
}
