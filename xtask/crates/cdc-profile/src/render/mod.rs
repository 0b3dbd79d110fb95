//! Strict templates: a name that the context does not have is an error with template, line and
//! column, never an empty text.

mod helpers;

use std::path::{Path, PathBuf};

use handlebars::{Handlebars, RenderErrorReason};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Code, Error, Location, Result};

/// The templates of a directory tree.
pub struct Templates {
    root: PathBuf,
    engine: Handlebars<'static>,
}

impl Templates {
    /// Templates below `root`; they are read when they are used.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let mut engine = Handlebars::new();
        engine.set_strict_mode(true);
        // The output is YAML, SQL and properties: nothing is HTML.
        engine.register_escape_fn(handlebars::no_escape);
        helpers::register(&mut engine);
        Templates {
            root: root.into(),
            engine,
        }
    }

    /// Whether there is such a template.
    pub fn has(&self, name: &str) -> bool {
        self.root.join(name).is_file()
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Renders the template `name`, a path below the root.
    ///
    /// # Errors
    /// There is no such template, it is malformed, or it names what the context does not have.
    pub fn text(&self, name: &str, context: &Value) -> Result<String> {
        let path = self.root.join(name);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| Error::io("read template", &path, &source))?;
        self.render(name, &text, context)
    }

    /// Renders a YAML template and reads the result as `T`.
    ///
    /// # Errors
    /// As [`Templates::text`]; or the result is no `T`.
    pub fn yaml<T: DeserializeOwned>(&self, name: &str, context: &Value) -> Result<T> {
        let text = self.text(name, context)?;
        serde_yaml::from_str(&text).map_err(|error| {
            let (line, column) = error
                .location()
                .map_or((0, 0), |location| (location.line(), location.column()));
            Error::new(
                Code::Template,
                format!("the rendered template is not what it should be: {error}"),
            )
            .at(Location {
                file: format!("manifests/{name} (rendered)"),
                line,
                column,
            })
        })
    }

    /// Renders a template's text. `name` is the name used in messages.
    ///
    /// # Errors
    /// As [`Templates::text`].
    pub fn render(&self, name: &str, text: &str, context: &Value) -> Result<String> {
        self.engine
            .render_template(text, context)
            .map_err(|error| template_error(name, &error, context))
    }
}

fn template_error(name: &str, error: &handlebars::RenderError, context: &Value) -> Error {
    let mut location = Location {
        file: format!("manifests/{name}"),
        line: error.line_no.unwrap_or_default(),
        column: error.column_no.unwrap_or_default(),
    };
    match error.reason() {
        RenderErrorReason::MissingVariable(Some(path)) => {
            let error = Error::new(Code::Template, format!("there is no `{path}`")).at(location);
            match nearest_path(path, context) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            }
        }
        RenderErrorReason::TemplateError(template) => {
            if let Some((line, column)) = template.pos() {
                (location.line, location.column) = (line, column);
            }
            Error::new(Code::Template, format!("malformed: {}", template.reason())).at(location)
        }
        reason => Error::new(Code::Template, reason.to_string()).at(location),
    }
}

/// The path of the context that is closest to a missing one: its parent exists, its name is alike.
fn nearest_path(path: &str, context: &Value) -> Option<String> {
    let mut at = context;
    let mut walked: Vec<&str> = Vec::new();
    for part in path.split('.') {
        let map = at.as_object()?;
        match map.get(part) {
            Some(value) => {
                walked.push(part);
                at = value;
            }
            None => {
                let near = crate::error::nearest(part, map.keys().map(String::as_str))?;
                walked.push(near);
                return Some(walked.join("."));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(text: &str) -> Result<String> {
        Templates::new("/nowhere").render(
            "kafka/x.hbs",
            text,
            &json!({"kafka": {"port": 9092, "name": "a \"b\" 'c'", "config": {"x.y": "1"}, "off": false}}),
        )
    }

    #[test]
    fn fills_in_without_escaping() {
        assert_eq!(render("p={{kafka.port}}").expect("fine"), "p=9092");
        assert_eq!(render("{{kafka.name}}").expect("fine"), "a \"b\" 'c'");
        assert_eq!(
            render("{{#each kafka.config}}{{@key}}={{this}};{{/each}}").expect("fine"),
            "x.y=1;"
        );
    }

    #[test]
    fn helpers_quote() {
        assert_eq!(
            render("{{json kafka.name}}").expect("fine"),
            r#""a \"b\" 'c'""#
        );
        assert_eq!(
            render("{{sql kafka.name}}").expect("fine"),
            r#"'a "b" \'c\''"#
        );
        assert_eq!(
            render(r#"{{json "-Xmx" kafka.port "/" kafka.name}}"#).expect("fine"),
            r#""-Xmx9092/a \"b\" 'c'""#
        );
        assert_eq!(
            Templates::new("/nowhere")
                .render(
                    "x",
                    "{{property x}}",
                    &json!({ "x": " a\\b=c #\n\té\u{1f600}" })
                )
                .expect("fine"),
            r"\ a\\b=c #\u000a\u0009\u00e9\ud83d\ude00"
        );
    }

    #[test]
    fn a_missing_variable_is_named_with_its_place() {
        for text in [
            "a\nb {{kafka.prot}}",
            "a\n  {{#if kafka.prot}}x{{/if}}",
            "a\n  {{#unless kafka.prot}}x{{/unless}}",
            "a\n{{json kafka.prot}}",
            "a\n{{json \"x\" kafka.prot}}",
            "a\n{{property kafka.prot}}",
            "a\n{{#each kafka.prot}}x{{/each}}",
        ] {
            let error = render(text).expect_err(text).to_string();
            assert!(
                error.starts_with("manifests/kafka/x.hbs:2:")
                    && error.contains("there is no `kafka.prot`")
                    && error.contains("did you mean `kafka.port`?"),
                "{text:?} gave {error}"
            );
        }
    }

    #[test]
    fn a_malformed_template_says_where() {
        let error = render("a\nb {{#if kafka.off}} x")
            .expect_err("malformed")
            .to_string();
        assert!(error.starts_with("manifests/kafka/x.hbs:"), "{error}");
    }

    #[test]
    fn if_knows_false() {
        assert_eq!(
            render("{{#if kafka.off}}a{{else}}b{{/if}}").expect("fine"),
            "b"
        );
        assert_eq!(
            render("{{#unless kafka.off}}a{{/unless}}").expect("fine"),
            "a"
        );
    }
}
