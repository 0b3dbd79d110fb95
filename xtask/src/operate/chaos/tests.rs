//! The same seed gives the same run, and the truth is what the acknowledged steps leave.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::faults::{self, Group, injections, rounds};
use super::workload::{Change, Fate, How, Row, Rows, Table, Writer, differences, touched};
use crate::profile::{Profile, Selection};

fn tables() -> Vec<Table> {
    let table = |flow: &str, key: &[&str]| Table {
        flow: flow.into(),
        name: format!("public.{flow}"),
        key: key.iter().map(ToString::to_string).collect(),
    };
    vec![
        table("accounts", &["id"]),
        table("documents", &["id", "part"]),
    ]
}

fn profile() -> Profile {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let selection = Selection {
        profile: "chaos".into(),
        set: Vec::new(),
    };
    crate::components::load(root, &selection)
        .expect("valid")
        .profile
}

/// What a database would do.
fn apply(rows: &mut Rows, step: &[Change]) {
    for change in step {
        match change {
            Change::Insert(key, row) => {
                assert!(rows.insert(key.clone(), row.clone()).is_none(), "{key:?}");
            }
            Change::Update(key, row, body) => {
                let there = rows.get_mut(key).expect("a row to update");
                let body = match body {
                    true => row.body.clone(),
                    false => there.body.clone(),
                };
                *there = Row {
                    body,
                    ..row.clone()
                };
            }
            Change::Delete(key) => {
                rows.remove(key).expect("a row to delete");
            }
            Change::Rekey(from, to, row) => {
                let there = rows.remove(from).expect("a row to move");
                let moved = Row {
                    body: there.body,
                    ..row.clone()
                };
                assert!(rows.insert(to.clone(), moved).is_none(), "{to:?}");
            }
        }
    }
}

/// A session of which some steps are not committed; of some of both the answer is lost.
fn played(seed: u64, steps: usize, ends: &[u8]) -> (Writer, Rows, Vec<Vec<Change>>) {
    let mut writer = Writer::new(seed, 1, 5, &tables());
    let (mut there, mut all) = (Rows::new(), Vec::new());
    for number in 0..steps {
        let step = writer.step();
        let end = ends.get(number % ends.len().max(1)).copied().unwrap_or(0);
        if end < 2 {
            apply(&mut there, &step);
        }
        match end {
            0 => writer.done(&step),
            1 | 2 => {
                let keys = touched(&step);
                let found = there.iter().filter(|(key, _)| keys.contains(*key));
                let found = found.map(|(key, row)| (key.clone(), row.clone())).collect();
                match writer.fate(&step, &found) {
                    Fate::Done => writer.done(&step),
                    Fate::Undone => {}
                    Fate::Neither => panic!("{step:?}"),
                }
            }
            _ => {}
        }
        all.push(step);
    }
    (writer, there, all)
}

proptest! {
    #[test]
    fn the_truth_is_what_is_there_whatever_answers_are_lost(
        seed in any::<u64>(), ends in prop::collection::vec(0_u8..4, 1..20),
    ) {
        let (writer, there, all) = played(seed, 300, &ends);
        prop_assert_eq!(writer.rows(), &there);
        let (_, _, again) = played(seed, 300, &ends);
        prop_assert_eq!(all, again);
    }

    #[test]
    fn sessions_share_no_key(seed in any::<u64>()) {
        let mut keys = BTreeSet::new();
        for number in 0..3 {
            let mut writer = Writer::new(seed, number, 3, &tables());
            let mut own = BTreeSet::new();
            for _ in 0..100 {
                let step = writer.step();
                own.extend(touched(&step).into_iter().map(|key| key.1[0]));
                writer.done(&step);
            }
            prop_assert!(keys.is_disjoint(&own));
            keys.extend(own);
        }
    }

    #[test]
    fn each_group_has_its_turn(seed in any::<u64>(), count in 0_usize..60) {
        let of = injections(&profile(), &[]);
        let plan = rounds(seed, count, &of);
        prop_assert_eq!(plan.len(), count);
        prop_assert_eq!(&plan, &rounds(seed, count, &of));
        let groups: BTreeSet<Group> = of.iter().map(|it| it.fault.group).collect();
        for turn in plan.chunks_exact(groups.len()) {
            let had: BTreeSet<Group> = turn.iter().map(|it| it.what.fault.group).collect();
            prop_assert_eq!(&had, &groups);
        }
    }
}

#[test]
fn a_workload_has_all_that_may_go_wrong() {
    let (writer, _, all) = played(7, 1000, &[0]);
    let changes: Vec<&Change> = all.iter().flatten().collect();
    let has = |what: fn(&Change) -> bool| changes.iter().any(|it| what(it));
    assert!(has(|it| matches!(it, Change::Delete(_))));
    assert!(has(|it| matches!(it, Change::Rekey(..))));
    assert!(has(|it| matches!(it, Change::Update(_, _, false))));
    let body = |it: &Change, fits: fn(&str) -> bool| match it {
        Change::Insert(_, row) => row.body.as_deref().is_some_and(fits),
        _ => false,
    };
    assert!(changes.iter().any(|it| body(it, |it| it.len() > 50_000)));
    assert!(changes.iter().any(|it| body(it, str::is_empty)));
    assert!(has(
        |it| matches!(it, Change::Insert(_, row) if row.body.is_none())
    ));
    assert!((50..500).contains(&writer.rows().len()));
}

#[test]
fn differences_name_keys_and_how() {
    let row = |label: &str| Row {
        label: label.into(),
        amount: None,
        body: None,
    };
    let truth = Rows::from([((0, vec![1]), row("a")), ((1, vec![2, 3]), row("b"))]);
    let found = Rows::from([((1, vec![2, 3]), row("c")), ((0, vec![4]), row("d"))]);
    let named: Vec<(String, String, How)> = differences(&tables(), &truth, &found)
        .into_iter()
        .map(|(flow, key, how)| (flow, key.join(","), how))
        .collect();
    assert_eq!(
        named,
        [
            ("accounts".into(), "1".into(), How::Missing),
            ("accounts".into(), "4".into(), How::Extra),
            ("documents".into(), "2,3".into(), How::Changed),
        ]
    );
}

#[test]
fn only_what_is_named_is_played() {
    let of = injections(&profile(), &[Group::Slot, Group::Kill]);
    assert!(of.iter().any(|it| it.fault.group == Group::Slot));
    let is_other = |it: &faults::Injection| !matches!(it.fault.group, Group::Slot | Group::Kill);
    assert!(!of.iter().any(is_other));
    assert!(of.iter().filter(|it| it.fault.group == Group::Kill).count() > 3);
}
