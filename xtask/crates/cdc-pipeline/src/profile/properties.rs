//! What holds for every tree and every text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use indexmap::IndexMap;
use proptest::prelude::*;

use super::node::merge;
use super::{Node, Value, check_text, defaults, parse};
use crate::error::{Code, Location};

static DEFAULTS: LazyLock<Node> = LazyLock::new(|| defaults(crate::repository()).expect("valid"));
static DEFAULT_PROFILE: LazyLock<String> = LazyLock::new(|| {
    std::fs::read_to_string(crate::repository().join("profiles/clickhouse.yaml")).expect("there")
});

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        "[a-z]{0,3}".prop_map(Value::String),
        Just(Value::List(Vec::new())),
    ]
}

/// A map of maps from a file of this name; each value's line is a number of its own.
fn tree(file: &'static str) -> impl Strategy<Value = Node> {
    let leaf = scalar().prop_map(move |value| node(file, value));
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop::collection::vec(("[a-d]", inner), 0..4).prop_map(move |entries| {
            node(
                file,
                Value::Map(entries.into_iter().collect::<IndexMap<_, _>>()),
            )
        })
    })
    .prop_filter("a file is a map", |node| {
        matches!(node.value, Value::Map(_))
    })
    .prop_map(|mut tree| {
        number(&mut tree, &mut 0);
        tree
    })
}

/// A tree in which a path is a map or a scalar whichever file it is from, as in a valid profile.
/// (Where layers disagree, the grouping matters: they are merged from bottom to top.)
fn typed(file: &'static str) -> impl Strategy<Value = Node> {
    let scalars = prop::collection::vec(("[a-c]", scalar()), 0..4);
    let maps = prop::collection::vec(
        ("[m-o]", prop::collection::vec(("[a-c]", scalar()), 0..4)),
        0..3,
    );
    (scalars, maps).prop_map(move |(scalars, maps)| {
        let map = |entries: Vec<(String, Value)>| {
            let entries = entries
                .into_iter()
                .map(|(key, value)| (key, node(file, value)));
            Value::Map(entries.collect())
        };
        let maps = maps.into_iter().map(|(key, entries)| (key, map(entries)));
        let mut tree = node(file, map(scalars.into_iter().chain(maps).collect()));
        number(&mut tree, &mut 0);
        tree
    })
}

fn node(file: &str, value: Value) -> Node {
    let origin = Location {
        file: file.to_owned(),
        line: 0,
        column: 1,
    };
    Node::new(origin, value)
}

fn number(node: &mut Node, next: &mut usize) {
    *next += 1;
    node.origin.line = *next;
    if let Value::Map(map) = &mut node.value {
        for child in map.values_mut() {
            number(child, next);
        }
    }
}

/// Leaves by path, with value and origin. An empty map among others is none: it adds no key.
fn leaves(tree: &Node) -> BTreeMap<String, Node> {
    tree.leaves()
        .into_iter()
        .map(|(path, node)| (path, node.clone()))
        .collect()
}

/// The merge as one would describe it: `over` decides every path that it has a value for; of `base`
/// there remains what is neither that path, nor above, nor below one.
fn described(base: &Node, over: &Node) -> BTreeMap<String, Node> {
    let (below, above) = (leaves(base), leaves(over));
    let mut merged = BTreeMap::new();
    for (path, node) in &above {
        let adds_nothing = matches!(&node.value, Value::Map(_))
            && matches!(
                base.at(path.split('.').filter(|part| !part.is_empty())).map(|node| &node.value),
                Some(Value::Map(map)) if !map.is_empty()
            );
        if !adds_nothing {
            merged.insert(path.clone(), node.clone());
        }
    }
    for (path, node) in below {
        let parts: Vec<&str> = path.split('.').filter(|part| !part.is_empty()).collect();
        let replaced = (0..=parts.len()).any(|depth| {
            over.at(parts[..depth].iter().copied())
                .is_some_and(|node| !matches!(node.value, Value::Map(_)))
        });
        let refilled =
            matches!(node.value, Value::Map(_)) && over.at(parts.iter().copied()).is_some();
        let shadowed =
            over.at(parts.iter().copied()).is_some() && !matches!(node.value, Value::Map(_));
        if !replaced && !refilled && !shadowed {
            merged.insert(path, node);
        }
    }
    merged
}

/// Pieces of YAML, right and wrong.
fn yamlish() -> impl Strategy<Value = String> {
    const PIECES: [&str; 44] = [
        "a",
        "kafka",
        "port",
        "flows",
        "1",
        "3.10",
        "~",
        "true",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "'",
        "\"",
        "#",
        " #",
        "&x ",
        "*x",
        "!t ",
        "!!str ",
        "|\n",
        ">\n",
        "? ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\t",
        "\r\n",
        "é",
        "\u{feff}",
        "\\",
        "<<",
        "@",
        "`",
        "\u{0}",
        "\u{85}",
        "\u{2028}",
    ];
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40)
        .prop_map(|pieces| pieces.concat())
}

/// Reading ends with a value or with an error that has exit code 3 and a place in the file.
fn reads(text: &str) -> Result<(), TestCaseError> {
    match check_text(&DEFAULTS, "p.yaml", text, crate::components::TYPES) {
        Ok(_) => {}
        Err(error) => {
            prop_assert!(error.code == Code::ProfileInvalid, "{}", error);
            prop_assert!(error.at.is_some(), "{:?}: {}", text, error);
            prop_assert!(!error.to_string().is_empty());
        }
    }
    if let Ok(tree) = parse::parse("p.yaml", text) {
        let lines = text
            .split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
            .count();
        for (_, node) in tree.leaves() {
            // What is missing at the end stands behind it.
            prop_assert!(node.origin.line <= lines + 1, "{}", node.origin);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn merging_with_nothing_changes_nothing(tree in tree("a")) {
        let empty = || Node::empty("empty");
        prop_assert_eq!(merge(empty(), tree.clone()), tree.clone());
        let Value::Map(map) = &tree.value else { unreachable!("a file is a map") };
        if !map.is_empty() {
            prop_assert_eq!(leaves(&merge(tree.clone(), empty())), leaves(&tree));
        }
    }

    #[test]
    fn merging_twice_is_merging_once(a in tree("a"), b in tree("b")) {
        prop_assert_eq!(merge(a.clone(), a.clone()), a.clone());
        let once = merge(a, b.clone());
        prop_assert_eq!(merge(once.clone(), b), once);
    }

    #[test]
    fn layers_may_be_merged_in_any_grouping(
        a in typed("a"), b in typed("b"), c in typed("c"),
    ) {
        let left = merge(merge(a.clone(), b.clone()), c.clone());
        let right = merge(a, merge(b, c));
        // Grouping may order new keys differently, and no more than that.
        prop_assert_eq!(leaves(&left), leaves(&right));
    }

    #[test]
    fn a_merge_is_the_union_with_the_upper_layer_on_top(a in tree("a"), b in tree("b")) {
        let merged = leaves(&merge(a.clone(), b.clone()));
        prop_assert_eq!(&merged, &described(&a, &b));
        let files: BTreeSet<&str> = merged.values().map(|node| node.origin.file.as_str()).collect();
        prop_assert!(files.iter().all(|file| ["a", "b"].contains(file)));
    }

    #[test]
    fn setting_a_value_sets_it_and_nothing_beside_it(a in tree("a"), path in "[a-d](\\.[a-d]){0,3}") {
        let mut tree = a.clone();
        let value = node("set", Value::Int(1));
        let parts: Vec<&str> = path.split('.').collect();
        tree.set(&parts, value.clone());
        prop_assert_eq!(tree.at(parts.iter().copied()), Some(&value));
        for (other, node) in a.leaves() {
            let related = path.starts_with(&format!("{other}.")) || other.starts_with(&format!("{path}."));
            if !related && other != path && !other.is_empty() {
                prop_assert_eq!(tree.at(other.split('.')), Some(node));
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        reads(&text)?;
    }

    #[test]
    fn any_yaml_is_read_or_refused(text in yamlish()) {
        reads(&text)?;
    }

    #[test]
    fn a_damaged_profile_is_read_or_refused(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, yamlish()), 1..4),
    ) {
        let mut text = DEFAULT_PROFILE.clone();
        for (at, length, with) in cuts {
            let mut begin = at.index(text.len());
            while !text.is_char_boundary(begin) { begin -= 1; }
            let mut end = (begin + length).min(text.len());
            while !text.is_char_boundary(end) { end += 1; }
            text.replace_range(begin..end, &with[..with.chars().take(4).map(char::len_utf8).sum()]);
        }
        reads(&text)?;
    }
}
