//! A flow's columns against those of its table at a relational source: one that is not there would be empty
//! at the target for ever, and a time of another precision would be read a thousandfold wrong.

use super::sql::Quoting;
use crate::clients::answer::Row;
use crate::error::{Code, Error, Result, nearest};
use crate::profile::schema::Flow;

/// A column of a table.
pub(super) struct Column {
    /// Its name.
    pub(super) name: String,
    /// Of a date with a time and without a zone: its type's name and the digits of its seconds.
    pub(super) local_time: Option<(&'static str, u32)>,
}

/// Asks for a flow's columns; each row is for [`Column::of`].
pub(super) fn query(quoting: &Quoting, flow: &Flow) -> String {
    let (schema, table) = flow.table.split_once('.').unwrap_or_default();
    let literal = quoting.literal;
    format!(
        "SELECT column_name, data_type, datetime_precision FROM information_schema.columns \
         WHERE table_schema = {} AND table_name = {}",
        literal(schema),
        literal(table)
    )
}

impl Column {
    /// A row of [`query`]. The time is how the catalogue calls a date with a time and without a zone, and how
    /// people do.
    pub(super) fn of(mut row: Row, time: (&str, &'static str)) -> Self {
        let digits = row[2].take().filter(|_| row[1].as_deref() == Some(time.0));
        Column {
            local_time: digits.and_then(|it| Some((time.1, it.parse().ok()?))),
            name: row[0].take().unwrap_or_default(),
        }
    }
}

/// Checks a flow's columns. `files` says where the tool's own tables are defined.
///
/// # Errors
/// One is not there, or of another precision.
pub(super) fn check(name: &str, flow: &Flow, found: &[Column], files: &str) -> Result<()> {
    if found.is_empty() {
        let what = format!(
            "flow `{name}`: there is no table {} at the source",
            flow.table
        );
        let hint = format!("create it, or name a file of {files}");
        return Err(Error::new(Code::Drift, what).hint(hint));
    }
    for (column, kind) in &flow.columns {
        let Some(found) = found.iter().find(|it| it.name == *column) else {
            let names = found.iter().map(|it| it.name.as_str());
            let error = Error::new(
                Code::Drift,
                format!("flow `{name}`: {} has no column `{column}`", flow.table),
            );
            return Err(match nearest(column, names) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("correct flows.*.columns in the profile"),
            });
        };
        let scale = kind.split_once("DateTime64(").and_then(|(_, rest)| {
            let digits = rest.split([',', ')']).next()?;
            digits.trim().parse::<u32>().ok()
        });
        // Debezium writes milliseconds up to three digits and microseconds beyond.
        if let (Some((time, precision)), Some(scale)) = (found.local_time, scale)
            && (precision <= 3) != (scale <= 3)
        {
            return Err(Error::new(
                Code::Drift,
                format!(
                    "flow `{name}`: `{column}` is {time}({precision}) at the source and {kind} in the profile"
                ),
            )
            .hint(format!("declare it as DateTime64({})", if precision <= 3 { 3 } else { 6 })));
        }
    }
    Ok(())
}
