//! The pure part of a plan: nodes, order, cycles and the critical path.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::nearest;

/// Whether a node changes something or waits for evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Changes something.
    Step,
    /// Waits for evidence.
    Gate,
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NodeSpec {
    /// `component/what`, unique.
    pub id: String,
    /// Step or gate.
    pub kind: Kind,
    /// What it does, for people.
    pub title: String,
    /// Ids of the nodes that must have succeeded before.
    pub needs: Vec<String>,
}

/// Why a set of nodes is no graph that can run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two nodes with one id.
    #[error("two nodes are called `{0}`")]
    Duplicate(String),
    /// A dependency that is not there.
    #[error("`{node}` needs `{need}`, which is not in the plan{}", near.as_ref().map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default())]
    Unknown {
        /// The node that asks.
        node: String,
        /// What it asks for.
        need: String,
        /// The closest id that exists.
        near: Option<String>,
    },
    /// A cycle, with its path; the first id is repeated at the end.
    #[error("the plan goes round in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

/// A checked graph. Nodes are addressed by their index in the order given.
#[derive(Clone, Debug)]
pub struct Graph {
    nodes: Vec<NodeSpec>,
    needs: Vec<Vec<usize>>,
    dependents: Vec<Vec<usize>>,
    order: Vec<usize>,
}

impl Graph {
    /// Checks and indexes the nodes.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub fn new(nodes: Vec<NodeSpec>) -> Result<Self, GraphError> {
        let mut index = BTreeMap::new();
        for (at, node) in nodes.iter().enumerate() {
            if index.insert(node.id.as_str(), at).is_some() {
                return Err(GraphError::Duplicate(node.id.clone()));
            }
        }
        let mut needs = Vec::with_capacity(nodes.len());
        let mut dependents = vec![Vec::new(); nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            let mut mine = Vec::with_capacity(node.needs.len());
            for need in &node.needs {
                let Some(&found) = index.get(need.as_str()) else {
                    return Err(GraphError::Unknown {
                        node: node.id.clone(),
                        need: need.clone(),
                        near: nearest(need, index.keys().copied()).map(str::to_owned),
                    });
                };
                if !mine.contains(&found) {
                    mine.push(found);
                    dependents[found].push(at);
                }
            }
            needs.push(mine);
        }
        let order = order(&nodes, &needs, &dependents)?;
        Ok(Graph {
            nodes,
            needs,
            dependents,
            order,
        })
    }

    /// All nodes.
    pub fn nodes(&self) -> &[NodeSpec] {
        &self.nodes
    }

    /// What a node needs.
    pub fn needs(&self, node: usize) -> &[usize] {
        &self.needs[node]
    }

    /// What needs a node.
    pub fn dependents(&self, node: usize) -> &[usize] {
        &self.dependents[node]
    }

    /// An order in which every node comes after what it needs; stable against the order given.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Which nodes lead nowhere once these have failed: what needs them, and what only such nodes need.
    /// A node that nothing needs is an end in itself, and leads nowhere only if it cannot succeed.
    pub fn leads_nowhere(&self, failed: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut vain = vec![false; self.nodes.len()];
        for &node in &self.order {
            vain[node] = failed(node) || self.needs[node].iter().any(|&need| vain[need]);
        }
        for &node in self.order.iter().rev() {
            let dependents = &self.dependents[node];
            vain[node] |= !dependents.is_empty() && dependents.iter().all(|&it| vain[it]);
        }
        vain
    }

    /// The path through the graph whose durations add up to the most, from its start to its end.
    /// `durations` has one entry per node.
    pub fn critical_path(&self, durations: &[Duration]) -> Vec<usize> {
        let mut finish = vec![Duration::ZERO; self.nodes.len()];
        let mut before: Vec<Option<usize>> = vec![None; self.nodes.len()];
        for &node in &self.order {
            let latest = self.needs[node]
                .iter()
                .copied()
                .max_by_key(|&need| finish[need]);
            before[node] = latest;
            finish[node] = latest.map_or(Duration::ZERO, |need| finish[need]) + durations[node];
        }
        let mut path: Vec<usize> = std::iter::successors(
            (0..self.nodes.len()).max_by_key(|&node| finish[node]),
            |&node| before[node],
        )
        .collect();
        path.reverse();
        path
    }
}

/// Kahn's algorithm; what it leaves over holds a cycle.
fn order(
    nodes: &[NodeSpec],
    needs: &[Vec<usize>],
    dependents: &[Vec<usize>],
) -> Result<Vec<usize>, GraphError> {
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..nodes.len())
        .filter(|&node| missing[node] == 0)
        .collect();
    let mut next = 0;
    while let Some(&node) = order.get(next) {
        next += 1;
        for &dependent in &dependents[node] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                order.push(dependent);
            }
        }
    }
    let Some(start) = (0..nodes.len()).find(|&node| missing[node] > 0) else {
        return Ok(order);
    };
    // Every node left over needs another one left over, so walking needs must come round.
    let mut path = vec![start];
    let mut at = start;
    loop {
        let Some(need) = needs[at].iter().copied().find(|&need| missing[need] > 0) else {
            unreachable!("a node that is left over needs another one that is left over")
        };
        if let Some(begin) = path.iter().position(|&node| node == need) {
            let mut cycle: Vec<String> = path[begin..]
                .iter()
                .map(|&node| nodes[node].id.clone())
                .collect();
            cycle.push(nodes[need].id.clone());
            return Err(GraphError::Cycle(cycle));
        }
        path.push(need);
        at = need;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, needs: &[&str]) -> NodeSpec {
        NodeSpec {
            id: id.into(),
            kind: Kind::Step,
            title: id.into(),
            needs: needs.iter().map(|&need| need.into()).collect(),
        }
    }

    fn ids(graph: &Graph, path: &[usize]) -> Vec<String> {
        path.iter()
            .map(|&at| graph.nodes()[at].id.clone())
            .collect()
    }

    #[test]
    fn orders_by_need() {
        let graph = Graph::new(vec![node("c", &["b"]), node("b", &["a"]), node("a", &[])])
            .expect("acyclic");
        assert_eq!(ids(&graph, graph.order()), ["a", "b", "c"]);
        assert_eq!(graph.dependents(2), [1]);
        assert_eq!(graph.needs(0), [1]);
    }

    #[test]
    fn a_cycle_is_named_with_its_path() {
        let error = Graph::new(vec![
            node("start", &["b"]),
            node("a", &["b"]),
            node("b", &["c"]),
            node("c", &["a"]),
        ])
        .expect_err("cyclic");
        assert_eq!(
            error.to_string(),
            "the plan goes round in a circle: b -> c -> a -> b"
        );
    }

    #[test]
    fn unknown_and_duplicate_are_refused() {
        assert_eq!(
            Graph::new(vec![node("kafka/start", &[]), node("x", &["kafka/strat"])])
                .expect_err("unknown")
                .to_string(),
            "`x` needs `kafka/strat`, which is not in the plan (did you mean `kafka/start`?)"
        );
        assert_eq!(
            Graph::new(vec![node("a", &[]), node("a", &[])]).expect_err("duplicate"),
            GraphError::Duplicate("a".into())
        );
    }

    #[test]
    fn the_critical_path_is_the_longest_sum() {
        let graph = Graph::new(vec![
            node("a", &[]),
            node("b", &["a"]),
            node("c", &["a"]),
            node("d", &["b", "c"]),
        ])
        .expect("acyclic");
        let durations = [1, 5, 2, 1].map(Duration::from_secs);
        assert_eq!(
            ids(&graph, &graph.critical_path(&durations)),
            ["a", "b", "d"]
        );
    }

    #[test]
    fn what_only_leads_to_what_failed_leads_nowhere() {
        let graph = Graph::new(vec![
            node("kafka", &[]),
            node("postgres", &[]),
            node("mongodb", &[]),
            node("topics", &["kafka"]),
            node("users", &["postgres", "topics"]),
            node("events", &["mongodb"]),
            node("kafka's status", &["kafka"]),
            node("audit", &["postgres"]),
        ])
        .expect("acyclic");
        let after = |failed: &[usize]| {
            let vain = graph.leads_nowhere(|node| failed.contains(&node));
            let all: Vec<usize> = (0..vain.len()).filter(|&node| vain[node]).collect();
            ids(&graph, &all)
        };
        assert!(after(&[]).is_empty());
        // Kafka still proves its own status, PostgreSQL still leads to the audit.
        assert_eq!(after(&[3]), ["topics", "users"]);
        assert_eq!(
            after(&[3, 6]),
            ["kafka", "topics", "users", "kafka's status"]
        );
        assert_eq!(after(&[3, 7]), ["postgres", "topics", "users", "audit"]);
        assert_eq!(after(&[5]), ["mongodb", "events"]);
    }

    #[test]
    fn an_empty_graph_has_an_empty_path() {
        let graph = Graph::new(Vec::new()).expect("acyclic");
        assert!(graph.critical_path(&[]).is_empty());
    }
}
