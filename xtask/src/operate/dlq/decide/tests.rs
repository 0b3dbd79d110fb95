use proptest::prelude::*;

use super::*;
use crate::clients::kafka::Header;
use crate::operate::dlq::headers::{CONNECT, ORIGIN, ROUND, repeats};

const TWO: Allowed = Allowed {
    rounds: 2,
    superseded: false,
};

fn header(key: &str, value: &str) -> Header {
    Header {
        key: key.into(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    }
}

/// A record of `dlq/0` at `at`, which failed at `offset` of `t/0`.
fn entry(at: i64, offset: i64, key: &'static str, rounds: u32) -> Entry {
    let mut headers = vec![
        header("mine", "1"),
        header(&format!("{CONNECT}topic"), "t"),
        header(&format!("{CONNECT}partition"), "0"),
        header(&format!("{CONNECT}offset"), &offset.to_string()),
        header(&format!("{CONNECT}connector.name"), "sink"),
    ];
    if rounds > 0 {
        headers.push(header(ROUND, &rounds.to_string()));
    }
    let record = Record {
        offset: at,
        headers,
        ..Record::new(Some(key.into()), Some("v".into()))
    };
    Entry::of("dlq", 0, record)
}

fn originals(begin: i64, last: &[(&'static str, i64)], copies: &[(i64, i64)]) -> Originals {
    let later = Later {
        begin,
        last: last
            .iter()
            .map(|&(key, offset)| (Bytes::from(key), offset))
            .collect(),
        copies: copies.iter().copied().collect(),
    };
    BTreeMap::from([(("t".to_owned(), 0), later)])
}

fn decided(entries: Vec<Entry>, originals: &Originals, allowed: Allowed) -> Decisions {
    decide(entries, None, originals, &BTreeSet::from(["sink"]), allowed)
}

fn sent(decisions: &Decisions) -> Vec<i64> {
    decisions.send.iter().map(|one| one.from.offset).collect()
}

#[test]
fn records_go_back_in_the_order_of_their_topic_with_the_round_counted() {
    let found = decided(
        vec![entry(0, 9, "b", 1), entry(1, 5, "a", 0)],
        &originals(0, &[], &[]),
        TWO,
    );
    assert_eq!(sent(&found), [1, 0]);
    let (first, second) = (&found.send[0], &found.send[1]);
    assert_eq!((first.round, second.round), (1, 2));
    assert_eq!(first.origin.to_string(), "t/0@5");
    assert_eq!(repeats(&first.record.headers), Some(first.origin.clone()));
    let keys: Vec<&str> = first
        .record
        .headers
        .iter()
        .map(|header| header.key.as_str())
        .collect();
    assert_eq!((keys.len(), keys[0]), (4, "mine"));
    assert!(found.held.is_empty() && found.before.is_empty());
}

#[test]
fn what_came_back_twice_stays_until_more_is_allowed() {
    let all = || vec![entry(0, 5, "a", 2)];
    let found = decided(all(), &originals(0, &[], &[]), TWO);
    assert_eq!(found.held[0].1, Held::CameBack { rounds: 2 });
    let found = decided(all(), &originals(0, &[], &[]), Allowed { rounds: 3, ..TWO });
    assert_eq!(found.send[0].round, 3);
}

#[test]
fn a_newer_record_of_the_key_holds_an_older_one_back() {
    let all = || vec![entry(0, 5, "a", 0), entry(1, 6, "b", 0)];
    let known = originals(0, &[("a", 7), ("b", 6)], &[]);
    let found = decided(all(), &known, TWO);
    assert_eq!(sent(&found), [1]);
    assert_eq!(found.held[0].1, Held::Superseded { by: 7 });
    let let_pass = Allowed {
        superseded: true,
        ..TWO
    };
    let found = decided(all(), &known, let_pass);
    assert_eq!(sent(&found), [0, 1]);
    assert!(found.send[0].superseded && !found.send[1].superseded);
}

#[test]
fn what_retention_removed_may_have_held_a_newer_one() {
    let all = || vec![entry(0, 5, "a", 0)];
    let found = decided(all(), &originals(6, &[], &[]), TWO);
    assert_eq!(sent(&found), [0]);
    let found = decided(all(), &originals(7, &[], &[]), TWO);
    assert_eq!(found.held[0].1, Held::Unknown { begins: 7 });
}

#[test]
fn what_was_sent_before_is_not_sent_again() {
    let found = decided(
        vec![entry(0, 5, "a", 0)],
        &originals(0, &[("a", 20)], &[(5, 20)]),
        TWO,
    );
    assert!(found.send.is_empty() && found.held.is_empty());
    assert_eq!(found.before[0].copy.to_string(), "t/0@20");
}

#[test]
fn a_record_that_is_there_twice_is_sent_once() {
    let found = decided(
        vec![entry(0, 5, "a", 0), entry(1, 5, "a", 0)],
        &originals(0, &[], &[]),
        TWO,
    );
    assert_eq!(sent(&found), [0]);
    let twin = Held::Twin {
        of: found.send[0].from.clone(),
    };
    assert_eq!(found.held[0].1, twin);
}

#[test]
fn what_does_not_say_where_it_comes_from_is_refused_by_name() {
    let bare = Entry::of("dlq", 0, Record::new(None, Some("v".into())));
    let mut damaged = entry(1, 5, "a", 0);
    damaged
        .record
        .headers
        .push(header("__connect.errors.offset", "x"));
    let damaged = Entry::of("dlq", 0, damaged.record);
    let mut strange = entry(2, 6, "b", 0);
    strange.failure.connector = Some("gone".into());
    let mut lost = entry(3, 7, "c", 0);
    if let Some(origin) = &mut lost.failure.origin {
        origin.partition = 4;
    }
    let found = decided(
        vec![bare, damaged, strange, lost],
        &originals(0, &[], &[]),
        TWO,
    );
    assert!(found.send.is_empty());
    let held: Vec<String> = found.held.iter().map(|(_, held)| held.words()).collect();
    for words in [
        "context.headers.enable",
        "`x` is no number",
        "no sink gone",
        "is gone",
    ] {
        assert!(
            held.iter().any(|text| text.contains(words)),
            "{words}: {held:?}"
        );
    }
}

#[test]
fn an_edit_replaces_key_and_value_and_nothing_else_is_touched() {
    let edit = |key: &'static str, value: &'static str| Edit {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    let at = |offset| Place {
        topic: "dlq".into(),
        partition: 0,
        offset,
    };
    let edits = BTreeMap::from([(at(1), edit("b", "mended")), (at(2), edit("c", "v"))]);
    let found = decide(
        vec![
            entry(0, 5, "a", 0),
            entry(1, 6, "b", 0),
            entry(2, 7, "c", 0),
        ],
        Some(&edits),
        &originals(0, &[], &[]),
        &BTreeSet::from(["sink"]),
        TWO,
    );
    assert_eq!(sent(&found), [1, 2]);
    assert_eq!(found.send[0].record.value.as_deref(), Some(&b"mended"[..]));
    assert_eq!((found.send[0].edited, found.send[1].edited), (true, false));
    assert!(found.held.is_empty());
}

proptest! {
    /// Whatever is in the queue: after what is sent has been written, a second run sends nothing more
    /// of it, and nothing is sent that the guards forbid.
    #[test]
    fn nothing_is_sent_twice_and_the_guards_hold(
        records in prop::collection::vec((0_i64..20, 0_usize..4, 0_u32..4), 0..12),
        last in prop::collection::vec(0_i64..30, 4),
        begin in 0_i64..10,
        pass in any::<bool>(),
    ) {
        let keys = ["a", "b", "c", "d"];
        let entries = || -> Vec<Entry> {
            let numbered = (0..).zip(&records);
            numbered.map(|(at, (offset, key, rounds))| entry(at, *offset, keys[*key], *rounds)).collect()
        };
        let last: Vec<(&'static str, i64)> = keys.into_iter().zip(last).collect();
        let mut known = originals(begin, &last, &[]);
        let allowed = Allowed { rounds: 2, superseded: pass };
        let first = decided(entries(), &known, allowed);
        prop_assert_eq!(first.send.len() + first.held.len(), records.len());
        let mut origins = BTreeSet::new();
        for one in &first.send {
            prop_assert!(origins.insert(one.origin.clone()), "twice");
            prop_assert!(one.round <= 2);
            prop_assert!(pass || !one.superseded);
            let ours = one.record.headers.iter().filter(|header| header.key == ORIGIN);
            prop_assert_eq!(ours.count(), 1);
        }
        let later = known.get_mut(&("t".to_owned(), 0)).unwrap();
        for (at, one) in (100..).zip(&first.send) {
            let origin = repeats(&one.record.headers).unwrap();
            later.copies.insert(origin.offset, at);
        }
        let second = decided(entries(), &known, allowed);
        for one in &second.send {
            prop_assert!(!origins.contains(&one.origin), "sent again");
        }
        prop_assert!(second.send.is_empty());
    }
}
