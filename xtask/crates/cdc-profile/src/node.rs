//! A YAML tree in which every value knows where it was written, and how two trees merge.

use indexmap::IndexMap;
use serde_json::json;

use crate::error::Location;

/// A value with the place where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where the value (for a map entry: its key) stands.
    pub origin: Location,
    /// What it is.
    pub value: Value,
    /// A scalar as it was written, where that is not the value's own form: `3.10` is the number 3.1,
    /// but as a version it is the text.
    pub text: Option<String>,
}

/// The YAML core schema's values.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number with a fraction or exponent.
    Float(f64),
    /// Text.
    String(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping with text keys, in the order written.
    Map(IndexMap<String, Node>),
}

impl Node {
    /// A value with its place.
    pub fn new(origin: Location, value: Value) -> Self {
        Node {
            origin,
            value,
            text: None,
        }
    }

    /// An empty map with no place in a text.
    pub fn empty(file: &str) -> Self {
        let origin = Location {
            file: file.to_owned(),
            line: 0,
            column: 0,
        };
        Node::new(origin, Value::Map(IndexMap::new()))
    }

    /// The entry of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(map) => map.get(key),
            _ => None,
        }
    }

    /// The value under a path of keys.
    pub fn at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Node> {
        path.into_iter().try_fold(self, Node::get)
    }

    /// Sets the value under a path, making maps on the way.
    pub fn set(&mut self, path: &[&str], node: Node) {
        let Some((first, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        if !matches!(self.value, Value::Map(_)) {
            // Whoever asks for a key below a scalar is the one to hear that it is none.
            *self = Node::new(node.origin.clone(), Value::Map(IndexMap::new()));
        }
        let Value::Map(map) = &mut self.value else {
            unreachable!("the value was made a map above")
        };
        map.entry((*first).to_owned())
            .or_insert_with(|| Node::new(node.origin.clone(), Value::Null))
            .set(rest, node);
    }

    /// The tree as JSON, for templates and output.
    pub fn to_json(&self) -> serde_json::Value {
        if let Some(text) = &self.text {
            return json!(text);
        }
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => json!(value),
            Value::Int(value) => json!(value),
            Value::Float(value) => json!(value),
            Value::String(value) => json!(value),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(map) => map
                .iter()
                .map(|(key, node)| (key.clone(), node.to_json()))
                .collect(),
        }
    }

    /// A scalar as it was written; of anything else nothing.
    pub fn scalar_text(&self) -> String {
        match (&self.text, &self.value) {
            (Some(text), _) | (None, Value::String(text)) => text.clone(),
            (None, Value::Bool(value)) => value.to_string(),
            (None, Value::Int(value)) => value.to_string(),
            (None, Value::Float(value)) => value.to_string(),
            (None, _) => String::new(),
        }
    }

    /// Every leaf with its dotted path, in order. Empty maps and lists are leaves.
    pub fn leaves(&self) -> Vec<(String, &Node)> {
        fn walk<'a>(path: &str, node: &'a Node, out: &mut Vec<(String, &'a Node)>) {
            match &node.value {
                Value::Map(map) if !map.is_empty() => {
                    for (key, child) in map {
                        let path = if path.is_empty() {
                            key.clone()
                        } else {
                            format!("{path}.{key}")
                        };
                        walk(&path, child, out);
                    }
                }
                _ => out.push((path.to_owned(), node)),
            }
        }
        let mut out = Vec::new();
        walk("", self, &mut out);
        out
    }
}

impl Value {
    /// The type's name as error messages say it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a number",
            Value::String(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Lays `over` on `base`: maps merge key by key, everything else replaces.
pub fn merge(base: Node, over: Node) -> Node {
    match (base.value, over.value) {
        (Value::Map(mut below), Value::Map(above)) => {
            for (key, node) in above {
                // Putting the merged value back at its index keeps the defaults' order in output.
                let (index, merged) = match below.shift_remove_full(&key) {
                    Some((index, _, existing)) => (index, merge(existing, node)),
                    None => (below.len(), node),
                };
                below.shift_insert(index, key, merged);
            }
            Node::new(over.origin, Value::Map(below))
        }
        (_, value) => Node { value, ..over },
    }
}
