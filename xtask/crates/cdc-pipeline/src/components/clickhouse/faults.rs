//! Why silver cannot hold a message's row, or holds it without one of its columns, as SQL.

use super::changes::Column;
use crate::clients::clickhouse::literal;
use crate::components::source::Values;
use crate::profile::columns::SchemaChange;

/// What is known of the columns that a flow's changes may have.
pub(super) struct Judged<'a> {
    /// Changes from before this time at the source, in milliseconds since the epoch, are of a table that had not all
    /// of the columns yet.
    pub(super) since: u64,
    /// The columns that they may have; none where the profile names those that arrive.
    pub(super) known: Option<&'a [String]>,
    /// What becomes of a change with others.
    pub(super) schema: SchemaChange,
}

impl Judged<'_> {
    /// Whether a change has other columns, and these: SQL, of which the second is for a change that has.
    fn others(&self, fields: &str) -> Option<[String; 2]> {
        let known: Vec<String> = self.known?.iter().map(|it| literal(it)).collect();
        let known = format!("[{}]", known.join(", "));
        Some([
            format!("change != 'd' AND NOT hasAll({known}, {fields})"),
            format!(
                "arrayStringConcat(arrayFilter(name -> NOT has({known}, name), {fields}), ', ')"
            ),
        ])
    }

    /// The columns of a change that its row arrives without, as a text.
    pub(super) fn unknown(&self, columns: &[Column<'_>]) -> String {
        match (self.others(&fields(columns)), self.schema) {
            (Some([has_others, others]), SchemaChange::Follow | SchemaChange::Report) => {
                format!("if({has_others}, {others}, '')")
            }
            (Some(_), SchemaChange::Refuse) | (None, _) => "''".to_owned(),
        }
    }
}

/// The names of the columns that a change's row has.
fn fields(columns: &[Column<'_>]) -> String {
    let image = columns.first().map_or("", |it| it.changes.image);
    format!("JSONExtractKeys({image})")
}

/// The arms of a `multiIf`, condition and reason in turn, that say why silver cannot hold a message's row. A deleted
/// one need have no more than its key.
pub(super) fn faults(columns: &[Column<'_>], key: &[String], judged: &Judged<'_>) -> Vec<String> {
    let is_key = |column: &&Column<'_>| key.iter().any(|it| it == column.name);
    let (keys, others): (Vec<_>, Vec<_>) = columns.iter().partition(is_key);
    let missing = |key: &&Column<'_>| {
        let why = literal(&format!("no key column {}", key.name));
        [format!("isNull({})", key.value()), why]
    };
    let mut arms: Vec<[String; 2]> = keys.iter().map(missing).collect();
    let relational = others
        .iter()
        .filter(|it| it.changes.values == Values::Columns);
    let (names, nulls): (Vec<_>, Vec<_>) = relational
        .map(|it| (literal(it.name), format!("isNull({})", it.value())))
        .unzip();
    if !names.is_empty() {
        // One that is not there was dropped or renamed at the source; blank, it would stay so for ever.
        let (names, nulls) = (names.join(", "), nulls.join(" OR "));
        let fields = fields(columns);
        let is_older = match (judged.since, judged.others(&fields)) {
            (0, _) => String::new(),
            // One that has another instead: it was called otherwise then.
            (since, others) => {
                let others = others.map(|[has, _]| format!(" OR ({has})"));
                let others = others.unwrap_or_default();
                format!(" AND (JSONExtractInt(raw, 'source', 'ts_ms') >= {since}{others})")
            }
        };
        arms.push([
            format!("change != 'd' AND ({nulls}) AND NOT hasAll({fields}, [{names}]){is_older}"),
            format!(
                "concat('column ', arrayFirst(name -> NOT has({fields}, name), [{names}]), ': not in the change')"
            ),
        ]);
    }
    if let (Some([has, others]), SchemaChange::Refuse) =
        (judged.others(&fields(columns)), judged.schema)
    {
        arms.push([
            has,
            format!("concat('column ', {others}, ': the flow does not know it')"),
        ]);
    }
    arms.extend(others.iter().map(|it| it.fault()));
    arms.into_iter().map(|arm| arm.join(", ")).collect()
}
