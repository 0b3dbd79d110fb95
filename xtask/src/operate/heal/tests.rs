//! Decisions over whatever is found, whenever, with healers that are killed in between.

use proptest::prelude::*;
use serde_json::json;

use super::decide::{Act, Decision, Limits, WATCHED_MS, answers, changes, decide};
use super::guard::{Hold, findings, hold};
use super::history::{Event, Key, Reason, Record};
use super::past::Past;
use crate::components::postgres::slots::Slot;
use crate::diagnose::facts::postgres::Postgres;
use crate::diagnose::facts::{
    Component, Connect, Connector, Facts, Instances, Kafka, Known, Place, Process, Task, Wanted,
};
use crate::diagnose::{Finding, Fix, Remedy, Severity, Subject};
use crate::platform::Platform;
use crate::readiness::Status;

const LIMITS: Limits = Limits { max_restarts: 3 };
const HOUR: u64 = 3_600_000;

fn component(name: &'static str, process: Process) -> Component {
    Component {
        name: name.into(),
        kind: name,
        path: name.into(),
        external: false,
        is_being_made: false,
        status: Status::current("answers"),
        process,
        port_taken: None,
        log: Vec::new(),
    }
}

fn slot(name: &str) -> Slot {
    Slot {
        name: name.into(),
        connector: None,
        plugin: None,
        database: None,
        active: true,
        reader: None,
        wal_status: Some("reserved".into()),
        restart_lsn: None,
        confirmed_flush_lsn: None,
        retained: None,
        unconfirmed: None,
        transactions: None,
        untouched: None,
        unread_s: None,
    }
}

fn connector(state: &str) -> Connector {
    Connector {
        name: "c".into(),
        wanted: Some(Wanted {
            component: "postgres".into(),
            kind: "postgres",
            writes: false,
            slot: Some("s".into()),
            publication: None,
            tables: Vec::new(),
            user: "u".into(),
            own_user: false,
            password_key: None,
        }),
        kind: None,
        class: String::new(),
        state: Some(state.into()),
        trace: None,
        tasks: vec![Task {
            id: 0,
            state: state.into(),
            trace: None,
        }],
        drift: Vec::new(),
        refused: None,
        committed: Some(Known::Seen(Place {
            offset: json!({ "lsn": 5 }),
            position: None,
        })),
        heartbeat_age_ms: None,
        login_works: None,
        complaints: Vec::new(),
        reset: None,
        dead_letters: None,
    }
}

fn source(known: Known<Postgres>) -> Instances {
    let mut servers = Instances::default();
    servers.insert("postgres", known);
    servers
}

/// A pipeline in which everything is there.
fn facts() -> Facts {
    Facts {
        profile: "p".into(),
        platform: Platform::Host,
        at: 0,
        took_ms: 0,
        components: ["kafka", "connect", "postgres", "clickhouse"]
            .map(|name| component(name, Process::Running(1)))
            .into(),
        connectors: vec![connector("RUNNING")],
        flows: Vec::new(),
        servers: source(Known::Seen(Postgres {
            slots: vec![slot("s")],
            ..Postgres::default()
        })),
        connect: Known::Seen(Connect::default()),
        kafka: Known::Seen(Kafka::default()),
        operator: None,
        nodes: None,
        passed_over: None,
        rows: Vec::new(),
        resources: None,
        image: None,
        disk: None,
    }
}

fn finding(code: &'static str, subject: Subject, remedy: Remedy, fix: Option<Fix>) -> Finding {
    Finding {
        code,
        severity: Severity::Broken,
        subject,
        cause: format!("{code} happened"),
        evidence: Vec::new(),
        next: "cargo xtask".into(),
        remedy,
        fix,
        consequences: Vec::new(),
    }
}

fn failed() -> Finding {
    let fix = Fix::RestartConnector("c".into());
    let subject = Subject::Connector("c".into());
    finding("TASK_FAILED", subject, Remedy::Restart, Some(fix))
}

fn login() -> Finding {
    // The rule proposes a fix, which a person is to decide on: it tries a password again.
    let fix = Fix::RestartConnector("c".into());
    let subject = Subject::Connector("c".into());
    finding("LOGIN_REFUSED", subject, Remedy::Person, Some(fix))
}

fn ended(name: &str) -> Finding {
    let subject = Subject::component(name);
    finding("PROCESS_ENDED", subject, Remedy::Restart, Some(Fix::Up))
}

/// A healer on paper: its history is all that it has.
#[derive(Default)]
struct Paper {
    past: Past,
    records: Vec<Record>,
}

impl Paper {
    fn add(&mut self, at: u64, event: Event) {
        let record = Record { at, event };
        self.past.add(&record);
        self.records.push(record);
    }

    /// A kill: everything but the history is forgotten.
    fn reread(&mut self) {
        self.past = Past::default();
        for record in &self.records {
            let line = serde_json::to_string(record).expect("JSON");
            self.past
                .add(&serde_json::from_str(&line).expect("a record"));
        }
    }

    /// One round at this time; the act that is begun, if any.
    fn round(&mut self, found: &[Finding], now: u64) -> Option<Act> {
        let clean = |text: &str| text.to_owned();
        for event in changes(found, |_| true, |_| true, &self.past, now, clean) {
            self.add(now, event);
        }
        let decisions = decide(&facts(), found, &self.past, now, &LIMITS);
        for (finding, decision) in &decisions {
            if let Decision::Escalate {
                reason,
                why,
                new: true,
            } = decision
            {
                let trouble = super::history::Trouble::of(&found[*finding], clean);
                let (reason, why) = (*reason, why.clone());
                self.add(
                    now,
                    Event::Escalated {
                        trouble,
                        reason,
                        why,
                    },
                );
            }
        }
        let mut decisions = decisions.into_iter();
        let (finding, act, number) = decisions.find_map(|(finding, decision)| match decision {
            Decision::Act { act, number } => Some((finding, act, number)),
            _ => None,
        })?;
        let key = Key::of(&found[finding]);
        let command = act.command();
        self.add(
            now,
            Event::Attempt {
                key,
                act: command,
                number,
            },
        );
        Some(act)
    }

    fn escalations(&self) -> Vec<Reason> {
        let escalated = self
            .records
            .iter()
            .filter_map(|record| match &record.event {
                Event::Escalated { reason, .. } => Some(*reason),
                _ => None,
            });
        escalated.collect()
    }
}

#[test]
fn a_component_that_answers_is_not_silent_whatever_else_cannot_be_seen() {
    let key = |code: &str| Key {
        code: code.into(),
        subject: "kafka".into(),
    };
    let mut facts = facts();
    assert!(answers(&facts, &key("COMPONENT_DOWN")));
    assert!(!answers(&facts, &key("NO_SPACE")));
    let kafka = facts.components.iter_mut().find(|it| it.name == "kafka");
    kafka.expect("kafka").status = Status::unknown("no answer within 2s");
    assert!(!answers(&facts, &key("COMPONENT_DOWN")));
}

#[test]
fn the_ladder_goes_from_the_task_to_the_worker_and_ends_with_a_person() {
    let mut paper = Paper::default();
    let mut acts = Vec::new();
    for second in 0..3_000 {
        let now = 1_000_000 + second * 1000;
        acts.extend(paper.round(&[failed()], now).map(|act| (second, act)));
    }
    let worker = Act::Fix(Fix::RestartComponent("connect".into()));
    assert_eq!(
        acts,
        [
            (0, Act::Tasks("c".into())),
            (10, Act::Connector("c".into())),
            (50, worker)
        ]
    );
    assert_eq!(paper.escalations(), [Reason::Exhausted]);
}

#[test]
fn what_comes_back_goes_on_with_the_ladder_and_is_told() {
    let mut paper = Paper::default();
    assert_eq!(paper.round(&[failed()], 0), Some(Act::Tasks("c".into())));
    assert_eq!(paper.round(&[], 5_000), None);
    assert_eq!(paper.round(&[failed()], 8_000), None, "the pause");
    assert_eq!(paper.escalations(), [Reason::Returned]);
    assert_eq!(
        paper.round(&[failed()], 10_000),
        Some(Act::Connector("c".into()))
    );
    // Held, it begins at the bottom again, within the hour's number.
    assert_eq!(paper.round(&[], 20_000), None);
    assert_eq!(paper.round(&[], 20_000 + WATCHED_MS), None);
    let later = 30_000 + WATCHED_MS;
    assert_eq!(
        paper.round(&[failed()], later),
        Some(Act::Tasks("c".into()))
    );
    assert_eq!(paper.round(&[failed()], later + HOUR / 4), None);
    assert_eq!(paper.escalations(), [Reason::Returned, Reason::Exhausted]);
}

#[test]
fn a_person_is_asked_once_and_again_after_it_was_gone() {
    let mut paper = Paper::default();
    for now in [0, 1, 2, HOUR, 5 * HOUR] {
        assert_eq!(paper.round(&[login()], now), None);
        paper.reread();
    }
    assert_eq!(paper.escalations(), [Reason::Person]);
    paper.round(&[], 6 * HOUR);
    paper.round(&[login()], 7 * HOUR);
    assert_eq!(paper.escalations(), [Reason::Person; 2]);
    let other = Finding {
        cause: "another cause".into(),
        ..login()
    };
    paper.round(&[other], 7 * HOUR + 1);
    assert_eq!(paper.escalations(), [Reason::Person; 3]);
}

#[test]
fn what_somebody_stopped_stays_stopped() {
    let mut down = facts();
    for component in &mut down.components {
        component.process = Process::None;
    }
    let subject = Subject::component("kafka");
    let found = [finding(
        "NOT_STARTED",
        subject,
        Remedy::Restart,
        Some(Fix::Up),
    )];
    let decisions = decide(&down, &found, &Past::default(), 0, &LIMITS);
    assert!(
        matches!(decisions[..], [(_, Decision::Leave { .. })]),
        "{decisions:?}"
    );
    // One of them is what an `up` or `restart` left that was killed.
    down.components[1].process = Process::Running(1);
    let decisions = decide(&down, &found, &Past::default(), 0, &LIMITS);
    assert!(
        matches!(decisions[..], [(_, Decision::Act { .. })]),
        "{decisions:?}"
    );

    let mut resting = facts();
    resting.connectors = vec![connector("PAUSED")];
    let decisions = decide(&resting, &[failed()], &Past::default(), 0, &LIMITS);
    assert!(
        matches!(decisions[..], [(_, Decision::Leave { .. })]),
        "{decisions:?}"
    );
}

#[test]
fn nothing_starts_a_connector_whose_slot_is_gone_or_unseen() {
    let starts = [
        Act::Tasks("c".into()),
        Act::Connector("c".into()),
        Act::Start("connect".into()),
        Act::Fix(Fix::Up),
        Act::Fix(Fix::RestartConnector("c".into())),
        Act::Fix(Fix::RestartComponent("connect".into())),
        Act::Fix(Fix::RestartComponent("kafka".into())),
    ];
    let mut gone = facts();
    gone.servers = source(Known::Seen(Postgres::default()));
    let mut lost = facts();
    if let Some(postgres) = lost.servers.get_mut::<Postgres>("postgres") {
        postgres.slots[0].wal_status = Some("lost".into());
    }
    let mut unseen = facts();
    unseen.servers = source(Known::Unknown("no answer".into()));
    for act in &starts {
        assert_eq!(hold(&facts(), act), None, "{act:?}");
        assert!(matches!(hold(&gone, act), Some(Hold::Loses(_))), "{act:?}");
        assert!(matches!(hold(&lost, act), Some(Hold::Loses(_))), "{act:?}");
        assert!(
            matches!(hold(&unseen, act), Some(Hold::Blind(_))),
            "{act:?}"
        );
    }
    // The source itself may be started, and so what is unseen be seen.
    assert_eq!(hold(&unseen, &Act::Start("postgres".into())), None);

    // While Connect is away nobody else tells that a slot is gone.
    gone.connectors[0].committed = None;
    gone.connectors[0].state = None;
    let found = findings(&gone, &[ended("connect")]);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].code, found[0].remedy),
        ("SLOT_MISSING", Remedy::Person)
    );
    assert!(
        found[0].next.contains("reset-connector c"),
        "{}",
        found[0].next
    );
    let decisions = decide(&gone, &[ended("connect")], &Past::default(), 0, &LIMITS);
    assert!(
        matches!(
            decisions[..],
            [(
                _,
                Decision::Escalate {
                    reason: Reason::Unsafe,
                    ..
                }
            )]
        ),
        "{decisions:?}"
    );
    // One that has no place yet makes its slot itself.
    let mut fresh = facts();
    fresh.servers = source(Known::Seen(Postgres::default()));
    fresh.connectors[0].committed = Some(Known::Seen(Place {
        offset: json!(null),
        position: None,
    }));
    assert_eq!(hold(&fresh, &Act::Tasks("c".into())), None);
}

#[test]
fn what_is_nearer_to_the_ground_is_started_first() {
    let found = [ended("postgres"), ended("connect")];
    let mut paper = Paper::default();
    assert_eq!(paper.round(&found, 0), Some(Act::Start("postgres".into())));
    assert_eq!(
        paper.round(&found[1..], 0),
        Some(Act::Start("connect".into()))
    );
}

#[test]
fn a_connector_is_not_stuck_for_being_behind_what_was_away() {
    let stuck = || {
        let subject = Subject::Connector("c".into());
        let fix = Fix::RestartConnector("c".into());
        finding("CONNECTOR_STUCK", subject, Remedy::Restart, Some(fix))
    };
    let mut paper = Paper::default();
    assert_eq!(
        paper.round(&[ended("connect")], 0),
        Some(Act::Start("connect".into()))
    );
    assert_eq!(paper.round(&[stuck()], 20_000), None);
    assert_eq!(
        paper.round(&[stuck()], 30_000),
        Some(Act::Tasks("c".into()))
    );
}

/// What may be found in a round, and how long after the one before.
fn rounds() -> impl Strategy<Value = Vec<(u64, Vec<Finding>, bool)>> {
    let all = vec![failed(), login(), ended("connect"), ended("kafka"), {
        let subject = Subject::Connector("c".into());
        finding("SLOT_BUSY", subject, Remedy::Restart, None)
    }];
    let found = proptest::sample::subsequence(all, 0..=5);
    proptest::collection::vec((0_u64..900_000, found, any::<bool>()), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn restarts_are_few_apart_and_never_for_a_person(rounds in rounds()) {
        let mut paper = Paper::default();
        let mut now = 10 * HOUR;
        for (pause, found, killed) in rounds {
            now += pause;
            paper.round(&found, now);
            if killed {
                paper.reread();
            }
        }
        let mut by_subject: std::collections::BTreeMap<&str, Vec<u64>> = Default::default();
        for record in &paper.records {
            if let Event::Attempt { key, number, .. } = &record.event {
                prop_assert!(key.code != "LOGIN_REFUSED");
                prop_assert!((1..=LIMITS.max_restarts).contains(number));
                by_subject.entry(&key.subject).or_default().push(record.at);
            }
        }
        for times in by_subject.values() {
            for (index, at) in times.iter().enumerate() {
                let hour = times[..=index].iter().filter(|it| **it + HOUR >= *at);
                prop_assert!(hour.count() <= LIMITS.max_restarts as usize, "{times:?}");
            }
            for pair in times.windows(2) {
                prop_assert!(pair[1] - pair[0] >= 10_000, "{times:?}");
            }
        }
    }

    #[test]
    fn pauses_grow_while_nothing_holds(steps in proptest::collection::vec((0_u64..5_000, any::<bool>()), 100..400)) {
        let mut paper = Paper::default();
        let (mut now, mut times) = (10 * HOUR, Vec::new());
        for (step, killed) in steps {
            now += step;
            if paper.round(&[failed()], now).is_some() {
                times.push(now);
            }
            if killed {
                paper.reread();
            }
        }
        let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        prop_assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
        prop_assert!(times.len() <= 3);
    }
}
