//! Two servers of one type and no ClickHouse, as in the profile `warehouse`: each is judged by its own facts.

use super::healthy::{NOW, component, connector, flow, healthy, postgres};
use super::judge;
use crate::diagnose::facts::postgres::{OldTransaction, Postgres};
use crate::diagnose::facts::{Facts, Instances, Known, Process};
use crate::diagnose::{Finding, Fix, Severity, Subject};
use crate::platform::Platform;
use crate::readiness::Status;

const REFUSED: &str = "PSQLException: Connection to 127.0.0.1:5443 refused. Check that the hostname and port are correct";

fn warehouse() -> Facts {
    let mut facts = healthy();
    facts.components = [
        (1, "source"),
        (2, "warehouse"),
        (3, "connect"),
        (4, "kafka"),
    ]
    .map(|(pid, name)| {
        let mut component = component(name, pid);
        if let "source" | "warehouse" = name {
            component.kind = "postgres";
            component.path = format!("components.{name}");
        }
        component
    })
    .into();
    facts.servers = Instances::default();
    facts.servers.insert("source", Known::Seen(postgres()));
    // What nobody reads has no slots and no publications.
    let mut target = postgres();
    target.slots.clear();
    target.server.publications.clear();
    target.server.slot_use = (0, 8);
    facts.servers.insert("warehouse", Known::Seen(target));
    let mut sink = connector("sink", "postgres");
    sink.kind = Some("sink".into());
    (sink.committed, sink.heartbeat_age_ms) = (None, None);
    let wanted = sink.wanted.as_mut().expect("the profile's");
    (wanted.slot, wanted.publication) = (None, None);
    (wanted.component, wanted.writes) = ("warehouse".into(), true);
    wanted.tables.clear();
    let mut read = connector("pg-connector", "postgres");
    read.wanted.as_mut().expect("the profile's").component = "source".into();
    facts.connectors = vec![read, sink];
    let mut customers = flow("customers", "pg-connector");
    (customers.sink, customers.target) = (Some("sink".into()), Some("warehouse".into()));
    (customers.errors, customers.newest_ms) = (None, None);
    facts.flows = vec![customers];
    facts
}

fn at<'a>(facts: &'a mut Facts, name: &str) -> &'a mut Postgres {
    facts.servers.get_mut(name).expect("known")
}

#[track_caller]
fn only(facts: &Facts) -> Finding {
    let mut findings = judge(facts).findings;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

fn ends(facts: &mut Facts, name: &str) {
    facts.of(name).process = Process::Ended(9);
    facts.of(name).status = Status::failed("its process has ended");
    facts.unheard(name, "refused");
}

#[test]
fn nothing_is_wrong_with_it() {
    let diagnosis = judge(&warehouse());
    assert_eq!(diagnosis.findings, []);
    assert_eq!(diagnosis.unknown, []);
}

#[test]
fn a_sink_that_failed_follows_from_its_target_and_names_it() {
    let mut facts = warehouse();
    ends(&mut facts, "warehouse");
    facts.connectors[1].fails_over(REFUSED);
    let cause = only(&facts);
    assert_eq!(
        (cause.code, &cause.subject),
        ("PROCESS_ENDED", &Subject::component("warehouse"))
    );
    assert_eq!(cause.consequences.len(), 1, "{cause:#?}");
    let follows = &cause.consequences[0];
    assert_eq!(follows.code, "SOURCE_UNREACHABLE");
    assert_eq!(follows.subject, Subject::Connector("sink".into()));
    let told = format!("it cannot reach its target warehouse: {REFUSED}");
    assert_eq!(follows.cause, told);
    assert_eq!(judge(&facts).unknown[0].fact, "warehouse");
    // It matters to the flows that arrive there, and not to where they come from.
    for (name, matters) in [("customers", true), ("sink", true), ("source", false)] {
        let mut about = judge(&facts);
        about.narrow(&facts, name);
        assert_eq!(about.findings.len(), usize::from(matters), "{name}");
    }
    // The other server's end is no reason.
    let mut facts = warehouse();
    ends(&mut facts, "source");
    facts.connectors[1].fails_over(REFUSED);
    let findings = judge(&facts).findings;
    let codes: Vec<&str> = findings.iter().map(|it| it.code).collect();
    assert_eq!(codes, ["PROCESS_ENDED", "SOURCE_UNREACHABLE"]);
    assert!(findings[1].cause.contains("warehouse"), "{findings:#?}");
}

#[test]
fn a_source_that_ended_explains_its_own_connector_in_the_connectors_words() {
    let mut facts = warehouse();
    ends(&mut facts, "source");
    facts.connectors[0].fails_over(REFUSED);
    let cause = only(&facts);
    assert_eq!(cause.subject, Subject::component("source"));
    assert_eq!(cause.consequences[0].cause, REFUSED);
}

#[test]
fn a_finding_and_its_command_are_about_the_instance() {
    let mut facts = warehouse();
    at(&mut facts, "source").server.wal_level = "replica".into();
    let finding = only(&facts);
    assert_eq!(finding.subject, Subject::component("source"));
    assert_eq!(
        finding.next,
        "cargo xtask query source \"ALTER SYSTEM SET wal_level = logical\", and restart the server"
    );

    let mut facts = warehouse();
    at(&mut facts, "source").server.tables[0].identity = Some("n".into());
    let next = only(&facts).next;
    assert_eq!(
        next,
        "cargo xtask query source \"ALTER TABLE public.users REPLICA IDENTITY DEFAULT\""
    );

    let mut facts = warehouse();
    at(&mut facts, "warehouse").server.recovery = true;
    let finding = only(&facts);
    assert_eq!(finding.subject, Subject::component("warehouse"));
    let told = "point components.warehouse.external at the primary";
    assert!(finding.next.starts_with(told), "{}", finding.next);

    let mut facts = warehouse();
    facts.of("warehouse").process = Process::Elsewhere;
    facts.down_as(
        "DATA_VERSION",
        "warehouse",
        "database files are incompatible with server",
    );
    let next = only(&facts).next;
    assert_eq!(
        next,
        "set versions.postgres back in the profile, then: cargo xtask up"
    );

    let mut facts = warehouse();
    facts.platform = Platform::Kind;
    facts.of("warehouse").process = Process::Elsewhere;
    facts.down_as("OUT_OF_MEMORY", "warehouse", "OOMKilled");
    let next = only(&facts).next;
    let told = "raise components.warehouse.resources.memory (and components.warehouse.shared_buffers, below that)";
    assert!(next.starts_with(told), "{next}");

    let mut facts = warehouse();
    facts.connectors[0]
        .fails_over("DebeziumException: Postgres server wal_level property must be 'logical'");
    let finding = only(&facts);
    assert_eq!(finding.code, "WAL_LEVEL_SAID");
    assert!(
        finding.next.starts_with("cargo xtask query source "),
        "{}",
        finding.next
    );
}

#[test]
fn a_connector_is_judged_by_the_server_that_it_reads() {
    // Its slot is gone, and the other server has one of that name.
    let mut facts = warehouse();
    let slots = std::mem::take(&mut at(&mut facts, "source").slots);
    at(&mut facts, "warehouse").slots = slots;
    let finding = only(&facts);
    assert_eq!(finding.code, "SLOT_MISSING");
    assert_eq!(finding.subject, Subject::Connector("pg-connector".into()));

    // Where the other server's log ends is nothing to it.
    let mut facts = warehouse();
    at(&mut facts, "warehouse").server.position = Some(1);
    assert_eq!(judge(&facts).findings, []);
    let wanted = facts.connectors[0].wanted.clone().expect("the profile's");
    let log = facts.log("pg-connector", &wanted).expect("a log");
    assert_eq!(log.seen().and_then(|it| it.end), Some(2_000));
    let wanted = facts.connectors[1].wanted.clone().expect("the profile's");
    assert_eq!(facts.log("sink", &wanted), None);
}

#[test]
fn a_server_that_nobody_reads_need_not_be_fit_to_be_read() {
    let mut facts = warehouse();
    let server = &mut at(&mut facts, "warehouse").server;
    server.wal_level = "replica".into();
    server.tables.clear();
    server.roles.clear();
    server.old_transaction = Some(OldTransaction {
        pid: 1,
        seconds: 90_000,
        state: "active".into(),
    });
    assert_eq!(judge(&facts).findings, []);
}

#[test]
fn every_server_has_a_clock_and_ages_are_measured_without_clickhouse() {
    let mut facts = warehouse();
    at(&mut facts, "warehouse").server.clock_ms = NOW - 60_000;
    let finding = only(&facts);
    assert_eq!(
        (finding.code, &finding.subject),
        ("CLOCK_SKEW", &Subject::component("warehouse"))
    );

    let mut facts = warehouse();
    facts.platform = Platform::Kind;
    facts.connectors[0].heartbeat_age_ms = Some(60_000);
    assert_eq!(only(&facts).code, "CONNECTOR_STUCK");
    // Nobody tells how old that is.
    facts.unheard("warehouse", "no answer within 30s");
    assert_eq!(judge(&facts).findings, []);
}

#[test]
fn a_sink_of_the_profile_that_is_not_registered_is_missing() {
    let mut facts = warehouse();
    facts.connectors[1].state = None;
    facts.connectors[1].tasks.clear();
    let finding = only(&facts);
    assert_eq!(
        (finding.code, finding.severity, finding.fix),
        ("CONNECTOR_MISSING", Severity::Broken, Some(Fix::Up))
    );
}

#[test]
fn a_flow_that_is_idle_is_followed_by_what_restarts_its_reader() {
    let mut facts = warehouse();
    facts.idle().errors = Some(0);
    let sink = Fix::RestartConnector("sink".into());
    assert_eq!(only(&facts).fix, Some(sink));
    let mut facts = healthy();
    facts.idle();
    let target = Fix::RestartComponent("clickhouse".into());
    assert_eq!(only(&facts).fix, Some(target));
}
