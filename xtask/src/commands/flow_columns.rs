//! The columns that `flow add` writes for documents, from a sample of them.

use super::flow::scalar;
use crate::components::source::Sample;
use crate::flows::types::Kind;
use crate::profile::OWN_COLUMNS;

/// `columns:` of a flow, each with how many of the documents have the field.
pub(super) fn text(sample: &Sample, suited: impl Fn(Kind, bool) -> Option<String>) -> String {
    let mut lines = Vec::new();
    let mut taken: Vec<String> = Vec::new();
    for (column, documents) in &sample.fields {
        let seen = format!(
            "in {documents} of {} documents: {}",
            sample.documents, column.written
        );
        let is_field = !column.name.is_empty() && !column.name.chars().any(char::is_control);
        let kind = suited(column.kind, column.is_nullable);
        let (Some(kind), true) = (kind, is_field) else {
            lines.push((format!("# left out: {:?}", column.name), seen));
            continue;
        };
        let name = name(&column.name, &taken);
        let line = match name == column.name {
            true => format!("{name}: {kind}"),
            // Within braces a comma would end the type.
            false => format!(
                "{name}: {{type: {:?}, from: {}}}",
                kind,
                scalar(&column.name)
            ),
        };
        taken.push(name);
        lines.push((line, seen));
    }
    let width = lines.iter().map(|(line, _)| line.chars().count()).max();
    let width = width.unwrap_or_default();
    let lines = lines.iter();
    let lines = lines.map(|(line, seen)| format!("      {line:width$}  # {seen}\n"));
    format!("    columns:\n{}", lines.collect::<String>())
}

/// What a field is called as a column: itself, where a column can be called so.
fn name(field: &str, taken: &[String]) -> String {
    let word = |it: char| if it.is_ascii_alphanumeric() { it } else { '_' };
    let word: String = field.chars().map(word).collect();
    let is_free = |name: &String| !taken.contains(name) && !OWN_COLUMNS.contains(&name.as_str());
    let others = (2..).map(|number| format!("{word}_{number}"));
    let mut names = std::iter::once(word.clone()).chain(others);
    names.find(is_free).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::types::Column;

    #[test]
    fn columns_are_written_with_what_was_seen() {
        let field = |name: &str, kind: Kind, written: &str, documents: u64| {
            let is_key = name == "_id";
            let column = Column {
                name: name.to_owned(),
                written: written.to_owned(),
                kind,
                is_nullable: !is_key,
                is_key,
                is_filled: false,
            };
            (column, documents)
        };
        let sample = Sample {
            documents: 10,
            fields: vec![
                field("_id", Kind::Text, "objectId", 10),
                field("first name", Kind::Text, "string, int", 9),
                field("first-name", Kind::Instant { digits: 3 }, "date", 8),
                field(
                    "_op",
                    Kind::Decimal {
                        digits: Some((18, 2)),
                    },
                    "decimal",
                    1,
                ),
                field("", Kind::Text, "string", 1),
            ],
        };
        let suited = |kind: Kind, is_nullable: bool| {
            let bare = match kind {
                Kind::Instant { .. } => "DateTime64(3)",
                Kind::Decimal { .. } => "Decimal(18, 2)",
                _ => "String",
            };
            Some(match is_nullable {
                true => format!("Nullable({bare})"),
                false => bare.to_owned(),
            })
        };
        assert_eq!(
            text(&sample, suited),
            r#"    columns:
      _id: String                                                        # in 10 of 10 documents: objectId
      first_name: {type: "Nullable(String)", from: "first name"}         # in 9 of 10 documents: string, int
      first_name_2: {type: "Nullable(DateTime64(3))", from: first-name}  # in 8 of 10 documents: date
      _op_2: {type: "Nullable(Decimal(18, 2))", from: "_op"}             # in 1 of 10 documents: decimal
      # left out: ""                                                     # in 1 of 10 documents: string
"#
        );
    }
}
