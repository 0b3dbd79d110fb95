//! Whether pods run the image that was built, by its digest: a tag says what was asked for, and a
//! node that had another image under it runs that one.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::core::DynamicObject;

use super::fields::{leaving, list, name, text};
use crate::readiness::Status;
use crate::report::text::count;

/// An image that pods are to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The container that runs it.
    pub container: String,
    /// `registry/path:tag`, as the specification names it.
    pub reference: String,
    /// The digests that a node may know it by, `sha256:...`: that of its manifest in the registry;
    /// where it was loaded without one, also those of its configuration and of the node's own.
    pub digests: BTreeSet<String>,
    /// How many pods there are to be.
    pub pods: usize,
}

/// Whether the pods run the image. Pods that leave and pods of an older specification say nothing
/// about the new one.
pub fn pulled(all: &[Arc<DynamicObject>], wanted: &Wanted) -> Status {
    let mut proven = 0;
    let mut waits = None;
    for pod in all.iter().filter(|pod| !leaving(pod)) {
        match judge(pod, wanted) {
            Ok(()) => proven += 1,
            Err(Doubt::Waits(why)) => waits = Some(why),
            Err(Doubt::Other(what)) => {
                return Status::failed(format!(
                    "pod {} runs {what}, and {} is {}",
                    name(pod),
                    wanted.reference,
                    names(&wanted.digests)
                ))
                .with_evidence(vec![
                    "a node that has an image of this name does not pull it again".into(),
                ]);
            }
        }
    }
    let counted = format!("{proven} of {}", count(wanted.pods, "pod"));
    match waits {
        Some(why) => Status::in_progress(format!("{counted} proven; {why}")),
        None if proven < wanted.pods => Status::in_progress(format!("{counted} proven")),
        None => Status::current(format!("{counted} run {}", names(&wanted.digests))),
    }
}

/// The pods, by uid, that run another image under this very name: only somebody who asks has them
/// replaced, as their specification is right.
pub fn stale(all: &[Arc<DynamicObject>], wanted: &Wanted) -> BTreeSet<String> {
    all.iter()
        .filter(|pod| matches!(judge(pod, wanted), Err(Doubt::Other(_))))
        .filter_map(|pod| pod.metadata.uid.clone())
        .collect()
}

fn names(digests: &BTreeSet<String>) -> String {
    let names: Vec<&str> = digests.iter().map(String::as_str).collect();
    names.join(" or ")
}

enum Doubt {
    /// The kubelet or the operator has still to act.
    Waits(String),
    /// Another image runs: its identifier.
    Other(String),
}

fn judge(pod: &DynamicObject, wanted: &Wanted) -> Result<(), Doubt> {
    let pick = |path: &[&str]| {
        let containers = list(&pod.data, path);
        let mut named = containers
            .iter()
            .filter(|container| text(container, &["name"]) == Some(wanted.container.as_str()));
        named.next()
    };
    let waits = |why: String| Err(Doubt::Waits(format!("pod {}: {why}", name(pod))));
    let specified = pick(&["spec", "containers"]).and_then(|it| text(it, &["image"]));
    if specified != Some(wanted.reference.as_str()) {
        return waits(format!("still of {}", specified.unwrap_or("another image")));
    }
    let status = pick(&["status", "containerStatuses"]);
    let id = status
        .and_then(|it| text(it, &["imageID"]))
        .unwrap_or_default();
    if id.is_empty() {
        return waits("its image is not pulled yet".into());
    }
    // `registry/path@sha256:...`, where Docker's own runtime puts a scheme before it; or the image's
    // own identifier, where it was put there by other means than a pull.
    let (pulled, digest) = match id.rsplit_once('@') {
        Some((_, digest)) => (true, digest),
        None => (false, id.rsplit('/').next().unwrap_or(id)),
    };
    if wanted.digests.contains(digest) {
        return Ok(());
    }
    Err(Doubt::Other(match pulled {
        true => digest.to_owned(),
        false => format!("{id}, which came from no registry"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::State;
    use serde_json::{Value, json};

    const DIGEST: &str = "sha256:aa11";

    fn wanted(pods: usize) -> Wanted {
        Wanted {
            container: "connect".into(),
            reference: "registry.example/cdc:1".into(),
            digests: [DIGEST.to_owned()].into(),
            pods,
        }
    }

    fn pod(name: &str, image: &str, id: Value) -> Arc<DynamicObject> {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [
                {"name": "sidecar", "image": "other:1"},
                {"name": "connect", "image": image},
            ]},
            "status": {"containerStatuses": [
                {"name": "sidecar", "imageID": "other@sha256:00"},
                {"name": "connect", "imageID": id},
            ]},
        });
        Arc::new(serde_json::from_value(object).expect("a pod"))
    }

    fn ours(name: &str, id: &str) -> Arc<DynamicObject> {
        pod(name, "registry.example/cdc:1", json!(id))
    }

    #[test]
    fn the_digest_decides_whatever_stands_before_it() {
        for id in [
            "registry.example/cdc@sha256:aa11",
            "docker-pullable://mirror.example/cdc@sha256:aa11",
            // Loaded, not pulled.
            "sha256:aa11",
        ] {
            let status = pulled(&[ours("a", id)], &wanted(1));
            assert_eq!(
                status,
                Status::current("1 of 1 pod run sha256:aa11"),
                "{id}"
            );
        }
    }

    #[test]
    fn another_digest_ends_the_wait_and_names_the_pod() {
        let good = ours("a", "registry.example/cdc@sha256:aa11");
        for id in ["registry.example/cdc@sha256:bb22", "sha256:bb22"] {
            let status = pulled(&[good.clone(), ours("b", id)], &wanted(2));
            assert_eq!(status.state, State::Failed, "{id}");
            assert!(
                status.message.starts_with("pod b runs sha256:"),
                "{status:?}"
            );
        }
    }

    #[test]
    fn what_is_still_to_come_is_waited_for() {
        let good = ours("a", "registry.example/cdc@sha256:aa11");
        let message = |pods: &[Arc<DynamicObject>], count| {
            let status = pulled(pods, &wanted(count));
            assert_eq!(status.state, State::InProgress);
            status.message
        };
        assert_eq!(message(&[], 2), "0 of 2 pods proven");
        assert_eq!(
            message(std::slice::from_ref(&good), 2),
            "1 of 2 pods proven"
        );
        assert_eq!(
            message(&[good.clone(), ours("b", "")], 2),
            "1 of 2 pods proven; pod b: its image is not pulled yet"
        );
        // The operator has not replaced this one yet; what it runs is no matter.
        let old = pod("b", "registry.example/cdc:0", json!("x@sha256:cc"));
        assert_eq!(
            message(&[good.clone(), old], 2),
            "1 of 2 pods proven; pod b: still of registry.example/cdc:0"
        );
        let mut gone = (*ours("b", "x@sha256:cc")).clone();
        gone.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).ok();
        assert_eq!(message(&[good, Arc::new(gone)], 2), "1 of 2 pods proven");
    }

    #[test]
    fn only_a_name_that_stays_needs_a_push() {
        let with_uid = |pod: Arc<DynamicObject>| {
            let mut pod = (*pod).clone();
            pod.metadata.uid = pod.metadata.name.clone();
            Arc::new(pod)
        };
        let pods = [
            ours("stays", "registry.example/cdc@sha256:aa11"),
            ours("goes", "registry.example/cdc@sha256:bb22"),
            ours("begins", ""),
            // The operator replaces it for its name.
            pod("older", "registry.example/cdc:0", json!("x@sha256:cc")),
        ]
        .map(with_uid);
        assert_eq!(stale(&pods, &wanted(4)), ["goes".to_owned()].into());
    }

    #[test]
    fn a_pod_without_statuses_waits() {
        let bare = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "connect", "image": "registry.example/cdc:1"}]},
        });
        let bare = Arc::new(serde_json::from_value(bare).expect("a pod"));
        assert_eq!(pulled(&[bare], &wanted(1)).state, State::InProgress);
    }
}
