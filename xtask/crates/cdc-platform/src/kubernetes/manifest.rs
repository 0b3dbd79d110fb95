//! Objects as they are written: texts in, checked Kubernetes objects with their labels out.

use base64::prelude::{BASE64_STANDARD, Engine};
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Code, Error, Location, Result};

/// Label on every object of ours.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const MANAGER: &str = "cdc-xtask";
/// Label on every object of ours: the environment it belongs to.
pub const ENVIRONMENT: &str = "cdc-xtask.dev/environment";
/// Label on every object of ours: the component it belongs to.
pub const COMPONENT: &str = "app.kubernetes.io/component";

/// An object and the component it belongs to.
#[derive(Clone, Debug)]
pub struct Object {
    /// Component.
    pub component: String,
    /// The object, labelled.
    pub object: DynamicObject,
}

impl Object {
    /// The object of a text's line, labelled as an environment's.
    ///
    /// # Errors
    /// It is no object, with the text's name and the line.
    pub fn labelled(
        file: &str,
        line: usize,
        mut object: Value,
        environment: &str,
        component: &str,
    ) -> Result<Self> {
        label(&mut object, environment, component);
        encode_secret(&mut object);
        // By reference: definitions are a third of a megabyte, and an error wants to name the object.
        let object = DynamicObject::deserialize(&object)
            .map_err(|error| not_an_object(file, line, &object, &error))?;
        Ok(Object {
            component: component.to_owned(),
            object,
        })
    }
}

/// Reads the objects of a YAML text, each with the line that it begins on. Empty documents are none.
///
/// # Errors
/// A document is not YAML, or has no `apiVersion`, `kind` or name.
pub fn parse(file: &str, text: &str) -> Result<Vec<(usize, Value)>> {
    let mut objects = Vec::new();
    for (line, document) in documents(text) {
        let malformed = |message: String, at: Option<serde_yaml::Location>| {
            Error::new(Code::Template, message).at(Location {
                file: file.to_owned(),
                line: at.as_ref().map_or(line, |at| line + at.line() - 1),
                column: at.map_or(0, |at| at.column()),
            })
        };
        let yaml =
            |error: serde_yaml::Error| malformed(format!("not YAML: {error}"), error.location());
        let mut value: serde_yaml::Value = serde_yaml::from_str(document).map_err(yaml)?;
        if value.is_null() {
            continue;
        }
        value.apply_merge().map_err(yaml)?;
        let object: Value = Value::deserialize(value).map_err(yaml)?;
        for key in ["/apiVersion", "/kind", "/metadata/name"] {
            if !object.pointer(key).is_some_and(Value::is_string) {
                let key = key[1..].replace('/', ".");
                return Err(malformed(format!("an object without `{key}`"), None));
            }
        }
        objects.push((line, object));
    }
    Ok(objects)
}

/// The documents of a YAML text with the line that each begins on.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut begin_line, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let next = at + line.len();
        let marker = line.trim_end();
        if marker == "---" || marker.starts_with("--- ") {
            documents.push((begin_line, &text[begin..at]));
            (begin, begin_line) = (next, index + 2);
        }
        at = next;
    }
    documents.push((begin_line, &text[begin..]));
    documents
}

/// The typed metadata forgets what it does not know, so a slip there would be lost without a word.
///
/// # Errors
/// A key of the metadata is no field.
pub fn strict_metadata(file: &str, line: usize, object: &Value) -> Result<()> {
    let typed: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta =
        Deserialize::deserialize(&object["metadata"])
            .map_err(|error| not_an_object(file, line, object, &error))?;
    let kept =
        serde_json::to_value(typed).map_err(|error| not_an_object(file, line, object, &error))?;
    let lost = object["metadata"]
        .as_object()
        .into_iter()
        .flatten()
        .find(|(key, _)| kept.get(key.as_str()).is_none());
    match lost {
        None => Ok(()),
        Some((key, _)) => Err(not_an_object(
            file,
            line,
            object,
            &format!("`metadata.{key}` is no field"),
        )),
    }
}

fn not_an_object(file: &str, line: usize, object: &Value, why: &dyn std::fmt::Display) -> Error {
    Error::new(
        Code::Template,
        format!(
            "{} `{}`: {why}",
            object["kind"].as_str().unwrap_or_default(),
            object["metadata"]["name"].as_str().unwrap_or_default()
        ),
    )
    .at(Location {
        file: file.to_owned(),
        line,
        column: 0,
    })
}

/// Adds the labels of everything that is ours: the only place that does.
fn label(object: &mut Value, environment: &str, component: &str) {
    set(object, "labels", MANAGED_BY, MANAGER);
    set(object, "labels", ENVIRONMENT, environment);
    set(object, "labels", COMPONENT, component);
}

/// Sets one of an object's `labels` or `annotations`.
pub(super) fn set(object: &mut Value, what: &str, key: &str, value: &str) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let map = metadata.entry(what).or_insert(Value::Null);
    if map.is_null() || map.is_object() {
        map[key] = value.into();
    }
}

/// `stringData` is written and never read back, so that every comparison with the server would find
/// a difference, and a key that leaves it would stay there for ever: it becomes `data`.
pub(super) fn encode_secret(object: &mut Value) {
    if object["kind"] != "Secret" || object["apiVersion"] != "v1" {
        return;
    }
    let Some(Value::Object(texts)) = object
        .as_object_mut()
        .and_then(|object| object.shift_remove("stringData"))
    else {
        return;
    };
    for (key, text) in texts {
        let bytes = match text {
            Value::String(text) => text.into_bytes(),
            other => other.to_string().into_bytes(),
        };
        object["data"][key] = Value::String(BASE64_STANDARD.encode(&bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_lines() {
        let text = "# c\na: 1\n---\nb: 2\n--- # x\n---\nc: 3";
        assert_eq!(
            documents(text),
            [(1, "# c\na: 1\n"), (4, "b: 2\n"), (6, ""), (7, "c: 3")]
        );
    }

    #[test]
    fn errors_are_placed() {
        let good = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";
        assert_eq!(parse("x", good).expect("good")[0].1["kind"], "Secret");
        for (text, want) in [
            (
                format!("{good}---\nkind: x\n"),
                "x:5: an object without `apiVersion`",
            ),
            (format!("{good}---\na: b\nc: {{\n"), "x:7:1: not YAML"),
            (format!("{good}a: 1\na: 2\n"), "duplicate"),
        ] {
            let error = parse("x", &text).expect_err(&text).to_string();
            assert!(error.contains(want), "{text:?} gave {error}");
        }
    }

    #[test]
    fn secrets_are_encoded() {
        for (text, want) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob\u{ff}", "Zm9vYsO/"),
        ] {
            assert_eq!(BASE64_STANDARD.encode(text), want);
        }
        let mut object = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
            "stringData": {"password": "foo"},
        });
        encode_secret(&mut object);
        assert_eq!(object["data"]["password"], "Zm9v");
        assert!(object.get("stringData").is_none());
    }

    #[test]
    fn a_slip_in_the_metadata_is_found() {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "lables": {}},
        });
        let error = strict_metadata("x", 3, &object).expect_err("a slip");
        assert_eq!(
            error.to_string(),
            "x:3: Secret `a`: `metadata.lables` is no field [TEMPLATE]"
        );
    }
}
