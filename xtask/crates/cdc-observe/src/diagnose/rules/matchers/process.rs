//! Processes, pods and images that cannot work, as they and their platform tell it.

use super::super::{Find, Follows, Next, Rule, USUAL, memory_key, run};
use super::component_of;
use crate::diagnose::Fix;
use crate::diagnose::facts::Facts;
use crate::platform::Platform;
use crate::readiness::Cause;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "PLUGIN_BROKEN",
        title: "a plugin does not fit the worker",
        about: "A class or method is missing: the plugin was built for another version of Kafka or Java, or its archive is \
                incomplete. Debezium 2.7's JDBC sink on Kafka 4 is such a case; `versions.yaml` has the pins that go \
                together.",
        follows: Follows::Needs,
        find: Find::Text(
            &[
                &["NoSuchMethodError"],
                &["NoClassDefFoundError"],
                &["ClassNotFoundException"],
                &["UnsupportedClassVersionError"],
                &["Failed to find any class that implements Connector"],
            ],
            |facts, _| match facts.platform {
                Platform::Host => {
                    run("correct versions.debezium in the profile, then: cargo xtask up")
                }
                _ => {
                    run("correct versions.debezium in the profile, then: cargo xtask image update")
                }
            },
        ),
        ..USUAL
    },
    Rule {
        code: "OUT_OF_MEMORY",
        title: "something ran out of memory",
        about: "A container that passes its limit is ended by the system (OOMKilled); a JVM that passes its heap ends its threads. \
                Large snapshots and large rows need more: raise the component's memory in the profile.",
        find: Find::Pod(
            Cause::OutOfMemory,
            &[&["OutOfMemoryError"], &["Java heap space"]],
            |facts, subject| {
                run(format!(
                    "raise {} in the profile, then: cargo xtask up",
                    memory(facts, component_of(subject))
                ))
            },
        ),
        ..USUAL
    },
    Rule {
        code: "NO_SPACE",
        title: "a disk is full, or a limit on what may be written is reached",
        about: "What wrote ended or refuses more. Nothing confirmed is lost. Make room, then bring it up again.",
        follows: Follows::Same,
        find: Find::Text(
            &[
                &["No space left on device"],
                &["Disk quota exceeded"],
                &["File too large"],
            ],
            |_, _| run("make room, then: cargo xtask up"),
        ),
        ..USUAL
    },
    Rule {
        code: "DATA_VERSION",
        title: "the data was made by another major version of the server",
        about: "A server reads the data of its own major version only. Set the version back in the profile, dump the data with that \
                version and load it into the new one; or, where it may go, remove it with `cargo xtask down`.",
        find: Find::Text(
            // Each type says it in words of its own.
            &[],
            |facts, subject| {
                let component = facts.component(component_of(subject));
                run(format!(
                    "set versions.{} back in the profile, then: cargo xtask up",
                    component.map_or(component_of(subject), |it| it.kind)
                ))
            },
        ),
        ..USUAL
    },
    Rule {
        code: "LOG_BACKENDS",
        title: "two logging backends are on the worker's class path",
        about: "A plugin or base image brought `slf4j-reload4j` beside the worker's own. The image's check refuses such an archive; \
                a tag that was reused may still lead to an older image on a node.",
        find: Find::Text(
            &[
                &["multiple SLF4J providers"],
                &["multiple SLF4J bindings"],
                &["reload4j"],
                &["log4j:ERROR Could not read configuration"],
            ],
            |_, _| run("cargo xtask image update"),
        ),
        ..USUAL
    },
    Rule {
        code: "IMAGE_ARCHITECTURE",
        title: "an image is for another processor",
        about: "`exec format error`: it was built for arm64 on amd64, or the other way. Build it for the nodes' architecture.",
        find: Find::Text(&[&["exec format error"]], |_, _| {
            run("cargo xtask image update")
        }),
        ..USUAL
    },
    Rule {
        code: "PROGRAM_MISSING",
        title: "a container's program is not in its image",
        about: "Exit code 127. The operator starts its own scripts, which only images built on Strimzi's have: a plain Debezium \
                or Kafka image has none. `images/connect` builds on the right one.",
        find: Find::Pod(
            Cause::ProgramMissing,
            &[&["kafka_connect_run.sh"], &["executable file not found"]],
            |_, _| run("cargo xtask image update"),
        ),
        ..USUAL
    },
    Rule {
        code: "IMAGE_UNAVAILABLE",
        title: "a node cannot get an image",
        about: "It is not on the node and cannot be pulled: a tag that does not exist, a registry that cannot be reached or wants a \
                login, or an image that was built and never loaded.",
        find: Find::Pod(
            Cause::ImageUnavailable,
            &[],
            |_, subject| match component_of(subject) {
                "connect" => run(
                    "correct connect.image in the profile, or: cargo xtask image load; then: cargo xtask up",
                ),
                _ => run(
                    "correct the version in the profile, or let the nodes reach the registry; then: cargo xtask up",
                ),
            },
        ),
        ..USUAL
    },
    Rule {
        code: "UNSCHEDULABLE",
        title: "no node takes a pod",
        about: "The nodes have too little processor time or memory for what it asks, or are kept for others. While the operator \
                waits for such a pod it ignores later changes for up to five minutes; restarting the operator ends that.",
        follows: Follows::Machine,
        find: Find::Pod(Cause::Unschedulable, &[], |facts, subject| {
            run(format!(
                "lower {}.resources in the profile or add nodes, then: cargo xtask up",
                facts.path(component_of(subject))
            ))
        }),
        ..USUAL
    },
    Rule {
        code: "VOLUME_PENDING",
        title: "a pod waits for its volume",
        about: "No storage class, none of this name, or a provisioner that cannot make it. `kubectl get storageclass` shows what \
                the cluster has. A claim keeps the class that it was made with: nothing is in its volume yet, and a `down` \
                removes it.",
        find: Find::Pod(Cause::VolumePending, &[], |_, _| {
            run(
                "have the cluster provide that storage class (kubectl get storageclass), and it continues by \
                     itself; or, as a claim keeps its class: cargo xtask down, set kubernetes.storage_class to one \
                     that is there, cargo xtask up",
            )
        }),
        ..USUAL
    },
    Rule {
        code: "MOUNT_FAILED",
        title: "a pod's volume, Secret or ConfigMap cannot be mounted",
        about: "What it names is not there, or the volume is still attached elsewhere.",
        find: Find::Pod(Cause::MountFailed, &[], |_, _| Next::Fix(Fix::Up)),
        ..USUAL
    },
    Rule {
        code: "ADDRESS_IN_USE",
        title: "a component's port was taken when it started",
        about: "Another process listened on it. `up` names it.",
        follows: Follows::Same,
        find: Find::Text(&[&["Address already in use"]], |_, _| {
            run("cargo xtask up --ports auto")
        }),
        ..USUAL
    },
];

/// The keys that say how much memory a component gets.
fn memory(facts: &Facts, component: &str) -> String {
    let path = facts.path(component);
    let own = match facts.component(component).map_or(component, |it| it.kind) {
        "kafka" | "connect" => "heap",
        kind => memory_key(kind),
    };
    match facts.platform {
        Platform::Host => format!("{path}.{own}"),
        // The container's limit; what of it the process takes is to be less.
        Platform::Kind | Platform::Kubernetes => {
            format!("{path}.resources.memory (and {path}.{own}, below that)")
        }
    }
}
