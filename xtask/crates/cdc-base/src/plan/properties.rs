//! What holds for every graph: checked on random ones against the plainest way to say it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::graph::GraphError;
use super::run::{Ended, Event};
use super::{Graph, Kind, NodeSpec, Outcome, Plan, run};
use crate::error::{Code, Error};

/// Needs of each node. Node numbers are shuffled against the order in which they can run.
fn dag(most: usize) -> impl Strategy<Value = Vec<Vec<usize>>> {
    (0..=most)
        .prop_flat_map(|count| {
            let order: Vec<usize> = (0..count).collect();
            (
                prop::collection::vec(prop::bool::weighted(0.35), count * count),
                Just(order).prop_shuffle(),
            )
        })
        .prop_map(|(edges, order)| {
            let count = order.len();
            let mut needs = vec![Vec::new(); count];
            for later in 0..count {
                for earlier in 0..later {
                    if edges[later * count + earlier] {
                        needs[order[later]].push(order[earlier]);
                    }
                }
            }
            needs
        })
}

fn id(node: usize) -> String {
    format!("n{node}")
}

fn specs(needs: &[Vec<usize>]) -> Vec<NodeSpec> {
    needs
        .iter()
        .enumerate()
        .map(|(node, needs)| NodeSpec {
            id: id(node),
            kind: Kind::Step,
            title: String::new(),
            needs: needs.iter().map(|&need| id(need)).collect(),
        })
        .collect()
}

/// Everything that a node needs, directly or not.
fn ancestors(needs: &[Vec<usize>], node: usize) -> BTreeSet<usize> {
    needs[node]
        .iter()
        .flat_map(|&need| {
            let mut all = ancestors(needs, need);
            all.insert(need);
            all
        })
        .collect()
}

/// Every path that ends at a node, as the sum of its durations.
fn path_lengths(needs: &[Vec<usize>], took: &[u64], node: usize) -> Vec<u64> {
    std::iter::once(took[node])
        .chain(needs[node].iter().flat_map(|&need| {
            path_lengths(needs, took, need)
                .into_iter()
                .map(|length| length + took[node])
        }))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_order_has_every_node_once_and_after_its_needs(needs in dag(10)) {
        let graph = Graph::new(specs(&needs)).expect("acyclic");
        let order = graph.order();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..needs.len()).collect::<Vec<_>>());
        let at = |node: usize| order.iter().position(|&other| other == node);
        for (node, needs) in needs.iter().enumerate() {
            for &need in needs {
                prop_assert!(at(need) < at(node));
                prop_assert!(graph.dependents(need).contains(&node));
            }
        }
    }

    #[test]
    fn the_critical_path_is_a_path_and_none_is_longer(
        needs in dag(7),
        took in prop::collection::vec(0_u64..20, 7),
    ) {
        let graph = Graph::new(specs(&needs)).expect("acyclic");
        let durations: Vec<Duration> = took[..needs.len()]
            .iter()
            .map(|&seconds| Duration::from_secs(seconds))
            .collect();
        let path = graph.critical_path(&durations);
        for pair in path.windows(2) {
            prop_assert!(needs[pair[1]].contains(&pair[0]));
        }
        let length: u64 = path.iter().map(|&node| took[node]).sum();
        let longest = (0..needs.len())
            .flat_map(|node| path_lengths(&needs, &took, node))
            .max()
            .unwrap_or(0);
        prop_assert_eq!(length, longest);
    }

    #[test]
    fn an_edge_back_is_reported_as_a_cycle_that_exists(
        needs in dag(9),
        pick in any::<prop::sample::Index>(),
    ) {
        // An edge from a node to itself or to one that needs it.
        let mut back: Vec<(usize, usize)> = (0..needs.len()).map(|node| (node, node)).collect();
        for node in 0..needs.len() {
            back.extend(ancestors(&needs, node).into_iter().map(|above| (above, node)));
        }
        if back.is_empty() {
            return Ok(());
        }
        let &(from, to) = pick.get(&back);
        let mut cyclic = needs;
        cyclic[from].push(to);
        let error = Graph::new(specs(&cyclic)).expect_err("cyclic");
        let GraphError::Cycle(path) = &error else {
            return Err(TestCaseError::fail(format!("{error:?}")));
        };
        prop_assert!(path.len() >= 2);
        prop_assert_eq!(path.first(), path.last());
        let nodes: Vec<usize> = path
            .iter()
            .map(|id| id[1..].parse().expect("a number"))
            .collect();
        for pair in nodes.windows(2) {
            prop_assert!(cyclic[pair[0]].contains(&pair[1]), "{} in {:?}", error, cyclic);
        }
        let different: BTreeSet<&usize> = nodes.iter().collect();
        prop_assert_eq!(different.len(), nodes.len() - 1);
    }

    #[test]
    fn a_run_does_what_can_be_done_and_nothing_else(
        needs in dag(9),
        fails in prop::collection::vec(prop::bool::weighted(0.2), 9),
        yields in prop::collection::vec(0_usize..4, 9),
    ) {
        let done = Arc::new(Mutex::new(BTreeSet::new()));
        let mut plan = Plan::default();
        for (node, mine) in needs.iter().enumerate() {
            let (done, mine) = (done.clone(), mine.clone());
            let (fails, yields) = (fails[node], yields[node]);
            let ids: Vec<String> = mine.iter().map(|&need| id(need)).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            plan.step(&id(node), "", &ids, async move |_| {
                let ready = {
                    let done = done.lock().expect("not poisoned");
                    mine.iter().all(|need| done.contains(need))
                };
                if !ready {
                    return Err(Error::new(Code::Check, "started too early"));
                }
                for _ in 0..yields {
                    tokio::task::yield_now().await;
                }
                if fails {
                    return Err(Error::new(Code::Process, id(node)));
                }
                done.lock().expect("not poisoned").insert(node);
                Ok(Outcome::Changed(String::new()))
            });
        }
        let (graph, actions) = plan.build().expect("acyclic");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut events = vec![Vec::new(); needs.len()];
        let report = runtime.block_on(run(graph, actions, |_, event| match event {
            Event::Started { node } => events[node].push("started"),
            Event::Finished { node, .. } => events[node].push("finished"),
            Event::Failed { node, .. } => events[node].push("failed"),
            Event::Skipped { node, .. } => events[node].push("skipped"),
            Event::Observed { .. } | Event::Bytes { .. } => {}
        }));
        let mut failed = BTreeSet::new();
        for (node, ended) in report.nodes.iter().map(|node| &node.ended).enumerate() {
            let above = ancestors(&needs, node);
            let blocked = above.iter().any(|&above| fails[above]);
            match ended {
                Ended::Skipped(because) => {
                    prop_assert!(fails[*because]);
                    prop_assert!(matches!(report.nodes[*because].ended, Ended::Failed(_)));
                    // It could not succeed, or every end that it leads to could not.
                    let ends = |end: &usize| {
                        !needs.iter().any(|needs| needs.contains(end))
                            && (*end == node || ancestors(&needs, *end).contains(&node))
                    };
                    let lost = |end: usize| {
                        fails[end] || ancestors(&needs, end).iter().any(|&above| fails[above])
                    };
                    prop_assert!(blocked || (0..needs.len()).filter(ends).all(lost));
                    prop_assert_eq!(&events[node], &["skipped"]);
                }
                Ended::Failed(message) => {
                    prop_assert!(!blocked && fails[node], "{}", message);
                    prop_assert_eq!(&events[node], &["started", "failed"]);
                    failed.insert(message.clone());
                }
                Ended::Done(_) => {
                    prop_assert!(!blocked && !fails[node]);
                    prop_assert_eq!(&events[node], &["started", "finished"]);
                }
            }
        }
        let told: BTreeSet<String> = report.errors.iter().map(|error| error.message.clone()).collect();
        prop_assert_eq!(told.len(), report.errors.len());
        prop_assert_eq!(told, failed);
    }
}
