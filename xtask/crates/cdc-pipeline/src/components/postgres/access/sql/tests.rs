use proptest::prelude::*;
use serde_json::json;

use super::*;

const OURS: Server = Server {
    is_ours: true,
    is_operated: false,
};
const OPERATED: Server = Server {
    is_ours: true,
    is_operated: true,
};
const THEIRS: Server = Server {
    is_ours: false,
    is_operated: false,
};

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn found(
    attributes: &[&str],
    tables: &serde_json::Value,
    others: &[&str],
    closed: &[&str],
) -> Found {
    let found =
        json!({ "attributes": attributes, "tables": tables, "others": others, "closed": closed });
    serde_json::from_value(found).expect("as the server writes it")
}

fn statements(found: &Found, server: Server) -> Vec<String> {
    rights("cdc", found, server)
        .into_iter()
        .map(|change| change.sql)
        .collect()
}

#[test]
fn a_user_that_has_what_it_needs_is_left_alone() {
    let tables =
        json!([{ "name": "public.users", "readable": true, "more": false, "row_security": false }]);
    for server in [OURS, OPERATED, THEIRS] {
        let found = found(&["LOGIN", "REPLICATION"], &tables, &[], &[]);
        assert_eq!(statements(&found, server), Vec::<String>::new());
        assert_eq!(unseen(&found, server), None);
    }
}

#[test]
fn rights_are_given_and_those_beyond_are_taken_on_the_tool_s_own_server_only() {
    let tables = json!([
        { "name": "shop.Orders", "readable": false, "more": false, "row_security": false },
        { "name": "public.users", "readable": true, "more": true, "row_security": false },
    ]);
    let found = found(
        &["LOGIN", "SUPERUSER", "CREATEROLE"],
        &tables,
        &["public.left"],
        &["shop"],
    );
    assert_eq!(
        statements(&found, OURS),
        [
            "ALTER ROLE \"cdc\" REPLICATION NOSUPERUSER NOCREATEROLE",
            "GRANT USAGE ON SCHEMA \"shop\" TO \"cdc\"",
            "REVOKE ALL ON \"public\".\"left\" FROM \"cdc\"",
            "GRANT SELECT ON \"shop\".\"Orders\" TO \"cdc\"",
            "REVOKE ALL ON \"public\".\"users\" FROM \"cdc\"",
            "GRANT SELECT ON \"public\".\"users\" TO \"cdc\"",
        ]
    );
    assert_eq!(
        statements(&found, THEIRS),
        [
            "ALTER ROLE \"cdc\" REPLICATION",
            "GRANT USAGE ON SCHEMA \"shop\" TO \"cdc\"",
            "GRANT SELECT ON \"shop\".\"Orders\" TO \"cdc\"",
        ]
    );
    assert!(
        !statements(&found, OPERATED)
            .iter()
            .any(|sql| sql.starts_with("ALTER ROLE"))
    );
}

#[test]
fn row_level_security_never_hides_rows_in_silence() {
    let tables =
        json!([{ "name": "public.users", "readable": true, "more": false, "row_security": true }]);
    let user = found(&["LOGIN", "REPLICATION"], &tables, &[], &[]);
    assert_eq!(statements(&user, OURS), ["ALTER ROLE \"cdc\" BYPASSRLS"]);
    assert_eq!(unseen(&user, OURS), None);
    assert_eq!(unseen(&user, THEIRS), Some("public.users"));
    assert_eq!(unseen(&user, OPERATED), Some("public.users"));
    let user = found(&["LOGIN", "REPLICATION", "BYPASSRLS"], &tables, &[], &[]);
    assert_eq!(unseen(&user, THEIRS), None);
}

#[test]
fn a_password_is_set_by_its_verifier() {
    assert_eq!(
        login("cdc", false, true, "SCRAM-SHA-256$4096:a'b"),
        "CREATE ROLE \"cdc\" LOGIN REPLICATION PASSWORD 'SCRAM-SHA-256$4096:a''b'"
    );
    assert_eq!(
        login("cdc", false, false, "v"),
        "CREATE ROLE \"cdc\" LOGIN PASSWORD 'v'"
    );
    assert_eq!(
        login("c\"c", true, true, "v"),
        "ALTER ROLE \"c\"\"c\" LOGIN PASSWORD 'v'"
    );
}

fn publication(all: bool, named: &[&str], published: &[&str]) -> Option<Publication> {
    Some(Publication {
        all,
        whole: true,
        named: names(named),
        published: names(published),
    })
}

fn published(wanted: &[&str], found: Option<Publication>, is_ours: bool) -> Vec<String> {
    let changes = publish("dbz", &names(wanted), found, is_ours, false);
    changes.into_iter().map(|change| change.sql).collect()
}

#[test]
fn a_publication_holds_the_captured_tables() {
    assert_eq!(
        published(&["public.a", "public.b"], None, true),
        [
            "CREATE PUBLICATION \"dbz\" FOR TABLE \"public\".\"a\", \"public\".\"b\" WITH (publish_via_partition_root = true)"
        ]
    );
    assert_eq!(
        published(&[], None, true),
        ["CREATE PUBLICATION \"dbz\" WITH (publish_via_partition_root = true)"]
    );
    let has = |tables: &[&str]| publication(false, tables, tables);
    assert_eq!(
        published(&["public.a"], has(&["public.a"]), true),
        Vec::<String>::new()
    );
    assert_eq!(
        published(
            &["public.a", "public.b"],
            has(&["public.a", "public.c"]),
            true
        ),
        [
            "ALTER PUBLICATION \"dbz\" ADD TABLE \"public\".\"b\"",
            "ALTER PUBLICATION \"dbz\" DROP TABLE \"public\".\"c\"",
        ]
    );
    assert_eq!(
        published(&["public.b"], has(&["public.a"]), false),
        ["ALTER PUBLICATION \"dbz\" ADD TABLE \"public\".\"b\""]
    );
}

#[test]
fn one_of_all_tables_or_of_a_schema_is_enough() {
    assert_eq!(
        published(&["public.a"], publication(true, &[], &[]), true),
        Vec::<String>::new()
    );
    let schema = publication(false, &["shop.b"], &["shop.b", "public.a", "public.x"]);
    assert_eq!(
        published(&["public.a", "shop.b"], schema, true),
        Vec::<String>::new()
    );
}

#[test]
fn partitions_are_published_as_their_table_and_generated_columns_where_the_server_can() {
    let before = || Publication {
        all: false,
        whole: false,
        named: names(&["public.a"]),
        published: names(&["public.a_1"]),
    };
    let sql = |is_ours, sends_generated| {
        let wanted = names(&["public.a"]);
        let changes = publish("dbz", &wanted, Some(before()), is_ours, sends_generated);
        changes.into_iter().map(|it| it.sql).collect::<Vec<_>>()
    };
    assert_eq!(
        sql(true, true),
        [
            "ALTER PUBLICATION \"dbz\" SET (publish_via_partition_root = true, publish_generated_columns = stored)"
        ]
    );
    assert_eq!(sql(false, true), Vec::<String>::new());
}

proptest! {
    /// What is done, done again, is nothing; and nothing of others is touched on their server.
    #[test]
    fn publishing_converges(wanted in prop::collection::btree_set("[a-c]\\.[a-c]", 0..5),
                            has in prop::collection::btree_set("[a-c]\\.[a-c]", 0..5), is_ours: bool) {
        let before = Publication { all: false, whole: true, named: has.clone(), published: has.clone() };
        let changes = publish("dbz", &wanted, Some(before), is_ours, false);
        let dropped = changes.iter().any(|change| change.sql.contains("DROP TABLE"));
        prop_assert!(is_ours || !dropped);
        let tables = if is_ours { wanted.clone() } else { wanted.union(&has).cloned().collect() };
        let after = Publication { all: false, whole: true, named: tables.clone(), published: tables };
        prop_assert_eq!(publish("dbz", &wanted, Some(after), is_ours, false), Vec::new());
        prop_assert_eq!(changes.is_empty(), wanted.is_subset(&has) && (!is_ours || has.is_subset(&wanted)));
    }
}
