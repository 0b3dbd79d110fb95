//! What the READMEs print for typing and copying, typed and copied.

use std::path::Path;

use crate::commands;
use crate::own_tables::until;
use crate::sandbox::Sandbox;

/// The first block of a kind behind a heading.
fn block<'a>(text: &'a str, heading: &str, kind: &str) -> &'a str {
    let (_, text) = text.split_once(heading).unwrap();
    let (_, text) = text.split_once(&format!("```{kind}\n")).unwrap();
    text.split_once("```").unwrap().0
}

#[tokio::test]
async fn the_readmes_table_is_brought_up_and_their_commands_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let profiles = std::fs::read_to_string(root.join("profiles/README.md")).unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let mut sandbox = Sandbox::new("readme");
    let folder = sandbox.dir().parent().unwrap().parent().unwrap().to_owned();
    let own = "## A table of your own\n";
    let (profile, table) = (block(&profiles, own, "yaml"), block(&profiles, own, "sql"));
    std::fs::write(folder.join("orders.yaml"), profile).unwrap();
    std::fs::write(folder.join("orders.sql"), table).unwrap();
    sandbox.profile = Some(folder.join("orders.yaml"));
    sandbox.ok(&["up"]);
    let insert = "INSERT INTO orders (customer, total) VALUES ('Eve', 12.5)";
    sandbox.ok(&["query", "postgres", insert]);
    let one = &["1".to_owned()];
    let there = "SELECT count() FROM orders_silver FORMAT TSVRaw";
    until(&sandbox, there, one).await;
    let seen = "SELECT customer, total FROM orders_silver FINAL";
    let seen = sandbox.ok(&["query", "clickhouse", seen]);
    assert!(seen.contains("Eve") && seen.contains("12.5"), "{seen}");

    let by_hand: Vec<Vec<String>> = commands::commands(readme.split("```mermaid").next().unwrap());
    let queries = by_hand.iter().filter(|it| it[0] == "query");
    let mut last = String::new();
    for words in queries {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        last = sandbox.ok(&words);
        if words[2].starts_with("INSERT") {
            let there = "SELECT count() FROM users_silver WHERE full_name = 'Eve' FORMAT TSVRaw";
            until(&sandbox, there, one).await;
        }
    }
    assert!(last.contains("eve@example.com"), "{last}");

    // A table that does not exist yet.
    let late = "  late: {connector: postgres-connector, table: public.late, keep: latest, key: [id], group: g_late}\n";
    std::fs::write(folder.join("orders.yaml"), format!("{profile}{late}")).unwrap();
    let said = sandbox.fails(&["up"], 1);
    assert!(
        said.contains("there is no table public.late") && said.contains("postgres 'CREATE TABLE"),
        "{said}"
    );
    sandbox.ok(&[
        "query",
        "postgres",
        "CREATE TABLE late (id bigint PRIMARY KEY)",
    ]);
    sandbox.ok(&["up"]);
}
