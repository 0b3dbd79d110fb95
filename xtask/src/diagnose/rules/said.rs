//! What traces, logs and resources say: each text belongs to the first rule that knows it.
//!
//! Only what does not work is listened to: a log may tell of troubles that have passed.

use super::{Find, Follows, Hit, Next, Rule, reset, run};
use crate::diagnose::facts::{Component, Facts, Process};
use crate::diagnose::{Fix, Remedy, Severity, Subject};
use crate::platform::Platform;
use crate::profile::schema::Source;
use crate::readiness::State;
use crate::readiness::connect::root_cause;

/// One thing that was said.
struct Saying<'a> {
    subject: Subject,
    /// Whether it has ended since: of its troubles, few are why.
    ended: bool,
    /// The line that sums it up.
    head: String,
    lines: Vec<&'a str>,
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "LOGIN_REFUSED",
        title: "a login is refused",
        about: "The password was changed at the server, or a connector reads another one than the server has: an empty file, a \
                provider whose path is not allowed, a Secret that was changed after the task had read it. A restart does not \
                help, and repeated tries may lock the account. After the password is right again, restart the connector: \
                a task reads its password once.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(
            &[
                &["password authentication failed"],
                &["no password was provided"],
                &["SCRAM-based authentication", "no password"],
                &["Authentication failed"],
                &["AuthenticationFailed"],
                &["AUTHENTICATION_FAILED"],
                &["SASL", "authentication failed"],
                &["Login failed for user"],
            ],
            login,
        ),
    },
    Rule {
        code: "RESUME_TOKEN_LOST",
        title: "MongoDB's oplog no longer reaches back to a connector's place",
        about: "The connector rested for longer than the oplog holds, or the data were restored. What happened in between cannot \
                be read from the oplog any more. `reset-connector` reads the collections anew and finds missed deletions.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Trace(
            &[
                &["ChangeStreamHistoryLost"],
                &["resume of change stream was not possible"],
                &["Resume token", "was not found"],
                &["resume point may no longer be in the oplog"],
            ],
            again,
        ),
    },
    Rule {
        code: "OFFSET_UNUSABLE",
        title: "a connector's committed place is none that its source has",
        about: "PostgreSQL has removed the log there, the server is another one than before, or somebody wrote a wrong offset. \
                `offsets restore` puts a saved place back where the source still has it; `reset-connector` begins anew.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Trace(
            &[
                &["has already been removed"],
                &["no longer available on the server"],
                &["can no longer get changes from replication slot"],
                &["requested starting point", "ahead of the WAL"],
                &["Cannot parse", "LSN"],
                &["Invalid LSN"],
                &["Could not find existing", "offset"],
                &["ClassCastException", "SourceInfo"],
                &["OffsetContext"],
            ],
            again,
        ),
    },
    Rule {
        code: "PUBLICATION_UNKNOWN",
        title: "PostgreSQL cannot decode for want of a publication",
        about: "It decodes with the catalogue as it was at each change: making the publication anew does not help for \
                what was written without it.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Trace(&[&["publication", "does not exist"]], again),
    },
    Rule {
        code: "SLOT_BUSY",
        title: "a connector's slot is read by another session",
        about: "The session before has not ended at the server yet, which passes within a minute, or a second worker reads the \
                same slot, which does not.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Same,
        find: Find::Trace(
            &[
                &["replication slot", "is active for PID"],
                &["replication slot", "already active"],
            ],
            |_, _| run("cargo xtask slot list"),
        ),
    },
    Rule {
        code: "SLOT_EXISTS",
        title: "the slot that a connector wants to make is there already",
        about: "An earlier attempt or another connector left it. If nobody reads it and no connector of yours has a place in \
                it, drop it.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Trace(
            &[&["replication slot", "already exists"]],
            |facts, subject| {
                let slot = slot(facts, subject).unwrap_or("NAME");
                run(format!("cargo xtask slot drop {slot}"))
            },
        ),
    },
    Rule {
        code: "DECODER_MISSING",
        title: "PostgreSQL lacks the output plugin that a connector asks for",
        about: "The connector's own default is `decoderbufs`, which few servers have. `pgoutput` is in every one: the \
                profile's template sets `plugin.name: pgoutput`.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Trace(
            &[
                &["could not access file", "decoderbufs"],
                &["could not access file", "wal2json"],
            ],
            |_, _| {
                run(
                    "set connectors.NAME.config.plugin.name to pgoutput in the profile, then: cargo xtask up",
                )
            },
        ),
    },
    Rule {
        code: "SLOTS_USED_UP",
        title: "PostgreSQL has no free replication slot or sender",
        about: "`max_replication_slots` or `max_wal_senders` are in use. `slot list` shows slots that nobody reads.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Said(
            &[
                &["all replication slots are in use"],
                &["number of requested standby connections exceeds max_wal_senders"],
            ],
            |_, _| run("cargo xtask slot list, then: cargo xtask slot drop NAME"),
        ),
    },
    Rule {
        code: "CONNECTIONS_FULL",
        title: "PostgreSQL takes no more sessions",
        about: "`max_connections` are open, or the role or database has a limit of its own. Find who holds them: \
                `SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2`.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(
            &[
                &["too many clients already"],
                &["remaining connection slots are reserved"],
                &["too many connections for"],
            ],
            |_, _| {
                run(
                    "end sessions that are not needed, or raise max_connections; then: cargo xtask up",
                )
            },
        ),
    },
    Rule {
        code: "WAL_LEVEL_SAID",
        title: "a source writes too little into its log for change capture",
        about: "`wal_level` must be `logical`, which takes a restart of the server.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Said(&[&["wal_level"], &["logical decoding requires"]], |_, _| {
            run(
                "cargo xtask query postgres \"ALTER SYSTEM SET wal_level = logical\", and restart the server",
            )
        }),
    },
    Rule {
        code: "PERMISSION_DENIED",
        title: "a user lacks a right",
        about: "The server names the right in its message. Grant it, and restart what asked for it.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Said(
            &[
                &["permission denied"],
                &["must be superuser or replication role"],
                &["not authorized on"],
                &["not authorized to access"],
                &["TOPIC_AUTHORIZATION_FAILED"],
                &["Not authorized to access topics"],
                &["not permitted to log in"],
            ],
            after_mending,
        ),
    },
    Rule {
        code: "CONNECTION_STRING",
        title: "a connection string is not one",
        about: "MongoDB's connector wants `replicaSet=` in it, and a password that is not empty. A reference to a password that \
                resolves to nothing leaves an invalid string.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Trace(
            &[
                &["Invalid connection string"],
                &["connection string is invalid"],
            ],
            |_, _| run("cargo xtask connector config, correct the profile, then: cargo xtask up"),
        ),
    },
    Rule {
        code: "PLUGIN_BROKEN",
        title: "a plugin does not fit the worker",
        about: "A class or method is missing: the plugin was built for another version of Kafka or Java, or its archive is \
                incomplete. Debezium 2.7's JDBC sink on Kafka 4 is such a case; `versions.yaml` has the pins that go \
                together.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Needs,
        find: Find::Said(
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
    },
    Rule {
        code: "OUT_OF_MEMORY",
        title: "something ran out of memory",
        about: "A container that passes its limit is ended by the system (OOMKilled); a JVM that passes its heap ends its threads. \
                Large snapshots and large rows need more: raise the component's memory in the profile.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(
            &[
                &["OOMKilled"],
                &["OutOfMemoryError"],
                &["Java heap space"],
                &["MEMORY_LIMIT_EXCEEDED"],
            ],
            |_, subject| {
                run(format!(
                    "raise {}.memory in the profile, then: cargo xtask up",
                    component_of(subject)
                ))
            },
        ),
    },
    Rule {
        code: "NO_SPACE",
        title: "a disk is full, or a limit on what may be written is reached",
        about: "What wrote ended or refuses more. Nothing confirmed is lost. Make room, then bring it up again.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Said(
            &[
                &["No space left on device"],
                &["Disk quota exceeded"],
                &["File too large"],
                &["could not extend file"],
                &["NOT_ENOUGH_SPACE"],
            ],
            |_, _| run("make room, then: cargo xtask up"),
        ),
    },
    Rule {
        code: "LOG_BACKENDS",
        title: "two logging backends are on the worker's class path",
        about: "A plugin or base image brought `slf4j-reload4j` beside the worker's own. The image's check refuses such an archive; \
                a tag that was reused may still lead to an older image on a node.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(
            &[
                &["multiple SLF4J providers"],
                &["multiple SLF4J bindings"],
                &["reload4j"],
                &["log4j:ERROR Could not read configuration"],
            ],
            |_, _| run("cargo xtask image update"),
        ),
    },
    Rule {
        code: "IMAGE_ARCHITECTURE",
        title: "an image is for another processor",
        about: "`exec format error`: it was built for arm64 on amd64, or the other way. Build it for the nodes' architecture.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(&[&["exec format error"]], |_, _| {
            run("cargo xtask image update")
        }),
    },
    Rule {
        code: "PROGRAM_MISSING",
        title: "a container's program is not in its image",
        about: "Exit code 127. The operator starts its own scripts, which only images built on Strimzi's have: a plain Debezium \
                or Kafka image has none. `images/connect` builds on the right one.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(
            &[
                &["exit code 127"],
                &["kafka_connect_run.sh"],
                &["executable file not found"],
            ],
            |_, _| run("cargo xtask image update"),
        ),
    },
    Rule {
        code: "IMAGE_UNAVAILABLE",
        title: "a node cannot get an image",
        about: "It is not on the node and cannot be pulled: a tag that does not exist, a registry that cannot be reached or wants a \
                login, or an image that was built and never loaded.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(
            &[
                &["ImagePullBackOff"],
                &["ErrImagePull"],
                &["ErrImageNeverPull"],
                &["InvalidImageName"],
            ],
            |_, subject| match component_of(subject) {
                "connect" => run(
                    "correct connect.image in the profile, or: cargo xtask image load; then: cargo xtask up",
                ),
                _ => run(
                    "correct the version in the profile, or let the nodes reach the registry; then: cargo xtask up",
                ),
            },
        ),
    },
    Rule {
        code: "IMAGE_STALE",
        title: "a pod runs another image than its tag means now",
        about: "A tag was reused for other content: nodes keep what they have under a tag. This tool's tags are made of the \
                content, so a new image has a new tag.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(
            &[&["which came from no registry"], &["not the pushed"]],
            |_, _| run("cargo xtask image update"),
        ),
    },
    Rule {
        code: "UNSCHEDULABLE",
        title: "no node takes a pod",
        about: "The nodes have too little processor time or memory for what it asks, or are kept for others. While the operator \
                waits for such a pod it ignores later changes for up to five minutes; restarting the operator ends that.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(
            &[&["no node has enough"], &["no node takes it"]],
            |_, subject| {
                run(format!(
                    "lower {}.resources in the profile or add nodes, then: cargo xtask up",
                    component_of(subject)
                ))
            },
        ),
    },
    Rule {
        code: "VOLUME_PENDING",
        title: "a pod waits for its volume",
        about: "No storage class, none of this name, or a provisioner that cannot make it. `kubectl get storageclass` shows what \
                the cluster has.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(
            &[
                &["there is no storage class"],
                &["names no storage class"],
                &["cannot be provisioned"],
                &["cannot be bound"],
                &["waits for its volume"],
            ],
            |_, _| {
                run(
                    "set kubernetes.storage_class in the profile to one that the cluster has, then: cargo xtask up",
                )
            },
        ),
    },
    Rule {
        code: "MOUNT_FAILED",
        title: "a pod's volume, Secret or ConfigMap cannot be mounted",
        about: "What it names is not there, or the volume is still attached elsewhere.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Said(
            &[
                &["a volume cannot be mounted"],
                &["Secret `", "is missing"],
                &["ConfigMap `", "is missing"],
                &["CreateContainerConfigError"],
            ],
            |_, _| Next::Fix(Fix::Up),
        ),
    },
    Rule {
        code: "OPERATOR_STUCK",
        title: "the operator is waiting and ignores changes",
        about: "It waits up to five minutes for a pod that will not become ready, and does nothing else for that resource \
                meanwhile. Mend the pod first; a restart of the operator ends the wait.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Same,
        find: Find::Said(
            &[
                &["Reconciliation is in progress"],
                &["Exceeded timeout of 300000ms"],
            ],
            |_, _| Next::Fix(Fix::RestartOperator),
        ),
    },
    Rule {
        code: "ADDRESS_IN_USE",
        title: "a component's port was taken when it started",
        about: "Another process listened on it. `up` names it.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Said(&[&["Address already in use"]], |_, _| {
            run("cargo xtask up --ports auto")
        }),
    },
    Rule {
        code: "SINK_REFUSED_SCHEMA",
        title: "a sink's target does not take a change of the schema",
        about: "A column was added, removed or retyped at the source, and the sink may not or cannot change the target's table. \
                Change it there (new columns nullable), or set `schema.evolution=basic`; then restart the task.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Trace(
            &[
                &["Cannot ALTER table", "schema evolution"],
                &["schema evolution is disabled"],
                &["is missing and auto-evolution is disabled"],
                &["column", "does not exist", "INSERT"],
                &["column", "does not exist"],
            ],
            after_mending,
        ),
    },
    Rule {
        code: "RECORD_UNREADABLE",
        title: "a record stops a task",
        about: "A converter or transformation cannot read it, and the connector tolerates no error. With \
                `errors.tolerance=all` and a dead letter queue a sink puts such records aside, and goes on.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
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
    },
    Rule {
        code: "RECORD_TOO_LARGE",
        title: "a change is larger than the broker takes",
        about: "One row's event exceeds `max.request.size` of the producer or `max.message.bytes` of the topic.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Nothing,
        find: Find::Trace(
            &[&["RecordTooLargeException"], &["MESSAGE_TOO_LARGE"]],
            |_, _| {
                run(
                    "raise max.message.bytes of the topic and producer.override.max.request.size of the connector, then: cargo xtask up",
                )
            },
        ),
    },
    Rule {
        code: "CONFIG_REFUSED",
        title: "Connect refuses a connector's configuration",
        about: "The message names the key and the reason. While it is refused, the configuration before goes on.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
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
    },
    Rule {
        code: "SOURCE_UNREACHABLE",
        title: "a connector cannot reach its source",
        about: "The server is down, its name does not resolve from the worker, or a firewall or NetworkPolicy is between \
                them. Where the tool reaches the server and the worker does not, look at the connector's address.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Trace(
            &[
                &["The connection attempt failed"],
                &["Connection refused"],
                &["Connection to", "refused"],
                &["UnknownHostException"],
                &["Unable to connect"],
                &["Timed out", "while waiting to connect"],
                &["MongoTimeoutException"],
                &["SocketTimeoutException"],
                &["terminating connection due to administrator command"],
                &["An I/O error occurred while sending to the backend"],
                &["Database connection failed when reading from copy"],
                &["the database system is"],
            ],
            restart,
        ),
    },
    Rule {
        code: "BROKER_UNREACHABLE",
        title: "a client cannot reach the broker",
        about: "The broker is down, or advertises an address that the client cannot reach: a listener needs both its own address \
                and the advertised one right for whoever connects.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Said(
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
    },
    Rule {
        code: "TASK_KILLED",
        title: "a sink's task was ended by an exception of its own",
        about: "`The task is being killed`: an exception inside the sink, which no error tolerance covers and no dead letter \
                queue gets. Restarted, it meets the same record again. Mend the cause; or stop the connector, move its \
                group past the record, and resume it.",
        severity: Severity::Broken,
        remedy: Remedy::Person,
        follows: Follows::Same,
        find: Find::Trace(
            &[
                &["Task is being killed and will not recover until manually restarted"],
                &["task is being killed"],
            ],
            |_, subject| run(format!("cargo xtask connector status {}", subject.name())),
        ),
    },
];

/// What nobody knew, in what does not work.
pub(super) const REST: &[Rule] = &[
    Rule {
        code: "TASK_FAILED",
        title: "a connector or task has failed",
        about: "The trace's root cause is shown. A restart helps where it was passing: a source that was away, a broker that \
                was full.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Trace(&[&[]], restart),
    },
    Rule {
        code: "COMPONENT_DOWN",
        title: "a component does not work",
        about: "It does not answer by its protocol, and nothing more is known about why. Its log may tell.",
        severity: Severity::Broken,
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Said(&[&[]], |_, subject| {
            run(format!("cargo xtask logs {}", subject.name()))
        }),
    },
];

/// What ends a process.
const ENDINGS: [&str; 3] = ["OUT_OF_MEMORY", "NO_SPACE", "ADDRESS_IN_USE"];

/// What a rule recognises.
pub(super) fn hits(facts: &Facts, rule: &'static Rule) -> Vec<Hit> {
    let (Find::Said(_, then) | Find::Trace(_, then)) = &rule.find else {
        return Vec::new();
    };
    sayings(facts)
        .into_iter()
        .filter_map(|saying| {
            let known = RULES
                .iter()
                .find_map(|rule| Some((rule, line(&saying, rule)?)));
            let (owner, line) = match known {
                Some((owner, line)) => (owner.code, Some(line)),
                // A complaint that nobody knows need not be why.
                None if saying.head.is_empty() => return None,
                None => (fallback(&saying.subject), None),
            };
            (owner == rule.code).then(|| {
                let next = then(facts, &saying.subject);
                let line = line.map(str::trim).unwrap_or_default();
                let (cause, more) = match saying.head.as_str() {
                    "" => (line, None),
                    head => (head, (!head.contains(line)).then(|| shortened(line))),
                };
                Hit::new(saying.subject.clone(), shortened(cause), next).evidence(more)
            })
        })
        .collect()
}

/// A text whose middle is left out where it is long: exceptions name their class first and their
/// reason last.
fn shortened(text: &str) -> String {
    const BEGIN: usize = 120;
    const END: usize = 160;
    let text = text.strip_prefix("Caused by: ").unwrap_or(text);
    let count = text.chars().count();
    if count <= BEGIN + END {
        return text.to_owned();
    }
    let begin: String = text.chars().take(BEGIN).collect();
    let end: String = text.chars().skip(count - END).collect();
    format!("{begin} ... {end}")
}

fn fallback(subject: &Subject) -> &'static str {
    match subject {
        Subject::Component(_) | Subject::Machine => "COMPONENT_DOWN",
        Subject::Connector(_) | Subject::Flow(_) => "TASK_FAILED",
    }
}

/// The line of a saying that a rule knows.
fn line<'a>(saying: &Saying<'a>, rule: &Rule) -> Option<&'a str> {
    if saying.ended && !ENDINGS.contains(&rule.code) {
        return None;
    }
    let texts = match (&rule.find, &saying.subject) {
        (Find::Said(texts, _), _) | (Find::Trace(texts, _), Subject::Connector(_)) => texts,
        _ => return None,
    };
    let knows = |line: &str| {
        texts
            .iter()
            .any(|parts| parts.iter().all(|part| line.contains(part)))
    };
    saying.lines.iter().copied().rev().find(|line| knows(line))
}

/// What was said about what does not work.
fn sayings(facts: &Facts) -> Vec<Saying<'_>> {
    let components = facts.components.iter().filter(|it| it.is_silent());
    let mut all: Vec<Saying> = components
        .map(|component| Saying {
            subject: Subject::component(&component.name),
            ended: matches!(component.process, Process::Ended(_)),
            head: component.status.message.clone(),
            lines: std::iter::once(component.status.message.as_str())
                .chain(component.log.iter().map(String::as_str))
                .collect(),
        })
        .collect();
    for connector in &facts.connectors {
        let subject = Subject::Connector(connector.name.clone());
        if let Some(trace) = connector.traces().next() {
            all.push(Saying {
                subject: subject.clone(),
                ended: false,
                head: root_cause(trace).to_owned(),
                lines: trace.lines().collect(),
            });
        }
        if !connector.complaints.is_empty() {
            let lines: Vec<&str> = connector.complaints.iter().map(String::as_str).collect();
            all.push(Saying {
                subject: subject.clone(),
                ended: false,
                head: String::new(),
                lines,
            });
        }
        if let Some(refused) = &connector.refused {
            all.push(Saying {
                subject,
                ended: false,
                head: refused.message.clone(),
                lines: std::iter::once(refused.message.as_str())
                    .chain(refused.evidence.iter().map(String::as_str))
                    .collect(),
            });
        }
    }
    all
}

impl Component {
    /// Whether it does not work.
    pub(in crate::diagnose) fn is_silent(&self) -> bool {
        self.status.state != State::Current
    }
}

fn component_of(subject: &Subject) -> &str {
    match subject {
        Subject::Connector(_) => "connect",
        Subject::Flow(_) => "clickhouse",
        Subject::Machine | Subject::Component(_) => subject.name(),
    }
}

fn slot<'a>(facts: &'a Facts, subject: &Subject) -> Option<&'a str> {
    let wanted = facts.connector(subject.name())?.wanted.as_ref()?;
    wanted.slot.as_deref()
}

fn restart(_: &Facts, subject: &Subject) -> Next {
    match subject {
        Subject::Connector(name) => Next::Fix(Fix::RestartConnector(name.clone())),
        _ => Next::Fix(Fix::Up),
    }
}

fn again(facts: &Facts, subject: &Subject) -> Next {
    match facts.connector(subject.name()) {
        Some(connector) => reset(&connector.name),
        None => run(format!("cargo xtask logs {}", subject.name())),
    }
}

/// A person does what the message says, and what had failed is restarted.
fn after_mending(_: &Facts, subject: &Subject) -> Next {
    let command = match subject {
        Subject::Connector(name) => format!("cargo xtask connector restart {name}"),
        _ => "cargo xtask up".into(),
    };
    run(format!("mend what the message names, then: {command}"))
}

fn login(facts: &Facts, subject: &Subject) -> Next {
    match subject {
        Subject::Connector(name) => {
            let wanted = facts.connector(name).and_then(|it| it.wanted.as_ref());
            let (source, answers) = match wanted.map(|it| it.source) {
                Some(Source::Mongodb) => (
                    "mongodb",
                    facts.mongodb.as_ref().is_some_and(|it| it.seen().is_some()),
                ),
                _ => ("postgres", super::postgres::answers(facts)),
            };
            match answers {
                // The tool's own login works: the task has another password than the server.
                true => Next::Fix(Fix::RestartConnector(name.clone())),
                false => run(format!(
                    "cargo xtask up --set {source}.password=THE_SERVERS_PASSWORD"
                )),
            }
        }
        subject => run(format!(
            "cargo xtask up --set {}.password=THE_SERVERS_PASSWORD",
            component_of(subject)
        )),
    }
}
