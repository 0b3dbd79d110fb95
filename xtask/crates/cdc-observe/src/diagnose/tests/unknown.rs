//! What is not known makes nothing look broken: whatever is taken away from the facts, no finding comes of it
//! that all of them do not have, and none gets graver.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::cases::{CASES, SAID};
use super::healthy::healthy;
use crate::diagnose::facts::{Facts, Known};
use crate::diagnose::{Severity, Subject, rules};
use crate::platform::Platform;
use crate::readiness::Status;

/// How many facts may be taken away.
const BLANKS: u32 = 24;

const LATE: &str = "no answer within 30s";

fn late<T>() -> Known<T> {
    Known::Unknown(LATE.into())
}

/// Takes a fact away, as who gathers them would have it.
fn blank(facts: &mut Facts, which: u32) {
    match which {
        0 => facts.unheard("postgres", LATE),
        1 => facts.unheard("mongodb", LATE),
        2 => {
            facts.connect = late();
            for connector in &mut facts.connectors {
                (connector.state, connector.trace, connector.kind) = (None, None, None);
                (connector.committed, connector.dead_letters) = (None, None);
                connector.tasks.clear();
                connector.drift.clear();
                connector.complaints.clear();
            }
        }
        3 => {
            facts.kafka = late();
            for flow in &mut facts.flows {
                (flow.topic_exists, flow.messages, flow.unread) = (None, None, None);
                (flow.group_state, flow.members, flow.reads) = (None, None, None);
            }
            for connector in &mut facts.connectors {
                connector.heartbeat_age_ms = None;
            }
        }
        4 => facts.unheard("clickhouse", LATE),
        5 | 6 => {
            let flow = &mut facts.flows[usize::from(which == 6)];
            (flow.errors, flow.newest_error, flow.newest_ms) = (None, None, None);
        }
        7 => facts.operator = facts.operator.as_ref().map(|_| late()),
        8 => facts.nodes = facts.nodes.as_ref().map(|_| late()),
        9 => facts.passed_over = facts.passed_over.as_ref().map(|_| late()),
        10 => {
            facts.resources = facts.resources.as_ref().map(|_| late());
            for connector in &mut facts.connectors {
                connector.refused = None;
            }
        }
        11 => facts.image = Some(late()),
        12 => facts.disk = Some(late()),
        13..=17 => {
            let component = &mut facts.components[which as usize - 13];
            component.status = Status::unknown("no answer within 30s");
            component.is_being_made = false;
            component.log.clear();
        }
        18 | 19 => {
            let connector = &mut facts.connectors[which as usize - 18];
            connector.committed = connector.committed.as_ref().map(|_| late());
        }
        20 | 21 => facts.connectors[which as usize - 20].heartbeat_age_ms = None,
        22 => {
            for connector in &mut facts.connectors {
                connector.complaints.clear();
                connector.login_works = None;
            }
        }
        _ => {
            for letters in facts
                .connectors
                .iter_mut()
                .filter_map(|it| it.dead_letters.as_mut())
            {
                letters.records = None;
            }
        }
    }
}

/// What is found, before what only follows is put below its cause.
fn found(facts: &Facts) -> BTreeMap<(&'static str, Subject), Severity> {
    let found = rules::all().flat_map(|rule| rule.judge(facts));
    let mut gravest = BTreeMap::new();
    for it in found {
        let severity = gravest.entry((it.code, it.subject)).or_insert(it.severity);
        *severity = it.severity.min(*severity);
    }
    gravest
}

fn breaks(facts: &mut Facts, pick: usize) {
    let mut tried = facts.clone();
    let apply = || match (CASES.get(pick), pick.checked_sub(CASES.len())) {
        (None, Some(pick)) => {
            let (code, component, text) = SAID[pick];
            match component {
                None => tried.fails(text),
                Some("mongo-connector") => tried.connectors[1].fails_over(text),
                Some(component) => tried.down_as(code, component, text),
            }
        }
        (case, _) => case.into_iter().for_each(|(_, breaks)| breaks(&mut tried)),
    };
    // A case may want what another one has taken away.
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(apply)).is_ok() {
        *facts = tried;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_fact_that_is_not_known_makes_no_finding_and_none_graver(
        picks in proptest::collection::vec(0..CASES.len() + SAID.len(), 0..5),
        blanks in 0..1_u32 << BLANKS,
        more in any::<u32>(),
        on_cluster in any::<bool>(),
        newest in 0_u64..60_000,
    ) {
        let mut facts = healthy();
        if on_cluster {
            facts.platform = Platform::Kind;
            facts.operator = Some(Known::Seen(Status::current("its pod is ready")));
            facts.nodes = Some(Known::Seen(Vec::new()));
            facts.resources = Some(Known::Seen(Vec::new()));
        }
        for flow in &mut facts.flows {
            flow.newest_ms = Some(newest);
        }
        for pick in picks {
            breaks(&mut facts, pick);
        }
        let all = found(&facts);
        let mut less = facts.clone();
        // Some taken away are the usual case, nearly all of them the one under load.
        let mask = if more % 2 == 0 { blanks & more } else { blanks | more };
        for which in (0..BLANKS).filter(|which| mask >> which & 1 == 1) {
            blank(&mut less, which);
        }
        for (key, severity) in found(&less) {
            let whole = all.get(&key);
            prop_assert!(whole.is_some(), "{key:?} is found of what is not known");
            // The gravest comes first.
            prop_assert!(whole.is_some_and(|whole| *whole <= severity), "{key:?} became graver");
        }
    }
}

#[test]
fn a_missing_slot_is_never_told_as_a_lost_resume_token() {
    let mut facts = healthy();
    let missing = CASES
        .iter()
        .find(|(code, _)| *code == "SLOT_MISSING")
        .expect("a case");
    (missing.1)(&mut facts);
    facts.fails(
        "DebeziumException: The connector is trying to read change stream starting at PostgresOffsetContext [x], but \
         this is no longer available on the server. Reconfigure the connector to use a snapshot mode when needed.",
    );
    let codes = |facts: &Facts| {
        found(facts)
            .into_keys()
            .map(|(code, _)| code)
            .collect::<Vec<_>>()
    };
    assert_eq!(codes(&facts), ["OFFSET_UNUSABLE", "SLOT_MISSING"]);
    facts.unheard("postgres", LATE);
    assert_eq!(codes(&facts), ["OFFSET_UNUSABLE"]);
}
