//! Progress on a terminal: one line per running node, finished nodes above them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::text::{self, Ink, Palette};
use super::verdict::Verdict;
use super::{id_width, why};
use crate::plan::Graph;
use crate::plan::run::Event;

/// How often spinners and elapsed times move.
const TICK: Duration = Duration::from_millis(120);
/// Time first, as in the lines of nodes that have ended.
const TEMPLATE: &str = "{spinner} {took:>8}  {wide_msg}";
/// Columns of a transfer's bar.
const BAR: usize = 12;

/// Draws on stderr.
pub(super) struct Live {
    bars: MultiProgress,
    running: BTreeMap<usize, Running>,
    palette: Palette,
}

/// A running node's line.
struct Running {
    bar: ProgressBar,
    /// The id, as wide as the plan's widest.
    id: String,
    transfer: Option<Transfer>,
}

impl Running {
    fn say(&self, message: &str) {
        self.bar.set_message(format!("{}  {message}", self.id));
    }
}

/// Where a transfer began, to tell its rate.
#[derive(Clone, Copy)]
struct Transfer {
    since: Instant,
    from: u64,
}

impl Live {
    /// Draws on stderr, which must be a terminal.
    pub(super) fn new(palette: Palette) -> Self {
        Live {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            running: BTreeMap::new(),
            palette,
        }
    }

    /// Draws what an event changed.
    pub(super) fn on_event(&mut self, graph: &Graph, event: &Event) {
        match event {
            Event::Started { node } => self.start(graph, *node),
            Event::Observed { node, message } => {
                if let Some(running) = self.running.get(node) {
                    running.say(&text::one_line(message));
                }
            }
            Event::Bytes { node, done, total } => self.transfer(*node, *done, *total),
            Event::Finished { node, .. }
            | Event::Failed { node, .. }
            | Event::Skipped { node, .. } => {
                self.end(*node);
                if let Some(line) = last_line(graph, event, self.palette) {
                    self.note(&line);
                }
                if let Event::Failed { details, hint, .. } = event {
                    for line in why(details, hint.as_deref()) {
                        self.note(&line);
                    }
                }
            }
        }
    }

    /// Prints a line above the running nodes.
    pub(super) fn note(&self, line: &str) {
        // Progress that nobody can read any more must not stop the work.
        let _ = self.bars.println(line);
    }

    /// Removes the lines of nodes that still run.
    pub(super) fn finish(&mut self) {
        for node in std::mem::take(&mut self.running).into_keys() {
            self.end(node);
        }
        let _ = self.bars.clear();
    }

    fn start(&mut self, graph: &Graph, node: usize) {
        let spec = &graph.nodes()[node];
        let running = Running {
            bar: self.bars.add(ProgressBar::no_length()),
            id: padded_id(graph, node),
            transfer: None,
        };
        running.bar.set_style(style(self.palette));
        running.say(&text::one_line(&spec.title));
        running.bar.enable_steady_tick(TICK);
        self.running.insert(node, running);
    }

    fn transfer(&mut self, node: usize, done: u64, total: u64) {
        let Some(running) = self.running.get_mut(&node) else {
            return;
        };
        let transfer = *running.transfer.get_or_insert_with(|| Transfer {
            since: Instant::now(),
            from: done,
        });
        let arrived = done.saturating_sub(transfer.from);
        let rate = rate(arrived, transfer.since.elapsed());
        running.say(&transfer_line(done, total, rate, self.palette));
    }

    fn end(&mut self, node: usize) {
        if let Some(running) = self.running.remove(&node) {
            running.bar.finish_and_clear();
            self.bars.remove(&running.bar);
        }
    }
}

/// A running node's line. Id and message are one wide message: indicatif cuts it to what the
/// terminal has left, so that no line ever wraps.
fn style(palette: Palette) -> ProgressStyle {
    let spinner: Vec<String> = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "
        .chars()
        .map(|frame| palette.ink(Ink::Cyan, frame.to_string()).into_owned())
        .collect();
    let spinner: Vec<&str> = spinner.iter().map(String::as_str).collect();
    ProgressStyle::with_template(TEMPLATE)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_strings(&spinner)
        .with_key("took", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // Whole tenths from the start: a running time in milliseconds only flickers.
            let _ = write!(out, "{:.1} s", state.elapsed().as_secs_f64());
        })
}

/// Bytes per second; `None` before there is enough to tell.
fn rate(arrived: u64, during: Duration) -> Option<u64> {
    (during >= Duration::from_millis(200))
        .then(|| (arrived as f64 / during.as_secs_f64()).round() as u64)
}

/// `━━━━━━──────  50 %  3.1 MB/s  6.0 MB of 12.0 MB`: what a narrow terminal cuts matters least.
fn transfer_line(done: u64, total: u64, rate: Option<u64>, palette: Palette) -> String {
    let share = if total == 0 {
        0.0
    } else {
        (done as f64 / total as f64).min(1.0)
    };
    let filled = (share * BAR as f64) as usize;
    let rate = rate.map_or_else(String::new, |rate| format!("{}/s  ", text::bytes(rate)));
    format!(
        "{}{} {:3} %  {rate}{} of {}",
        palette.ink(Ink::Cyan, "━".repeat(filled)),
        palette.ink(Ink::Dim, "─".repeat(BAR - filled)),
        (share * 100.0) as u32,
        text::bytes(done),
        text::bytes(total),
    )
}

/// The line that stays on the screen when a node has ended; `None` for other events.
fn last_line(graph: &Graph, event: &Event, palette: Palette) -> Option<String> {
    let (node, verdict, took, message) = match event {
        Event::Finished {
            node,
            outcome,
            took,
        } => {
            let verdict = Verdict::done(graph.nodes()[*node].kind, outcome);
            let message = text::one_line(outcome.message());
            (*node, verdict, text::duration(*took), message)
        }
        Event::Failed {
            node,
            message,
            took,
            ..
        } => {
            let took = text::duration(*took);
            (*node, Verdict::Failed, took, text::one_line(message))
        }
        Event::Skipped { node, because } => {
            let message = format!("because {} failed", graph.nodes()[*because].id).into();
            (*node, Verdict::Skipped, String::new(), message)
        }
        Event::Started { .. } | Event::Observed { .. } | Event::Bytes { .. } => return None,
    };
    let id = padded_id(graph, node);
    let (id, message) = match verdict {
        Verdict::Failed => (palette.ink(Ink::Red, id), message),
        Verdict::Unchanged | Verdict::Skipped => {
            (palette.ink(Ink::Dim, id), palette.ink(Ink::Dim, message))
        }
        Verdict::Changed | Verdict::Passed => (id.into(), palette.ink(Ink::Dim, message)),
    };
    let mark = palette.ink(verdict.ink(), verdict.mark());
    Some(format!("{mark} {took:>8}  {id}  {message}"))
}

fn padded_id(graph: &Graph, node: usize) -> String {
    format!("{:width$}", graph.nodes()[node].id, width = id_width(graph))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::pair;
    use super::*;
    use crate::plan::Outcome;

    const PLAIN: Palette = Palette { colour: false };

    #[test]
    fn ends_are_marked() {
        let finished = |node, outcome| Event::Finished {
            node,
            outcome,
            took: Duration::from_millis(2900),
        };
        let line = |event| last_line(&pair(), &event, PLAIN).expect("an end");
        assert_eq!(
            line(finished(0, Outcome::Changed("pid 7".into()))),
            "✓    2.9 s  kafka/start  pid 7"
        );
        assert_eq!(
            line(finished(0, Outcome::Unchanged("runs".into()))),
            "=    2.9 s  kafka/start  runs"
        );
        assert_eq!(
            line(finished(1, Outcome::Unchanged("answers".into()))),
            "✓    2.9 s  kafka/ready  answers"
        );
        assert_eq!(
            line(Event::Skipped {
                node: 1,
                because: 0
            }),
            "-           kafka/ready  because kafka/start failed"
        );
        assert!(last_line(&pair(), &Event::Started { node: 0 }, PLAIN).is_none());
    }

    #[test]
    fn a_failure_is_red_and_keeps_its_message_readable() {
        let event = Event::Failed {
            node: 0,
            message: "broken\nbadly".into(),
            details: Vec::new(),
            hint: None,
            took: Duration::from_millis(50),
        };
        assert_eq!(
            last_line(&pair(), &event, Palette { colour: true }).expect("an end"),
            "\u{1b}[31m✗\u{1b}[0m    50 ms  \u{1b}[31mkafka/start\u{1b}[0m  broken badly"
        );
    }

    #[test]
    fn a_transfer_shows_share_and_rate() {
        assert_eq!(
            transfer_line(6_000_000, 12_000_000, Some(3_100_000), PLAIN),
            "━━━━━━──────  50 %  3.1 MB/s  6.0 MB of 12.0 MB"
        );
        assert_eq!(
            transfer_line(0, 0, None, PLAIN),
            "────────────   0 %  0 B of 0 B"
        );
        assert_eq!(
            transfer_line(30, 20, None, PLAIN),
            "━━━━━━━━━━━━ 100 %  30 B of 20 B"
        );
    }

    #[test]
    fn a_rate_needs_time() {
        assert_eq!(rate(1000, Duration::from_millis(10)), None);
        assert_eq!(rate(1000, Duration::from_millis(500)), Some(2000));
    }

    #[test]
    fn the_template_is_accepted() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
