//! Whether applying an object would change nothing, from its metadata alone.
//!
//! The proof needs no value of the live object, so that neither Secrets nor the megabytes of
//! resource definitions are read, and a quantity that the server writes in another way (`1000m`,
//! `1`) is no difference:
//!
//! 1. Every apply of this tool sets the annotation [`super::APPLIED`] to the digest of all that it
//!    sets. If the live annotation is that of what shall be now, and is ours, then the last apply set
//!    exactly this: no field was added, changed or taken out since.
//! 2. The server keeps the set of fields that our last apply owns (`managedFields`). From then on
//!    that set only shrinks: whoever else changes or removes one of the fields, by whatever kind of
//!    request, takes it out of our set. So if every field is still in it, each has the value that we
//!    gave it.
//!
//! A field that is lost from our set need not have another value: Strimzi 0.50 writes its statuses
//! through an older version of its kinds, and what that version's schema writes in another way leaves
//! our set with it. So where fields are lost, and the first point holds, the object itself is read,
//! and each lost field's value is compared ([`holds`]).
//!
//! Where the set is written in a way that is not understood here (an element of a list whose key the
//! server filled in twice alike), the answer is "not proven" as well: slower, never wrong.

use serde_json::{Map, Value};

use super::APPLIED;
use super::desired::Desired;
use super::object::{ManagedFields, Metadata, Partial};

/// What the metadata of an object proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// An apply would change nothing.
    Unchanged,
    /// The last apply set exactly this, but not every field is ours any more: the values decide.
    FieldsLost,
    /// Something else was applied last, or nothing.
    Changed,
}

/// What the metadata says of an apply of `desired`.
pub fn proof(desired: &Desired, live: &Metadata) -> Proof {
    match ours(desired, live) {
        None => Proof::Changed,
        Some(entry) => {
            let covered = fields(&desired.body).all(|(path, value)| {
                node_at(&entry.fields_v1, &path).is_some_and(|node| covers(node, value))
            });
            match covered {
                true => Proof::Unchanged,
                false => Proof::FieldsLost,
            }
        }
    }
}

/// Whether an apply of `desired` would change nothing, from the metadata alone.
pub fn unchanged(desired: &Desired, live: &Metadata) -> bool {
    proof(desired, live) == Proof::Unchanged
}

/// Our set, if the last apply set exactly `desired`.
fn ours<'a>(desired: &Desired, live: &'a Metadata) -> Option<&'a ManagedFields> {
    if live.annotations.get(APPLIED) != Some(&desired.digest) || live.deletion_timestamp.is_some() {
        return None;
    }
    let entry = live.applied()?;
    (entry.api_version == desired.object.api_version).then_some(entry)
}

/// Whether the whole live object has each value of `desired`: because the field is still in our set,
/// or, where it is not, because the value is the same.
pub fn holds(desired: &Desired, live: &Value) -> bool {
    let Ok(Partial { metadata }) = serde_json::from_value(live.clone()) else {
        return false;
    };
    let Some(entry) = ours(desired, &metadata) else {
        return false;
    };
    fields(&desired.body).all(|(path, value)| {
        let live = path.iter().try_fold(live, |live, key| live.get(key));
        holds_at(node_at(&entry.fields_v1, &path), value, live)
    })
}

/// The fields of an object that a manager can own, each with its path: what names the object has no owner.
fn fields(body: &Value) -> impl Iterator<Item = (Vec<&str>, &Value)> {
    debug_assert!(body.get("kind").is_some(), "{body}");
    let named = |key: &str| key == "name" || key == "namespace";
    let entries = body.as_object().into_iter().flatten();
    entries.flat_map(move |(key, value)| match (key.as_str(), value) {
        ("apiVersion" | "kind", _) => Vec::new(),
        ("metadata", Value::Object(own)) => own
            .iter()
            .filter(|(key, _)| !named(key))
            .map(|(key, value)| (vec!["metadata", key.as_str()], value))
            .collect(),
        (key, value) => vec![(vec![key], value)],
    })
}

/// The node of a field set at a path.
fn node_at<'a>(set: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(set, |node, key| child(node.as_object()?, key))
}

/// A map of which a part is in our set is looked into; everything else that is not ours must be equal
/// as a whole. What others added to a map or list that is lost as a whole counts as a difference: an
/// apply would take it out where the schema calls it atomic, and only the server knows that.
fn holds_at(node: Option<&Value>, wanted: &Value, live: Option<&Value>) -> bool {
    if node.is_some_and(|node| covers(node, wanted)) {
        return true;
    }
    match (node.and_then(Value::as_object), wanted, live) {
        (Some(fields), Value::Object(wanted), Some(Value::Object(live))) => wanted
            .iter()
            .all(|(key, value)| holds_at(child(fields, key), value, live.get(key))),
        _ => live == Some(wanted),
    }
}

fn child<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    fields.get(&format!("f:{key}"))
}

/// Whether the node of a field set holds every field of the value.
///
/// An empty node stands for the whole value: a scalar, an empty container, or one that the schema
/// calls atomic.
pub fn covers(node: &Value, value: &Value) -> bool {
    let Some(fields) = node.as_object() else {
        return false;
    };
    if fields.is_empty() {
        return true;
    }
    match value {
        Value::Object(map) => map
            .iter()
            .all(|(key, value)| child(fields, key).is_some_and(|node| covers(node, value))),
        Value::Array(items) => items.iter().all(|item| covers_item(fields, item)),
        _ => false,
    }
}

/// Elements of lists are named by their keys (`k:{"name":"x"}`) or by themselves (`v:"x"`).
fn covers_item(fields: &Map<String, Value>, item: &Value) -> bool {
    let named = |prefix: &str, name: &str| -> Option<Value> {
        serde_json::from_str(name.strip_prefix(prefix)?).ok()
    };
    let mut found = fields.iter().filter(|(name, _)| {
        named("v:", name).is_some_and(|value| value == *item)
            || named("k:", name).is_some_and(|keys| has_keys(item, &keys))
    });
    match (found.next(), found.next()) {
        // Elements with keys are never atomic: an empty node is what was left of a bigger one.
        (Some((name, node)), None) if name.starts_with("k:") => {
            node.as_object().is_some_and(|fields| !fields.is_empty()) && covers(node, item)
        }
        (Some(_), None) => true,
        _ => false,
    }
}

/// A key that the object leaves to the server's default (a port's `protocol`) is not compared.
fn has_keys(item: &Value, keys: &Value) -> bool {
    let (Some(item), Some(keys)) = (item.as_object(), keys.as_object()) else {
        return false;
    };
    keys.iter()
        .all(|(key, value)| item.get(key).is_none_or(|own| own == value))
}

#[cfg(test)]
mod recorded;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn every_field_must_be_owned() {
        let owned = json!({ "f:data": { "f:a": {}, "f:b": {} } });
        assert!(covers(&owned, &json!({ "data": { "a": "1", "b": "2" } })));
        assert!(covers(&owned, &json!({ "data": { "a": "1" } })));
        assert!(!covers(&owned, &json!({ "data": { "a": "1", "c": "2" } })));
        assert!(!covers(
            &owned,
            &json!({ "data": { "a": "1" }, "immutable": true })
        ));
    }

    #[test]
    fn list_elements_are_found_by_their_keys_and_by_themselves() {
        let owned = json!({ "f:ports": {
            "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {}, "f:name": {} },
            "k:{\"port\":81,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} },
        }, "f:finalizers": { "v:\"x\"": {} } });
        let ports = |ports: Value| json!({ "ports": ports });
        assert!(covers(
            &owned,
            &ports(json!([{ "port": 80, "name": "web" }, { "port": 81 }]))
        ));
        assert!(!covers(&owned, &ports(json!([{ "port": 82 }]))));
        assert!(!covers(
            &owned,
            &ports(json!([{ "port": 81, "name": "taken by another" }]))
        ));
        assert!(!covers(&owned, &ports(json!([{ "name": "which?" }]))));
        assert!(covers(&owned, &json!({ "finalizers": ["x"] })));
        assert!(!covers(&owned, &json!({ "finalizers": ["x", "y"] })));
    }

    #[test]
    fn an_atomic_container_is_owned_as_a_whole_and_an_emptied_element_is_not() {
        assert!(covers(
            &json!({ "f:versions": {} }),
            &json!({ "versions": [{ "name": "v1" }] })
        ));
        let emptied = json!({ "f:containers": { "k:{\"name\":\"a\"}": {} } });
        assert!(!covers(
            &emptied,
            &json!({ "containers": [{ "name": "a", "image": "i" }] })
        ));
    }

    /// A value without lists, and the set of fields that an apply of it owns.
    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop::collection::btree_map("[a-d]", inner, 1..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        })
    }

    fn set_of(value: &Value) -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (format!("f:{key}"), set_of(value)))
                .collect::<Map<_, _>>()
                .into(),
            _ => json!({}),
        }
    }

    fn leaves(value: &Value) -> usize {
        match value {
            Value::Object(map) => map.values().map(leaves).sum(),
            _ => 1,
        }
    }

    /// Takes the n-th leaf out of a set, with what becomes empty, as the server does.
    fn take(set: &mut Map<String, Value>, n: &mut usize) -> bool {
        let keys: Vec<String> = set.keys().cloned().collect();
        for key in keys {
            let Some(Value::Object(inner)) = set.get_mut(&key) else {
                continue;
            };
            if inner.is_empty() {
                if *n == 0 {
                    set.remove(&key);
                    return true;
                }
                *n -= 1;
            } else if take(inner, n) {
                if inner.is_empty() {
                    set.remove(&key);
                }
                return true;
            }
        }
        false
    }

    proptest! {
        #[test]
        fn a_whole_set_covers_and_one_that_lost_any_field_does_not(value in tree(), which in 0_usize..64) {
            prop_assume!(value.is_object());
            let mut set = set_of(&value);
            prop_assert!(covers(&set, &value));
            let mut which = which % leaves(&value);
            let inner = set.as_object_mut().expect("an object");
            prop_assert!(take(inner, &mut which));
            // A set without any field is no entry at all: `unchanged` finds no manager then.
            prop_assert!(inner.is_empty() || !covers(&set, &value));
        }

        #[test]
        fn lost_fields_with_their_values_hold_and_a_changed_one_does_not(
            value in tree(), lost in prop::collection::vec(0_usize..64, 1..4), which in 0_usize..64,
        ) {
            prop_assume!(value.is_object());
            let mut set = set_of(&value);
            let mut gone = Vec::new();
            for number in lost {
                let inner = set.as_object_mut().expect("an object");
                let left = leaves_of(&Value::Object(inner.clone()));
                if !left.is_empty() {
                    gone.push(left[number % left.len()].clone());
                    prop_assert!(take(inner, &mut (number % left.len())));
                }
            }
            // A set without any field is no entry at all.
            prop_assume!(set != json!({}));
            prop_assert!(holds_at(Some(&set), &value, Some(&value)));
            // What others own beside it is nothing to an apply, in a map that is partly ours.
            let mut more = value.clone();
            more["z"] = json!("another's");
            prop_assert!(holds_at(Some(&set), &value, Some(&more)));
            // A value that somebody changed left the set with it.
            let path = &gone[which % gone.len()];
            let mut changed = value.clone();
            *changed.pointer_mut(path).expect("there") = json!(["changed"]);
            prop_assert!(!holds_at(Some(&set), &value, Some(&changed)), "{path}");
            // So did one that is not there any more.
            let (parent, key) = path.rsplit_once('/').expect("a path");
            let mut without = value.clone();
            without.pointer_mut(parent).expect("there").as_object_mut().expect("a map").remove(key);
            prop_assert!(!holds_at(Some(&set), &value, Some(&without)), "{path}");
        }
    }

    /// The paths of a set's leaves, in the order in which [`take`] counts them.
    fn leaves_of(set: &Value) -> Vec<String> {
        fn walk(node: &Value, path: &str, found: &mut Vec<String>) {
            for (key, child) in node.as_object().into_iter().flatten() {
                let path = format!("{path}/{}", key.trim_start_matches("f:"));
                match child.as_object() {
                    Some(inner) if inner.is_empty() => found.push(path),
                    _ => walk(child, &path, found),
                }
            }
        }
        let mut found = Vec::new();
        walk(set, "", &mut found);
        found
    }
}
