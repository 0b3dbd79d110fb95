//! What people and programs read about a run.
//!
//! [`Reporter`] tells while it runs, always on stderr: stdout belongs to results. [`summary`] and
//! [`timeline`] tell afterwards and are pure.

#[cfg(test)]
mod fixtures;
mod json;
mod live;
mod plain;
pub mod summary;
pub mod table;
pub mod text;
pub mod timeline;
mod verdict;

use std::io::{IsTerminal, Stderr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use json::Json;
use live::Live;
use plain::Plain;
use text::Palette;
use verdict::Verdict;

use crate::plan::Graph;
use crate::plan::run::{Event, RunReport};
use crate::printed;

/// The form of results and progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs: the result as one JSON document, progress as JSON lines.
    Json,
}

/// Ids longer than this leave their column.
const WIDEST_ID: usize = 32;

/// Columns of the ids of a plan.
fn id_width(graph: &Graph) -> usize {
    graph
        .nodes()
        .iter()
        .map(|node| node.id.chars().count())
        .max()
        .unwrap_or_default()
        .min(WIDEST_ID)
}

/// How many lines of evidence stand below a failure while others still run; the error at the end has
/// them all.
const EVIDENCE: usize = 3;

/// What stands below the line of a failure: the last of its evidence, and the next command.
fn why(details: &[String], hint: Option<&str>) -> Vec<String> {
    let last = details.len().saturating_sub(EVIDENCE);
    let details = details[last..].iter();
    let details = details.map(|line| format!("  | {}", text::one_line(line)));
    let hint = hint.map(|hint| format!("  next: {}", text::one_line(&printed::ours(hint))));
    details.chain(hint).collect()
}

/// The longest path of a run, without nodes that did not run: they took no time, but may hang on
/// its end.
fn longest_path(report: &RunReport) -> Vec<usize> {
    report
        .critical_path()
        .into_iter()
        .filter(|&node| Verdict::of(report, node) != Verdict::Skipped)
        .collect()
}

/// Tells on stderr how a run goes.
///
/// All methods take `&self`, so that a signal handler can print a note while a plan that reports
/// here is running.
pub struct Reporter {
    begin: Instant,
    face: Mutex<Face>,
}

enum Face {
    Live(Live),
    Plain(Plain<Stderr>),
    Json(Json<Stderr>),
}

impl Reporter {
    /// The reporter that fits the wish and the surroundings: live lines need a terminal that can
    /// move its cursor and a person in front of it.
    pub fn choose(output: Output) -> Self {
        let stderr = std::io::stderr();
        let surroundings = Surroundings::of(&stderr);
        let face = match (output, surroundings.is_live()) {
            (Output::Json, _) => Face::Json(Json::new(stderr)),
            (Output::Text, true) => Face::Live(Live::new(Palette {
                colour: surroundings.is_coloured(),
            })),
            (Output::Text, false) => Face::Plain(Plain::new(stderr)),
        };
        Reporter {
            begin: Instant::now(),
            face: Mutex::new(face),
        }
    }

    /// Tells about an event; fits [`crate::plan::run`].
    pub fn on_event(&self, graph: &Graph, event: Event) {
        let at = self.begin.elapsed();
        match &mut *self.face() {
            Face::Live(live) => live.on_event(graph, &event),
            Face::Plain(plain) => plain.on_event(graph, &event, at),
            Face::Json(json) => json.on_event(graph, &event, at),
        }
    }

    /// Prints a line of its own without disturbing the lines of running nodes.
    pub fn note(&self, line: &str) {
        let at = self.begin.elapsed();
        match &mut *self.face() {
            Face::Live(live) => live.note(line),
            Face::Plain(plain) => plain.note(line),
            Face::Json(json) => json.note(line, at),
        }
    }

    /// Leaves the terminal clean. To be called before anything else prints, also after an
    /// interruption, when nodes still have a line.
    pub fn finish(&self) {
        if let Face::Live(live) = &mut *self.face() {
            live.finish();
        }
    }

    /// What a reporter knows is only what was printed: a panic in between spoils nothing.
    fn face(&self) -> MutexGuard<'_, Face> {
        self.face.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reporter {
    /// An interrupted command must not leave its lines behind.
    fn drop(&mut self) {
        self.finish();
    }
}

/// Whether text on `stream` may be coloured: it is a terminal, and neither `NO_COLOR` nor
/// `TERM=dumb` forbids it.
pub fn is_coloured(stream: &impl IsTerminal) -> bool {
    Surroundings::of(stream).is_coloured()
}

/// What decides how to print.
#[derive(Clone, Copy)]
struct Surroundings {
    terminal: bool,
    dumb: bool,
    ci: bool,
    no_color: bool,
}

impl Surroundings {
    fn of(stream: &impl IsTerminal) -> Self {
        // By their conventions, both variables count when they are set and not empty.
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Surroundings {
            terminal: stream.is_terminal(),
            dumb: std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
            ci: set("CI") && std::env::var_os("CI").is_none_or(|value| value != "false"),
            no_color: set("NO_COLOR"),
        }
    }

    fn is_live(self) -> bool {
        self.terminal && !self.dumb && !self.ci
    }

    fn is_coloured(self) -> bool {
        self.terminal && !self.dumb && !self.no_color
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Surroundings = Surroundings {
        terminal: true,
        dumb: false,
        ci: false,
        no_color: false,
    };

    #[test]
    fn a_terminal_is_live_and_coloured() {
        assert!(TERMINAL.is_live() && TERMINAL.is_coloured());
    }

    #[test]
    fn a_pipe_is_neither() {
        let pipe = Surroundings {
            terminal: false,
            ..TERMINAL
        };
        assert!(!pipe.is_live() && !pipe.is_coloured());
    }

    #[test]
    fn no_color_takes_the_colour_and_ci_takes_the_movement() {
        let no_color = Surroundings {
            no_color: true,
            ..TERMINAL
        };
        assert!(no_color.is_live() && !no_color.is_coloured());
        let ci = Surroundings {
            ci: true,
            ..TERMINAL
        };
        assert!(!ci.is_live() && ci.is_coloured());
        let dumb = Surroundings {
            dumb: true,
            ..TERMINAL
        };
        assert!(!dumb.is_live() && !dumb.is_coloured());
    }

    #[test]
    fn any_reporter_takes_notes_while_shared() {
        let reporter = Reporter::choose(Output::Json);
        let shared = &reporter;
        shared.finish();
        assert!(matches!(&*shared.face(), Face::Json(_)));
    }
}
