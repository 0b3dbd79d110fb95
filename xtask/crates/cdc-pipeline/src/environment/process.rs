//! A component's process on `host`, from its templates.

use serde_json::Value;

use super::Environment;
use crate::error::Result;
use crate::platform::host::apply::{self, ProcessTemplate, Rendered};

impl Environment {
    /// Renders a component's process. `template` is a path below the manifests; `extra` is merged
    /// into the context.
    ///
    /// # Errors
    /// A template is wrong.
    pub fn process(&self, component: &str, template: &str, extra: &Value) -> Result<Rendered> {
        let mut context = self.context_of(component);
        for more in [&apply::paths(&self.dirs, component), extra] {
            for (key, value) in more.as_object().into_iter().flatten() {
                context[key] = value.clone();
            }
        }
        let process: ProcessTemplate = self.templates.yaml(template, &context)?;
        let folder = template.rsplit_once('/').map_or("", |(folder, _)| folder);
        let file = |name: &str| self.templates.text(&format!("{folder}/{name}"), &context);
        process.rendered(&self.dirs, component, file, extra.get("digest"))
    }
}
