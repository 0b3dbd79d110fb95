//! Strict validation: a field that the resource's own definition does not know is an error.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xtask::components::Operator;
use xtask::platform::kubernetes::bundles::bundle;
use xtask::platform::kubernetes::bundles::install::objects;
use xtask::profile::Profile;
use xtask::render::objects::parse;

/// Schemas by `apiVersion` and `kind`.
pub(crate) struct Crds(BTreeMap<(String, String), Value>);

/// Where the operators' bundles lie: `CDC_TEST_CRDS`, or beside the repository.
pub(crate) fn bundles() -> PathBuf {
    match std::env::var_os("CDC_TEST_CRDS") {
        Some(path) => path.into(),
        None => super::objects::repository().join("../shared/data"),
    }
}

/// An operator's objects as they go into an environment `env`, at the profile's version.
pub(crate) fn installed(operator: &str, profile: &Profile) -> Vec<Value> {
    let operator = Operator::named(operator).unwrap_or_else(|error| panic!("{error}"));
    let version = profile.versions.of(operator.part);
    let namespace = (operator.namespace)(profile);
    let fit = |object: &mut Value| (operator.fit)(object, namespace, "geheim");
    let objects = bundle(&super::objects::repository(), operator.name, version)
        .and_then(|it| objects(&it, &it.read_from(&bundles())?, "env", fit))
        .unwrap_or_else(|error| panic!("{error}"));
    let objects = objects.iter();
    objects
        .map(|object| serde_json::to_value(&object.object).expect("JSON"))
        .collect()
}

impl Crds {
    /// Reads every definition below these files and folders.
    pub(crate) fn read(paths: &[PathBuf]) -> Self {
        let mut schemas = BTreeMap::new();
        for path in paths {
            for file in yaml_files(path) {
                let text = std::fs::read_to_string(&file).expect("read");
                let objects = parse(&file.display().to_string(), &text)
                    .unwrap_or_else(|error| panic!("{error}"));
                for (_, object) in objects {
                    if object["kind"] == "CustomResourceDefinition" {
                        add(&mut schemas, &object);
                    }
                }
            }
        }
        assert!(!schemas.is_empty(), "no definitions in {paths:?}");
        Crds(schemas)
    }

    pub(crate) fn knows(&self, object: &Value) -> bool {
        self.0.contains_key(&key(object))
    }

    /// What is wrong with an object, each with its path.
    pub(crate) fn faults(&self, object: &Value) -> Vec<String> {
        let schema = self.0.get(&key(object)).expect("a known kind");
        let validator = jsonschema::draft7::new(schema).expect("a schema");
        validator
            .iter_errors(object)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }
}

fn key(object: &Value) -> (String, String) {
    let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
    (text("apiVersion"), text("kind"))
}

fn yaml_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml" || e == "yml"))
        .collect();
    files.sort();
    files
}

fn add(schemas: &mut BTreeMap<(String, String), Value>, definition: &Value) {
    let spec = &definition["spec"];
    let group = spec["group"].as_str().expect("a group");
    let kind = spec["names"]["kind"].as_str().expect("a kind");
    for version in spec["versions"].as_array().expect("versions") {
        let mut schema = version["schema"]["openAPIV3Schema"].clone();
        // Metadata is typed when it is rendered.
        for own in ["metadata", "apiVersion", "kind"] {
            schema["properties"][own] = json!({});
        }
        strict(&mut schema);
        let name = version["name"].as_str().expect("a name");
        schemas.insert((format!("{group}/{name}"), kind.to_owned()), schema);
    }
}

/// Closes every object that is not explicitly open, and takes out what is no JSON schema.
fn strict(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(strict),
        Value::Object(map) => {
            let open = map.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
            if map.get("type") == Some(&json!("object"))
                && map.contains_key("properties")
                && !map.contains_key("additionalProperties")
                && !open
            {
                map.insert("additionalProperties".into(), json!(false));
            }
            if map.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
                map.shift_remove("type");
            }
            map.values_mut().for_each(strict);
        }
        _ => {}
    }
}

/// The fields of `object` that are not the same in `kept`, which is what a type made of it.
pub(crate) fn lost(path: &str, object: &Value, kept: &Value) -> Vec<String> {
    match (object, kept) {
        (Value::Object(object), Value::Object(kept)) => object
            .iter()
            .flat_map(|(key, value)| {
                let path = format!("{path}/{key}");
                match kept.get(key) {
                    Some(kept) => lost(&path, value, kept),
                    None => vec![format!("{path}: no such field")],
                }
            })
            .collect(),
        (Value::Array(object), Value::Array(kept)) if object.len() == kept.len() => object
            .iter()
            .zip(kept)
            .enumerate()
            .flat_map(|(index, (object, kept))| lost(&format!("{path}/{index}"), object, kept))
            .collect(),
        (object, kept) if object == kept => Vec::new(),
        (object, kept) => vec![format!("{path}: {object} became {kept}")],
    }
}

/// Reads a value as `T` and writes it again: what is lost on the way is unknown to `T`.
pub(crate) fn typed<T: serde::Serialize + serde::de::DeserializeOwned>(
    value: &Value,
) -> Vec<String> {
    match serde_json::from_value::<T>(value.clone()) {
        Err(error) => vec![error.to_string()],
        Ok(typed) => lost("", value, &serde_json::to_value(typed).expect("JSON")),
    }
}
