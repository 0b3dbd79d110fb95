//! What must be there before what.
//!
//! An object of a namespace waits for that namespace, a custom resource for its definition, and what
//! binds a role for the role, if the set brings them: whoever may not bind everything may bind a role
//! that gives what they have, which the server sees at the role alone. A custom resource also waits for
//! the other definitions of its vendor: Strimzi's operator makes a `StrimziPodSet` (`core.strimzi.io`)
//! of a `Kafka` (`kafka.strimzi.io`), and looks again after two minutes where it cannot. Nothing else
//! waits: a Deployment whose ConfigMap comes a moment later is started by the cluster when it is there.

use std::collections::{HashMap, HashSet};

use super::ObjectRef;

/// An object as far as the order is concerned.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub object: ObjectRef,
    /// Group and kind that it defines, if it is a definition.
    pub defines: Option<(String, String)>,
    /// Kind and name of the role that it binds, if it is a binding.
    pub binds: Option<(String, String)>,
}

/// For each object, the indices of those that must be there before it.
pub fn needs(nodes: &[Node]) -> Vec<Vec<usize>> {
    let mut namespaces = HashMap::new();
    let mut definitions = HashSet::new();
    let mut of_vendors: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut roles = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        if node.object.is_namespace() {
            namespaces.insert(node.object.name.as_str(), index);
        }
        if ["Role", "ClusterRole"].contains(&node.object.kind.as_str()) {
            let (object, namespace) = (&node.object, node.object.namespace.as_deref());
            roles.insert(
                (object.kind.as_str(), namespace, object.name.as_str()),
                index,
            );
        }
        if let Some((group, kind)) = &node.defines {
            definitions.insert((group.as_str(), kind.as_str()));
            of_vendors.entry(vendor(group)).or_default().push(index);
        }
    }
    nodes
        .iter()
        .map(|node| {
            let namespace = node.object.namespace.as_deref();
            let kind = (node.object.group(), node.object.kind.as_str());
            let definitions = of_vendors
                .get(vendor(kind.0))
                .filter(|_| definitions.contains(&kind));
            let role = node.binds.as_ref().and_then(|(kind, name)| {
                let namespace = namespace.filter(|_| kind == "Role");
                roles.get(&(kind.as_str(), namespace, name.as_str()))
            });
            let namespace = namespace.and_then(|name| namespaces.get(name));
            namespace
                .into_iter()
                .chain(definitions.into_iter().flatten())
                .chain(role)
                .copied()
                .collect()
        })
        .collect()
}

/// The domain that a vendor's groups are in: the last two labels.
fn vendor(group: &str) -> &str {
    match group.rmatch_indices('.').nth(1) {
        Some((at, _)) => &group[at + 1..],
        None => group,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(kind: &str, namespace: Option<&str>, name: &str) -> Node {
        let api_version = match kind {
            "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
            "Kafka" | "KafkaTopic" => "kafka.strimzi.io/v1",
            kind if kind.contains("Role") => "rbac.authorization.k8s.io/v1",
            _ => "v1",
        };
        Node {
            object: ObjectRef {
                api_version: api_version.into(),
                kind: kind.into(),
                namespace: namespace.map(str::to_owned),
                name: name.into(),
            },
            defines: (kind == "CustomResourceDefinition").then(|| {
                let group = match name {
                    "StrimziPodSet" => "core.strimzi.io",
                    "a" => "altinity.com",
                    _ => "kafka.strimzi.io",
                };
                (group.to_owned(), name.to_owned())
            }),
            // In the tests a binding has its role's name.
            binds: kind
                .strip_suffix("Binding")
                .map(|role| (role.to_owned(), name.to_owned())),
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
            node("CustomResourceDefinition", None, "StrimziPodSet"),
            node("CustomResourceDefinition", None, "a"),
        ];
        let mut expected = vec![Vec::new(); nodes.len()];
        expected[0] = vec![4, 5, 6];
        expected[1] = vec![4];
        assert_eq!(needs(&nodes), expected);
    }

    #[test]
    fn a_binding_waits_for_its_role() {
        let nodes = [
            node("RoleBinding", Some("kafka"), "r"),
            node("Role", Some("elsewhere"), "r"),
            node("Role", Some("kafka"), "r"),
            node("ClusterRoleBinding", None, "r"),
            node("ClusterRole", None, "r"),
            node("RoleBinding", Some("kafka"), "of-the-cluster"),
        ];
        assert_eq!(
            needs(&nodes),
            [vec![2], vec![], vec![], vec![4], vec![], vec![]]
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
            Just("ClusterRoleBinding"),
            Just("Role"),
            Just("RoleBinding"),
        ];
        (
            kind,
            "[ab]",
            prop_oneof![Just("Kafka"), Just("KafkaTopic"), Just("a"), Just("b")],
        )
            .prop_map(|(kind, namespace, name)| {
                let cluster = ["Namespace", "CustomResourceDefinition"].contains(&kind)
                    || kind.starts_with("ClusterRole");
                node(kind, (!cluster).then_some(namespace.as_str()), name)
            })
    }

    proptest! {
        #[test]
        fn what_is_needed_needs_a_namespace_at_most_so_that_nothing_can_wait_for_ever(
            nodes in prop::collection::vec(any_node(), 0..30)
        ) {
            let needs = needs(&nodes);
            prop_assert_eq!(needs.len(), nodes.len());
            for (index, needed) in needs.iter().enumerate() {
                let object = &nodes[index].object;
                for &need in needed {
                    prop_assert!(needs[need].iter().all(|home| nodes[*home].object.is_namespace()));
                    prop_assert!(needs[need].iter().all(|home| needs[*home].is_empty()));
                    let name = Some(nodes[need].object.name.as_str());
                    let defines = &nodes[need].defines;
                    let is_namespace = nodes[need].object.is_namespace() && object.namespace.as_deref() == name;
                    let own = Some((object.group().to_owned(), object.kind.clone()));
                    let is_kind = nodes.iter().any(|node| node.defines == own)
                        && defines
                            .as_ref()
                            .is_some_and(|(group, _)| vendor(group) == vendor(object.group()));
                    let is_role = nodes[index].binds.as_ref().is_some_and(|(kind, role)| {
                        *kind == nodes[need].object.kind && Some(role.as_str()) == name
                    });
                    prop_assert!(is_namespace || is_kind || is_role);
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
