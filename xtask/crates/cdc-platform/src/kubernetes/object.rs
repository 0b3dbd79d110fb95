//! Names of objects, and the metadata that everything here decides on.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{CREATED, ENVIRONMENT, FIELD_MANAGER, MANAGED_BY};

/// Names one object of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// None for objects of the whole cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// The namespace of this name.
    pub fn of_namespace(name: &str) -> Self {
        ObjectRef {
            api_version: "v1".into(),
            kind: "Namespace".into(),
            namespace: None,
            name: name.into(),
        }
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// Whether it is a namespace.
    pub fn is_namespace(&self) -> bool {
        self.kind == "Namespace" && self.api_version == "v1"
    }

    /// Whether it defines a kind.
    pub fn is_definition(&self) -> bool {
        self.kind == "CustomResourceDefinition" && self.group() == "apiextensions.k8s.io"
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// An object's metadata as the server tells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Names this very object, not a later one of the same name.
    pub uid: String,
    /// Changes with every write.
    pub resource_version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Set while it is being deleted.
    pub deletion_timestamp: Option<String>,
    /// What must still be done before it can go.
    pub finalizers: Vec<String>,
    /// What it goes away with.
    pub owner_references: Vec<Value>,
    /// Who owns which fields.
    pub managed_fields: Vec<ManagedFields>,
}

/// The fields of one manager.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedFields {
    /// Its name.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The version in which the fields are named.
    pub api_version: String,
    /// The subresource through which they were set.
    pub subresource: String,
    /// The set of fields.
    pub fields_v1: Value,
}

impl Metadata {
    /// What this tool applied, if it did.
    pub fn applied(&self) -> Option<&ManagedFields> {
        self.managed_fields.iter().find(|entry| {
            entry.manager == FIELD_MANAGER
                && entry.operation == "Apply"
                && entry.subresource.is_empty()
        })
    }

    /// Whether it carries this tool's label.
    pub fn labelled(&self) -> bool {
        self.labels
            .get(MANAGED_BY)
            .is_some_and(|by| by == FIELD_MANAGER)
    }

    /// The environment that it is labelled with.
    pub fn environment(&self) -> Option<&str> {
        self.labels.get(ENVIRONMENT).map(String::as_str)
    }

    /// Whether it is a namespace of others, or of another environment: used, never changed.
    pub fn is_used_only(&self, environment: &str) -> bool {
        !self.created() || self.environment() != Some(environment)
    }

    /// Whether this tool made it (and not only changes it).
    pub fn created(&self) -> bool {
        self.annotations.contains_key(CREATED)
    }
}

/// An object of which only the metadata was asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Partial {
    /// The metadata.
    pub metadata: Metadata,
}

/// A list of such objects.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PartialList {
    /// The objects; an empty list is written as null.
    pub items: Option<Vec<Partial>>,
}
