//! The ClickHouse types that a column of silver may have.
//!
//! Types go into DDL and into expressions as they stand, so nothing but a type may pass; and only
//! in the form in which the server itself names it, so that `up` can compare the two.

use crate::error::nearest;
use crate::profile::component::{ColumnTypes, WrongType};

/// Types without arguments.
const SIMPLE: [&str; 23] = [
    "String", "Bool", "Int8", "Int16", "Int32", "Int64", "Int128", "Int256", "UInt8", "UInt16",
    "UInt32", "UInt64", "UInt128", "UInt256", "Float32", "Float64", "BFloat16", "Date", "Date32",
    "DateTime", "UUID", "IPv4", "IPv6",
];

/// Types with numbers for arguments: how many, and an example.
const NUMBERED: [(&str, usize, &str); 3] = [
    ("Decimal", 2, "Decimal(18, 2)"),
    ("DateTime64", 1, "DateTime64(3)"),
    ("FixedString", 1, "FixedString(16)"),
];

/// Types that the server knows and a column of silver cannot have.
const COMPOSITE: [&str; 7] = [
    "Array", "Map", "Tuple", "Nested", "JSON", "Variant", "Dynamic",
];

/// Them, for who loads a profile.
pub(super) static COLUMNS: ColumnTypes = ColumnTypes {
    check,
    is_nullable: |kind| kind.contains("Nullable("),
    is_text: |kind| kind.contains("String"),
    is_signed_integer: |kind| ["Int32", "Int64", "Int128", "Int256"].contains(&kind),
};

fn fault<T>(message: String, hint: Option<String>) -> Result<T, WrongType> {
    Err(WrongType { message, hint })
}

/// Checks a type.
///
/// # Errors
/// It is no type, or none that a column of silver can have.
fn check(kind: &str) -> Result<(), WrongType> {
    if let Some(inner) = wrapped(kind, "Nullable") {
        return scalar(inner);
    }
    if let Some(inner) = wrapped(kind, "LowCardinality") {
        let bare = wrapped(inner, "Nullable").unwrap_or(inner);
        scalar(bare)?;
        if bare != "String" && !bare.starts_with("FixedString(") {
            return fault(
                format!("`{kind}`: ClickHouse keeps only texts as LowCardinality"),
                Some(format!("use `{inner}`")),
            );
        }
        return Ok(());
    }
    scalar(kind)
}

fn wrapped<'a>(kind: &'a str, wrapper: &str) -> Option<&'a str> {
    kind.strip_prefix(wrapper)?
        .strip_prefix('(')?
        .strip_suffix(')')
}

fn scalar(kind: &str) -> Result<(), WrongType> {
    if SIMPLE.contains(&kind) {
        return Ok(());
    }
    let (name, arguments) = match kind.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')),
        None => (kind, Some("")),
    };
    if let Some((_, count, example)) = NUMBERED.iter().find(|(known, ..)| *known == name) {
        let numbers: Vec<&str> = arguments.unwrap_or("").split(',').map(str::trim).collect();
        let fits = numbers.len() == *count
            && numbers.iter().all(|text| {
                text.len() < 10 && text.parse::<u32>().is_ok() && !text.starts_with('+')
            });
        return if fits {
            Ok(())
        } else {
            fault(
                format!("{kind:?} is not a ClickHouse type"),
                Some(format!("write it as `{example}`")),
            )
        };
    }
    if COMPOSITE.contains(&name) {
        return fault(
            format!("`{name}`: silver has scalar columns only"),
            Some("use `String`, which then holds the value as JSON".to_owned()),
        );
    }
    if ["Nullable", "LowCardinality"].contains(&name) {
        return fault(
            format!("{kind:?} is not a ClickHouse type"),
            Some(
                "`Nullable(T)`, `LowCardinality(String)` or `LowCardinality(Nullable(String))`"
                    .to_owned(),
            ),
        );
    }
    let known = SIMPLE
        .into_iter()
        .chain(NUMBERED.iter().map(|(name, ..)| *name))
        .chain(["Nullable", "LowCardinality"]);
    fault(
        format!("{kind:?} is not a ClickHouse type that silver can have"),
        nearest(name, known).map(|near| format!("did you mean `{near}`?")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        for kind in [
            "Int64",
            "UInt64",
            "Nullable(Int64)",
            "LowCardinality(String)",
            "LowCardinality(Nullable(String))",
            "Decimal(10,2)",
            "Nullable(Decimal(38, 10))",
            "DateTime64(6)",
            "FixedString(3)",
            "Bool",
        ] {
            assert_eq!(check(kind), Ok(()), "{kind}");
        }
    }

    #[test]
    fn what_is_no_type_is_refused_with_a_way_out() {
        for (kind, hint) in [
            ("Int644", "did you mean `Int64`?"),
            ("int64", "did you mean `Int64`?"),
            ("Strng", "did you mean `String`?"),
            ("DateTime64", "write it as `DateTime64(3)`"),
            ("DateTime64(3, 'UTC')", "write it as `DateTime64(3)`"),
            ("Decimal(10)", "write it as `Decimal(18, 2)`"),
            ("Decimal64(2)", "did you mean `Decimal`?"),
            ("Array(String)", "use `String`"),
            ("Nullable(Array(String))", "use `String`"),
            ("LowCardinality(Int64)", "use `Int64`"),
            ("Nullable(LowCardinality(String))", "`Nullable(T)`"),
            ("Nullable(Int64", "`Nullable(T)`"),
        ] {
            let fault = check(kind).expect_err(kind);
            assert!(
                fault
                    .hint
                    .as_deref()
                    .is_some_and(|text| text.contains(hint)),
                "{kind} gave {fault:?}"
            );
        }
        for kind in [
            "",
            " Int64",
            "Int64 DEFAULT 5",
            "Int64, evil String",
            "String) ENGINE Null (x String",
            "DateTime64(3), evil DateTime64(3)",
            "Nullable(Int64), x Nullable(Int64)",
            "Int64\n",
            "String;",
        ] {
            check(kind).expect_err(kind);
        }
    }
}
