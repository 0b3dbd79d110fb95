//! What shall be: a rendered object made ready to be applied.

use std::collections::HashSet;

use kube::core::DynamicObject;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::manifest::{encode_secret, set};
use super::{APPLIED, ENVIRONMENT, FIELD_MANAGER, MANAGED_BY, ObjectRef};
use crate::error::{Code, Error, Result};
use crate::files::hex;

/// An object that shall be.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Its name.
    pub object: ObjectRef,
    /// What is sent.
    pub body: Value,
    /// Names the body.
    pub digest: String,
}

/// Makes objects ready: labels, no status, no write-only fields, and the digest of all that.
///
/// # Errors
/// An object has no type or no name, or two have the same.
pub fn prepare(objects: &[DynamicObject], environment: &str) -> Result<Vec<Desired>> {
    let mut names = HashSet::new();
    objects
        .iter()
        .map(|object| {
            let desired = one(object, environment)?;
            if names.insert(desired.object.clone()) {
                return Ok(desired);
            }
            let twice = format!("{} is there twice", desired.object);
            Err(Error::new(Code::Template, twice))
        })
        .collect()
}

/// The object's own name.
///
/// # Errors
/// It has no type or no name.
pub fn name(object: &DynamicObject) -> Result<ObjectRef> {
    let incomplete = |what: &str| Error::new(Code::Template, format!("an object has no {what}"));
    let types = object
        .types
        .as_ref()
        .ok_or_else(|| incomplete("apiVersion and kind"))?;
    let name = object.metadata.name.clone();
    Ok(ObjectRef {
        api_version: types.api_version.clone(),
        kind: types.kind.clone(),
        namespace: object.metadata.namespace.clone(),
        name: name.ok_or_else(|| incomplete(&format!("name: a {}", types.kind)))?,
    })
}

fn one(object: &DynamicObject, environment: &str) -> Result<Desired> {
    let name = name(object)?;
    let mut body = serde_json::to_value(object)
        .map_err(|error| Error::new(Code::Template, format!("{name}: {error}")))?;
    if let Some(body) = body.as_object_mut() {
        body.remove("status");
    }
    encode_secret(&mut body);
    set(&mut body, "labels", MANAGED_BY, FIELD_MANAGER);
    set(&mut body, "labels", ENVIRONMENT, environment);
    let digest = digest(&body);
    annotate(&mut body, APPLIED, &digest);
    Ok(Desired {
        object: name,
        body,
        digest,
    })
}

/// Sets an annotation.
pub fn annotate(body: &mut Value, key: &str, value: &str) {
    set(body, "annotations", key, value);
}

/// The first twelve hexadecimal digits of a digest over the value, whatever the order of its keys.
fn digest(value: &Value) -> String {
    fn feed(into: &mut Vec<u8>, value: &Value) {
        match value {
            Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort_unstable();
                into.push(b'{');
                for key in keys {
                    into.extend((key.len() as u64).to_le_bytes());
                    into.extend(key.as_bytes());
                    feed(into, &map[key]);
                }
                into.push(b'}');
            }
            Value::Array(items) => {
                into.push(b'[');
                for item in items {
                    feed(into, item);
                }
                into.push(b']');
            }
            Value::String(text) => {
                into.push(b'"');
                into.extend((text.len() as u64).to_le_bytes());
                into.extend(text.as_bytes());
            }
            scalar => {
                into.push(b'=');
                into.extend(scalar.to_string().as_bytes());
                into.push(b';');
            }
        }
    }
    // Hashed as a whole: a hash that is fed some hundred thousand times spends its time between.
    let mut bytes = Vec::new();
    feed(&mut bytes, value);
    hex(&Sha256::digest(&bytes)[..6])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("an object")
    }

    fn secret() -> DynamicObject {
        object(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "s", "namespace": "n", "labels": { "a": "b" } },
            "stringData": { "password": "geheim" },
        }))
    }

    #[test]
    fn labels_digest_and_readable_secrets() {
        let desired = prepare(&[secret()], "env").expect("good").remove(0);
        assert_eq!(
            desired.body["metadata"]["labels"],
            json!({ "a": "b", MANAGED_BY: FIELD_MANAGER, ENVIRONMENT: "env" })
        );
        assert_eq!(desired.body["data"]["password"], "Z2VoZWlt");
        assert_eq!(desired.body.get("stringData"), None);
        assert_eq!(
            desired.body["metadata"]["annotations"][APPLIED],
            desired.digest.as_str()
        );
        assert_eq!(desired.digest.len(), 12);
        assert_eq!(desired.object.to_string(), "Secret n/s");
    }

    #[test]
    fn the_digest_names_content_and_environment_not_order() {
        let digest = |body: Value| {
            prepare(&[object(body)], "e").expect("good")[0]
                .digest
                .clone()
        };
        let base = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" }, "data": { "a": "1", "b": "2" } });
        let turned = json!({ "kind": "ConfigMap", "data": { "b": "2", "a": "1" }, "metadata": { "name": "c" }, "apiVersion": "v1" });
        assert_eq!(digest(base.clone()), digest(turned));
        for (path, value) in [
            ("/data/a", json!("3")),
            ("/data/a", json!(1)),
            ("/data", json!({ "a": "1" })),
        ] {
            let mut other = base.clone();
            *other.pointer_mut(path).expect("there") = value;
            assert_ne!(digest(base.clone()), digest(other), "{path}");
        }
        let elsewhere = prepare(&[object(base.clone())], "f").expect("good");
        assert_ne!(digest(base), elsewhere[0].digest);
    }

    #[test]
    fn two_of_a_name_and_nameless_ones_are_refused() {
        let error = prepare(&[secret(), secret()], "e").expect_err("twice");
        assert!(
            error.message.contains("Secret n/s is there twice"),
            "{error}"
        );
        let nameless = object(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": {} }));
        assert!(prepare(&[nameless], "e").is_err());
    }
}
