//! The workload at its source: statements of steps, and the rows that are there.

use std::collections::BTreeSet;

use super::workload::{Change, Key, Row, Rows, Table};
use crate::clients::answer;
use crate::components::console::{Console, Form, Session};
use crate::components::named;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};

/// A session with the source of the workload.
///
/// # Errors
/// It does not answer, or takes no SQL.
pub(super) async fn session(env: &Environment, component: &str) -> Result<Box<dyn Session>> {
    Console::sql(named(env, component)?)?.open(env).await
}

/// A text as a literal of standard SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as a quoted identifier.
fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `schema.table` as a quoted identifier.
fn table(name: &str) -> String {
    name.split('.').map(ident).collect::<Vec<_>>().join(".")
}

/// Commits a step.
///
/// # Errors
/// It was refused, or its answer did not arrive: then it may be committed nevertheless.
pub(super) async fn commit(
    session: &mut dyn Session,
    tables: &[Table],
    step: &[Change],
) -> Result<()> {
    // Statements that are sent together are one transaction.
    let done = session.run(&statements(tables, step), Form::PROGRAM).await;
    done.map(drop)
}

/// The rows that are there under these keys.
///
/// # Errors
/// The source does not answer.
pub(super) async fn read(
    session: &mut dyn Session,
    tables: &[Table],
    keys: &BTreeSet<Key>,
) -> Result<Rows> {
    let mut rows = Rows::new();
    for (at, of) in tables.iter().enumerate() {
        let keys = keys.iter().filter(|key| key.0 == at);
        let keys: Vec<String> = keys.map(|key| is(of, key)).collect();
        if !keys.is_empty() {
            rows.extend(select(session, at, of, &keys.join(" OR ")).await?);
        }
    }
    Ok(rows)
}

/// All rows that are there, but for canaries, whose keys are below zero.
///
/// # Errors
/// The source does not answer.
pub(super) async fn all(session: &mut dyn Session, tables: &[Table]) -> Result<Rows> {
    let mut rows = Rows::new();
    for (at, of) in tables.iter().enumerate() {
        let first = of.key.first().map_or("", String::as_str);
        rows.extend(select(session, at, of, &format!("{} > 0", ident(first))).await?);
    }
    Ok(rows)
}

async fn select(session: &mut dyn Session, at: usize, of: &Table, condition: &str) -> Result<Rows> {
    let key: Vec<String> = of.key.iter().map(|it| ident(it)).collect();
    let sql = format!(
        "SELECT label, amount, body, {} FROM {} WHERE {condition}",
        key.join(", "),
        table(&of.name)
    );
    let text = session.run(&sql, Form::PROGRAM).await?;
    let found = rows(&text)?;
    let rows = found.into_iter().map(|cells| {
        let mut cells = cells.into_iter();
        let mut next = || cells.next().flatten();
        let row = Row {
            label: next().unwrap_or_default(),
            amount: next(),
            body: next(),
        };
        let key = cells.flatten().filter_map(|it| it.parse().ok());
        ((at, key.collect()), row)
    });
    Ok(rows.collect())
}

/// The rows of an answer to one statement.
fn rows(text: &str) -> Result<Vec<answer::Row>> {
    let odd = |error: serde_json::Error| {
        let what = format!("the source gave an unexpected answer: {error}");
        Error::new(Code::Service, what)
    };
    let mut answer: serde_json::Value = serde_json::from_str(text).map_err(odd)?;
    serde_json::from_value(answer["results"][0]["rows"].take()).map_err(odd)
}

fn statements(tables: &[Table], step: &[Change]) -> String {
    let sql = step.iter().filter_map(|change| statement(tables, change));
    sql.collect::<Vec<_>>().join("; ")
}

fn statement(tables: &[Table], change: &Change) -> Option<String> {
    let optional = |text: &Option<String>| text.as_deref().map_or("NULL".into(), literal);
    let amount = |row: &Row| row.amount.clone().unwrap_or_else(|| "NULL".into());
    let (Change::Insert(key, _)
    | Change::Update(key, ..)
    | Change::Delete(key)
    | Change::Rekey(key, ..)) = change;
    let of = tables.get(key.0)?;
    let name = table(&of.name);
    let values = |row: &Row| {
        let label = literal(&row.label);
        format!("label = {label}, amount = {}", amount(row))
    };
    Some(match change {
        Change::Insert(key, row) => {
            let columns: Vec<String> = of.key.iter().map(|it| ident(it)).collect();
            let ids: Vec<String> = key.1.iter().map(ToString::to_string).collect();
            format!(
                "INSERT INTO {name} ({}, label, amount, body) VALUES ({}, {}, {}, {})",
                columns.join(", "),
                ids.join(", "),
                literal(&row.label),
                amount(row),
                optional(&row.body)
            )
        }
        Change::Update(key, row, true) => {
            let (values, body) = (values(row), optional(&row.body));
            format!(
                "UPDATE {name} SET {values}, body = {body} WHERE {}",
                is(of, key)
            )
        }
        Change::Update(key, row, false) => {
            format!("UPDATE {name} SET {} WHERE {}", values(row), is(of, key))
        }
        Change::Delete(key) => format!("DELETE FROM {name} WHERE {}", is(of, key)),
        Change::Rekey(from, to, row) => {
            let parts = of.key.iter().zip(&to.1);
            let parts: Vec<String> = parts
                .map(|(column, value)| format!("{} = {value}", ident(column)))
                .collect();
            format!(
                "UPDATE {name} SET {}, {} WHERE {}",
                parts.join(", "),
                values(row),
                is(of, from)
            )
        }
    })
}

/// The condition that a row has this key.
fn is(of: &Table, key: &Key) -> String {
    let parts = of.key.iter().zip(&key.1);
    let parts: Vec<String> = parts
        .map(|(column, value)| format!("{} = {value}", ident(column)))
        .collect();
    format!("({})", parts.join(" AND "))
}
