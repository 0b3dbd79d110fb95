//! YAML text to a [`Node`] tree with positions.
//!
//! `serde_yaml` keeps no positions past its own errors, so the events come from `saphyr-parser`;
//! what a plain scalar means (integer, boolean, text) is still `serde_yaml`'s decision.

use indexmap::IndexMap;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::node::{Node, Value};
use crate::error::{Code, Error, Location, Result};

/// How deep collections may nest. A profile needs five; the limit keeps a hostile one from using up
/// the stack.
const DEEPEST: usize = 32;

/// Reads one YAML document. `file` is the name used in messages.
///
/// # Errors
/// Malformed YAML, several documents, duplicate or non-text keys, tags, and aliases (profiles share
/// by `extends`), each with its line and column.
pub fn parse(file: &str, text: &str) -> Result<Node> {
    let mut builder = Builder {
        file,
        open: Vec::new(),
        root: None,
    };
    // Event by event: the parser's own `load` recurses, and goes on after an error of ours.
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let what = format!("this is not YAML: {}", error.info());
            invalid(place(file, error.marker()), what)
        })?;
        builder.on_event(event, span)?;
    }
    Ok(builder.root.unwrap_or_else(|| Node::empty(file)))
}

fn place(file: &str, marker: &Marker) -> Location {
    Location {
        file: file.to_owned(),
        line: marker.line(),
        column: marker.col() + 1,
    }
}

/// Reads one plain scalar the way YAML would.
pub fn scalar(origin: Location, text: &str) -> Node {
    let node = Node::new(origin, plain(text));
    let as_written = match node.value {
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => node.scalar_text() == text,
        _ => true,
    };
    Node {
        text: (!as_written).then(|| text.to_owned()),
        ..node
    }
}

fn plain(text: &str) -> Value {
    if ["", "~", "null", "Null", "NULL"].contains(&text) {
        return Value::Null;
    }
    // Only what may be a number or a boolean is asked about.
    if !text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'))
    {
        return Value::String(text.to_owned());
    }
    match serde_yaml::from_str::<serde_yaml::Value>(text) {
        Ok(serde_yaml::Value::Bool(value)) => Value::Bool(value),
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
}

impl Builder<'_> {
    fn add(&mut self, node: Node) -> Result<()> {
        match self.open.last_mut() {
            None if self.root.is_some() => {
                return Err(invalid(
                    node.origin,
                    "one document per file, please".to_owned(),
                ));
            }
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, map, waiting)) => match waiting.take() {
                None => *waiting = Some((key(&node)?, node.origin)),
                Some((key, origin)) => {
                    if let Some(first) = map.get(&key) {
                        let message =
                            format!("`{key}` stands here twice, first at {}", first.origin);
                        return Err(invalid(origin, message));
                    }
                    map.insert(key, Node { origin, ..node });
                }
            },
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event<'_>, span: Span) -> Result<()> {
        let origin = place(self.file, &span.start);
        if let Event::Scalar(_, _, _, Some(_))
        | Event::SequenceStart(_, Some(_))
        | Event::MappingStart(_, Some(_)) = &event
        {
            return Err(invalid(
                origin,
                "tags are not supported here: quote a text instead".to_owned(),
            ));
        }
        let collection = match event {
            Event::Scalar(text, style, ..) => {
                return self.add(if matches!(style, ScalarStyle::Plain) {
                    scalar(origin, &text)
                } else {
                    Node::new(origin, Value::String(text.into_owned()))
                });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let node = match self.open.pop() {
                    Some(Open::List(origin, items)) => Node::new(origin, Value::List(items)),
                    Some(Open::Map(origin, map, _)) => Node::new(origin, Value::Map(map)),
                    None => return Ok(()),
                };
                return self.add(node);
            }
            Event::Alias(_) => {
                return Err(invalid(
                    origin,
                    "aliases are not supported here: share values with `extends`".to_owned(),
                ));
            }
            Event::SequenceStart(..) => Open::List(origin.clone(), Vec::new()),
            Event::MappingStart(..) => Open::Map(origin.clone(), IndexMap::new(), None),
            _ => return Ok(()),
        };
        if self.open.len() >= DEEPEST {
            return Err(invalid(
                origin,
                format!("more than {DEEPEST} collections within each other"),
            ));
        }
        self.open.push(collection);
        Ok(())
    }
}

/// `1: x` and `true: x`: the key's text is what was meant.
fn key(node: &Node) -> Result<String> {
    match &node.value {
        Value::String(key) => Ok(key.clone()),
        Value::Int(_) | Value::Bool(_) | Value::Float(_) => Ok(node.scalar_text()),
        other => {
            let message = format!("a key must be a text, not {}", other.kind());
            Err(invalid(node.origin.clone(), message))
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
            ("a: !!str 1\n", "p.yaml:1:4: tags are not supported"),
            ("a: !x [1]\n", "tags are not supported"),
        ] {
            let error = parse("p.yaml", text).expect_err(text).to_string();
            assert!(error.contains(want), "{text:?} gave {error}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_it_uses_up_the_stack() {
        for text in [
            "[".repeat(100_000),
            "{a: ".repeat(100_000),
            "- ".repeat(100_000),
        ] {
            parse("p.yaml", &text).expect_err("deep");
        }
        let fits = format!(
            "a: {}1{}\n",
            "[".repeat(DEEPEST - 1),
            "]".repeat(DEEPEST - 1)
        );
        parse("p.yaml", &fits).expect("within the limit");
        let error = parse("p.yaml", &fits.replace('1', "[]")).expect_err("deep");
        assert!(error.message.contains("within each other"), "{error}");
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
