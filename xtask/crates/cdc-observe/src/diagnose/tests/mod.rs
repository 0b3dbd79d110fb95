//! What each rule makes of facts that are broken in its way.

mod cases;
mod healthy;
mod resources;
mod unknown;
mod warehouse;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::facts::{Facts, Known, Process};
use super::{Diagnosis, Remedy, Severity, Subject, judge, rules};
use crate::error::Code;
use crate::readiness::{Cause, Status};
use cases::{CASES, SAID};
use healthy::healthy;

fn first(facts: &Facts) -> Diagnosis {
    let diagnosis = judge(facts);
    assert!(!diagnosis.findings.is_empty(), "nothing was found");
    diagnosis
}

#[test]
fn nothing_is_wrong_with_a_healthy_pipeline() {
    let diagnosis = judge(&healthy());
    assert_eq!(diagnosis.findings, []);
    assert_eq!(diagnosis.unknown, []);
    assert!(diagnosis.is_sound());
}

#[test]
fn a_pod_that_was_not_heard_in_time_is_unknown_and_no_fault() {
    let mut facts = healthy();
    facts.of("kafka").process = Process::Elsewhere;
    facts.of("kafka").status = Status::unknown("no answer within 2s");
    let diagnosis = judge(&facts);
    assert_eq!(diagnosis.findings, []);
    assert_eq!(diagnosis.unknown.len(), 1, "{diagnosis:#?}");
    assert!(!diagnosis.is_sound());
    // A server of the user's own that had time for an answer is out of reach, and no resource tells.
    facts.of("kafka").external = true;
    facts.of("kafka").status = Status::in_progress("no answer within 2s");
    assert_eq!(first(&facts).findings[0].code, "COMPONENT_DOWN");
}

#[test]
fn why_a_process_ended_comes_before_that_it_did() {
    let mut facts = healthy();
    facts.of("kafka").process = Process::Ended(4);
    facts.down("kafka", "its process (pid 4) has ended");
    let log = [
        "ERROR Connection refused",
        "ERROR Error while writing: No space left on device",
    ];
    facts.of("kafka").log = log.map(str::to_owned).into();
    let findings = judge(&facts).findings;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0].code, "NO_SPACE");
    assert_eq!(findings[0].consequences[0].code, "PROCESS_ENDED");
    // A refused login before a kill is not why it ended.
    facts.of("kafka").log = vec!["WARN password authentication failed".into()];
    assert_eq!(judge(&facts).findings[0].code, "PROCESS_ENDED");
}

#[test]
fn up_gives_its_rights_back_to_a_user_that_it_makes() {
    for (own, command) in [
        (true, "cargo xtask up"),
        (false, "cargo xtask query postgres"),
    ] {
        let mut facts = healthy();
        facts.server().roles[0].replication = false;
        for wanted in facts
            .connectors
            .iter_mut()
            .filter_map(|it| it.wanted.as_mut())
        {
            wanted.own_user = own;
        }
        let finding = first(&facts).findings.remove(0);
        assert_eq!(finding.code, "PRIVILEGE_MISSING");
        assert!(finding.next.starts_with(command), "{}", finding.next);
    }
}

#[test]
fn what_a_status_says_last_is_not_taken_for_the_cause() {
    let mut facts = healthy();
    facts.of("connect").process = Process::Elsewhere;
    facts.of("connect").is_being_made = true;
    facts.of("connect").status = Status::in_progress(
        "the operator has not taken up generation 3 yet (it reports 2); 0 of 1 pod ready; pod c-0: Secret \
         `postgres-auth` is missing; its specification was changed since, which the operator takes up within \
         300 s, or at once if its own pod is deleted",
    );
    let clause = "pod c-0: Secret `postgres-auth` is missing".to_owned();
    facts.of("connect").status.cause = Some((Cause::MountFailed, clause));
    let findings = judge(&facts).findings;
    let told: Vec<&str> = findings.iter().map(|it| it.code).collect();
    assert_eq!(told, ["MOUNT_FAILED"]);
    assert_eq!(
        findings[0].cause,
        "pod c-0: Secret `postgres-auth` is missing"
    );
    assert_eq!(findings[0].consequences[0].code, "POD_STARTING");
}

#[test]
fn a_pod_that_is_being_made_is_waited_for_and_its_log_is_not_asked_for() {
    let mut facts = healthy();
    facts.of("connect").process = Process::Elsewhere;
    facts.of("connect").is_being_made = true;
    facts.of("connect").status = Status::in_progress("ready; 0 of 1 pod ready");
    let findings = judge(&facts).findings;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0].remedy, Remedy::Wait);
    assert!(
        findings[0].next.starts_with("wait "),
        "{}",
        findings[0].next
    );
    assert!(!findings[0].next.contains("logs"), "{}", findings[0].next);
    facts.of("connect").is_being_made = false;
    assert_eq!(judge(&facts).findings[0].next, "cargo xtask logs connect");
}

#[test]
fn a_refused_login_is_followed_by_the_command_that_helps_and_no_password_stands_in_it() {
    let mut facts = healthy();
    facts.fails("PSQLException: FATAL: password authentication failed for user \"cdc\"");
    let next = |facts: &Facts| judge(facts).findings[0].next.clone();
    // The server has another password than this tool knows.
    for unknown in [Some(false), None] {
        facts.connectors[0].login_works = unknown;
        let wanted = facts.connectors[0].wanted.as_mut().expect("the profile's");
        wanted.password_key = Some("postgres.password".into());
        assert!(
            next(&facts).starts_with("cargo xtask up --set postgres.password=@-,"),
            "{}",
            next(&facts)
        );
        // The tool's own user gets its password from `up`.
        let wanted = facts.connectors[0].wanted.as_mut().expect("the profile's");
        wanted.password_key = None;
        assert_eq!(next(&facts), "cargo xtask up");
    }
    // The task has read another one.
    facts.connectors[0].login_works = Some(true);
    assert_eq!(next(&facts), "cargo xtask connector restart pg-connector");
}

/// What is reported of facts that are broken in one way, where it is not this code alone.
fn otherwise(code: &str, facts: &Facts) -> Option<String> {
    let findings = judge(facts).findings;
    let told: Vec<&str> = findings.iter().map(|it| it.code).collect();
    (told != [code]).then(|| format!("{code} is told as {told:?}"))
}

#[test]
fn each_fault_is_told_by_its_own_code_alone() {
    let wrong = CASES.iter().filter_map(|(code, breaks)| {
        let mut facts = healthy();
        breaks(&mut facts);
        otherwise(code, &facts)
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn what_is_said_belongs_to_one_rule() {
    let wrong = SAID.iter().filter_map(|(code, component, text)| {
        let mut facts = healthy();
        match component {
            None => facts.fails(text),
            Some("mongo-connector") => facts.connectors[1].fails_over(text),
            Some("mysql") => {
                facts.rows_of_mysql();
                facts.connectors[1].fails_over(text);
            }
            Some("sqlserver") => {
                facts.rows_of_sqlserver();
                facts.connectors[1].fails_over(text);
            }
            Some(component) => facts.down_as(code, component, text),
        }
        otherwise(code, &facts)
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn every_rule_has_a_case_and_a_code_of_its_own() {
    let tried: BTreeSet<&str> = CASES
        .iter()
        .map(|(code, _)| *code)
        .chain(SAID.iter().map(|(code, _, _)| *code))
        .collect();
    let mut seen = BTreeSet::new();
    for rule in rules::all() {
        for text in [rule.title, rule.about] {
            assert!(!text.contains("  "), "{}: runs of spaces", rule.code);
        }
        assert!(tried.contains(rule.code), "{} has no case", rule.code);
        assert!(seen.insert(rule.code), "{} is there twice", rule.code);
        assert!(rules::named(&rule.code.to_lowercase()).is_some());
        assert!(
            !Code::ALL.iter().any(|code| code.as_str() == rule.code) || rule.code == "PORT_TAKEN",
            "{}",
            rule.code
        );
        assert!(
            !rule.title.ends_with('.') && rule.about.ends_with(['.', ')']),
            "{}",
            rule.code
        );
    }
}

#[test]
fn one_dead_database_explains_what_follows_from_it() {
    let mut facts = healthy();
    facts.of("kafka").process = Process::Ended(4);
    facts.down("kafka", "its process has ended");
    facts.kafka = Known::Unknown("refused".into());
    facts.of("connect").status = Status::in_progress("no answer within 2s");
    facts.connect = Known::Unknown("no answer within 2s".into());
    facts.connectors[0].fails_over("org.apache.kafka.common.errors.TimeoutException: x");
    facts.connectors[1].heartbeat_age_ms = Some(60_000);
    facts.idle();
    let diagnosis = first(&facts);
    assert_eq!(diagnosis.findings.len(), 1, "{:#?}", diagnosis.findings);
    let cause = &diagnosis.findings[0];
    assert_eq!(
        (cause.code, &cause.subject),
        ("PROCESS_ENDED", &Subject::component("kafka"))
    );
    let follow: Vec<&str> = cause.consequences.iter().map(|it| it.code).collect();
    assert!(follow.contains(&"PROCESS_HUNG"), "{follow:?}");
    assert!(follow.contains(&"BROKER_UNREACHABLE"), "{follow:?}");
    assert!(follow.contains(&"CONNECTOR_STUCK"), "{follow:?}");
    assert!(follow.contains(&"TARGET_STALLED"), "{follow:?}");
    assert_eq!(diagnosis.unknown.len(), 2);

    let mut about = diagnosis.clone();
    about.narrow(&facts, "users");
    assert_eq!(about.findings.len(), 1);
    about.narrow(&facts, "postgres");
    assert_eq!(about.findings.len(), 0);
}

#[test]
fn a_kafka_that_never_came_stands_above_the_tables_that_wait_for_it() {
    let mut facts = healthy();
    let table_missing = CASES
        .iter()
        .find(|(code, _)| *code == "TARGET_TABLE_MISSING");
    table_missing.expect("a case").1(&mut facts);
    facts.of("kafka").process = Process::Elsewhere;
    facts.of("kafka").status = Status::failed("the operator says NotReady");
    facts.of("kafka").log = Vec::new();
    let findings = judge(&facts).findings;
    let told: Vec<&str> = findings.iter().map(|it| it.subject.name()).collect();
    assert_eq!(told.first(), Some(&"kafka"), "{findings:#?}");
    assert!(told.contains(&"clickhouse"), "{findings:#?}");
}

#[test]
fn what_is_not_known_is_never_fine() {
    let mut facts = healthy();
    facts.unheard("postgres", "no answer within 2s");
    let diagnosis = judge(&facts);
    assert!(!diagnosis.is_sound());
    assert_eq!(diagnosis.unknown[0].fact, "postgres");
}

#[test]
fn nothing_that_loses_rows_is_done_without_a_person() {
    for (code, breaks) in CASES {
        let mut facts = healthy();
        breaks(&mut facts);
        for finding in judge(&facts).findings {
            if finding.next.contains("reset-connector") || finding.next.contains("slot drop") {
                assert_eq!(
                    (finding.remedy, &finding.fix),
                    (Remedy::Person, &None),
                    "{code}"
                );
            }
        }
    }
}

proptest! {
    /// However faults come together: causes are reported once, the gravest first, and a person's finding
    /// never vanishes below another one.
    #[test]
    fn faults_that_come_together_are_all_told(
        picks in proptest::collection::vec(0..CASES.len(), 1..5),
    ) {
        let mut facts = healthy();
        for pick in &picks {
            // A case may want what another one has taken away.
            let mut tried = facts.clone();
            let breaks = CASES[*pick].1;
            let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| breaks(&mut tried)));
            if broken.is_ok() {
                facts = tried;
            }
        }
        let findings = judge(&facts).findings;
        let severities: Vec<Severity> = findings.iter().map(|it| it.severity).collect();
        prop_assert!(severities.is_sorted());
        for finding in &findings {
            for follows in &finding.consequences {
                let rule = rules::named(follows.code).expect("a rule");
                prop_assert!(rule.follows != rules::Follows::Nothing, "{}", rule.code);
            }
        }
        let mut keys: Vec<_> = findings.iter().map(|it| (it.code, &it.subject)).collect();
        let count = keys.len();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(count, keys.len());
    }
}
