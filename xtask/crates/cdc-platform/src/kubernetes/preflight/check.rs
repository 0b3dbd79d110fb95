//! What is wrong with a set of objects on a cluster. No IO.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::core::{DynamicObject, SelectorExt};

use super::wants::{self, Reference, Wanted};
use super::{Facts, Options, quantity};
use crate::readiness::kubernetes as readiness;
use crate::units;

/// How many images a kubelet reports at most, unless it was configured otherwise.
const REPORTED_IMAGES: usize = 50;
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, in one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Whether pods would not start.
    pub blocks: bool,
}

impl Finding {
    fn error(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding {
            message: message.into(),
            hint: hint.into(),
            blocks: true,
        }
    }

    fn note(message: impl Into<String>) -> Self {
        Finding {
            message: message.into(),
            hint: String::new(),
            blocks: false,
        }
    }
}

/// Everything that is wrong, or worth knowing, about applying the objects.
pub fn check(objects: &[DynamicObject], options: &Options, facts: &Facts) -> Vec<Finding> {
    let mut found = references(objects, facts);
    found.extend(classes(objects, facts));
    found.extend(images(objects, options, facts));
    found.extend(room(objects, options, facts));
    found.extend(
        facts
            .unread
            .iter()
            .map(|what| Finding::note(format!("not checked: {what}"))),
    );
    found
}

/// The references that nothing in the set satisfies.
pub(super) fn open_references(objects: &[DynamicObject]) -> BTreeSet<Reference> {
    let made: BTreeSet<(String, String)> = objects.iter().flat_map(wants::made_for).collect();
    let there = |reference: &Reference| {
        objects.iter().any(|object| {
            readiness::kind(object) == reference.kind
                && object.metadata.name.as_deref() == Some(&reference.name)
                && object.metadata.namespace.as_deref().unwrap_or_default() == reference.namespace
        })
    };
    objects
        .iter()
        .flat_map(wants::references)
        .filter(|reference| {
            let by_name = (reference.namespace.clone(), reference.name.clone());
            let made = reference.kind == "Secret" && made.contains(&by_name);
            !made && !wants::published(reference) && !there(reference)
        })
        .collect()
}

fn references(objects: &[DynamicObject], facts: &Facts) -> Vec<Finding> {
    open_references(objects)
        .into_iter()
        .filter(|reference| {
            let key = (
                reference.kind,
                reference.namespace.clone(),
                reference.name.clone(),
            );
            facts.missing.contains(&key)
        })
        .map(|reference| {
            let Reference {
                kind,
                namespace,
                name,
                owner,
            } = reference;
            Finding::error(
                format!("{owner} refers to {kind} `{name}`, which is not in namespace {namespace}"),
                format!("create {kind} `{name}` in namespace {namespace}, or remove the reference"),
            )
        })
        .collect()
}

fn classes(objects: &[DynamicObject], facts: &Facts) -> Vec<Finding> {
    let Some(classes) = &facts.classes else {
        return Vec::new();
    };
    let mut names: Vec<String> = classes.iter().map(ResourceExt::name_any).collect();
    let ours = objects.iter();
    let ours = ours.filter(|it| readiness::kind(it) == "StorageClass");
    names.extend(ours.map(ResourceExt::name_any));
    let default = classes.iter().any(|class| {
        class
            .annotations()
            .get(DEFAULT_CLASS)
            .is_some_and(|it| it == "true")
    });
    let known = match names.is_empty() {
        true => "the cluster has none".to_owned(),
        false => format!("the cluster has {}", names.join(", ")),
    };
    let mut found: Vec<Finding> = Vec::new();
    for claim in objects.iter().flat_map(wants::claims) {
        let finding = match &claim.class {
            // Explicitly without: volumes are made by hand.
            Some(class) if class.is_empty() || names.contains(class) => continue,
            Some(class) => Finding::error(
                format!("{} wants storage class `{class}`; {known}", claim.owner),
                "set `kubernetes.storage_class` to one of the cluster's classes",
            ),
            None if default => continue,
            None => Finding::error(
                format!(
                    "{} names no storage class, and the cluster has no default; {known}",
                    claim.owner
                ),
                "set `kubernetes.storage_class`, or mark one of the classes as the default",
            ),
        };
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

/// An image's name as nodes report it.
fn full_name(image: &str) -> String {
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    let registry = first.contains(['.', ':']) || first == "localhost";
    match (registry, first.is_empty()) {
        (true, _) => image.to_owned(),
        (false, true) => format!("docker.io/library/{rest}"),
        (false, false) => format!("docker.io/{image}"),
    }
}

fn images(objects: &[DynamicObject], options: &Options, facts: &Facts) -> Vec<Finding> {
    let Some(nodes) = &facts.nodes else {
        return Vec::new();
    };
    let local: BTreeSet<String> = options
        .local_images
        .iter()
        .map(|it| full_name(it))
        .collect();
    let mut found = Vec::new();
    let mut wanted: Vec<(String, String, String)> = objects
        .iter()
        .flat_map(wants::images)
        .map(|image| (full_name(&image.name), image.policy, image.owner))
        .collect();
    let named: BTreeSet<String> = wanted.iter().map(|(name, ..)| name.clone()).collect();
    wanted.extend(
        local
            .iter()
            .filter(|name| !named.contains(*name))
            .map(|name| (name.clone(), "IfNotPresent".into(), "this run".into())),
    );
    let mut seen = BTreeSet::new();
    for (name, policy, owner) in wanted {
        if !seen.insert((name.clone(), policy.clone())) {
            continue;
        }
        let without: Vec<&Node> = nodes
            .iter()
            .filter(|node| usable(node) && !has_image(node, &name))
            .collect();
        let names: Vec<String> = without.iter().map(|node| node.name_any()).collect();
        // A kubelet does not report more than so many: there, absence is not known.
        let certain = without
            .iter()
            .any(|node| images_of(node).count() < REPORTED_IMAGES);
        let load = "load it onto every node: `cargo xtask image load`";
        if local.contains(&name) && policy == "Always" {
            found.push(Finding::error(
                format!("{owner} always pulls {name}, which was built here"),
                "set its pull policy to IfNotPresent",
            ));
        } else if without.is_empty() {
        } else if local.contains(&name) && certain {
            found.push(Finding::error(
                format!(
                    "image {name} of {owner} is not on node {}",
                    names.join(", ")
                ),
                load,
            ));
        } else if policy == "Never" && certain {
            found.push(Finding::error(
                format!(
                    "image {name} of {owner} is never pulled, and not on node {}",
                    names.join(", ")
                ),
                load,
            ));
        } else if policy != "Always" {
            found.push(Finding::note(format!(
                "image {name} will be pulled by node {}",
                names.join(", ")
            )));
        }
    }
    found
}

fn images_of(node: &Node) -> impl Iterator<Item = &Vec<String>> {
    node.status
        .iter()
        .flat_map(|status| status.images.iter().flatten())
        .filter_map(|image| image.names.as_ref())
}

fn has_image(node: &Node, name: &str) -> bool {
    images_of(node).flatten().any(|it| it == name)
}

/// Whether pods without tolerations are put onto the node. One that is not ready yet is expected to
/// be soon.
fn usable(node: &Node) -> bool {
    let Some(spec) = &node.spec else { return true };
    let ready_soon = |key: &str| key.starts_with("node.kubernetes.io/not-ready");
    spec.unschedulable != Some(true)
        && !spec.taints.iter().flatten().any(|taint| {
            matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") && !ready_soon(&taint.key)
        })
}

/// What a node has left.
struct Free {
    node: String,
    usable: bool,
    cpu: i128,
    memory: i128,
    pods: i128,
}

impl Free {
    /// Whether a pod may be put onto the node.
    fn takes(&self, wanted: &Wanted) -> bool {
        self.usable || wanted.tolerant
    }

    /// Whether there is room for a pod.
    fn fits(&self, wanted: &Wanted) -> bool {
        self.takes(wanted) && self.cpu >= wanted.cpu && self.memory >= wanted.memory
    }
}

/// What the nodes have left beside the pods that are not of the objects.
fn free(objects: &[DynamicObject], nodes: &[Node], pods: &[Pod]) -> Vec<Free> {
    // Pods that are there already make way for their successors, or are what is wanted.
    let ours: Vec<_> = objects
        .iter()
        .filter_map(|object| {
            let wants = readiness::kind(object) != "KafkaTopic";
            let selector = wants.then(|| readiness::pods_of(object)).flatten()?;
            Some((object.metadata.namespace.clone(), selector))
        })
        .collect();
    let is_ours = |pod: &Pod| {
        ours.iter().any(|(namespace, selector)| {
            *namespace == pod.metadata.namespace && selector.matches(pod.labels())
        })
    };
    nodes
        .iter()
        .map(|node| {
            let name = node.name_any();
            let allocatable = |key: &str| {
                node.status
                    .as_ref()
                    .and_then(|status| status.allocatable.as_ref()?.get(key))
                    .and_then(|quantity| units::quantity(&quantity.0))
                    .unwrap_or_default()
            };
            let mut free = Free {
                usable: usable(node),
                cpu: allocatable("cpu"),
                memory: allocatable("memory"),
                pods: allocatable("pods") / 1000,
                node: name.clone(),
            };
            for pod in pods {
                let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
                let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
                let ended = matches!(phase, Some("Succeeded" | "Failed"));
                if on != Some(&name) || ended || is_ours(pod) {
                    continue;
                }
                let (cpu, memory) = used(pod);
                free.cpu -= cpu;
                free.memory -= memory;
                free.pods -= 1;
            }
            free
        })
        .collect()
}

/// What a pod has requested.
fn used(pod: &Pod) -> (i128, i128) {
    let as_object = |pod: &Pod| -> Option<DynamicObject> {
        let mut value = serde_json::to_value(pod).ok()?;
        value["apiVersion"] = "v1".into();
        value["kind"] = "Pod".into();
        serde_json::from_value(value).ok()
    };
    as_object(pod)
        .iter()
        .flat_map(wants::pods)
        .map(|wanted| (wanted.cpu, wanted.memory))
        .next()
        .unwrap_or_default()
}

fn room(objects: &[DynamicObject], options: &Options, facts: &Facts) -> Vec<Finding> {
    let (Some(nodes), Some(pods)) = (&facts.nodes, &facts.pods) else {
        return Vec::new();
    };
    let mut free = free(objects, nodes, pods);
    let mut wanted: Vec<Wanted> = objects
        .iter()
        .flat_map(wants::pods)
        .filter(|wanted| wanted.count > 0)
        .collect();
    // Largest first, as they are the hardest to place.
    wanted.sort_by_key(|wanted| std::cmp::Reverse((wanted.memory, wanted.cpu)));
    let mut found = too_large(&wanted, &free);
    if found.is_empty() {
        found.extend(too_many(&wanted, &mut free));
    }
    if options.grows {
        for finding in &mut found {
            finding.blocks = false;
        }
    }
    found
}

/// Pods that no node has room for, each taken by itself.
fn too_large(wanted: &[Wanted], free: &[Free]) -> Vec<Finding> {
    wanted
        .iter()
        .filter(|wanted| !free.iter().any(|free| free.fits(wanted)))
        .map(|wanted| {
            let left: Vec<String> = free
                .iter()
                .filter(|free| free.takes(wanted))
                .map(|free| {
                    format!(
                        "{}: cpu {}, memory {}",
                        free.node,
                        quantity::cpu(free.cpu.max(0)),
                        quantity::memory(free.memory.max(0))
                    )
                })
                .collect();
            let left = match left.is_empty() {
                true => "no node takes pods".to_owned(),
                false => format!("free: {}", left.join("; ")),
            };
            Finding::error(
                format!(
                    "a pod of {} requests cpu {} and memory {}, and no node has that ({left})",
                    wanted.owner,
                    quantity::cpu(wanted.cpu),
                    quantity::memory(wanted.memory)
                ),
                "lower its requests in the profile, or give the cluster a larger node",
            )
        })
        .collect()
}

/// Whether all pods together fit, one after the other onto the node with the most memory left.
fn too_many(wanted: &[Wanted], free: &mut [Free]) -> Option<Finding> {
    let mut short: Option<&Wanted> = None;
    let sum = |of: fn(&Wanted) -> i128| -> i128 {
        wanted.iter().map(|it| of(it) * i128::from(it.count)).sum()
    };
    let (cpu, memory) = (sum(|it| it.cpu), sum(|it| it.memory));
    let usable = |of: fn(&Free) -> i128| -> i128 {
        free.iter()
            .filter(|it| it.usable)
            .map(|it| of(it).max(0))
            .sum()
    };
    let (cpu_left, memory_left) = (usable(|it| it.cpu), usable(|it| it.memory));
    // More than the nodes have slots for need not be tried.
    let slots = |it: &Wanted| it.count.min(10_000);
    for pod in wanted.iter().flat_map(|it| (0..slots(it)).map(move |_| it)) {
        let place = free
            .iter_mut()
            .filter(|free| free.fits(pod) && free.pods > 0)
            .max_by_key(|free| free.memory);
        match place {
            Some(place) => {
                place.cpu -= pod.cpu;
                place.memory -= pod.memory;
                place.pods -= 1;
            }
            None => {
                short.get_or_insert(pod);
            }
        }
    }
    let short = short?;
    let message = format!(
        "all pods together request cpu {} and memory {}, and the nodes have cpu {} and memory {} left: no node has \
         room for a pod of {}",
        quantity::cpu(cpu),
        quantity::memory(memory),
        quantity::cpu(cpu_left),
        quantity::memory(memory_left),
        short.owner
    );
    Some(match cpu > cpu_left || memory > memory_left {
        true => Finding::error(
            message,
            "lower the requests in the profile, or give the cluster more nodes",
        ),
        // The scheduler may find a better order than this one.
        false => Finding::note(message),
    })
}
