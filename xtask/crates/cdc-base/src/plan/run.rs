//! Runs a plan: every node starts as soon as what it needs has succeeded.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::{Action, Graph, Kind};
use crate::error::{Code, Error, Result};

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
        /// How long it took.
        took: Duration,
    },
    /// A node failed.
    Failed {
        /// Which.
        node: usize,
        /// The error's text.
        message: String,
        /// What shows it.
        details: Vec<String>,
        /// The next command, where one is known.
        hint: Option<String>,
        /// How long it took.
        took: Duration,
    },
    /// A node did not run, or not to its end, because it leads nowhere any more.
    Skipped {
        /// Which.
        node: usize,
        /// The node whose failure made it so.
        because: usize,
    },
}

/// A node's voice while it runs.
#[derive(Clone)]
pub struct Progress {
    node: usize,
    said: mpsc::UnboundedSender<Said>,
    /// Whether what it does leads nowhere any more.
    cancelled: watch::Receiver<bool>,
}

/// What a node tells the run.
enum Said {
    /// Something for the reporter.
    Event(Event),
    /// This node waits, and what it does leads nowhere.
    GivenUp(usize),
}

impl Progress {
    /// Says what is seen or waited for. Repeating a message is free.
    pub fn observe(&self, message: impl Into<String>) {
        // The receiver lives as long as the run; a send after it is of no interest to anybody.
        let _ = self.said.send(Said::Event(Event::Observed {
            node: self.node,
            message: message.into(),
        }));
    }

    /// Says how many bytes are there.
    pub fn bytes(&self, done: u64, total: u64) {
        let _ = self.said.send(Said::Event(Event::Bytes {
            node: self.node,
            done,
            total,
        }));
    }

    /// Has the node end here once what it does leads nowhere any more; never resolves. For waits: a
    /// change that has begun is finished before its step waits again.
    pub async fn give_up(&self) {
        let mut cancelled = self.cancelled.clone();
        if cancelled.wait_for(|it| *it).await.is_ok() {
            let _ = self.said.send(Said::GivenUp(self.node));
        }
        std::future::pending().await
    }

    /// A voice that nobody hears, for work outside a plan.
    pub fn silent() -> Self {
        let (said, _) = mpsc::unbounded_channel();
        let (_, cancelled) = watch::channel(false);
        Progress {
            node: 0,
            said,
            cancelled,
        }
    }
}

/// How a node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Done(Outcome),
    /// With an error.
    Failed(String),
    /// Not run, or not to its end, because this node failed.
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
    /// Every error found; what is needed stands above what needs something.
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
/// A failure ends what leads nowhere any more: gates at once, and steps where they wait, since a change
/// that has begun is finished. What still leads somewhere goes on, so that one run finds every
/// independent failure.
pub async fn run(
    graph: Graph,
    actions: Vec<Action>,
    mut on_event: impl FnMut(&Graph, Event),
) -> RunReport {
    let begin = Instant::now();
    let count = graph.nodes().len();
    let (sender, mut said) = mpsc::unbounded_channel();
    let mut actions: Vec<Option<Action>> = actions.into_iter().map(Some).collect();
    let mut missing: Vec<usize> = (0..count).map(|node| graph.needs(node).len()).collect();
    let mut nodes = Nodes {
        results: (0..count).map(|_| None).collect(),
        running: (0..count).map(|_| None).collect(),
    };
    let mut failures: Vec<(usize, Error)> = Vec::new();
    let mut tasks: JoinSet<(usize, Result<Outcome>)> = JoinSet::new();

    let mut ready: Vec<usize> = (0..count).filter(|&node| missing[node] == 0).collect();
    loop {
        for node in ready.drain(..) {
            let Some(action) = actions[node].take().filter(|_| nodes.is_open(node)) else {
                continue;
            };
            let (cancel, cancelled) = watch::channel(false);
            let progress = Progress {
                node,
                said: sender.clone(),
                cancelled,
            };
            on_event(&graph, Event::Started { node });
            let task = tasks.spawn(async move { (node, action(progress).await) });
            nodes.running[node] = Some(Running {
                task,
                cancel,
                started: begin.elapsed(),
                because: None,
            });
        }
        let (node, result) = tokio::select! {
            biased;
            Some(said) = said.recv() => {
                match said {
                    Said::Event(event) => nodes.pass_on(&graph, event, &mut on_event),
                    Said::GivenUp(node) => nodes.end(&graph, node, &mut on_event),
                }
                continue;
            }
            joined = tasks.join_next() => match joined {
                None => break,
                Some(Ok(ended)) => ended,
                Some(Err(error)) => {
                    let Some(node) = nodes.of_task(error.id()) else { continue };
                    // A panicking node is a bug, but it must read like any other failure.
                    let what = format!("`{}` ended abnormally: {error}", graph.nodes()[node].id);
                    (node, Err(Error::new(Code::Plan, what)))
                }
            },
        };
        let Some(Running { started, .. }) = nodes.running[node].take() else {
            continue;
        };
        let took = begin.elapsed().saturating_sub(started);
        let ended = match result {
            Ok(outcome) => {
                let event = Event::Finished {
                    node,
                    outcome: outcome.clone(),
                    took,
                };
                on_event(&graph, event);
                for &dependent in graph.dependents(node) {
                    missing[dependent] -= 1;
                    if missing[dependent] == 0 {
                        ready.push(dependent);
                    }
                }
                Ended::Done(outcome)
            }
            Err(error) => {
                let message = error.message.clone();
                let event = Event::Failed {
                    node,
                    message: message.clone(),
                    details: error.details.clone(),
                    hint: error.hint.clone(),
                    took,
                };
                on_event(&graph, event);
                failures.push((node, error));
                Ended::Failed(message)
            }
        };
        let failed = matches!(ended, Ended::Failed(_));
        nodes.results[node] = Some(NodeRun {
            started,
            took,
            ended,
        });
        if failed {
            nodes.cancel(&graph, node, &mut on_event);
        }
    }
    // What is needed stands above what needs something, whichever was seen first.
    failures.sort_by_key(|(node, _)| graph.order().iter().position(|it| it == node));
    let results = nodes.results.into_iter().map(|result| {
        result.unwrap_or(NodeRun {
            started: Duration::ZERO,
            took: Duration::ZERO,
            ended: Ended::Failed("never became ready".into()),
        })
    });
    RunReport {
        nodes: results.collect(),
        graph,
        wall: begin.elapsed(),
        errors: failures.into_iter().map(|(_, error)| error).collect(),
    }
}

/// A node at work.
struct Running {
    task: AbortHandle,
    /// Tells a step that it leads nowhere.
    cancel: watch::Sender<bool>,
    /// Since the run's start.
    started: Duration,
    /// The node whose failure made it lead nowhere.
    because: Option<usize>,
}

/// What has become of the nodes.
struct Nodes {
    results: Vec<Option<NodeRun>>,
    running: Vec<Option<Running>>,
}

impl Nodes {
    fn is_open(&self, node: usize) -> bool {
        self.results[node].is_none()
    }

    /// The node that a task works for; none once it was ended.
    fn of_task(&self, task: tokio::task::Id) -> Option<usize> {
        let mut running = self.running.iter();
        running.position(|it| it.as_ref().is_some_and(|it| it.task.id() == task))
    }

    /// Reports what a node says, unless it was ended meanwhile.
    fn pass_on(&self, graph: &Graph, event: Event, on_event: &mut impl FnMut(&Graph, Event)) {
        if let Event::Observed { node, .. } | Event::Bytes { node, .. } = event
            && self.is_open(node)
        {
            on_event(graph, event);
        }
    }

    /// Ends what leads nowhere since this node failed.
    fn cancel(&mut self, graph: &Graph, failed: usize, on_event: &mut impl FnMut(&Graph, Event)) {
        let lost = |node: usize| {
            let ended = self.results[node].as_ref().map(|it| &it.ended);
            matches!(ended, Some(Ended::Failed(_) | Ended::Skipped(_)))
        };
        let vain = graph.leads_nowhere(lost);
        for &node in graph.order() {
            if !vain[node] || !self.is_open(node) {
                continue;
            }
            match &mut self.running[node] {
                Some(step) if graph.nodes()[node].kind == Kind::Step => {
                    step.because.get_or_insert(failed);
                    step.cancel.send_replace(true);
                }
                // A gate only looks.
                Some(gate) => {
                    gate.because = Some(failed);
                    self.end(graph, node, on_event);
                }
                None => self.skip(graph, node, failed, on_event),
            }
        }
    }

    /// Ends a node at work that leads nowhere.
    fn end(&mut self, graph: &Graph, node: usize, on_event: &mut impl FnMut(&Graph, Event)) {
        if let Some(Running { task, because, .. }) = self.running[node].take() {
            task.abort();
            self.skip(graph, node, because.unwrap_or(node), on_event);
        }
    }

    fn skip(
        &mut self,
        graph: &Graph,
        node: usize,
        because: usize,
        on_event: &mut impl FnMut(&Graph, Event),
    ) {
        on_event(graph, Event::Skipped { node, because });
        self.results[node] = Some(NodeRun {
            started: Duration::ZERO,
            took: Duration::ZERO,
            ended: Ended::Skipped(because),
        });
    }
}
