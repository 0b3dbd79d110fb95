//! Progress for a pipe, a file or a CI log: whole lines, only when something changed.
//!
//! A node's first observation is printed at once. After that it speaks at most once a second, so
//! that a message with a counter does not fill a log; the newest message held back is printed with
//! the next event of any node. A node that says nothing is named once it has lasted a second.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::verdict::Verdict;
use super::{id_width, text, why};
use crate::plan::Graph;
use crate::plan::run::Event;

/// The shortest time between two lines about one running node.
const QUIET: Duration = Duration::from_secs(1);
/// The shortest time between two lines about one transfer.
const QUIET_TRANSFER: Duration = Duration::from_secs(5);

/// Writes plain lines.
pub(super) struct Plain<W> {
    out: W,
    voices: BTreeMap<usize, Voice>,
}

/// What a running node has said.
struct Voice {
    /// When it started or was last heard.
    heard: Duration,
    /// The last message printed.
    printed: Option<String>,
    /// A newer message that waits for the quiet time to pass.
    held: Option<String>,
}

impl<W: Write> Plain<W> {
    /// A reporter that writes to `out`.
    pub(super) fn new(out: W) -> Self {
        Plain {
            out,
            voices: BTreeMap::new(),
        }
    }

    /// Prints what an event changed. `at` is the time since the start.
    pub(super) fn on_event(&mut self, graph: &Graph, event: &Event, at: Duration) {
        match event {
            Event::Started { node } => self.start(graph, *node, at),
            Event::Observed { node, message } => self.observe(graph, *node, message, at),
            Event::Bytes { node, done, total } => self.transfer(graph, *node, *done, *total, at),
            Event::Finished {
                node,
                outcome,
                took,
            } => {
                let verdict = Verdict::done(graph.nodes()[*node].kind, outcome);
                let message = took_and(*took, outcome.message());
                self.end(graph, *node, verdict, &message, at);
            }
            Event::Failed {
                node,
                message,
                details,
                hint,
                took,
            } => {
                let message = took_and(*took, message);
                self.end(graph, *node, Verdict::Failed, &message, at);
                for line in why(details, hint.as_deref()) {
                    self.note(&line);
                }
            }
            Event::Skipped { node, because } => {
                let message = format!("{} failed", graph.nodes()[*because].id);
                self.end(graph, *node, Verdict::Skipped, &message, at);
            }
        }
        self.flush(graph, at);
    }

    /// Prints a line of its own.
    pub(super) fn note(&mut self, line: &str) {
        // Progress that nobody can read any more must not stop the work.
        let _ = writeln!(self.out, "{line}");
    }

    fn start(&mut self, graph: &Graph, node: usize, at: Duration) {
        let voice = Voice {
            heard: at,
            printed: None,
            held: Some(text::one_line(&graph.nodes()[node].title).into_owned()),
        };
        self.voices.insert(node, voice);
    }

    fn observe(&mut self, graph: &Graph, node: usize, message: &str, at: Duration) {
        let Some(voice) = self.voices.get_mut(&node) else {
            return;
        };
        let message = text::one_line(message).into_owned();
        if voice.printed.as_ref() == Some(&message) {
            voice.held = None;
        } else if voice.printed.is_none() || at.saturating_sub(voice.heard) >= QUIET {
            self.speak(graph, node, message, at);
        } else {
            voice.held = Some(message);
        }
    }

    fn transfer(&mut self, graph: &Graph, node: usize, done: u64, total: u64, at: Duration) {
        let due = self
            .voices
            .get(&node)
            .is_some_and(|voice| at.saturating_sub(voice.heard) >= QUIET_TRANSFER);
        if due {
            let message = format!("{} of {}", text::bytes(done), text::bytes(total));
            self.speak(graph, node, message, at);
        }
    }

    fn end(&mut self, graph: &Graph, node: usize, verdict: Verdict, message: &str, at: Duration) {
        self.voices.remove(&node);
        self.line(graph, node, verdict.tag(), message, at);
    }

    /// Prints the held messages whose time has come.
    fn flush(&mut self, graph: &Graph, at: Duration) {
        let due: Vec<(usize, String)> = self
            .voices
            .iter_mut()
            .filter(|(_, voice)| at.saturating_sub(voice.heard) >= QUIET)
            .filter_map(|(&node, voice)| Some((node, voice.held.take()?)))
            .collect();
        for (node, message) in due {
            self.speak(graph, node, message, at);
        }
    }

    fn speak(&mut self, graph: &Graph, node: usize, message: String, at: Duration) {
        self.line(graph, node, "....", &message, at);
        let voice = Voice {
            heard: at,
            printed: Some(message),
            held: None,
        };
        self.voices.insert(node, voice);
    }

    fn line(&mut self, graph: &Graph, node: usize, tag: &str, message: &str, at: Duration) {
        let line = format!(
            "[{:>6.1}s] {tag} {:width$}  {message}",
            at.as_secs_f64(),
            graph.nodes()[node].id,
            width = id_width(graph),
        );
        self.note(line.trim_end());
    }
}

fn took_and(took: Duration, message: &str) -> String {
    format!("{}  {}", text::duration(took), text::one_line(message))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::pair;
    use super::*;
    use crate::plan::Outcome;

    /// What is printed for events at these times in milliseconds.
    fn lines(events: Vec<(u64, Event)>) -> Vec<String> {
        let mut plain = Plain::new(Vec::new());
        for (at, event) in events {
            plain.on_event(&pair(), &event, Duration::from_millis(at));
        }
        let text = String::from_utf8(plain.out).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    fn observed(node: usize, message: &str) -> Event {
        Event::Observed {
            node,
            message: message.into(),
        }
    }

    fn finished(node: usize, outcome: Outcome, took: u64) -> Event {
        Event::Finished {
            node,
            outcome,
            took: Duration::from_millis(took),
        }
    }

    #[test]
    fn a_message_is_printed_when_it_changes() {
        let lines = lines(vec![
            (0, Event::Started { node: 1 }),
            (100, observed(1, "no broker")),
            (200, observed(1, "no broker")),
            (1500, observed(1, "no broker")),
            (1600, observed(1, "no controller")),
            (
                2900,
                finished(1, Outcome::Unchanged("1 broker".into()), 2900),
            ),
        ]);
        assert_eq!(
            lines,
            [
                "[   0.1s] .... kafka/ready  no broker",
                "[   1.6s] .... kafka/ready  no controller",
                "[   2.9s] pass kafka/ready  2.9 s  1 broker",
            ]
        );
    }

    #[test]
    fn a_counter_speaks_once_a_second_and_its_newest_value_is_not_lost() {
        let lines = lines(vec![
            (0, Event::Started { node: 1 }),
            (100, observed(1, "1 row")),
            (200, observed(1, "2 rows")),
            (300, observed(1, "3 rows")),
            (1200, Event::Started { node: 0 }),
        ]);
        assert_eq!(
            lines,
            [
                "[   0.1s] .... kafka/ready  1 row",
                "[   1.2s] .... kafka/ready  3 rows",
            ]
        );
    }

    #[test]
    fn a_silent_node_is_named_only_if_it_lasts() {
        let short = lines(vec![
            (0, Event::Started { node: 0 }),
            (900, finished(0, Outcome::Changed("pid 7".into()), 900)),
        ]);
        assert_eq!(short, ["[   0.9s] done kafka/start  0.9 s  pid 7"]);
        let long = lines(vec![
            (0, Event::Started { node: 0 }),
            (1100, Event::Started { node: 1 }),
            (1200, observed(1, "x")),
        ]);
        assert_eq!(long[0], "[   1.1s] .... kafka/start  Start Kafka");
        assert_eq!(long.len(), 2);
    }

    #[test]
    fn a_transfer_speaks_every_five_seconds() {
        let bytes = |done| Event::Bytes {
            node: 0,
            done,
            total: 100_000_000,
        };
        let lines = lines(vec![
            (0, Event::Started { node: 0 }),
            (500, bytes(1_000_000)),
            (5000, bytes(45_000_000)),
            (5100, bytes(46_000_000)),
            (11_000, bytes(99_000_000)),
        ]);
        assert_eq!(
            lines,
            [
                "[   5.0s] .... kafka/start  45.0 MB of 100.0 MB",
                "[  11.0s] .... kafka/start  99.0 MB of 100.0 MB",
            ]
        );
    }

    #[test]
    fn failures_and_what_they_skip_are_single_lines_without_escapes() {
        let lines = lines(vec![
            (0, Event::Started { node: 0 }),
            (
                300,
                Event::Failed {
                    node: 0,
                    message: "\u{1b}[31mbroken\u{1b}[0m\nbadly".into(),
                    details: ["1", "2", "3", "the \u{1b}[1mreason"]
                        .map(str::to_owned)
                        .into(),
                    hint: Some("cargo xtask logs kafka".into()),
                    took: Duration::from_millis(300),
                },
            ),
            (
                300,
                Event::Skipped {
                    node: 1,
                    because: 0,
                },
            ),
        ]);
        assert_eq!(
            lines,
            [
                "[   0.3s] FAIL kafka/start  0.3 s  broken badly",
                "  | 2",
                "  | 3",
                "  | the reason",
                "  next: cargo xtask logs kafka",
                "[   0.3s] skip kafka/ready  kafka/start failed",
            ]
        );
    }
}
