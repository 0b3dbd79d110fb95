//! What the platform `kind` needs of this machine. [`observe`] looks, [`evaluate`] decides.

use super::{PortMapping, Source, download, found};
use crate::docker::{self, Facts};
use crate::error::Error;
use crate::host::ports;
use crate::host::prerequisites::{Check, Found, Holder, Port, Status, port};
use crate::report::text;

/// Everything that was seen.
#[derive(Debug)]
pub struct Observed {
    /// The engine, or why there is none.
    pub docker: Result<Facts, String>,
    /// Kind's command in PATH.
    pub kind: Option<Found>,
    /// The pinned version, and whether a digest of it is locked.
    pub pinned: (String, bool),
    /// The nodes' image.
    pub node_image: String,
    /// Whether the engine has it.
    pub node_image_there: bool,
    /// The ports of this machine that lead into the cluster.
    pub ports: Vec<Port>,
    /// Whether they are the cluster's own already.
    pub cluster_runs: bool,
}

/// Looks at this machine. Changes nothing.
pub async fn observe(
    source: &Source,
    cluster: &str,
    node_image: &str,
    wanted: &[PortMapping],
) -> Observed {
    let engine = match docker::connect().await {
        Ok(engine) => docker::facts(&engine).await.map(|facts| (engine, facts)),
        Err(error) => Err(error),
    };
    let (mut node_image_there, mut cluster_runs) = (false, false);
    if let Ok((engine, _)) = &engine {
        node_image_there = engine.inspect_image(node_image).await.is_ok();
        let found = found::find(engine, cluster).await.ok().flatten();
        cluster_runs = found.is_some_and(|found| found.nodes.iter().all(|node| node.running));
    }
    let ports = wanted
        .iter()
        .map(|port| Port {
            key: port.name.clone(),
            number: port.host,
            holder: if cluster_runs || ports::is_free(port.host) {
                Holder::Nobody
            } else {
                Holder::Other(ports::owner(port.host))
            },
        })
        .collect();
    Observed {
        docker: engine
            .map(|(_, facts)| facts)
            .map_err(|error| error.message),
        kind: which::which("kind").ok().map(|path| Found {
            path,
            version: None,
        }),
        pinned: (
            source.version.clone(),
            source
                .root
                .join(download::lock_name(&source.version))
                .is_file(),
        ),
        node_image: node_image.to_owned(),
        node_image_there,
        ports,
        cluster_runs,
    }
}

/// Decides on what was seen. `refused` says why the node image does not run on this engine's machine.
pub fn evaluate(seen: &Observed, refused: Option<&Error>) -> Vec<Check> {
    let mut checks = vec![engine(&seen.docker), command(seen), node(seen, refused)];
    checks.extend(seen.ports.iter().map(|wanted| match seen.cluster_runs {
        true => port(wanted).message("the cluster's own"),
        false => port(wanted),
    }));
    checks
}

fn engine(docker: &Result<Facts, String>) -> Check {
    let check = Check::new("docker", "docker", "runs the cluster's nodes");
    match docker {
        Err(reason) => check
            .status(Status::Missing)
            .message(reason)
            .hint("start Docker, or point DOCKER_HOST at an engine; without one: --platform host"),
        Ok(facts) if facts.os != "linux" => check
            .status(Status::Unusable)
            .message(format!("it runs {} containers", facts.os))
            .hint("switch the engine to Linux containers"),
        Ok(facts) => {
            let message = format!(
                "cgroup v{}, {} processors, {}{}",
                facts.cgroup_version,
                facts.cpus,
                text::bytes(facts.memory),
                if facts.rootless { ", rootless" } else { "" }
            );
            check.message(message).version(&facts.version)
        }
    }
}

fn command(seen: &Observed) -> Check {
    let check = Check::new("kind", "kind", "makes the cluster");
    let (version, locked) = &seen.pinned;
    match &seen.kind {
        Some(found) => check.found(found),
        None if *locked => check.message(format!(
            "not in PATH: {version} is fetched and verified when it is needed"
        )),
        None => check
            .status(Status::Missing)
            .message(format!("not in PATH, and no digest of {version} is locked"))
            .hint("install kind (https://kind.sigs.k8s.io), or: cargo xtask lock"),
    }
}

fn node(seen: &Observed, refused: Option<&Error>) -> Check {
    let check = Check::new("node-image", "node image", "what a node is made from");
    match refused {
        Some(error) => {
            let check = check.status(Status::Unusable).message(&error.message);
            check.hint_if(error.hint.as_ref())
        }
        None if seen.node_image_there || seen.docker.is_err() => check.message(&seen.node_image),
        None => check.message(format!("{} is pulled when it is needed", seen.node_image)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn seen() -> Observed {
        Observed {
            docker: Ok(Facts {
                version: "29.0.0".into(),
                architecture: "amd64".into(),
                os: "linux".into(),
                memory: 8_000_000_000,
                cpus: 4,
                cgroup_version: 2,
                rootless: false,
                containerd_store: false,
            }),
            kind: None,
            pinned: ("0.33.0".into(), true),
            node_image: "kindest/node:v1".into(),
            node_image_there: false,
            ports: vec![Port {
                key: "kafka.port".into(),
                number: 9092,
                holder: Holder::Other("java (pid 1)".into()),
            }],
            cluster_runs: false,
        }
    }

    fn statuses(seen: &Observed, refused: Option<&Error>) -> Vec<(String, Status)> {
        let checks = evaluate(seen, refused).into_iter();
        checks.map(|check| (check.id, check.status)).collect()
    }

    #[test]
    fn what_is_fetched_does_not_block_and_a_taken_port_does() {
        let found = statuses(&seen(), None);
        let want = [
            ("docker".to_owned(), Status::Ok),
            ("kind".to_owned(), Status::Ok),
            ("node-image".to_owned(), Status::Ok),
            ("port.kafka.port".to_owned(), Status::Unusable),
        ];
        assert_eq!(found, want);
        let runs = Observed {
            cluster_runs: true,
            ports: vec![Port {
                holder: Holder::Nobody,
                ..seen().ports.remove(0)
            }],
            ..seen()
        };
        assert!(
            statuses(&runs, None)
                .iter()
                .all(|(_, status)| !status.blocks())
        );
    }

    #[test]
    fn what_is_missing_or_does_not_fit_blocks_and_says_what_to_do() {
        let mut without = seen();
        without.docker = Err("no engine".into());
        without.pinned.1 = false;
        let refused = Error::new(Code::ProfileInvalid, "it wants cgroup v2").hint("take 1.34");
        for check in evaluate(&without, Some(&refused)) {
            assert!(check.status.blocks(), "{check:?}");
            assert!(check.hint.is_some(), "{check:?}");
        }
        let mut windows = seen();
        if let Ok(facts) = &mut windows.docker {
            facts.os = "windows".into();
        }
        assert_eq!(statuses(&windows, None)[0].1, Status::Unusable);
    }
}
