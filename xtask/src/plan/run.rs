//! Runs a plan: every node starts as soon as what it needs has succeeded.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Action, Graph};
use crate::error::{Error, Result};

/// What a node found or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something was changed; the text says what.
    Changed(String),
    /// Nothing had to be changed, or a gate is current.
    Unchanged(String),
}

impl Outcome {
    /// The text for people.
    pub fn message(&self) -> &str {
        match self {
            Outcome::Changed(message) | Outcome::Unchanged(message) => message,
        }
    }
}

/// What happens while a plan runs. Nodes are indices into the graph.
#[derive(Debug)]
pub enum Event {
    /// A node began.
    Started {
        /// Which.
        node: usize,
    },
    /// A node says what it sees or waits for.
    Observed {
        /// Which.
        node: usize,
        /// The observation.
        message: String,
    },
    /// A node transferred bytes, for progress bars.
    Bytes {
        /// Which.
        node: usize,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A node ended well.
    Finished {
        /// Which.
        node: usize,
        /// What it did or found.
        outcome: Outcome,
        /// Since the run's start.
        started: Duration,
        /// How long it took.
        took: Duration,
    },
    /// A node failed.
    Failed {
        /// Which.
        node: usize,
        /// The error's text.
        message: String,
        /// Since the run's start.
        started: Duration,
        /// How long it took.
        took: Duration,
    },
    /// A node did not run because something it needs failed.
    Skipped {
        /// Which.
        node: usize,
        /// The failed node it needs, directly or not.
        because: usize,
    },
}

/// A node's voice while it runs.
#[derive(Clone)]
pub struct Progress {
    node: usize,
    events: mpsc::UnboundedSender<Event>,
}

impl Progress {
    /// Says what is seen or waited for. Repeating a message is free.
    pub fn observe(&self, message: impl Into<String>) {
        // The receiver lives as long as the run; a send after it is of no interest to anybody.
        let _ = self.events.send(Event::Observed {
            node: self.node,
            message: message.into(),
        });
    }

    /// Says how many bytes are there.
    pub fn bytes(&self, done: u64, total: u64) {
        let _ = self.events.send(Event::Bytes {
            node: self.node,
            done,
            total,
        });
    }

    /// A voice that nobody hears, for work outside a plan.
    pub fn silent() -> Self {
        let (events, _) = mpsc::unbounded_channel();
        Progress { node: 0, events }
    }
}

/// How a node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Done(Outcome),
    /// With an error.
    Failed(String),
    /// Not run, because this node failed.
    Skipped(usize),
}

/// One node's part in a finished run.
#[derive(Clone, Debug)]
pub struct NodeRun {
    /// Since the run's start; zero for a skipped node.
    pub started: Duration,
    /// How long it took; zero for a skipped node.
    pub took: Duration,
    /// How it ended.
    pub ended: Ended,
}

/// A finished run.
#[derive(Debug)]
pub struct RunReport {
    /// The graph that ran.
    pub graph: Graph,
    /// One entry per node.
    pub nodes: Vec<NodeRun>,
    /// From the first start to the last end.
    pub wall: Duration,
    /// Every error found, in the order they happened.
    pub errors: Vec<Error>,
}

impl RunReport {
    /// The path whose durations add up to the most.
    pub fn critical_path(&self) -> Vec<usize> {
        let durations: Vec<Duration> = self.nodes.iter().map(|node| node.took).collect();
        self.graph.critical_path(&durations)
    }

    /// The critical path's length.
    pub fn critical_time(&self) -> Duration {
        self.critical_path()
            .into_iter()
            .map(|node| self.nodes[node].took)
            .sum()
    }
}

/// Runs the plan to its end and reports. Events go to `on_event` on the caller's task.
///
/// A failure skips what depends on it; everything else goes on to its own end, so that one run
/// finds every independent failure.
pub async fn run(
    graph: Graph,
    actions: Vec<Action>,
    mut on_event: impl FnMut(&Graph, Event),
) -> RunReport {
    let begin = Instant::now();
    let count = graph.nodes().len();
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut actions: Vec<Option<Action>> = actions.into_iter().map(Some).collect();
    let mut missing: Vec<usize> = (0..count).map(|node| graph.needs(node).len()).collect();
    let mut results: Vec<Option<NodeRun>> = (0..count).map(|_| None).collect();
    let mut errors = Vec::new();
    let mut tasks: JoinSet<(usize, Duration, Duration, Result<Outcome>)> = JoinSet::new();
    let mut task_nodes = std::collections::HashMap::new();

    let mut ready: Vec<usize> = (0..count).filter(|&node| missing[node] == 0).collect();
    loop {
        for node in ready.drain(..) {
            if results[node].is_some() {
                continue;
            }
            let Some(action) = actions[node].take() else {
                continue;
            };
            let progress = Progress {
                node,
                events: sender.clone(),
            };
            on_event(&graph, Event::Started { node });
            let handle = tasks.spawn(async move {
                let started = begin.elapsed();
                let result = action(progress).await;
                (
                    node,
                    started,
                    begin.elapsed().saturating_sub(started),
                    result,
                )
            });
            task_nodes.insert(handle.id(), (node, begin.elapsed()));
        }
        let (node, started, took, result) = tokio::select! {
            biased;
            Some(event) = events.recv() => {
                on_event(&graph, event);
                continue;
            }
            joined = tasks.join_next() => match joined {
                None => break,
                Some(Ok(ended)) => ended,
                Some(Err(error)) => {
                    // A panicking node is a bug, but it must read like any other failure.
                    let Some(&(node, started)) = task_nodes.get(&error.id()) else { continue };
                    let error = Error::new(
                        crate::error::Code::Plan,
                        format!("`{}` ended abnormally: {error}", graph.nodes()[node].id),
                    );
                    (node, started, begin.elapsed().saturating_sub(started), Err(error))
                }
            },
        };
        match result {
            Ok(outcome) => {
                on_event(
                    &graph,
                    Event::Finished {
                        node,
                        outcome: outcome.clone(),
                        started,
                        took,
                    },
                );
                results[node] = Some(NodeRun {
                    started,
                    took,
                    ended: Ended::Done(outcome),
                });
                for &dependent in graph.dependents(node) {
                    missing[dependent] -= 1;
                    if missing[dependent] == 0 {
                        ready.push(dependent);
                    }
                }
            }
            Err(error) => {
                on_event(
                    &graph,
                    Event::Failed {
                        node,
                        message: error.message.clone(),
                        started,
                        took,
                    },
                );
                results[node] = Some(NodeRun {
                    started,
                    took,
                    ended: Ended::Failed(error.message.clone()),
                });
                errors.push(error);
                skip(&graph, node, &mut results, &mut on_event);
            }
        }
    }
    let nodes = results
        .into_iter()
        .map(|result| {
            result.unwrap_or(NodeRun {
                started: Duration::ZERO,
                took: Duration::ZERO,
                ended: Ended::Failed("never became ready".into()),
            })
        })
        .collect();
    RunReport {
        graph,
        nodes,
        wall: begin.elapsed(),
        errors,
    }
}

/// Marks everything that depends on a failed node.
fn skip(
    graph: &Graph,
    failed: usize,
    results: &mut [Option<NodeRun>],
    on_event: &mut impl FnMut(&Graph, Event),
) {
    let mut open = graph.dependents(failed).to_vec();
    while let Some(node) = open.pop() {
        if results[node].is_some() {
            continue;
        }
        on_event(
            graph,
            Event::Skipped {
                node,
                because: failed,
            },
        );
        results[node] = Some(NodeRun {
            started: Duration::ZERO,
            took: Duration::ZERO,
            ended: Ended::Skipped(failed),
        });
        open.extend_from_slice(graph.dependents(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::plan::Plan;

    fn ok() -> Result<Outcome> {
        Ok(Outcome::Unchanged("fine".into()))
    }

    async fn execute(plan: Plan) -> RunReport {
        let (graph, actions) = plan.build().expect("a graph");
        run(graph, actions, |_, _| {}).await
    }

    #[tokio::test]
    async fn independent_nodes_run_at_the_same_time() {
        // Each waits for the other: only concurrency lets both end.
        let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(2));
        let mut plan = Plan::default();
        for id in ["a", "b"] {
            let barrier = barrier.clone();
            plan.step(id, id, &[], async move |_| {
                barrier.wait().await;
                ok()
            });
        }
        let report = execute(plan).await;
        assert!(report.errors.is_empty());
    }

    #[tokio::test]
    async fn a_failure_skips_its_dependents_and_nothing_else() {
        let mut plan = Plan::default();
        plan.step("bad", "bad", &[], async |_| {
            Err(Error::new(Code::Process, "broken"))
        });
        plan.step("other bad", "other", &[], async |_| {
            Err(Error::new(Code::Process, "broken too"))
        });
        plan.step("good", "good", &[], async |_| ok());
        plan.step("after bad", "x", &["bad"], async |_| ok());
        plan.step("after both", "x", &["after bad", "good"], async |_| ok());
        plan.step("after good", "x", &["good"], async |_| ok());
        let report = execute(plan).await;
        assert_eq!(report.errors.len(), 2);
        let ended: Vec<&Ended> = report.nodes.iter().map(|node| &node.ended).collect();
        assert_eq!(ended[3], &Ended::Skipped(0));
        assert_eq!(ended[4], &Ended::Skipped(0));
        assert!(matches!(ended[5], Ended::Done(_)));
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let mut plan = Plan::default();
        plan.step("a", "a", &[], async |_| panic!("a bug"));
        plan.step("b", "b", &["a"], async |_| ok());
        let report = execute(plan).await;
        assert_eq!(report.errors.len(), 1);
        assert_eq!(report.nodes[1].ended, Ended::Skipped(0));
    }

    #[tokio::test]
    async fn events_arrive_in_order() {
        let mut plan = Plan::default();
        plan.gate("a", "a", &[], async |progress: Progress| {
            progress.observe("waiting");
            ok()
        });
        let (graph, actions) = plan.build().expect("a graph");
        let mut seen = Vec::new();
        run(graph, actions, |_, event| {
            seen.push(match event {
                Event::Started { .. } => "started",
                Event::Observed { .. } => "observed",
                Event::Finished { .. } => "finished",
                _ => "other",
            });
        })
        .await;
        assert_eq!(seen, ["started", "observed", "finished"]);
    }
}
