use serde_json::{Value, json};

use super::*;

fn found(publications: &Value, tables: &Value, roles: &Value) -> Found {
    let found = json!({ "me": "cdc", "database": "shop", "makes": false,
        "publications": publications, "tables": tables, "roles": roles });
    serde_json::from_value(found).expect("as the server writes it")
}

fn table_of(more: &Value) -> Value {
    let mut it = json!({ "schema": "Shop", "partitioned": false, "parents": [], "owned": false, "writable": false,
        "generated": [], "unreadable": [], "closed": [], "hidden": [] });
    for (key, value) in more.as_object().expect("an object") {
        it[key] = value.clone();
    }
    it
}

fn publication(published: &Value, more: &Value) -> Value {
    let mut it = json!({ "all": false, "owned": false, "via_root": true, "named": [], "published": published,
        "sends": ["insert", "update", "delete", "truncate"] });
    for (key, value) in more.as_object().expect("an object") {
        it[key] = value.clone();
    }
    json!({ "Their \"own\"": it })
}

fn want(columns: &[&str]) -> Wants {
    Wants {
        connector: "c".into(),
        role: Some("cdc".into()),
        publication: Some("Their \"own\"".into()),
        publishes: false,
        tables: vec![WantedTable {
            flow: "orders".into(),
            name: "Shop.Orders".into(),
            columns: columns.iter().map(|it| (*it).to_owned()).collect(),
            canary: false,
        }],
    }
}

fn able() -> Value {
    json!({ "cdc": { "login": true, "replication": true } })
}

fn statements(lacks: &[Lack]) -> Vec<&str> {
    lacks.iter().map(|it| it.sql.as_str()).collect()
}

const PUBLISHED: &str = "Shop.Orders";

#[test]
fn a_publication_of_somebody_else_s_is_used_as_it_is() {
    for all in [true, false] {
        let published = json!({ PUBLISHED: { "filter": null, "columns": ["id", "note"] } });
        let publications = publication(&published, &json!({ "all": all }));
        let tables = json!({ PUBLISHED: table_of(&json!({})) });
        let found = found(&publications, &tables, &able());
        assert_eq!(judge(&found, &[want(&["id", "note"])]), []);
    }
}

#[test]
fn everything_that_is_missing_is_named_at_once_in_quotes() {
    let tables = json!({ PUBLISHED: table_of(&json!({ "unreadable": ["cdc"], "closed": ["cdc"], "hidden": ["cdc"] })) });
    let roles = json!({ "cdc": { "login": true, "replication": false } });
    let found = found(&publication(&json!({}), &json!({})), &tables, &roles);
    let mut want = want(&["id"]);
    want.tables[0].canary = true;
    let lacks = judge(&found, &[want]);
    assert_eq!(
        statements(&lacks),
        [
            "ALTER ROLE \"cdc\" REPLICATION",
            "GRANT USAGE ON SCHEMA \"Shop\" TO \"cdc\"",
            "GRANT SELECT ON \"Shop\".\"Orders\" TO \"cdc\"",
            "ALTER ROLE \"cdc\" BYPASSRLS",
            "GRANT INSERT, UPDATE, DELETE ON \"Shop\".\"Orders\" TO \"cdc\"",
            "ALTER PUBLICATION \"Their \"\"own\"\"\" ADD TABLE \"Shop\".\"Orders\"",
        ]
    );
}

#[test]
fn one_that_is_not_there_is_asked_for_where_the_role_may_not_make_it() {
    let tables = json!({ PUBLISHED: table_of(&json!({})) });
    let mut found = found(&json!({}), &tables, &able());
    let lacks = judge(&found, &[want(&[])]);
    assert_eq!(
        statements(&lacks),
        [
            "CREATE PUBLICATION \"Their \"\"own\"\"\" FOR TABLE \"Shop\".\"Orders\" WITH (publish_via_partition_root = true)"
        ]
    );
    found.makes = true;
    found.tables.get_mut(PUBLISHED).expect("it").owned = true;
    assert_eq!(judge(&found, &[want(&[])]), []);
}

#[test]
fn what_it_would_drop_is_refused() {
    let whole = json!({ PUBLISHED: { "filter": null, "columns": ["id", "note"] } });
    let cases = [
        (
            publication(
                &json!({}),
                &json!({ "via_root": false, "named": [PUBLISHED] }),
            ),
            json!({ "partitioned": true }),
            "SET (publish_via_partition_root = true)",
        ),
        (
            publication(&json!({ "Shop.All": {} }), &json!({})),
            json!({ "parents": ["Shop.All"] }),
            "SET (publish_via_partition_root = false)",
        ),
        (
            publication(&whole, &json!({ "sends": ["insert", "update"] })),
            json!({}),
            "SET (publish = 'insert, update, delete, truncate')",
        ),
        (
            publication(&json!({ PUBLISHED: { "filter": "(id > 1)" } }), &json!({})),
            json!({}),
            "DROP TABLE \"Shop\".\"Orders\"; ALTER PUBLICATION \"Their \"\"own\"\"\" ADD TABLE \"Shop\".\"Orders\"",
        ),
        (
            publication(&json!({ PUBLISHED: { "columns": ["id"] } }), &json!({})),
            json!({}),
            "DROP TABLE \"Shop\".\"Orders\"; ALTER PUBLICATION",
        ),
        (
            publication(&json!({ PUBLISHED: { "columns": ["id"] } }), &json!({})),
            json!({ "generated": ["note"] }),
            "SET (publish_generated_columns = stored)",
        ),
    ];
    for (publications, table, helps) in cases {
        let tables = json!({ PUBLISHED: table_of(&table) });
        let found = found(&publications, &tables, &able());
        let lacks = judge(&found, &[want(&["id", "note"])]);
        assert_eq!(lacks.len(), 1, "{lacks:#?}");
        assert_eq!(lacks[0].of, Of::Sent);
        assert!(lacks[0].sql.contains(helps), "{}", lacks[0].sql);
    }
    // A flow that does not want the column gets what it wants.
    let publications = publication(&json!({ PUBLISHED: { "columns": ["id"] } }), &json!({}));
    let found = found(
        &publications,
        &json!({ PUBLISHED: table_of(&json!({})) }),
        &able(),
    );
    assert_eq!(judge(&found, &[want(&["id"])]), []);
}

#[test]
fn a_role_of_the_tool_s_is_not_judged() {
    let published = json!({ PUBLISHED: {} });
    let tables = json!({ PUBLISHED: table_of(&json!({ "unreadable": ["cdc"] })) });
    let found = found(&publication(&published, &json!({})), &tables, &json!({}));
    let mut want = want(&[]);
    want.role = None;
    assert_eq!(judge(&found, &[want]), []);
}
