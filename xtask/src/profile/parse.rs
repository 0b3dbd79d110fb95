//! YAML text to a [`Node`] tree with positions.
//!
//! `serde_yaml` keeps no positions past its own errors, so the events come from `saphyr-parser`;
//! what a plain scalar means (integer, boolean, text) is still `serde_yaml`'s decision.

use indexmap::IndexMap;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, SpannedEventReceiver};

use super::node::{Node, Value};
use crate::error::{Code, Error, Location, Result};

/// Reads one YAML document. `file` is the name used in messages.
///
/// # Errors
/// Malformed YAML, several documents, duplicate or non-text keys, and aliases (profiles share by
/// `extends`), each with its line and column.
pub(super) fn parse(file: &str, text: &str) -> Result<Node> {
    let mut builder = Builder {
        file,
        open: Vec::new(),
        root: None,
        error: None,
    };
    if let Err(error) = Parser::new_from_str(text).load(&mut builder, true) {
        let marker = error.marker();
        return Err(invalid(
            Location {
                file: file.to_owned(),
                line: marker.line(),
                column: marker.col() + 1,
            },
            format!("this is not YAML: {}", error.info()),
        ));
    }
    if let Some(error) = builder.error {
        return Err(error);
    }
    Ok(builder.root.unwrap_or_else(|| Node::empty(file)))
}

/// Reads one scalar the way YAML would, for `--set key=value`.
pub(super) fn scalar(text: &str) -> Value {
    match serde_yaml::from_str::<serde_yaml::Value>(text) {
        Ok(serde_yaml::Value::Bool(value)) => Value::Bool(value),
        Ok(serde_yaml::Value::Null) => Value::Null,
        Ok(serde_yaml::Value::Number(number)) => number
            .as_i64()
            .map(Value::Int)
            .or_else(|| number.as_f64().map(Value::Float))
            .unwrap_or_else(|| Value::String(text.to_owned())),
        _ => Value::String(text.to_owned()),
    }
}

fn invalid(at: Location, message: String) -> Error {
    Error::new(Code::ProfileInvalid, message).at(at)
}

/// A collection that is still open, with the key that waits for its value.
enum Open {
    List(Location, Vec<Node>),
    Map(Location, IndexMap<String, Node>, Option<(String, Location)>),
}

struct Builder<'a> {
    file: &'a str,
    open: Vec<Open>,
    root: Option<Node>,
    error: Option<Error>,
}

impl Builder<'_> {
    fn fail(&mut self, at: Location, message: impl Into<String>) {
        self.error
            .get_or_insert_with(|| invalid(at, message.into()));
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            None if self.root.is_some() => {
                self.fail(node.origin, "one document per file, please");
            }
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, map, waiting)) => match waiting.take() {
                None => match node.value {
                    Value::String(key) => *waiting = Some((key, node.origin)),
                    // `1: x` and `true: x`: the key's text is what was meant.
                    Value::Int(key) => *waiting = Some((key.to_string(), node.origin)),
                    Value::Bool(key) => *waiting = Some((key.to_string(), node.origin)),
                    other => {
                        let kind = other.kind();
                        self.fail(node.origin, format!("a key must be a text, not {kind}"));
                    }
                },
                Some((key, origin)) => {
                    if let Some(first) = map.get(&key) {
                        let message =
                            format!("`{key}` stands here twice, first at {}", first.origin);
                        self.fail(origin, message);
                        return;
                    }
                    map.insert(
                        key,
                        Node {
                            origin,
                            value: node.value,
                        },
                    );
                }
            },
        }
    }
}

impl<'input> SpannedEventReceiver<'input> for Builder<'_> {
    fn on_event(&mut self, event: Event<'input>, span: Span) {
        if self.error.is_some() {
            return;
        }
        let origin = Location {
            file: self.file.to_owned(),
            line: span.start.line(),
            column: span.start.col() + 1,
        };
        match event {
            Event::Scalar(text, style, _, _) => {
                let value = if matches!(style, ScalarStyle::Plain) {
                    scalar(&text)
                } else {
                    Value::String(text.into_owned())
                };
                self.add(Node { origin, value });
            }
            Event::SequenceStart(..) => self.open.push(Open::List(origin, Vec::new())),
            Event::MappingStart(..) => self.open.push(Open::Map(origin, IndexMap::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                let node = match self.open.pop() {
                    Some(Open::List(origin, items)) => Node {
                        origin,
                        value: Value::List(items),
                    },
                    Some(Open::Map(origin, map, _)) => Node {
                        origin,
                        value: Value::Map(map),
                    },
                    None => return,
                };
                self.add(node);
            }
            Event::Alias(_) => self.fail(
                origin,
                "aliases are not supported here: share values with `extends`",
            ),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_their_positions() {
        let tree = parse("p.yaml", "a:\n  b: 1\n  c: [x, 2.5, true]\n").expect("valid");
        let b = tree.at(["a", "b"]).expect("there");
        assert_eq!(b.value, Value::Int(1));
        assert_eq!(b.origin.to_string(), "p.yaml:2:3");
        let Value::List(items) = &tree.at(["a", "c"]).expect("there").value else {
            panic!("a list");
        };
        assert_eq!(items[0].value, Value::String("x".into()));
        assert_eq!(items[2].value, Value::Bool(true));
        assert_eq!(items[1].origin.to_string(), "p.yaml:3:10");
    }

    #[test]
    fn bad_yaml_says_where() {
        for (text, want) in [
            ("a: [1, 2\n", "p.yaml:2:1: this is not YAML"),
            (
                "a: 1\na: 2\n",
                "p.yaml:2:1: `a` stands here twice, first at p.yaml:1:1",
            ),
            ("a: &x 1\nb: *x\n", "p.yaml:2:4: aliases are not supported"),
            (
                "---\na: 1\n---\nb: 2\n",
                "p.yaml:4:1: one document per file",
            ),
            ("[1]: 2\n", "a key must be a text"),
        ] {
            let error = parse("p.yaml", text).expect_err(text).to_string();
            assert!(error.contains(want), "{text:?} gave {error}");
        }
    }

    #[test]
    fn quoted_scalars_stay_text() {
        let tree = parse("p.yaml", "a: '1'\nb: \"true\"\nc: ~\nd:\n").expect("valid");
        assert_eq!(tree.get("a").expect("a").value, Value::String("1".into()));
        assert_eq!(
            tree.get("b").expect("b").value,
            Value::String("true".into())
        );
        assert_eq!(tree.get("c").expect("c").value, Value::Null);
        assert_eq!(tree.get("d").expect("d").value, Value::Null);
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        assert_eq!(
            parse("p.yaml", "# nothing\n")
                .expect("valid")
                .leaves()
                .len(),
            1
        );
    }
}
