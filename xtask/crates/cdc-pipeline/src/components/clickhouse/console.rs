//! ClickHouse's SQL in `query` and `shell`: over HTTP, one statement at a time.

use async_trait::async_trait;
use serde_json::json;

use super::settings::ClickhouseSettings;
use crate::clients::clickhouse::{Clickhouse, ClickhouseError, ident};
use crate::components::console::{Form, Session, Talk, laid_out};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::report::Output;

/// A line of names, one of types, then one for each row; values are of their types.
const FORMAT: &str = "JSONCompactEachRowWithNamesAndTypes";

#[async_trait]
impl Talk for ClickhouseSettings {
    async fn open(&self, env: &Environment) -> Result<Box<dyn Session>> {
        Ok(Box::new(self.client(env)))
    }

    fn described(&self, table: Option<&str>) -> String {
        match table {
            None => "SHOW TABLES".to_owned(),
            Some(table) => format!("DESCRIBE TABLE {}", ident(table)),
        }
    }
}

#[async_trait]
impl Session for Clickhouse {
    async fn run(&mut self, sql: &str, form: Form) -> Result<String> {
        // It takes one statement; people end it all the same.
        let sql = sql.trim().trim_end_matches(';');
        let (text, format) = self.formatted(sql, FORMAT).await.map_err(|error| {
            let found = Error::new(Code::Service, error.to_string());
            match error {
                ClickhouseError::Server { .. } => found,
                _ => found.hint("cargo xtask status"),
            }
        })?;
        let other = format.as_deref().is_some_and(|format| format != FORMAT);
        if other || text.trim().is_empty() {
            return Ok(match (form.output, text.is_empty()) {
                (Output::Json, true) => format!("{}\n", json!({ "results": [] })),
                // The statement chose its own format.
                (_, false) => text,
                (Output::Text, true) => "done\n".to_owned(),
            });
        }
        Ok(printed(&text, form))
    }
}

/// Rows in [`FORMAT`] as they are printed.
fn printed(text: &str, form: Form) -> String {
    let mut lines = text.lines();
    let mut names = || -> Vec<String> {
        let line = lines.next().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_default()
    };
    let (columns, types) = (names(), names());
    let rows: Vec<&str> = lines.collect();
    match form.output {
        // The rows stay as they came: numbers of 128 and 256 bits do not survive being read.
        Output::Json => format!(
            "{{\"results\":[{{\"columns\":{},\"types\":{},\"rows\":[{}],\"count\":{}}}]}}\n",
            json!(columns),
            json!(types),
            rows.join(","),
            rows.len()
        ),
        Output::Text => {
            let cells = |row: &&str| elements(row).into_iter().map(cell).collect();
            let rows: Vec<_> = rows.iter().map(cells).collect();
            laid_out(&columns, &rows, form.palette)
        }
    }
}

/// The values of an array as they are written.
fn elements(array: &str) -> Vec<&str> {
    let array = array.trim();
    let Some(inside) = array
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    else {
        return Vec::new();
    };
    let mut elements = Vec::new();
    let (mut depth, mut quoted, mut escaped, mut begin) = (0_usize, false, false, 0);
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                elements.push(inside[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    let last = inside[begin..].trim();
    if !last.is_empty() {
        elements.push(last);
    }
    elements
}

/// A value as people read it; none is NULL.
fn cell(value: &str) -> Option<String> {
    match value {
        "null" => None,
        text if text.starts_with('"') => {
            Some(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()))
        }
        other => Some(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_they_are_written() {
        let row = r#"[406797045046408742210338816, "a, \"b\" [", null, [1, {"k": "]"}], ""]"#;
        let cells: Vec<_> = elements(row).into_iter().map(cell).collect();
        let texts = [
            "406797045046408742210338816",
            "a, \"b\" [",
            "NULL",
            "[1, {\"k\": \"]\"}]",
            "",
        ];
        let shown: Vec<_> = cells
            .iter()
            .map(|cell| cell.as_deref().unwrap_or("NULL"))
            .collect();
        assert_eq!(shown, texts);
        assert!(elements("[]").is_empty() && elements("").is_empty());
    }
}
