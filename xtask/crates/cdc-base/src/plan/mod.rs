//! Plans: what `up` does, as a graph of steps and gates.
//!
//! `graph` is pure: names, order, cycles, the critical path. `run` executes a plan with everything
//! that has no path between it running at the same time. `show` prints one.

pub mod graph;
#[cfg(test)]
mod properties;
pub mod run;
pub mod show;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;

pub use graph::{Graph, Kind, NodeSpec};
pub use run::{Outcome, Progress, run};

use crate::error::{Code, Error, Result};

/// What a node does when its turn comes.
pub type Action =
    Box<dyn FnOnce(Progress) -> Pin<Box<dyn Future<Output = Result<Outcome>> + Send>> + Send>;

/// A graph under construction, with the work of each node.
#[derive(Default)]
pub struct Plan {
    specs: Vec<NodeSpec>,
    actions: Vec<Action>,
}

impl Plan {
    /// Adds a step: something that changes the system, or finds that nothing is to be changed.
    pub fn step<F, W>(&mut self, id: &str, title: &str, needs: &[&str], work: F)
    where
        F: FnOnce(Progress) -> W + Send + 'static,
        W: Future<Output = Result<Outcome>> + Send + 'static,
    {
        self.add(Kind::Step, id, title, needs, work);
    }

    /// Adds a gate: waits for evidence and changes nothing.
    pub fn gate<F, W>(&mut self, id: &str, title: &str, needs: &[&str], work: F)
    where
        F: FnOnce(Progress) -> W + Send + 'static,
        W: Future<Output = Result<Outcome>> + Send + 'static,
    {
        self.add(Kind::Gate, id, title, needs, work);
    }

    fn add<F, W>(&mut self, kind: Kind, id: &str, title: &str, needs: &[&str], work: F)
    where
        F: FnOnce(Progress) -> W + Send + 'static,
        W: Future<Output = Result<Outcome>> + Send + 'static,
    {
        self.specs.push(NodeSpec {
            id: id.to_owned(),
            kind,
            title: title.to_owned(),
            needs: needs.iter().map(|&need| need.to_owned()).collect(),
        });
        self.actions
            .push(Box::new(move |progress| Box::pin(work(progress))));
    }

    /// Checks the graph.
    ///
    /// # Errors
    /// A duplicate name, an unknown dependency or a cycle.
    pub fn build(self) -> Result<(Graph, Vec<Action>)> {
        let graph = Graph::new(self.specs);
        let graph = graph.map_err(|error| Error::new(Code::Plan, error.to_string()))?;
        Ok((graph, self.actions))
    }
}
