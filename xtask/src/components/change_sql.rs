//! A Debezium message as ClickHouse expressions.
//!
//! None of them may throw: one bad message would stop the consumer for ever.

use crate::clients::clickhouse::literal;
use crate::components::Source;

/// The row that a change is about, as JSON: for a delete the row as it was.
pub(super) fn image(source: Source) -> &'static str {
    match source {
        Source::Postgres => "JSONExtractRaw(raw, if(change = 'd', 'before', 'after'))",
        // MongoDB's documents are JSON in a text, and a delete has only the message's key.
        Source::Mongodb => {
            "if(change = 'd', concat('{\"_id\":', JSONExtractString(_key, 'id'), '}'), \
             JSONExtractString(raw, 'after'))"
        }
    }
}

/// The change's place in the source's log, as a number that grows.
///
/// PostgreSQL decodes whole transactions in the order of their commits, so a later change may lie
/// before an earlier one in the log. The high half is therefore the end of the last commit before
/// this transaction (`sequence[0]`; absent in the first transaction after a snapshot, where the
/// record's own place stands in for it), and the low half the record itself. A snapshot's row
/// comes before everything that follows its position.
pub(super) fn position(source: Source) -> &'static str {
    match source {
        Source::Postgres => {
            "if(op = 'r', bitShiftLeft(toUInt128(JSONExtractUInt(raw, 'source', 'lsn')), 64), \
             bitOr(bitShiftLeft(toUInt128(coalesce(\
             toUInt64OrNull(JSONExtractString(JSONExtractString(raw, 'source', 'sequence'), 1)), \
             JSONExtractUInt(raw, 'source', 'lsn'))), 64), \
             toUInt128(JSONExtractUInt(raw, 'source', 'lsn'))))"
        }
        Source::Mongodb => {
            "bitOr(bitShiftLeft(toUInt128(JSONExtractUInt(raw, 'source', 'ts_ms')), 64), \
             toUInt128(JSONExtractUInt(raw, 'source', 'ord')))"
        }
    }
}

/// Splits `Nullable(T)` and `LowCardinality(T)` from a type.
fn bare(kind: &str) -> &str {
    let kind = kind.trim();
    ["Nullable(", "LowCardinality("]
        .iter()
        .find_map(|wrapper| kind.strip_prefix(wrapper)?.strip_suffix(')'))
        .map_or(kind, bare)
}

/// Reads one column out of `image`.
pub(super) fn expression(source: Source, column: &str, kind: &str) -> String {
    let name = literal(column);
    let nullable = kind.contains("Nullable(");
    let bare = bare(kind);
    let value = if let Some(arguments) = bare.strip_prefix("DateTime64") {
        let scale = arguments
            .trim_start_matches('(')
            .split([',', ')'])
            .next()
            .and_then(|scale| scale.trim().parse::<u32>().ok())
            .unwrap_or(3);
        date_time(source, &name, scale)
    } else if bare.starts_with("DateTime") {
        format!("toDateTime({})", date_time(source, &name, 0))
    } else if bare.starts_with("Date") {
        // Debezium's date is days since the epoch.
        format!("addDays(toDate32('1970-01-01'), JSONExtractInt(image, {name}))")
    } else if bare.starts_with("Decimal") {
        // Reading a number that does not fit throws; casting its text gives NULL.
        format!(
            "accurateCastOrNull(JSONExtract(image, {name}, 'Nullable(String)'), {})",
            literal(bare)
        )
    } else {
        match source {
            Source::Postgres => format!("JSONExtract(image, {name}, 'Nullable({bare})')"),
            Source::Mongodb => document_value(&name, bare),
        }
    };
    if nullable {
        format!("if(JSONType(image, {name}) = 'Null', NULL, {value})")
    } else {
        format!(
            "assumeNotNull(ifNull({value}, defaultValueOfTypeName({})))",
            literal(bare)
        )
    }
}

/// A time. Debezium writes `timestamp` as microseconds, `timestamp(3)` as milliseconds, and
/// `timestamptz` as ISO 8601 text; MongoDB's dates are `{"$date": milliseconds}`.
fn date_time(source: Source, name: &str, scale: u32) -> String {
    match source {
        Source::Postgres => {
            let number = match scale {
                0..=3 => format!("fromUnixTimestamp64Milli(JSONExtractInt(image, {name}))"),
                4..=6 => format!("fromUnixTimestamp64Micro(JSONExtractInt(image, {name}))"),
                _ => format!("fromUnixTimestamp64Nano(JSONExtractInt(image, {name}))"),
            };
            format!(
                "if(JSONType(image, {name}) = 'String', \
                 parseDateTime64BestEffortOrZero(JSONExtractString(image, {name}), {}), {number})",
                scale.max(3)
            )
        }
        Source::Mongodb => {
            format!("fromUnixTimestamp64Milli(JSONExtractInt(image, {name}, '$date'))")
        }
    }
}

/// A document's field in MongoDB's extended JSON: an object id or a long is an object.
fn document_value(name: &str, kind: &str) -> String {
    if kind == "String" {
        format!(
            "if(JSONHas(image, {name}, '$oid'), JSONExtractString(image, {name}, '$oid'), \
             JSONExtract(image, {name}, 'Nullable(String)'))"
        )
    } else if kind.starts_with("Int") || kind.starts_with("UInt") {
        format!(
            "if(JSONHas(image, {name}, '$numberLong'), \
             to{kind}OrNull(JSONExtractString(image, {name}, '$numberLong')), \
             JSONExtract(image, {name}, 'Nullable({kind})'))"
        )
    } else {
        format!("JSONExtract(image, {name}, 'Nullable({kind})')")
    }
}

/// Whether a key column has no usable value in `picture`, the row image as the feed knows it.
pub(super) fn key_is_missing(source: Source, column: &str, kind: &str) -> String {
    let name = literal(column);
    let bare = bare(kind);
    match source {
        Source::Postgres if !bare.starts_with("Date") => {
            format!("isNull(JSONExtract(picture, {name}, 'Nullable({bare})'))")
        }
        _ => format!("NOT JSONHas(picture, {name})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_lose_their_wrappers() {
        assert_eq!(bare("Nullable(Int64)"), "Int64");
        assert_eq!(bare("LowCardinality(Nullable(String))"), "String");
        assert_eq!(bare("DateTime64(6)"), "DateTime64(6)");
    }

    #[test]
    fn times_keep_their_precision() {
        let micro = expression(Source::Postgres, "at", "DateTime64(6)");
        assert!(micro.contains("fromUnixTimestamp64Micro"), "{micro}");
        let milli = expression(Source::Postgres, "at", "DateTime64(3)");
        assert!(milli.contains("fromUnixTimestamp64Milli"), "{milli}");
        let mongo = expression(Source::Mongodb, "at", "DateTime64(3)");
        assert!(mongo.contains("'$date'"), "{mongo}");
    }

    #[test]
    fn column_names_are_literals() {
        assert!(expression(Source::Postgres, "it's", "String").contains("'it\\'s'"));
    }
}
