//! MySQL: its binary log, and what is said of it.

use super::matchers::again;
use super::{Find, Follows, Hit, Next, Rule, Type, USUAL, Words, query, reset, run, servers};
use crate::diagnose::facts::Facts;
use crate::diagnose::facts::mysql::Mysql;
use crate::diagnose::{Remedy, Severity, Subject};

pub(super) const TYPE: Type = Type {
    name: NAME,
    rules: &[RULES],
    matchers: MATCHERS,
    words: WORDS,
    memory: "buffer_pool",
    reads_topics: false,
};

const NAME: &str = "mysql";

const RULES: &[Rule] = &[
    Rule {
        code: "BINLOG_UNFIT",
        title: "MySQL writes too little into its binary log for change capture",
        about: "A connector reads whole rows from the binary log: `log_bin` on, `binlog_format` ROW, `binlog_row_image` FULL, which are \
                the defaults since MySQL 8.0. Format and image can be set while the server runs; sessions that are open keep \
                the old ones.",
        find: Find::Facts(unfit),
        ..USUAL
    },
    Rule {
        code: "BINLOG_LOST",
        title: "MySQL no longer has the file of its log that a connector has to read next",
        about: "The server removes old files of its binary log (`binlog_expire_logs_seconds`, 30 days by default) whether or not a \
                connector has read them. `reset-connector` re-snapshots the tables and finds missed deletions.",
        find: Find::Facts(lost),
        ..USUAL
    },
];

/// What is said about it by those who read it.
const MATCHERS: &[Rule] = &[Rule {
    code: "SCHEMA_HISTORY_LOST",
    title: "the definitions of a connector's tables are gone",
    about: "The binary log holds rows without the names of their columns. A connector keeps the definitions in a topic of its own; \
            without it the log cannot be read. `reset-connector` takes a new snapshot, with the definitions.",
    severity: Severity::Broken,
    remedy: Remedy::Person,
    follows: Follows::Same,
    find: Find::TraceOf(
        NAME,
        &[
            &["db history topic"],
            &["schema history topic"],
            &[
                "Encountered change event for table",
                "schema isn't known to this connector",
            ],
        ],
        again,
    ),
}];

const WORDS: Words = &[
    (
        "OFFSET_UNUSABLE",
        &[
            &["purged required binary logs"],
            &["Could not find first log file name in binary log index file"],
            &["Client requested source to start replication from"],
        ],
    ),
    ("PERMISSION_DENIED", &[&["command denied to user"]]),
    (
        "SOURCE_UNREACHABLE",
        &[
            &["Communications link failure"],
            &["BinaryLogClient", "Connection refused"],
        ],
    ),
    ("DATA_VERSION", &[&["Invalid MySQL server downgrade"]]),
];

fn unfit(facts: &Facts) -> Vec<Hit> {
    servers(facts, |name, mysql: &Mysql| {
        let set = |what: &str| query(name, &format!("SET PERSIST {what}"));
        let (cause, next): (String, Next) = match (mysql.logs, &*mysql.format, &*mysql.image) {
            (false, ..) => (
                "it writes no binary log".into(),
                run("set `log_bin` in its configuration and restart the server"),
            ),
            (true, "ROW", "FULL") => return None,
            (true, "ROW", image) => (
                format!("binlog_row_image is `{image}`, which must be `FULL`"),
                set("binlog_row_image = 'FULL'"),
            ),
            (true, format, _) => (
                format!("binlog_format is `{format}`, which must be `ROW`"),
                set("binlog_format = 'ROW'"),
            ),
        };
        Some(Hit::new(Subject::component(name), cause, next))
    })
}

fn lost(facts: &Facts) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (name, mysql) in facts.all::<Mysql>() {
        let (Some(oldest), connectors) = (mysql.files.first(), facts.connectors.iter()) else {
            continue;
        };
        for connector in connectors.filter(|it| it.reads(name)) {
            let committed = connector.committed.as_ref().and_then(|it| it.seen());
            let Some(position) = committed.and_then(|it| it.position.as_ref()) else {
                continue;
            };
            let file = position.place.split(':').next().unwrap_or_default();
            if !mysql.files.iter().any(|it| it == file) {
                hits.push(Hit::new(
                    Subject::Connector(connector.name.clone()),
                    format!(
                        "it has to read {file}, and the oldest file that {name} keeps is {oldest}"
                    ),
                    reset(&connector.name),
                ));
            }
        }
    }
    hits
}
