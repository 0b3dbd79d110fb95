//! `query`: one statement, its rows.

use std::io::Read;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::stdout::palette;
use super::{context, stdout};
use crate::cli::{Global, Query, QueryService};
use crate::clients::clickhouse::ClickhouseError;
use crate::clients::postgres::{Answer, Postgres, PostgresError};
use crate::components::clickhouse::settings::ClickhouseSettings;
use crate::components::postgres::settings::PostgresSettings;
use crate::environment::Environment;
use crate::error::{Code, Error, Location, Result};
use crate::profile::component::Spec;
use crate::report::Output;
use crate::report::table::{Side, Table};
use crate::report::text::count;

/// A line of names, one of types, then one for each row; values are of their types.
const FORMAT: &str = "JSONCompactEachRowWithNamesAndTypes";

pub(super) async fn run(global: &Global, args: &Query) -> Result<ExitCode> {
    let sql = match args.sql.as_str() {
        "-" => {
            let mut text = String::new();
            let read = std::io::stdin().lock().read_to_string(&mut text);
            read.map_err(|error| Error::io("read", "standard input", &error))?;
            text
        }
        sql => sql.to_owned(),
    };
    if sql.trim().is_empty() {
        return Err(Error::new(Code::Usage, "there is no statement")
            .hint("cargo xtask query postgres \"SELECT 1\""));
    }
    let env = context::existing(global).await?;
    let component = match args.service {
        QueryService::Postgres => "postgres",
        QueryService::Clickhouse => "clickhouse",
    };
    match ask(&env, args.service, &sql, global.output).await {
        Ok(text) => stdout::print(&text)?,
        Err(error) => return Err(explained(&env, component, error).await),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs statements and returns what is to be printed.
pub(super) async fn ask(
    env: &Environment,
    service: QueryService,
    sql: &str,
    output: Output,
) -> Result<String> {
    match service {
        QueryService::Postgres => {
            let own = asked::<PostgresSettings>(env, "PostgreSQL")?;
            let session = own.session(env).await;
            let session = session.map_err(|error| refused_postgres(sql, &error))?;
            postgres(&session, sql, output).await
        }
        QueryService::Clickhouse => clickhouse(env, sql, output).await,
    }
}

/// The component that is asked.
fn asked<'a, T: Spec>(env: &'a Environment, title: &str) -> Result<&'a T> {
    let none = || {
        let what = format!("no {title} runs in `{}`", env.name);
        Error::new(Code::NotUp, what)
    };
    env.profile.first().ok_or_else(none)
}

/// Adds what the platform knows about a service that does not answer.
async fn explained(env: &Environment, component: &str, error: Error) -> Error {
    let silent = error.message.contains("does not answer");
    match env.blocked_by(component).await {
        Some(blocked) if silent => error.detail(blocked.message).hint("cargo xtask status"),
        None if silent => error.hint("cargo xtask status"),
        _ => error,
    }
}

/// Runs statements in a session.
pub(super) async fn postgres(session: &Postgres, sql: &str, output: Output) -> Result<String> {
    let answers = session.answers(sql).await;
    let answers = answers.map_err(|error| refused_postgres(sql, &error))?;
    Ok(match output {
        Output::Json => format!(
            "{}\n",
            json!({ "results": answers.iter().map(object).collect::<Vec<_>>() })
        ),
        Output::Text => answers.iter().map(table).collect::<Vec<_>>().join("\n"),
    })
}

fn object(answer: &Answer) -> Value {
    json!({ "columns": answer.columns, "rows": answer.rows, "count": answer.count })
}

fn table(answer: &Answer) -> String {
    let rows = usize::try_from(answer.count).unwrap_or(usize::MAX);
    if answer.columns.is_empty() {
        return format!("done, {}\n", count(rows, "row"));
    }
    let cells: Vec<Vec<Option<String>>> = answer.rows.clone();
    laid_out(&answer.columns, &cells)
}

/// Rows as a table; columns of numbers stand to the right.
fn laid_out(columns: &[String], rows: &[Vec<Option<String>>]) -> String {
    let numeric = |column: usize| {
        let mut values = rows
            .iter()
            .filter_map(|row| row.get(column)?.as_deref())
            .peekable();
        values.peek().is_some() && values.all(|value| value.parse::<f64>().is_ok())
    };
    let side = |column: usize| {
        if numeric(column) {
            Side::Right
        } else {
            Side::Left
        }
    };
    let columns = columns.iter().enumerate();
    let mut table = Table::new(columns.map(|(at, name)| (name.as_str(), side(at))));
    for row in rows {
        table.row(row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")));
    }
    format!("{}({})\n", table.text(palette()), count(rows.len(), "row"))
}

fn refused_postgres(sql: &str, error: &PostgresError) -> Error {
    let found = Error::new(Code::Service, error.to_string());
    let PostgresError::Server { position, more, .. } = error else {
        return found;
    };
    let found = found.details(more.clone());
    match position.and_then(|position| place(sql, position)) {
        Some(location) => found.at(location),
        None => found,
    }
}

/// Line and column of a character of the statement, both from 1.
fn place(sql: &str, position: u32) -> Option<Location> {
    let before = usize::try_from(position).ok()?.checked_sub(1)?;
    let before: String = sql.chars().take(before).collect();
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    Some(Location {
        file: "statement".into(),
        line,
        column: last.chars().count() + 1,
    })
}

async fn clickhouse(env: &Environment, sql: &str, output: Output) -> Result<String> {
    // It takes one statement; people end it all the same.
    let sql = sql.trim().trim_end_matches(';');
    let client = asked::<ClickhouseSettings>(env, "ClickHouse")?.client(env);
    let (text, format) = client.formatted(sql, FORMAT).await.map_err(|error| {
        let found = Error::new(Code::Service, error.to_string());
        match error {
            ClickhouseError::Server { .. } => found,
            _ => found.hint("cargo xtask status"),
        }
    })?;
    let other = format.as_deref().is_some_and(|format| format != FORMAT);
    if other || text.trim().is_empty() {
        return Ok(match (output, text.is_empty()) {
            (Output::Json, true) => format!("{}\n", json!({ "results": [] })),
            // The statement chose its own format.
            (_, false) => text,
            (Output::Text, true) => "done\n".to_owned(),
        });
    }
    let mut lines = text.lines();
    let mut names = || -> Vec<String> {
        let line = lines.next().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_default()
    };
    let (columns, types) = (names(), names());
    let rows: Vec<&str> = lines.collect();
    Ok(match output {
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
            laid_out(&columns, &rows.iter().map(cells).collect::<Vec<_>>())
        }
    })
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
    fn an_error_names_the_place_in_the_statement() {
        let error = refused_postgres(
            "SELECT 1,\n  fom x",
            &PostgresError::Server {
                sqlstate: "42601".into(),
                message: "syntax error".into(),
                position: Some(13),
                more: vec!["more".into()],
            },
        );
        assert!(error.to_string().starts_with("statement:2:3: "), "{error}");
        assert_eq!(error.details, ["more"]);
    }

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

    #[test]
    fn rows_without_and_with_columns() {
        let row = |cells: &[Option<&str>]| -> Vec<Option<String>> {
            cells.iter().map(|cell| cell.map(str::to_owned)).collect()
        };
        let answer = Answer {
            columns: vec!["n".into(), "name".into()],
            rows: vec![row(&[Some("1"), None]), row(&[Some("10"), Some("x")])],
            count: 2,
        };
        assert_eq!(table(&answer), " n  name\n 1  NULL\n10  x\n(2 rows)\n");
        let changed = Answer {
            count: 1,
            ..Answer::default()
        };
        assert_eq!(table(&changed), "done, 1 row\n");
    }
}
