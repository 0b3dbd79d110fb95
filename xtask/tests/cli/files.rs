//! Which profile is meant, and what it extends.

use crate::support::Xtask;
use crate::support::refusal::refused;

#[test]
fn a_profile_that_is_not_there() {
    Xtask::new().args("up --profile clickhose").refuses(
        3,
        &[
            "no profile `clickhose` [PROFILE_NOT_FOUND]",
            "did you mean `clickhouse`?",
        ],
    );
    Xtask::new().args("up --profile nothing-like-it").refuses(
        3,
        &[
            "no profile `nothing-like-it`",
            "profiles here: ",
            "clickhouse",
        ],
    );
    Xtask::new().args("up --profile nowhere/own.yaml").refuses(
        3,
        &[
            "no profile `nowhere/own.yaml`",
            "there is no file nowhere/own.yaml",
        ],
    );
    Xtask::new()
        .file("a/own.yaml", "")
        .args("up --profile a/onw.yaml")
        .refuses(3, &["did you mean `a/own.yaml`?"]);
    // Layers are no profiles, and a directory is no file.
    Xtask::new()
        .args("up --profile defaults")
        .refuses(3, &["no profile `defaults`"]);
    Xtask::new()
        .file("a.yaml/x", "")
        .args("up --profile ./a.yaml")
        .refuses(3, &["no profile `./a.yaml`"]);
}

/// A profile's name names its environment's directory, which `down` removes.
#[test]
fn a_profile_that_names_another_directory() {
    for file in [
        "..yaml",
        "...yaml",
        "a b.yaml",
        ".x.yaml",
        "-x.yaml",
        "a\nb.yaml",
    ] {
        for command in ["up", "down", "status", "plan"] {
            let xtask = Xtask::new().file(&format!("p/{file}"), "").args(command);
            let path = xtask.shown(&format!("p/{file}"));
            xtask
                .arg(format!("--profile={path}"))
                .refuses(3, &["a profile cannot be called", "rename the file"]);
        }
    }
}

#[test]
fn extends_that_leads_nowhere() {
    refused(
        "# c\nextends: base.yaml\n",
        &[
            "own.yaml:2:1: no profile `",
            "base.yaml` [PROFILE_NOT_FOUND]",
            "there is no file",
        ],
    );
    refused(
        "extends: clickhose\n",
        &[
            "own.yaml:1:1: no profile `clickhose`",
            "did you mean `clickhouse`?",
        ],
    );
    refused(
        "extends: [a]\n",
        &["own.yaml:1:1: `extends` names a profile, found a list"],
    );
    refused(
        "extends: ~\n",
        &["own.yaml:1:1: `extends` names a profile, found nothing"],
    );
    refused(
        "extends: {a: b}\n",
        &["`extends` names a profile, found a map"],
    );
    Xtask::new()
        .file("own.yaml", "extends: sub/base.yaml\n")
        .file("sub/base.yaml", "\nkafka: {prot: 1}\n")
        .args("up")
        .profile("own.yaml")
        .refuses(3, &["sub/base.yaml:2:9: unknown key `prot` in `kafka`"]);
}

#[test]
fn extends_that_goes_round() {
    refused(
        "extends: own.yaml\n",
        &["own.yaml:1:1: `extends` goes round in a circle: own -> own"],
    );
    Xtask::new()
        .file("a.yaml", "extends: b.yaml\n")
        .file("b.yaml", "\n\nextends: ./a.yaml\n")
        .args("up")
        .profile("a.yaml")
        .refuses(
            3,
            &["b.yaml:3:1: `extends` goes round in a circle: a -> b -> a"],
        );
    Xtask::new()
        .file("a.yaml", "extends: x/b.yaml\n")
        .file("x/b.yaml", "extends: ../c.yaml\n")
        .file("c.yaml", "extends: a.yaml\n")
        .args("up")
        .profile("a.yaml")
        .refuses(
            3,
            &["c.yaml:1:1: `extends` goes round in a circle: a -> b -> c -> a"],
        );
}

#[test]
fn what_is_inherited_can_be_left_out() {
    let shown = |text: &str| {
        let xtask = Xtask::new().file("own.yaml", text);
        let shown = xtask.args("profile show --output json").profile("own.yaml");
        shown.prints()
    };
    let both = "connectors: {mongo-connector: ~}\nflows: {events: ~}\n";
    let left = shown(&format!("extends: clickhouse\n{both}"));
    assert!(
        !left.contains("mongo-connector") && !left.contains("flows.events"),
        "{left}"
    );
    assert!(left.contains("flows.users"), "{left}");
    let whole = "extends: warehouse\ncomponents: {warehouse: ~, source: ~}\nconnectors: {postgresql-sink: ~, warehouse-source: ~}\n\
                 flows: {customers: ~, orders: ~, line_items: ~}\n";
    assert!(!shown(whole).contains("components.warehouse"));
}

#[test]
fn what_is_left_out_must_be_there_and_be_nobody_s() {
    for (text, parts) in [
        (
            "extends: clickhouse\nconnectors: {mongo-connector: ~}\n",
            [
                "own.yaml:2:14: `connectors.mongo-connector` is left out here",
                "is the `connector` of `flows.events`",
                "`flows: {events: ~}`",
            ],
        ),
        (
            "extends: warehouse\ncomponents:\n  source: ~\n",
            [
                "own.yaml:3:3: `components.source` is left out here",
                "is the `source` of `connectors.",
                "or give it another `source`",
            ],
        ),
        (
            "extends: clickhouse\nflows: {event: ~}\n",
            [
                "own.yaml:2:9: `flows.event`: ",
                "there is none to leave out",
                "did you mean `events`?",
            ],
        ),
    ] {
        let xtask = Xtask::new().file("own.yaml", text).args("up");
        xtask.profile("own.yaml").refuses(3, &parts);
    }
}
