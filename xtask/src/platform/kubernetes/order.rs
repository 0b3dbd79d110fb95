//! What must be there before what.
//!
//! An object of a namespace waits for that namespace, and a custom resource for its definition, if
//! the set brings them. Nothing else waits: a Deployment whose ConfigMap comes a moment later is
//! started by the cluster when it is there.

use std::collections::HashMap;

use super::ObjectRef;

/// An object as far as the order is concerned.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub object: ObjectRef,
    /// Group and kind that it defines, if it is a definition.
    pub defines: Option<(String, String)>,
}

/// For each object, the indices of those that must be there before it.
pub fn needs(nodes: &[Node]) -> Vec<Vec<usize>> {
    let mut namespaces = HashMap::new();
    let mut definitions = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        if node.object.is_namespace() {
            namespaces.insert(node.object.name.as_str(), index);
        }
        if let Some((group, kind)) = &node.defines {
            definitions.insert((group.as_str(), kind.as_str()), index);
        }
    }
    nodes
        .iter()
        .map(|node| {
            let namespace = node.object.namespace.as_deref();
            let kind = (node.object.group(), node.object.kind.as_str());
            let namespace = namespace.and_then(|name| namespaces.get(name));
            namespace
                .into_iter()
                .chain(definitions.get(&kind))
                .copied()
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(kind: &str, namespace: Option<&str>, name: &str) -> Node {
        let api_version = match kind {
            "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
            "Kafka" | "KafkaTopic" => "kafka.strimzi.io/v1",
            _ => "v1",
        };
        Node {
            object: ObjectRef {
                api_version: api_version.into(),
                kind: kind.into(),
                namespace: namespace.map(str::to_owned),
                name: name.into(),
            },
            defines: (kind == "CustomResourceDefinition")
                .then(|| ("kafka.strimzi.io".into(), name.to_owned())),
        }
    }

    #[test]
    fn only_what_must_wait_waits() {
        let nodes = [
            node("Kafka", Some("kafka"), "my-cluster"),
            node("ConfigMap", Some("kafka"), "c"),
            node("ConfigMap", Some("elsewhere"), "c"),
            node("ClusterRole", None, "r"),
            node("Namespace", None, "kafka"),
            node("CustomResourceDefinition", None, "Kafka"),
            node("CustomResourceDefinition", None, "KafkaConnect"),
        ];
        assert_eq!(
            needs(&nodes),
            [vec![4, 5], vec![4], vec![], vec![], vec![], vec![], vec![]]
        );
    }

    fn any_node() -> impl Strategy<Value = Node> {
        let kind = prop_oneof![
            Just("Namespace"),
            Just("CustomResourceDefinition"),
            Just("Kafka"),
            Just("KafkaTopic"),
            Just("ConfigMap"),
            Just("ClusterRole"),
        ];
        (
            kind,
            "[ab]",
            prop_oneof![Just("Kafka"), Just("KafkaTopic"), Just("a"), Just("b")],
        )
            .prop_map(|(kind, namespace, name)| {
                let cluster =
                    ["Namespace", "CustomResourceDefinition", "ClusterRole"].contains(&kind);
                node(kind, (!cluster).then_some(namespace.as_str()), name)
            })
    }

    proptest! {
        #[test]
        fn what_is_needed_needs_nothing_so_that_nothing_can_wait_for_ever(
            nodes in prop::collection::vec(any_node(), 0..30)
        ) {
            let needs = needs(&nodes);
            prop_assert_eq!(needs.len(), nodes.len());
            for (index, needed) in needs.iter().enumerate() {
                let object = &nodes[index].object;
                for &need in needed {
                    prop_assert!(needs[need].is_empty());
                    let name = Some(nodes[need].object.name.as_str());
                    let defines = &nodes[need].defines;
                    let is_namespace = nodes[need].object.is_namespace() && object.namespace.as_deref() == name;
                    let is_kind = defines.as_ref().is_some_and(|(_, kind)| *kind == object.kind);
                    prop_assert!(is_namespace || is_kind);
                }
            }
        }

        #[test]
        fn the_order_of_input_changes_nothing_but_numbers(
            nodes in prop::collection::vec(any_node(), 0..20), turn in 0_usize..20
        ) {
            let mut distinct: Vec<Node> = Vec::new();
            for node in nodes {
                if !distinct.iter().any(|seen| seen.object == node.object) {
                    distinct.push(node);
                }
            }
            let named = |nodes: &[Node]| {
                let mut pairs: Vec<(ObjectRef, Vec<ObjectRef>)> = needs(nodes)
                    .into_iter()
                    .enumerate()
                    .map(|(index, needs)| {
                        let mut needs: Vec<ObjectRef> =
                            needs.into_iter().map(|need| nodes[need].object.clone()).collect();
                        needs.sort();
                        (nodes[index].object.clone(), needs)
                    })
                    .collect();
                pairs.sort();
                pairs
            };
            let before = named(&distinct);
            if !distinct.is_empty() {
                let turn = turn % distinct.len();
                distinct.rotate_left(turn);
            }
            prop_assert_eq!(before, named(&distinct));
        }
    }
}
