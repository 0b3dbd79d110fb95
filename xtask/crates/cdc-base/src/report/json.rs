//! Progress for programs: one JSON object per line, on stderr.
//!
//! Every object has `event` and `at_ms`, milliseconds since the command started; all but `note`
//! have `node`. The rest depends on `event`:
//!
//! | `event`    | fields                                                                  |
//! |------------|-------------------------------------------------------------------------|
//! | `started`  | `kind` (`step`, `gate`), `title`                                        |
//! | `observed` | `message`; only when it differs from the node's last                    |
//! | `bytes`    | `done`, `total`; at most every 500 ms per node, and when all is there   |
//! | `finished` | `verdict` (`changed`, `unchanged`, `passed`), `took_ms`, `message`      |
//! | `failed`   | `took_ms`, `message`, `details`, `hint`                                 |
//! | `skipped`  | `because`: the id of the node whose failure made it lead nowhere        |
//! | `note`     | `message`                                                               |
//!
//! Names and meanings are stable; new fields and events may be added.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use super::verdict::Verdict;
use crate::plan::run::Event;
use crate::plan::{Graph, Kind};
use crate::printed;

/// The shortest time between two `bytes` objects of one node.
const QUIET_TRANSFER: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    at_ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(flatten)]
    detail: Detail<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Detail<'a> {
    Started {
        kind: Kind,
        title: &'a str,
    },
    Message {
        message: &'a str,
    },
    Bytes {
        done: u64,
        total: u64,
    },
    Finished {
        verdict: Verdict,
        took_ms: u128,
        message: &'a str,
    },
    Failed {
        took_ms: u128,
        message: &'a str,
        details: &'a [String],
        hint: Option<String>,
    },
    Skipped {
        because: &'a str,
    },
}

/// Writes JSON lines.
pub(super) struct Json<W> {
    out: W,
    /// The last message of each running node.
    said: BTreeMap<usize, String>,
    /// When each running node last told about bytes.
    told: BTreeMap<usize, Duration>,
}

impl<W: Write> Json<W> {
    /// A reporter that writes to `out`.
    pub(super) fn new(out: W) -> Self {
        Json {
            out,
            said: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Writes an event, unless it repeats what was said. `at` is the time since the start.
    pub(super) fn on_event(&mut self, graph: &Graph, event: &Event, at: Duration) {
        if !self.is_news(event, at) {
            return;
        }
        let id = |node: &usize| graph.nodes()[*node].id.as_str();
        let (event, node, detail) = match event {
            Event::Started { node } => {
                let spec = &graph.nodes()[*node];
                let (kind, title) = (spec.kind, spec.title.as_str());
                ("started", node, Detail::Started { kind, title })
            }
            Event::Observed { node, message } => ("observed", node, Detail::Message { message }),
            Event::Bytes { node, done, total } => {
                let (done, total) = (*done, *total);
                ("bytes", node, Detail::Bytes { done, total })
            }
            Event::Finished {
                node,
                outcome,
                took,
            } => {
                let detail = Detail::Finished {
                    verdict: Verdict::done(graph.nodes()[*node].kind, outcome),
                    took_ms: took.as_millis(),
                    message: outcome.message(),
                };
                ("finished", node, detail)
            }
            Event::Failed {
                node,
                message,
                details,
                hint,
                took,
            } => {
                let hint = hint.as_deref().map(printed::ours);
                let detail = Detail::Failed {
                    took_ms: took.as_millis(),
                    message,
                    details,
                    hint,
                };
                ("failed", node, detail)
            }
            Event::Skipped { node, because } => {
                let because = id(because);
                ("skipped", node, Detail::Skipped { because })
            }
        };
        self.write(event, Some(id(node)), detail, at);
    }

    /// Writes a `note`.
    pub(super) fn note(&mut self, message: &str, at: Duration) {
        self.write("note", None, Detail::Message { message }, at);
    }

    /// Whether an event says what was not said yet; remembers what it says.
    fn is_news(&mut self, event: &Event, at: Duration) -> bool {
        match event {
            Event::Started { node } => {
                self.said.remove(node);
                self.told.remove(node);
                true
            }
            Event::Observed { node, message } => {
                self.said.insert(*node, message.clone()).as_ref() != Some(message)
            }
            Event::Bytes { node, done, total } => {
                let due = self
                    .told
                    .get(node)
                    .is_none_or(|told| at.saturating_sub(*told) >= QUIET_TRANSFER);
                if due {
                    self.told.insert(*node, at);
                }
                due || done == total
            }
            Event::Finished { .. } | Event::Failed { .. } | Event::Skipped { .. } => true,
        }
    }

    fn write(&mut self, event: &'static str, node: Option<&str>, detail: Detail, at: Duration) {
        let line = Line {
            event,
            at_ms: at.as_millis(),
            node,
            detail,
        };
        // Progress that nobody can read any more must not stop the work.
        if let Ok(line) = serde_json::to_string(&line) {
            let _ = writeln!(self.out, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::pair;
    use super::*;
    use crate::plan::Outcome;

    fn lines(events: Vec<(u64, Event)>) -> Vec<String> {
        let mut json = Json::new(Vec::new());
        for (at, event) in events {
            json.on_event(&pair(), &event, Duration::from_millis(at));
        }
        json.note("a \"note\"", Duration::from_secs(9));
        let text = String::from_utf8(json.out).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_schema() {
        let observed = || Event::Observed {
            node: 0,
            message: "line 1\nline 2".into(),
        };
        let lines = lines(vec![
            (0, Event::Started { node: 0 }),
            (100, observed()),
            (180, observed()),
            (
                900,
                Event::Finished {
                    node: 0,
                    outcome: Outcome::Changed("pid 7".into()),
                    took: Duration::from_millis(890),
                },
            ),
            (
                950,
                Event::Failed {
                    node: 0,
                    message: "broken".into(),
                    details: vec!["why".into()],
                    hint: None,
                    took: Duration::from_millis(40),
                },
            ),
            (
                950,
                Event::Skipped {
                    node: 1,
                    because: 0,
                },
            ),
        ]);
        assert_eq!(
            lines,
            [
                r#"{"event":"started","at_ms":0,"node":"kafka/start","kind":"step","title":"Start Kafka"}"#,
                r#"{"event":"observed","at_ms":100,"node":"kafka/start","message":"line 1\nline 2"}"#,
                r#"{"event":"finished","at_ms":900,"node":"kafka/start","verdict":"changed","took_ms":890,"message":"pid 7"}"#,
                r#"{"event":"failed","at_ms":950,"node":"kafka/start","took_ms":40,"message":"broken","details":["why"],"hint":null}"#,
                r#"{"event":"skipped","at_ms":950,"node":"kafka/ready","because":"kafka/start"}"#,
                r#"{"event":"note","at_ms":9000,"message":"a \"note\""}"#,
            ]
        );
    }

    #[test]
    fn bytes_are_thinned_out_but_the_end_is_told() {
        let bytes = |done| Event::Bytes {
            node: 0,
            done,
            total: 100,
        };
        let lines = lines(vec![
            (0, Event::Started { node: 0 }),
            (10, bytes(1)),
            (20, bytes(2)),
            (510, bytes(50)),
            (520, bytes(100)),
        ]);
        let told: Vec<&String> = lines.iter().filter(|line| line.contains("bytes")).collect();
        assert_eq!(told.len(), 3);
        assert!(told[2].contains(r#""done":100,"total":100"#));
    }
}
