//! A Debezium message as ClickHouse expressions.
//!
//! None of them may throw: one bad message would stop the consumer for ever.

use crate::clients::clickhouse::literal;
use crate::components::source::Values;

/// Splits `Nullable(T)` and `LowCardinality(T)` from a type.
fn bare(kind: &str) -> &str {
    let kind = kind.trim();
    ["Nullable(", "LowCardinality("]
        .iter()
        .find_map(|wrapper| kind.strip_prefix(wrapper)?.strip_suffix(')'))
        .map_or(kind, bare)
}

/// Reads one column out of `image`.
pub(super) fn expression(values: Values, column: &str, kind: &str) -> String {
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
        date_time(values, &name, scale)
    } else if bare.starts_with("DateTime") {
        format!("toDateTime({})", date_time(values, &name, 0))
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
        match values {
            Values::Columns => format!("JSONExtract(image, {name}, 'Nullable({bare})')"),
            Values::ExtendedJson => document_value(&name, bare),
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

/// A time, as [`Values`] tells of both.
fn date_time(values: Values, name: &str, scale: u32) -> String {
    match values {
        Values::Columns => {
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
        Values::ExtendedJson => {
            format!("fromUnixTimestamp64Milli(JSONExtractInt(image, {name}, '$date'))")
        }
    }
}

/// A field in extended JSON: an object id or a long is an object.
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
pub(super) fn key_is_missing(values: Values, column: &str, kind: &str) -> String {
    let name = literal(column);
    let bare = bare(kind);
    match values {
        Values::Columns if !bare.starts_with("Date") => {
            format!("isNull(JSONExtract(picture, {name}, 'Nullable({bare})'))")
        }
        Values::Columns | Values::ExtendedJson => format!("NOT JSONHas(picture, {name})"),
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
        let micro = expression(Values::Columns, "at", "DateTime64(6)");
        assert!(micro.contains("fromUnixTimestamp64Micro"), "{micro}");
        let milli = expression(Values::Columns, "at", "DateTime64(3)");
        assert!(milli.contains("fromUnixTimestamp64Milli"), "{milli}");
        let mongo = expression(Values::ExtendedJson, "at", "DateTime64(3)");
        assert!(mongo.contains("'$date'"), "{mongo}");
    }

    #[test]
    fn column_names_are_literals() {
        assert!(expression(Values::Columns, "it's", "String").contains("'it\\'s'"));
    }
}
