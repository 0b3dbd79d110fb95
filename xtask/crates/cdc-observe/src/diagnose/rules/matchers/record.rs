//! Records, configurations and connections, as connectors tell them.

use super::super::{Find, Follows, Rule, USUAL, run};
use super::{after_fix, restart};
use crate::diagnose::Remedy;

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "SINK_REFUSED_SCHEMA",
        title: "a sink's target does not take a change of the schema",
        about: "A column was added, removed or retyped at the source, and the sink may not or cannot change the target's table. \
                Change it there (new columns nullable), or set `schema.evolution=basic`; then restart the task.",
        find: Find::Trace(
            &[
                &["Cannot ALTER table", "schema evolution"],
                &["schema evolution is disabled"],
                &["is missing and auto-evolution is disabled"],
                &["column", "does not exist", "INSERT"],
                &["column", "does not exist"],
            ],
            after_fix,
        ),
        ..USUAL
    },
    Rule {
        code: "RECORD_UNREADABLE",
        title: "a record stops a task",
        about: "A converter or transformation cannot read it, and the connector tolerates no error. With \
                `errors.tolerance=all` and a dead letter queue a sink puts such records aside, and continues.",
        find: Find::Trace(
            &[
                &["Tolerance exceeded in error handler"],
                &["Converting byte[] to Kafka Connect data failed"],
                &["SerializationException"],
                &["DataException"],
            ],
            |_, subject| {
                let name = subject.name();
                run(format!(
                    "cargo xtask connector status {name}; set errors.tolerance and errors.deadletterqueue.topic.name"
                ))
            },
        ),
        ..USUAL
    },
    Rule {
        code: "RECORD_TOO_LARGE",
        title: "a change is larger than the broker takes",
        about: "One row's event exceeds `max.request.size` of the producer or `max.message.bytes` of the topic.",
        find: Find::Trace(
            &[&["RecordTooLargeException"], &["MESSAGE_TOO_LARGE"]],
            |_, _| {
                run(
                    "raise max.message.bytes of the topic and producer.override.max.request.size of the connector, then: cargo xtask up",
                )
            },
        ),
        ..USUAL
    },
    Rule {
        code: "CONFIG_REFUSED",
        title: "Connect refuses a connector's configuration",
        about: "The message names the key and the reason. While it is refused, the previous configuration stays in use.",
        follows: Follows::Same,
        find: Find::Trace(
            &[
                &["returned 400"],
                &["configuration is invalid"],
                &["ConfigException"],
                &["Error configuring an instance"],
                &["value is required"],
            ],
            |_, subject| {
                run(format!(
                    "cargo xtask connector validate {}, correct the profile, then: cargo xtask up",
                    subject.name()
                ))
            },
        ),
        ..USUAL
    },
    Rule {
        code: "SOURCE_UNREACHABLE",
        title: "a connector cannot reach its source or target",
        about: "The server is down, its name does not resolve from the worker, or a firewall or NetworkPolicy is between \
                them. Where the tool reaches the server and the worker does not, look at the connector's address.",
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Reach(
            &[
                &["The connection attempt failed"],
                &["Connection refused"],
                &["Connection to", "refused"],
                &["UnknownHostException"],
                &["Unable to connect"],
                &["Timed out", "while waiting to connect"],
                &["SocketTimeoutException"],
            ],
            restart,
        ),
        ..USUAL
    },
    Rule {
        code: "BROKER_UNREACHABLE",
        title: "a client cannot reach the broker",
        about: "The broker is down, or advertises an address that the client cannot reach: a listener needs both its own address \
                and the advertised one right for whoever connects.",
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Text(
            &[
                &["Bootstrap broker", "disconnected"],
                &["Broker may not be available"],
                &["Failed to update metadata"],
                &["not present in metadata after"],
                &["org.apache.kafka.common.errors.TimeoutException"],
                &["Failed to connect to and describe Kafka cluster"],
            ],
            restart,
        ),
        ..USUAL
    },
    Rule {
        code: "TASK_KILLED",
        title: "a sink's task was ended by an exception of its own",
        about: "`The task is being killed`: an exception inside the sink, which no error tolerance covers and no dead letter \
                queue gets. Restarted, it meets the same record again. Mend the cause; or stop the connector, move its \
                group past the record, and resume it.",
        follows: Follows::Same,
        find: Find::Trace(
            &[
                &["Exiting WorkerSinkTask due to unrecoverable exception"],
                &["Task is being killed and will not recover until manually restarted"],
                &["task is being killed"],
            ],
            |_, subject| run(format!("cargo xtask connector status {}", subject.name())),
        ),
        ..USUAL
    },
];
