//! The ClickHouse types that a column of silver may have.
//!
//! Types go into DDL and into expressions as they stand, so nothing but a type may pass; and only
//! in the form in which the server itself names it, so that `up` can compare the two.

use crate::error::nearest;
use crate::flows::types::Kind;
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
    is_nullable,
    has_bounds: |kind| {
        let name = parts(bare(kind)).0;
        name.contains("Int")
            || ["Decimal", "Date", "Date32", "DateTime", "DateTime64"].contains(&name)
    },
    is_text: |kind| kind.contains("String"),
    is_canary_key: |kind| ["Int32", "Int64", "Int128", "Int256", "String", "UUID"].contains(&kind),
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

/// Whether it may be NULL.
pub(super) fn is_nullable(kind: &str) -> bool {
    kind.contains("Nullable(")
}

/// The type whose columns may be NULL, too.
pub(super) fn nullable(kind: &str) -> String {
    match is_nullable(kind) {
        true => kind.to_owned(),
        false => format!("Nullable({kind})"),
    }
}

/// Splits `Nullable(T)` and `LowCardinality(T)` from a type.
pub(super) fn bare(kind: &str) -> &str {
    let kind = kind.trim();
    ["Nullable", "LowCardinality"]
        .iter()
        .find_map(|wrapper| wrapped(kind, wrapper))
        .map_or(kind, bare)
}

/// A type's name and its numbers: `Decimal(18, 2)` has two.
pub(super) fn parts(kind: &str) -> (&str, Vec<u32>) {
    let (name, inner) = kind.split_once('(').unwrap_or((kind, ""));
    let numbers = inner.trim_end_matches(')').split(',');
    let numbers = numbers.map_while(|number| number.trim().parse().ok());
    (name, numbers.collect())
}

/// The digits that `Decimal` has at most.
const MOST_DIGITS: u32 = 76;

/// The type that holds all values of a source's column; none where no change has them.
pub(in crate::components) fn suited(kind: Kind, is_nullable: bool) -> Option<String> {
    let bare = match kind {
        Kind::Bool => "Bool".to_owned(),
        Kind::Integer { bits, signed } => format!("{}Int{bits}", if signed { "" } else { "U" }),
        Kind::Float { bits } => format!("Float{bits}"),
        Kind::Decimal {
            digits: Some((precision @ ..=MOST_DIGITS, scale)),
        } => format!("Decimal({precision}, {scale})"),
        // As it is written, with all of its digits.
        Kind::Decimal { .. } => "String".to_owned(),
        Kind::Text | Kind::Json | Kind::Bytes => "String".to_owned(),
        Kind::Uuid => "UUID".to_owned(),
        Kind::Date => "Date32".to_owned(),
        Kind::LocalTime { digits } | Kind::Instant { digits } => {
            format!("DateTime64({})", if digits <= 3 { 3 } else { 6 })
        }
        Kind::Span => "Int64".to_owned(),
        Kind::Unread(_) => return None,
    };
    Some(match is_nullable {
        true => nullable(&bare),
        false => bare,
    })
}

/// Whether a type holds all values of a source's column. A bound of ClickHouse's own, such as the year 2299, is not
/// counted: it has no wider type, and what is beyond is an error of the row.
pub(super) fn holds(declared: &str, kind: Kind, may_be_null: bool) -> bool {
    if may_be_null && !is_nullable(declared) {
        return false;
    }
    let declared = bare(declared);
    let (name, numbers) = parts(declared);
    let text = name == "String" || name == "FixedString";
    match (kind, numbers.as_slice()) {
        (Kind::Unread(_), _) => false,
        (Kind::Text | Kind::Json | Kind::Bytes, _) => text,
        (Kind::Uuid, _) => name == "UUID" || text,
        (Kind::Bool, _) => name == "Bool" || text || integer(name).is_some(),
        (Kind::Integer { bits, signed }, numbers) => match (integer(name), numbers) {
            (Some((of, is_signed)), _) => match (signed, is_signed) {
                (true, false) => false,
                (false, true) => of > bits,
                (true, true) | (false, false) => of >= bits,
            },
            (None, [precision, scale]) => {
                let digits = f64::from(bits - u32::from(signed)) * std::f64::consts::LOG10_2;
                f64::from(precision.saturating_sub(*scale)) > digits
            }
            (None, _) => {
                text || (name == "Float64" && bits <= 32) || (name == "Float32" && bits <= 16)
            }
        },
        (Kind::Float { bits }, _) => name == "Float64" || (name == "Float32" && bits == 32) || text,
        (Kind::Decimal { digits }, numbers) => match (integer(name), numbers, digits) {
            (Some((bits, true)), _, Some((precision, 0))) => {
                f64::from(precision) < f64::from(bits - 1) * std::f64::consts::LOG10_2
            }
            (Some(_), ..) => false,
            (None, [precision, scale], Some((of, behind))) => {
                *scale >= behind && precision - scale >= of.saturating_sub(behind)
            }
            // Each value has digits of its own: one that has too many is an error of the row.
            (None, [_, _], None) => true,
            (None, ..) => text,
        },
        (Kind::Date, _) => name == "Date32" || name == "Date",
        (Kind::LocalTime { digits }, [scale]) => {
            // What the number counts is seen by the scale alone.
            name == "DateTime64"
                && *scale >= digits
                && (digits <= 3) == (*scale <= 3)
                && *scale <= 6
        }
        (Kind::Instant { digits }, [scale]) => name == "DateTime64" && *scale >= digits,
        (Kind::LocalTime { digits } | Kind::Instant { digits }, _) => {
            (name == "DateTime" && digits == 0) || (text && matches!(kind, Kind::Instant { .. }))
        }
        (Kind::Span, _) => name == "Int64" || name == "Int128" || name == "Int256",
    }
}

/// An integer's bits, and whether it may be negative.
pub(super) fn integer(name: &str) -> Option<(u32, bool)> {
    let signed = !name.starts_with('U');
    let bits = name.trim_start_matches('U').strip_prefix("Int")?;
    Some((bits.parse().ok()?, signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suited_type_is_one_that_holds_all() {
        let kinds = [
            Kind::Bool,
            Kind::Integer {
                bits: 16,
                signed: true,
            },
            Kind::Integer {
                bits: 64,
                signed: false,
            },
            Kind::Float { bits: 32 },
            Kind::Decimal {
                digits: Some((18, 4)),
            },
            Kind::Decimal {
                digits: Some((131, 10)),
            },
            Kind::Decimal { digits: None },
            Kind::Text,
            Kind::Uuid,
            Kind::Date,
            Kind::LocalTime { digits: 3 },
            Kind::LocalTime { digits: 6 },
            Kind::Instant { digits: 0 },
            Kind::Instant { digits: 6 },
            Kind::Span,
            Kind::Bytes,
            Kind::Json,
        ];
        for kind in kinds {
            for is_nullable in [false, true] {
                let suited = suited(kind, is_nullable).expect("a type");
                assert_eq!(check(&suited), Ok(()), "{kind:?}: {suited}");
                assert!(holds(&suited, kind, is_nullable), "{kind:?}: {suited}");
                assert_eq!(
                    holds(&suited, kind, true),
                    is_nullable,
                    "{kind:?}: {suited}"
                );
            }
        }
    }

    #[test]
    fn a_pair_that_loses_is_none() {
        let bigint = Kind::Integer {
            bits: 64,
            signed: true,
        };
        let timestamp = Kind::LocalTime { digits: 6 };
        for (declared, kind) in [
            ("Int32", bigint),
            ("UInt64", bigint),
            ("Float64", bigint),
            ("Decimal(18, 0)", bigint),
            (
                "UInt8",
                Kind::Integer {
                    bits: 32,
                    signed: true,
                },
            ),
            ("Int64", Kind::Text),
            ("UUID", Kind::Text),
            ("IPv4", Kind::Text),
            ("DateTime", timestamp),
            ("Date", timestamp),
            ("DateTime64(3)", timestamp),
            ("String", timestamp),
            ("DateTime64(6)", Kind::LocalTime { digits: 3 }),
            ("DateTime64(3)", Kind::Date),
            (
                "Decimal(9, 2)",
                Kind::Decimal {
                    digits: Some((18, 4)),
                },
            ),
            (
                "Decimal(18, 6)",
                Kind::Decimal {
                    digits: Some((18, 4)),
                },
            ),
            (
                "Float64",
                Kind::Decimal {
                    digits: Some((18, 4)),
                },
            ),
            (
                "Int64",
                Kind::Decimal {
                    digits: Some((19, 0)),
                },
            ),
            ("DateTime", Kind::Instant { digits: 6 }),
            ("DateTime64(3)", Kind::Instant { digits: 6 }),
            ("Float32", Kind::Float { bits: 64 }),
        ] {
            assert!(!holds(declared, kind, false), "{declared} {kind:?}");
        }
        for (declared, kind) in [
            ("Int128", bigint),
            ("Decimal(19, 0)", bigint),
            ("LowCardinality(String)", Kind::Text),
            ("Nullable(Int64)", bigint),
            (
                "Int64",
                Kind::Decimal {
                    digits: Some((18, 0)),
                },
            ),
            (
                "Decimal(20, 4)",
                Kind::Decimal {
                    digits: Some((18, 4)),
                },
            ),
            (
                "Int16",
                Kind::Integer {
                    bits: 8,
                    signed: false,
                },
            ),
            ("UInt8", Kind::Bool),
        ] {
            assert!(holds(declared, kind, false), "{declared} {kind:?}");
        }
    }

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
