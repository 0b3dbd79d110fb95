use serde_json::json;

use super::*;
use crate::report::text::Palette;

fn line(key: Option<Value>, value: Option<Value>) -> String {
    let bytes = |value: Option<Value>| value.map(|value| value.to_string().into_bytes());
    raw(bytes(key).as_deref(), bytes(value).as_deref())
}

fn raw(key: Option<&[u8]>, value: Option<&[u8]>) -> String {
    let mut text = String::new();
    let style = Style {
        palette: Palette { colour: false },
        now_ms: 1_763_720_000_052,
    };
    write(&mut text, &decode(key, value), style);
    text
}

fn postgres(op: &str, before: Value, after: Value) -> Value {
    json!({
        "before": before, "after": after, "op": op, "ts_ms": 1_763_720_000_030_i64,
        "source": {
            "connector": "postgresql", "ts_ms": 1_763_720_000_000_i64, "snapshot": "false",
            "db": "postgres", "schema": "public", "table": "users", "txId": 7, "lsn": 4_322_571_208_u64,
        },
    })
}

#[test]
fn rows_of_postgres() {
    let key = || Some(json!({ "user_id": 7 }));
    let row = |email: &str| json!({ "user_id": 7, "email": email, "full_name": "Eve" });
    assert_eq!(
        line(key(), Some(postgres("c", Value::Null, row("a@b")))),
        r#"insert     user_id=7 email="a@b" full_name="Eve"  lsn 1/1A533C8  52 ms ago"#
    );
    assert_eq!(
        line(key(), Some(postgres("u", row("a@b"), row("c@d")))),
        r#"update     user_id=7 email: "a@b" -> "c@d"  lsn 1/1A533C8  52 ms ago"#
    );
    assert_eq!(
        line(key(), Some(postgres("d", row("c@d"), Value::Null))),
        r#"delete     user_id=7 email="c@d" full_name="Eve"  lsn 1/1A533C8  52 ms ago"#
    );
    assert_eq!(
        line(key(), Some(postgres("r", Value::Null, row("a@b")))),
        r#"snapshot   user_id=7 email="a@b" full_name="Eve"  lsn 1/1A533C8  52 ms ago"#
    );
    assert_eq!(line(key(), None), "tombstone  user_id=7");
}

#[test]
fn sources_that_log_keys_only() {
    let key = || Some(json!({ "user_id": 7 }));
    let after = json!({ "user_id": 7, "email": "c@d", "body": UNAVAILABLE });
    assert_eq!(
        line(key(), Some(postgres("u", Value::Null, after))),
        r#"update     user_id=7 email -> "c@d" body -> (not sent)  lsn 1/1A533C8  52 ms ago"#
    );
    let before = json!({ "user_id": 7, "email": null });
    assert_eq!(
        line(key(), Some(postgres("d", before, Value::Null))),
        "delete     user_id=7  lsn 1/1A533C8  52 ms ago"
    );
}

#[test]
fn an_update_of_the_same_is_named() {
    let row = || json!({ "user_id": 7, "email": "a@b" });
    let text = line(
        Some(json!({ "user_id": 7 })),
        Some(postgres("u", row(), row())),
    );
    assert!(text.contains("(no column differs)"), "{text}");
}

#[test]
fn messages_with_their_schema() {
    let value = json!({ "schema": {}, "payload": postgres("t", Value::Null, Value::Null) });
    assert_eq!(
        line(None, Some(value)),
        "truncate   public.users  lsn 1/1A533C8  52 ms ago"
    );
    let key = json!({ "schema": {}, "payload": { "user_id": 7 } });
    assert_eq!(line(Some(key), None), "tombstone  user_id=7");
}

#[test]
fn documents_of_mongodb() {
    let key = || Some(json!({ "id": "{\"$oid\": \"65f0\"}" }));
    let source = json!({ "ts_ms": 1_763_719_999_000_i64, "db": "commerce", "collection": "events", "ord": 3 });
    let insert = json!({ "op": "c", "before": null, "after": "{\"_id\": {\"$oid\": \"65f0\"}, \"n\": 1}", "source": source });
    assert_eq!(
        line(key(), Some(insert)),
        r#"insert     id={"$oid":"65f0"} _id={"$oid":"65f0"} n=1  oplog 1763719999:3  1.0 s ago"#
    );
    let update = json!({
        "op": "u", "before": null, "after": null, "source": source,
        "updateDescription": { "removedFields": ["old"], "updatedFields": "{\"n\": 2}" },
    });
    assert_eq!(
        line(key(), Some(update)),
        r#"update     id={"$oid":"65f0"} n -> 2 old removed  oplog 1763719999:3  1.0 s ago"#
    );
}

#[test]
fn rows_without_an_envelope() {
    let row =
        json!({ "id": 1, "name": "x", "__deleted": "false", "__op": "c", "__source_lsn": 16 });
    assert_eq!(
        line(Some(json!({ "id": 1 })), Some(row)),
        r#"insert     id=1 name="x"  lsn 0/10"#
    );
    let row = json!({ "id": 1, "name": "x", "__deleted": "true" });
    assert_eq!(
        line(Some(json!({ "id": 1 })), Some(row)),
        r#"delete     id=1 name="x""#
    );
    // A column of that name does not make a row an envelope.
    let row = json!({ "op": "c", "n": 1 });
    assert_eq!(line(None, Some(row)), r#"no change  {"op":"c","n":1}"#);
}

#[test]
fn what_is_no_change_is_named() {
    assert_eq!(
        line(
            Some(json!({ "serverName": "postgres" })),
            Some(json!({ "ts_ms": 1_763_720_000_000_i64 }))
        ),
        "heartbeat   52 ms ago"
    );
    assert_eq!(
        line(None, Some(json!({ "status": "BEGIN", "id": "571:1" }))),
        "begin      transaction 571:1"
    );
    assert_eq!(
        line(
            None,
            Some(json!({ "ddl": "CREATE TABLE t (\n id int)", "tableChanges": [] }))
        ),
        "schema     CREATE TABLE t (  id int)"
    );
    assert_eq!(
        raw(None, Some(b"not JSON\x1b[2J")),
        "no change  not JSON [2J"
    );
    assert_eq!(
        raw(None, Some(&[0, 0, 0, 0, 9, 1, 2])),
        "no change  7 bytes with schema 9 of a registry"
    );
    assert_eq!(
        raw(None, Some(&[0xff, 0xfe])),
        "no change  2 bytes that are no text"
    );
    assert_eq!(raw(None, Some(b"")), "no change");
}

#[test]
fn long_values_are_cut_and_none_commands_the_terminal() {
    let after = json!({ "t": "ü".repeat(500), "e": "\u{9b}31m" });
    let text = line(None, Some(postgres("c", Value::Null, after)));
    assert!(text.contains('…') && text.len() < 400, "{text}");
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[test]
fn positions_of_other_sources() {
    let at = |source: Value| position(source.as_object().unwrap());
    assert_eq!(
        at(json!({ "change_lsn": "0025:0d98:0002" })).unwrap(),
        "lsn 0025:0d98:0002"
    );
    assert_eq!(
        at(json!({ "file": "bin.3", "pos": 154 })).unwrap(),
        "binlog bin.3:154"
    );
    assert_eq!(at(json!({ "lsn": -1 })), None);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read(key: Option<Vec<u8>>, value: Option<Vec<u8>>) {
        let text = raw(key.as_deref(), value.as_deref());
        proptest::prop_assert!(!text.contains('\n'));
    }

    #[test]
    fn any_envelope_is_read(op in "[cudrtmx]", column in ".{0,8}", text in ".{0,8}", number: i64) {
        let row = json!({ column: text });
        let source = json!({ "lsn": number, "ts_ms": number, "ord": number });
        let value = json!({ "op": op, "before": row, "after": row, "source": source });
        let line = line(Some(row.clone()), Some(value));
        proptest::prop_assert!(!line.contains(char::is_control));
    }
}
