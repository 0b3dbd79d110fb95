//! A plan in print: a tree for people, JSON for programs, Mermaid for documents.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Graph, Kind};

/// The plan as a tree in which every node stands below all that it needs.
///
/// A node with several needs is printed once, below the one that is printed last, and names the
/// others. Read from top to bottom the tree is therefore an order in which the plan could run.
pub fn tree(graph: &Graph) -> String {
    let rows = Rows::of(graph);
    let width = rows
        .printed
        .iter()
        .map(|row| row.width(graph))
        .max()
        .unwrap_or_default();
    let mut text = heading(graph);
    for row in &rows.printed {
        let node = &graph.nodes()[row.node];
        let indent = width - row.width(graph) + node.id.chars().count();
        let line = format!(
            "{}{} {:indent$}  {}{}",
            row.branch,
            mark(node.kind),
            node.id,
            node.title,
            row.others(graph),
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The plan as JSON: `nodes` as given, `order` as one order in which they could run.
pub fn json(graph: &Graph) -> Value {
    let order: Vec<&str> = graph
        .order()
        .iter()
        .map(|&node| graph.nodes()[node].id.as_str())
        .collect();
    json!({ "nodes": graph.nodes(), "order": order })
}

/// The plan as a Mermaid flowchart: steps are boxes, gates are hexagons.
pub fn mermaid(graph: &Graph) -> String {
    let mut text = String::from("flowchart TD\n");
    for (at, node) in graph.nodes().iter().enumerate() {
        let (open, close) = match node.kind {
            Kind::Step => ("[", "]"),
            Kind::Gate => ("{{", "}}"),
        };
        let (id, title) = (mermaid_text(&node.id), mermaid_text(&node.title));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    n{at}{open}\"{id}<br/>{title}\"{close}");
    }
    for node in 0..graph.nodes().len() {
        for need in graph.needs(node) {
            let _ = writeln!(text, "    n{need} --> n{node}");
        }
    }
    text
}

/// Text within a quoted Mermaid label. Mermaid writes entities as `#name;`; everything that could
/// end the label, start Markdown or become HTML is one.
fn mermaid_text(text: &str) -> String {
    text.chars().fold(String::new(), |mut safe, char| {
        match char {
            '"' => safe.push_str("#quot;"),
            '<' => safe.push_str("#lt;"),
            '>' => safe.push_str("#gt;"),
            '&' => safe.push_str("#amp;"),
            '#' => safe.push_str("#35;"),
            '`' => safe.push_str("#96;"),
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
        safe
    })
}

fn mark(kind: Kind) -> char {
    match kind {
        Kind::Step => '●',
        Kind::Gate => '◇',
    }
}

fn heading(graph: &Graph) -> String {
    let gates = graph
        .nodes()
        .iter()
        .filter(|node| node.kind == Kind::Gate)
        .count();
    format!(
        "{} step: {}   {} gate: {gates}\n",
        mark(Kind::Step),
        graph.nodes().len() - gates,
        mark(Kind::Gate),
    )
}

/// One node of the tree in print.
struct Row {
    node: usize,
    /// The need that the node stands below.
    parent: Option<usize>,
    /// The lines that lead to it.
    branch: String,
}

impl Row {
    /// Columns that the branch and the id take.
    fn width(&self, graph: &Graph) -> usize {
        self.branch.chars().count() + graph.nodes()[self.node].id.chars().count()
    }

    /// The needs that the tree's lines do not show.
    fn others(&self, graph: &Graph) -> String {
        let others: Vec<&str> = graph
            .needs(self.node)
            .iter()
            .filter(|&&need| Some(need) != self.parent)
            .map(|&need| graph.nodes()[need].id.as_str())
            .collect();
        if others.is_empty() {
            return String::new();
        }
        format!("  (also needs {})", others.join(", "))
    }
}

/// The tree's rows, from a depth-first walk that enters a node with the last of its needs.
struct Rows<'graph> {
    graph: &'graph Graph,
    /// How many needs of each node are not printed yet.
    missing: Vec<usize>,
    printed: Vec<Row>,
}

impl<'graph> Rows<'graph> {
    fn of(graph: &'graph Graph) -> Self {
        let nodes = 0..graph.nodes().len();
        let mut rows = Rows {
            graph,
            missing: nodes.clone().map(|node| graph.needs(node).len()).collect(),
            printed: Vec::with_capacity(nodes.len()),
        };
        for root in nodes.filter(|&node| graph.needs(node).is_empty()) {
            let row = Row {
                node: root,
                parent: None,
                branch: String::new(),
            };
            rows.print(row, "");
        }
        rows
    }

    /// Prints a row and what it completes; `indent` leads the lines below it.
    fn print(&mut self, row: Row, indent: &str) {
        let node = row.node;
        self.printed.push(row);
        let mut children = Vec::new();
        for &dependent in self.graph.dependents(node) {
            self.missing[dependent] -= 1;
            if self.missing[dependent] == 0 {
                children.push(dependent);
            }
        }
        let last = children.last().copied();
        for child in children {
            let (corner, line) = if Some(child) == last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let row = Row {
                node: child,
                parent: Some(node),
                branch: format!("{indent}{corner}"),
            };
            self.print(row, &format!("{indent}{line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::NodeSpec;

    fn node(kind: Kind, id: &str, title: &str, needs: &[&str]) -> NodeSpec {
        NodeSpec {
            id: id.into(),
            kind,
            title: title.into(),
            needs: needs.iter().map(|&need| need.into()).collect(),
        }
    }

    fn small() -> Graph {
        Graph::new(vec![
            node(Kind::Step, "kafka/start", "Start Kafka", &[]),
            node(Kind::Gate, "kafka/ready", "Kafka answers", &["kafka/start"]),
            node(
                Kind::Step,
                "kafka/topics",
                "Create topics",
                &["kafka/ready"],
            ),
            node(Kind::Step, "pg/start", "Start PostgreSQL", &[]),
            node(
                Kind::Step,
                "connect/register",
                "Register",
                &["kafka/ready", "pg/start"],
            ),
        ])
        .expect("a graph")
    }

    #[test]
    fn the_tree_prints_every_node_once_below_all_that_it_needs() {
        assert_eq!(
            tree(&small()),
            "\
● step: 4   ◇ gate: 1
● kafka/start          Start Kafka
└─ ◇ kafka/ready       Kafka answers
   └─ ● kafka/topics   Create topics
● pg/start             Start PostgreSQL
└─ ● connect/register  Register  (also needs kafka/ready)
"
        );
    }

    #[test]
    fn siblings_are_joined_by_a_line() {
        let graph = Graph::new(vec![
            node(Kind::Step, "a", "A", &[]),
            node(Kind::Step, "b", "B", &["a"]),
            node(Kind::Step, "c", "C", &["b"]),
            node(Kind::Step, "d", "D", &["a"]),
        ])
        .expect("a graph");
        let tree = tree(&graph);
        let lines: Vec<&str> = tree.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "● a        A",
                "├─ ● b     B",
                "│  └─ ● c  C",
                "└─ ● d     D"
            ]
        );
    }

    #[test]
    fn json_has_nodes_and_an_order() {
        let json = json(&small());
        assert_eq!(json["nodes"][1]["kind"], "gate");
        assert_eq!(
            json["nodes"][4]["needs"],
            json!(["kafka/ready", "pg/start"])
        );
        assert_eq!(json["order"][0], "kafka/start");
        assert_eq!(json["order"].as_array().map(Vec::len), Some(5));
    }

    #[test]
    fn mermaid_draws_steps_gates_and_needs() {
        let text = mermaid(&small());
        assert!(text.starts_with("flowchart TD\n"));
        assert!(text.contains("n0[\"kafka/start<br/>Start Kafka\"]\n"));
        assert!(text.contains("n1{{\"kafka/ready<br/>Kafka answers\"}}\n"));
        assert!(text.contains("n3 --> n4\n"));
    }

    #[test]
    fn mermaid_text_cannot_leave_its_label() {
        let graph = Graph::new(vec![node(Kind::Step, "a\"]", "<b> & `x` #\n1", &[])]);
        assert_eq!(
            mermaid(&graph.expect("a graph")),
            "flowchart TD\n    n0[\"a#quot;]<br/>#lt;b#gt; #amp; #96;x#96; #35; 1\"]\n"
        );
    }

    #[test]
    fn an_empty_plan_prints_its_heading() {
        let graph = Graph::new(Vec::new()).expect("a graph");
        assert_eq!(tree(&graph).lines().count(), 1);
        assert_eq!(mermaid(&graph), "flowchart TD\n");
    }
}
