//! Rendered objects: templates in, checked Kubernetes objects with their labels out.

use serde_json::Value;

use super::Templates;
use crate::error::Result;
use crate::platform::kubernetes::manifest::strict_metadata;
pub use crate::platform::kubernetes::manifest::{Object, parse};

/// A template and the component whose objects it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Component.
    pub component: &'a str,
    /// Path below `manifests/`.
    pub template: &'a str,
}

/// Renders the parts' templates.
///
/// # Errors
/// A template names what the context does not have, or what it makes is no Kubernetes object; with
/// the template's name and line.
pub fn render(
    templates: &Templates,
    context: &Value,
    parts: &[Part<'_>],
    environment: &str,
) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for part in parts {
        let text = templates.text(part.template, context)?;
        let file = format!("manifests/{} (rendered)", part.template);
        for (line, object) in parse(&file, &text)? {
            strict_metadata(&file, line, &object)?;
            let object = Object::labelled(&file, line, object, environment, part.component)?;
            objects.push(object);
        }
    }
    Ok(objects)
}
