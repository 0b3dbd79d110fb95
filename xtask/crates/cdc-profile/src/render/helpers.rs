//! Template helpers. `if`, `unless` and `each` are handlebars' own but for one thing: a condition
//! that does not exist is an error, where handlebars would read it as false even in strict mode.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonRender, JsonTruthy, Output,
    PathAndJson, RenderContext, RenderError, RenderErrorReason, Renderable,
};
use serde_json::Value;

pub(super) fn register(engine: &mut Handlebars<'_>) {
    engine.register_helper("if", Box::new(Condition { wanted: true }));
    engine.register_helper("unless", Box::new(Condition { wanted: false }));
    engine.register_helper("json", Box::new(Written(json)));
    engine.register_helper("property", Box::new(Written(property)));
    engine.register_helper("sql", Box::new(Written(sql)));
}

/// The helper's first parameter, which must exist.
fn param<'rc>(h: &'rc Helper<'rc>) -> Result<&'rc Value, RenderError> {
    let param = h
        .param(0)
        .ok_or_else(|| RenderErrorReason::Other(format!("`{}` needs a value", h.name())))?;
    present(param)
}

fn present<'rc>(param: &'rc PathAndJson<'rc>) -> Result<&'rc Value, RenderError> {
    if param.is_value_missing() {
        let path = param.relative_path().cloned();
        return Err(RenderErrorReason::MissingVariable(path).into());
    }
    Ok(param.value())
}

struct Condition {
    wanted: bool,
}

impl HelperDef for Condition {
    fn call<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        r: &'reg Handlebars<'reg>,
        ctx: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let truth = param(h)?.is_truthy(false);
        let block = if truth == self.wanted {
            h.template()
        } else {
            h.inverse()
        };
        match block {
            Some(block) => block.render(r, ctx, rc, out),
            None => Ok(()),
        }
    }
}

/// Writes what a function makes of the helper's values.
struct Written(fn(&Helper<'_>) -> Result<String, RenderError>);

impl HelperDef for Written {
    fn call<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        Ok(out.write(&self.0(h)?)?)
    }
}

/// A value as JSON, which is also a quoted YAML scalar. Several values are one text.
fn json(h: &Helper<'_>) -> Result<String, RenderError> {
    let first = param(h)?;
    if h.params().len() == 1 {
        return Ok(first.to_string());
    }
    let mut text = String::new();
    for param in h.params() {
        text.push_str(&present(param)?.render());
    }
    Ok(Value::from(text).to_string())
}

/// A value as Java reads it from a properties file: Latin-1, with escapes.
fn property(h: &Helper<'_>) -> Result<String, RenderError> {
    let text = param(h)?.render();
    let mut escaped = String::with_capacity(text.len());
    for (at, char) in text.chars().enumerate() {
        match char {
            '\\' => escaped.push_str("\\\\"),
            ' ' if at == 0 => escaped.push_str("\\ "),
            ' '..='~' => escaped.push(char),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    Ok(escaped)
}

/// A value as a ClickHouse string literal.
fn sql(h: &Helper<'_>) -> Result<String, RenderError> {
    let text = param(h)?.render();
    let text = text.replace('\\', "\\\\").replace('\'', "\\'");
    Ok(format!("'{text}'"))
}
