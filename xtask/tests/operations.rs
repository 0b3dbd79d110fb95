//! Topics, groups, queries: what is wrong on the command line is said before anything is asked, and
//! what needs an environment says that there is none.

mod support;

use support::Xtask;

fn ran(words: &str) -> support::Ran {
    Xtask::new().args(words).run()
}

#[test]
fn bad_input_is_refused_without_an_environment() {
    for (words, part) in [
        (
            "topic tail x --from soon",
            "`--from soon` is not a position in a topic",
        ),
        (
            "topic tail x --from 2026-02-30",
            "is not a position in a topic",
        ),
        (
            "topic create a/b",
            "is not a valid topic name: it holds '/'",
        ),
        (
            "topic create a --config retention.ms",
            "`retention.ms` is not a setting",
        ),
        (
            "topic create a --config b=1 --config b=2",
            "`b` is set twice",
        ),
        ("topic config", "No topic is named"),
        ("topic config a --alter x", "`x` is not a setting"),
        ("forward kafak", "did you mean `kafka`?"),
        ("open clickhose", "did you mean `clickhouse`?"),
        ("open postgres", "postgres has no page for a browser"),
        ("shell connect", "connect has no statements"),
        ("shell postgers", "did you mean `postgres`?"),
        ("query postgers x", "did you mean `postgres`?"),
        ("query connect x", "connect has no statements"),
        (
            "shell connect",
            "next: cargo xtask open connect --print, cargo xtask logs connect",
        ),
        ("query mongodb x", "mongodb takes no SQL"),
        ("query mongodb x", "next: cargo xtask shell mongodb"),
        ("query kafka x", "next: cargo xtask shell kafka"),
        // Names of a profile's own.
        (
            "query sorce x --profile warehouse",
            "did you mean `source`?",
        ),
        (
            "query postgres x --profile warehouse",
            "did you mean `source` or `warehouse`?",
        ),
        (
            "shell postgres --profile warehouse",
            "did you mean `source` or `warehouse`?",
        ),
        (
            "open source --profile warehouse",
            "next: cargo xtask query --profile warehouse source \"SELECT ...\", or: cargo xtask shell --profile warehouse source",
        ),
    ] {
        let ran = ran(words);
        assert_eq!(ran.code, 3, "{words}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{words}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{words}");
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    for words in [
        "topic tail",
        "topic tail x --max 0",
        "topic tail x --partition -1",
        "topic count",
        "topic create x --partitions 0",
        "topic create x --role sink",
        "topic config x --strict",
        "topic config x --dry-run",
        "topic config x --check --alter a=1",
        "group describe",
        "query oracle x",
        "query postgres",
    ] {
        let ran = ran(words);
        assert_eq!(ran.code, 3, "{words}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{words}");
    }
}

#[test]
fn nothing_is_up() {
    for words in [
        "topic list",
        "topic tail x",
        "topic count x",
        "topic create x --dry-run",
        "topic config --check",
        "group list",
        "group describe x",
        "flow show users",
        "flow add public.orders",
        "query postgres x",
        "query source x --profile warehouse",
        "shell clickhouse",
        "shell warehouse --profile warehouse",
        "slot list",
        "slot drop x --component source --profile warehouse",
        "forward",
        "open connect --print",
    ] {
        let ran = ran(words);
        assert_eq!(ran.code, 4, "{words}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("next: cargo xtask up"),
            "{words}: {}",
            ran.stderr
        );
    }
    let json = ran("topic list --output json");
    let error: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(error["error"]["code"], "NOT_UP");
}

#[test]
fn flows_are_listed_without_an_environment() {
    let text = ran("flow list --profile warehouse").stdout;
    let orders: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(
        orders[2]
            .split("  ")
            .filter(|it| !it.is_empty())
            .map(str::trim)
            .collect::<Vec<_>>(),
        [
            "orders",
            "public.orders",
            "warehouse-source",
            "warehouse",
            "latest",
            "order_id",
            "as at the source",
            "no: not proven"
        ],
        "{text}"
    );
    let json = ran("flow list --output json").stdout;
    let flows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        flows["flows"][0]["topic"], "postgres.public.users",
        "{json}"
    );
    assert_eq!(flows["flows"][1]["columns"], "profile", "{json}");
}

#[test]
fn help_has_examples() {
    for words in [
        "chaos",
        "flow",
        "topic",
        "topic tail",
        "topic count",
        "topic create",
        "topic config",
        "group",
        "query",
        "shell",
        "forward",
        "open",
    ] {
        let ran = ran(&format!("{words} --help"));
        assert_eq!(ran.code, 0);
        assert!(
            ran.stdout
                .contains(&format!("Examples:\n  cargo xtask {words}")),
            "{words}: {}",
            ran.stdout
        );
    }
}
