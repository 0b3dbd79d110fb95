//! What people type to a component: what `query` and `shell` ask of a type.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Component;
use crate::clients::answer::Answer;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::report::Output;
use crate::report::table::{Side, Table};
use crate::report::text::{Palette, count};

/// What a component takes that is typed.
pub enum Console<'a> {
    /// SQL; a statement may have several lines, and ends with `;`.
    Sql(&'a dyn Talk),
    /// Commands of its own, each on a line; the text says how one looks.
    Commands(&'static str, &'a dyn Talk),
    /// This tool's own subcommands about it, each on a line.
    Subcommands,
}

/// A type that answers statements.
#[async_trait]
pub trait Talk: Sync {
    /// Logs in as the tool's own user.
    async fn open(&self, env: &Environment) -> Result<Box<dyn Session>>;

    /// The statement that lists the tables, or describes one.
    fn described(&self, table: Option<&str>) -> String;
}

/// Statements one after the other.
#[async_trait]
pub trait Session: Send {
    /// Runs a statement, or several, and returns what is to be printed. An error points into the statement
    /// where the server says at what.
    async fn run(&mut self, statement: &str, form: Form) -> Result<String>;
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// For people, or for programs.
    pub output: Output,
    /// The colours of a text.
    pub palette: Palette,
}

impl Form {
    /// For this program itself.
    pub const PROGRAM: Form = Form {
        output: Output::Json,
        palette: Palette { colour: false },
    };
}

impl<'a> Console<'a> {
    /// What a component takes.
    ///
    /// # Errors
    /// Nothing; with what to do instead.
    pub fn of(component: &'a dyn Component) -> Result<Self> {
        component.console().map_err(|instead| {
            let what = format!("{} has no statements to type", component.name());
            Error::new(Code::Usage, what).hint(instead)
        })
    }

    /// Who answers a component's SQL.
    ///
    /// # Errors
    /// It takes none; with what to do instead.
    pub fn sql(component: &'a dyn Component) -> Result<&'a dyn Talk> {
        match Self::of(component)? {
            Console::Sql(talk) => Ok(talk),
            Console::Commands(..) | Console::Subcommands => {
                let name = component.name();
                let error = Error::new(Code::Usage, format!("{name} takes no SQL"));
                Err(error.hint(format!("cargo xtask shell {name}")))
            }
        }
    }

    /// What is typed, for people.
    pub fn how(&self) -> &'static str {
        match self {
            Console::Sql(_) => "SQL, ended by `;`",
            Console::Commands(how, _) => how,
            Console::Subcommands => "subcommands of topic and group, such as `topic list`",
        }
    }

    /// The statement that lists what there is, or describes one of it, for `\\d`.
    pub fn described(&self, name: Option<&str>) -> String {
        match (self, name) {
            (Console::Sql(talk) | Console::Commands(_, talk), name) => talk.described(name),
            (Console::Subcommands, Some(name)) => format!("topic describe {name}"),
            (Console::Subcommands, None) => "topic list".to_owned(),
        }
    }

    /// Whether a statement ends here. A line is one, but for SQL.
    pub fn is_whole(&self, text: &str) -> bool {
        match self {
            Console::Sql(_) => text.trim().is_empty() || text.trim_end().ends_with(';'),
            Console::Commands(..) | Console::Subcommands => true,
        }
    }
}

/// What statements gave, as it is printed.
pub(super) fn answered(answers: &[Answer], form: Form) -> String {
    match form.output {
        Output::Json => format!(
            "{}\n",
            json!({ "results": answers.iter().map(object).collect::<Vec<_>>() })
        ),
        Output::Text => {
            let tables = answers.iter().map(|answer| table(answer, form.palette));
            tables.collect::<Vec<_>>().join("\n")
        }
    }
}

fn object(answer: &Answer) -> Value {
    json!({ "columns": answer.columns, "rows": answer.rows, "count": answer.count })
}

fn table(answer: &Answer, palette: Palette) -> String {
    let rows = usize::try_from(answer.count).unwrap_or(usize::MAX);
    if answer.columns.is_empty() {
        return format!("done, {}\n", count(rows, "row"));
    }
    laid_out(&answer.columns, &answer.rows, palette)
}

/// Rows as a table; columns of numbers stand to the right. None is NULL.
pub(super) fn laid_out(
    columns: &[String],
    rows: &[Vec<Option<String>>],
    palette: Palette,
) -> String {
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
    format!("{}({})\n", table.text(palette), count(rows.len(), "row"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_and_with_columns() {
        let plain = Palette { colour: false };
        let row = |cells: &[Option<&str>]| -> Vec<Option<String>> {
            cells.iter().map(|cell| cell.map(str::to_owned)).collect()
        };
        let answer = Answer {
            columns: vec!["n".into(), "name".into()],
            rows: vec![row(&[Some("1"), None]), row(&[Some("10"), Some("x")])],
            count: 2,
        };
        assert_eq!(
            table(&answer, plain),
            " n  name\n 1  NULL\n10  x\n(2 rows)\n"
        );
        let changed = Answer {
            count: 1,
            ..Answer::default()
        };
        assert_eq!(table(&changed, plain), "done, 1 row\n");
    }
}
