//! Which tables are compared, and which of their columns: pure.

use crate::components::dialect::{Compared, Form, Hash, Read, form};
use crate::error::{Code, Error, Result};
use crate::flows::types::Column;
use crate::profile::schema::Flow;

/// Two tables that should have the same rows.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What it is called in reports: the flow, or the source's table.
    pub name: String,
    /// The flow that joins them; none where the user has named both.
    pub flow: Option<String>,
    /// The source's.
    pub source: Place,
    /// The target's.
    pub target: Place,
    /// The columns of the key, as the source calls them.
    pub key: Vec<String>,
}

/// A table in a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The component.
    pub component: String,
    /// The table.
    pub table: String,
}

impl Place {
    /// Reads `COMPONENT:TABLE`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((component, table)) if !component.is_empty() && !table.is_empty() => Ok(Place {
                component: component.to_owned(),
                table: table.to_owned(),
            }),
            _ => Err(Error::new(Code::Usage, format!("`{text}` names no table"))
                .hint("COMPONENT:TABLE, a component of the profile and a table of it")),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.component, self.table)
    }
}

/// A column that is not compared.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NotCompared {
    /// The column, as the source calls it, or the target where only that has it.
    pub column: String,
    /// Why.
    pub reason: String,
}

/// What is read of both tables.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of the source's.
    pub source: Read,
    /// Of the target's.
    pub target: Read,
    /// What is left out.
    pub not_compared: Vec<NotCompared>,
}

/// One side, for [`plan`].
pub struct Side<'a> {
    /// Its columns.
    pub columns: &'a [Column],
    /// Why it cannot write a column in a form.
    pub cannot: &'a dyn Fn(&Column, Form) -> Option<String>,
}

/// What the user wants of it.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Only these columns, and the key.
    pub columns: Vec<String>,
    /// Only rows for which this holds, on both sides.
    pub condition: Option<String>,
}

/// Pairs the columns of two tables. `moved` says why the target may have another value and be right.
///
/// # Errors
/// A table lacks a column of the key or one that the user names, or keys cannot be compared.
pub fn plan(
    pair: &Pair,
    flow: Option<&Flow>,
    source: &Side<'_>,
    target: &Side<'_>,
    moved: &dyn Fn(&Column, &Column) -> Option<String>,
    wish: &Wish,
) -> Result<Plan> {
    let names = || source.columns.iter().map(|it| it.name.as_str());
    for wanted in wish.columns.iter().chain(&pair.key) {
        if !names().any(|it| it == wanted) {
            let what = format!("{} has no column `{wanted}`", pair.source);
            let all = format!("it has {}", names().collect::<Vec<_>>().join(", "));
            return Err(Error::new(Code::Usage, what).meant(wanted, names(), all));
        }
    }
    let (mut of_source, mut of_target, mut not_compared) = (Vec::new(), Vec::new(), Vec::new());
    for column in source.columns {
        let is_key = pair.key.contains(&column.name);
        if !is_key && !wish.columns.is_empty() && !wish.columns.contains(&column.name) {
            continue;
        }
        let form = pairs(pair, flow, column, source, target);
        let form = form.and_then(|(form, other)| match moved(column, other) {
            Some(why) => Err(why),
            None => Ok((form, other)),
        });
        match form {
            Ok((form, other)) => {
                let compared = |column: &Column| Compared {
                    column: column.clone(),
                    form,
                };
                of_source.push(compared(column));
                of_target.push(compared(other));
            }
            Err(reason) if is_key => {
                let what = format!(
                    "the keys of {} and {} cannot be compared: {}: {reason}",
                    pair.source, pair.target, column.name
                );
                return Err(Error::new(Code::Drift, what));
            }
            Err(reason) => not_compared.push(NotCompared {
                column: column.name.clone(),
                reason,
            }),
        }
    }
    for column in target.columns {
        let is_paired = of_target
            .iter()
            .any(|it: &Compared| it.column.name == column.name);
        let is_named = not_compared
            .iter()
            .any(|it| at_target(flow, &it.column) == Some(&column.name));
        if !is_paired && !is_named && wish.columns.is_empty() {
            not_compared.push(NotCompared {
                column: column.name.clone(),
                reason: "only the target has it".into(),
            });
        }
    }
    let key = pair.key.iter();
    let key: Vec<usize> = key
        .filter_map(|name| {
            of_source
                .iter()
                .position(|it: &Compared| it.column.name == *name)
        })
        .collect();
    let read = |columns| Read {
        columns,
        key: key.clone(),
        condition: wish.condition.clone(),
        sample: None,
        hash: Hash::default(),
    };
    Ok(Plan {
        source: read(of_source),
        target: read(of_target),
        not_compared,
    })
}

/// What a source's column is called at the target; none where the flow leaves it out.
fn at_target<'a>(flow: Option<&'a Flow>, column: &'a str) -> Option<&'a str> {
    match flow.filter(|it| it.to.is_none()) {
        Some(flow) => flow.arrival(column).map(|(name, _)| name),
        None => Some(column),
    }
}

/// The form in which a source's column is compared, and its counterpart.
fn pairs<'a>(
    pair: &Pair,
    flow: Option<&Flow>,
    column: &Column,
    source: &Side<'_>,
    target: &Side<'a>,
) -> Result<(Form, &'a Column), String> {
    let Some(name) = at_target(flow, &column.name) else {
        return Err("the flow leaves it out".into());
    };
    let found = target.columns.iter().find(|it| it.name == name);
    let found = found.ok_or_else(|| format!("{} has no column `{name}`", pair.target))?;
    let form = form(column, found)?;
    let cannot = (source.cannot)(column, form).or_else(|| (target.cannot)(found, form));
    match cannot {
        Some(why) => Err(why),
        None => Ok((form, found)),
    }
}
