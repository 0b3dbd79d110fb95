//! Decodes a [`Node`] tree into typed values, with errors that name the place and the nearest
//! valid key. The types are the only description of what a profile may hold.

use std::fmt;

use serde::de::{self, Error as _, IntoDeserializer};

use super::node::{Node, Value};
use crate::error::{Code, Error, Location, Result, nearest};

/// Decodes the whole tree.
///
/// # Errors
/// An unknown key, a missing key or a wrong type, at its place.
pub fn decode<'de, T: de::Deserialize<'de>>(node: &'de Node) -> Result<T> {
    decode_at(node, "")
}

/// Decodes the part of a tree that is under `path`.
///
/// # Errors
/// See [`decode`].
pub fn decode_at<'de, T: de::Deserialize<'de>>(node: &'de Node, path: &str) -> Result<T> {
    T::deserialize(Decoder {
        node,
        path: path.to_owned(),
    })
    .map_err(|fault| {
        let mut error = Error::new(Code::ProfileInvalid, fault.message);
        error.hint = fault.hint;
        error.at(fault.at.unwrap_or_else(|| node.origin.clone()))
    })
}

/// A decoding error on its way up; the innermost place wins.
#[derive(Debug)]
struct Fault {
    message: String,
    hint: Option<String>,
    at: Option<Location>,
    /// Set for an unknown key, whose own place is known only to the map that holds it.
    unknown_key: Option<Box<str>>,
    /// What stands where a number is wanted: which ones fit follows from the key.
    no_number: Option<Box<str>>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// What to write instead of a name: the nearest of those that are known, or all of them after `lead`.
fn instead(name: &str, known: &[&str], lead: &str) -> String {
    match nearest(name, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("{lead} {}", names.join(", "))
        }
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault {
            message: message.to_string(),
            hint: None,
            at: None,
            unknown_key: None,
            no_number: None,
        }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        unfit(found, expected, "type")
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        unfit(found, expected, "value")
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Fault {
            hint: Some(instead(field, expected, "known here:")),
            unknown_key: Some(field.into()),
            ..Fault::custom(format!("unknown key `{field}`"))
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Fault {
            hint: Some(instead(variant, expected, "one of")),
            ..Fault::custom(format!("`{variant}` is not a value that fits here"))
        }
    }
}

/// A value that its type does not hold.
fn unfit(found: de::Unexpected<'_>, expected: &dyn de::Expected, what: &str) -> Fault {
    let fault = Fault::custom(format!("invalid {what}: {found}, expected {expected}"));
    let is_number = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"]
        .contains(&expected.to_string().as_str());
    let no_number = is_number.then(|| match found {
        de::Unexpected::Unit | de::Unexpected::Option => "nothing".to_owned(),
        de::Unexpected::Signed(number) => number.to_string(),
        de::Unexpected::Unsigned(number) => number.to_string(),
        de::Unexpected::Float(number) => number.to_string(),
        de::Unexpected::Str("") => "nothing".to_owned(),
        de::Unexpected::Str(text) => format!("`{text}`"),
        other => other.to_string(),
    });
    Fault {
        no_number: no_number.map(String::into_boxed_str),
        ..fault
    }
}

/// Which numbers fit under a key.
pub fn numbers(path: &str) -> &'static str {
    let key = path.rsplit('.').next().unwrap_or_default();
    match key {
        _ if path.contains(".node_ports.") => "a number from 30000 to 32767",
        _ if key == "port" || key.ends_with("_port") => "a number from 1 to 65535",
        "keepers" => "0, 1, 3 or 5",
        _ => "a number from 1 to 100",
    }
}

struct Decoder<'de> {
    node: &'de Node,
    path: String,
}

impl<'de> Decoder<'de> {
    fn child(&self, key: &str, node: &'de Node) -> Decoder<'de> {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Decoder { node, path }
    }

    /// Adds this value's place to a fault that has none yet.
    fn place(&self, mut fault: Fault) -> Fault {
        if fault.at.is_none() {
            if let Some(found) = fault.no_number.take() {
                let numbers = numbers(&self.path);
                fault.message = format!("expected {numbers}, found {found}");
            }
            let inner = fault.unknown_key.take();
            let at = inner
                .as_deref()
                .and_then(|key| self.node.get(key))
                .unwrap_or(self.node);
            fault.at = Some(at.origin.clone());
            if !self.path.is_empty() {
                fault.message = match inner {
                    Some(_) => format!("{} in `{}`", fault.message, self.path),
                    None => format!("`{}`: {}", self.path, fault.message),
                };
            }
        }
        fault
    }

    fn wrong_type(&self, expected: &dyn de::Expected) -> Fault {
        Fault::custom(format!(
            "expected {expected}, found {}",
            self.node.value.kind()
        ))
    }
}

impl<'de> de::Deserializer<'de> for Decoder<'de> {
    type Error = Fault;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match &self.node.value {
            // Templates print a value as it was written, so it has to be written plainly.
            Value::Int(_) | Value::Bool(_) if self.node.text.is_some() => {
                let plain = Node::new(self.node.origin.clone(), self.node.value.clone());
                Err(Fault::custom(format!(
                    "write `{}` as `{}`",
                    self.node.scalar_text(),
                    plain.scalar_text()
                )))
            }
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => visitor.visit_seq(Items {
                parent: &self,
                items: items.iter().enumerate(),
            }),
            Value::Map(map) => visitor.visit_map(Entries {
                parent: &self,
                entries: map.iter(),
                value: None,
            }),
        };
        result.map_err(|fault: Fault| self.place(fault))
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_string<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        // Versions and sizes are texts to us; YAML reads an unquoted `17` or `true` otherwise.
        let result = match &self.node.value {
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
                visitor.visit_string(self.node.scalar_text())
            }
            Value::String(value) => visitor.visit_borrowed_str(value),
            _ => Err(self.wrong_type(&visitor)),
        };
        result.map_err(|fault: Fault| self.place(fault))
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Map(_) => self.deserialize_any(visitor),
            _ => Err(self.place(self.wrong_type(&"a map"))),
        }
    }

    fn deserialize_seq<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::List(_) => self.deserialize_any(visitor),
            _ => Err(self.place(self.wrong_type(&"a list"))),
        }
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match &self.node.value {
            Value::String(value) => visitor.visit_enum(value.as_str().into_deserializer()),
            _ => Err(self.wrong_type(&visitor)),
        };
        result.map_err(|fault: Fault| self.place(fault))
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_str<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_string(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit
        unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'a, 'de> {
    parent: &'a Decoder<'de>,
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'_, 'de> {
    type Error = Fault;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        self.items
            .next()
            .map(|(index, node)| seed.deserialize(self.parent.child(&index.to_string(), node)))
            .transpose()
    }
}

struct Entries<'a, 'de> {
    parent: &'a Decoder<'de>,
    entries: indexmap::map::Iter<'de, String, Node>,
    value: Option<(&'de String, &'de Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.value = self.entries.next();
        self.value
            .map(|(key, _)| seed.deserialize(key.as_str().into_deserializer()))
            .transpose()
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, node) = self
            .value
            .take()
            .ok_or_else(|| de::Error::custom("a value was asked for before its key"))?;
        seed.deserialize(self.parent.child(key, node))
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use serde::Deserialize;

    use super::*;
    use crate::parse::parse;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        inner: IndexMap<String, Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        port: u16,
        mode: Option<Mode>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Host,
        Kind,
    }

    fn read(text: &str) -> Result<Outer> {
        decode(&parse("p.yaml", text).expect("YAML"))
    }

    #[test]
    fn decodes_types() {
        let outer =
            read("name: 17\ninner:\n  a: {port: 5432, mode: host}\n  b: {port: 1, mode: ~}\n")
                .expect("valid");
        assert_eq!(outer.name, "17");
        assert_eq!(outer.inner["a"].port, 5432);
        assert!(matches!(outer.inner["a"].mode, Some(Mode::Host)));
        assert!(outer.inner["b"].mode.is_none());
        assert!(!matches!(outer.inner["a"].mode, Some(Mode::Kind)));
    }

    #[test]
    fn a_text_stays_as_it_was_written() {
        for text in [
            "17",
            "3.10",
            "1.0",
            "0x10",
            "007",
            "1e3",
            "True",
            "99999999999999999999",
        ] {
            let outer = read(&format!("name: {text}\ninner: {{}}\n")).expect(text);
            assert_eq!(outer.name, text);
        }
    }

    #[test]
    fn errors_name_place_path_and_nearest() {
        for (text, want) in [
            (
                "name: x\ninner:\n  a:\n    prot: 1\n",
                "p.yaml:4:5: unknown key `prot` in `inner.a` [PROFILE_INVALID]\n  next: did you mean `port`?",
            ),
            (
                "name: x\ninner:\n  a:\n    port: many\n",
                "p.yaml:4:5: `inner.a.port`: expected a number from 1 to 65535, found `many`",
            ),
            (
                "name: x\ninner:\n  a:\n    port: 70000\n",
                "p.yaml:4:5: `inner.a.port`: expected a number from 1 to 65535, found 70000",
            ),
            (
                "name: x\ninner:\n  a: 1\n",
                "p.yaml:3:3: `inner.a`: expected a map, found an integer",
            ),
            (
                "name: x\ninner:\n  a: {port: 1, mode: knid}\n",
                "p.yaml:3:16: `inner.a.mode`: `knid` is not a value that fits here [PROFILE_INVALID]\n  next: did you mean `kind`?",
            ),
            ("inner: {}\n", "missing field `name`"),
            (
                "name: x\ninner:\n  a: {port: 0x10}\n",
                "p.yaml:3:7: `inner.a.port`: write `0x10` as `16`",
            ),
            (
                "name: x\ninner: [a]\n",
                "p.yaml:2:1: `inner`: expected a map, found a list",
            ),
            (
                "name: [x]\ninner: {}\n",
                "p.yaml:1:1: `name`: expected a string, found a list",
            ),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(want), "{text:?} gave\n{error}");
        }
    }
}
