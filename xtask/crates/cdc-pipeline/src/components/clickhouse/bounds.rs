//! The bounds of types, and which of them is nearest to a value that lies beyond: SQL, as in [`super::changes`].
//!
//! Only what is beyond them is moved to one. A value between them that the type has not, such as one with more digits
//! behind the point, has no nearest bound, and neither has NaN.

use super::types::{integer, parts};
use crate::clients::clickhouse::literal;

/// A number as JSON and `BigDecimal` write one.
const NUMBER: &str = "'^[+-]?(?:[0-9]+\\\\.?[0-9]*|\\\\.[0-9]+)(?:[eE][+-]?[0-9]+)?$'";

/// A time with its zone in any year.
const ANY_ISO: &str = "'^[+-]?[0-9]{4,}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\\\.[0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})$'";

/// The days, since the epoch, that a source's date may be. Debezium makes another number of `infinity`, which may be
/// that of the other one's sign, and other ones of dates before Christ.
const DAYS: (i64, i64) = (-10_000_000, 2_145_042_905);

/// A source's days, if a date can have them.
pub(super) fn days(number: &str) -> String {
    let (first, last) = DAYS;
    format!("if({number} BETWEEN {first} AND {last}, {number}, NULL)")
}

/// The least and the greatest value of a type of numbers.
pub(super) struct Bounds {
    /// The type.
    kind: String,
    least: String,
    greatest: String,
}

impl Bounds {
    /// Those of an integer or a decimal.
    pub(super) fn of(kind: &str) -> Option<Self> {
        let (name, numbers) = parts(kind);
        let (least, greatest) = match (integer(name), numbers.as_slice()) {
            (Some((bits, true)), _) => (format!("-{}", power(bits - 1, 0)), power(bits - 1, 1)),
            (Some((bits, false)), _) => ("0".to_owned(), power(bits, 1)),
            (None, [precision, scale]) => {
                let nines = |count: u32| "9".repeat(count as usize);
                let before = match precision.saturating_sub(*scale) {
                    0 => "0".to_owned(),
                    count => nines(count),
                };
                let greatest = match scale {
                    0 => before,
                    scale => format!("{before}.{}", nines(*scale)),
                };
                (format!("-{greatest}"), greatest)
            }
            (None, _) => return None,
        };
        Some(Bounds {
            kind: kind.to_owned(),
            least,
            greatest,
        })
    }

    /// The bound that is nearest to a number's text, which lies beyond them; NULL for any other.
    pub(super) fn nearest(&self, text: &str) -> String {
        let bound = |bound: &str| format!("CAST({}, {})", literal(bound), literal(&self.kind));
        let beyond = |bound: &str| beyond_number(text, bound.trim_start_matches('-'));
        format!(
            "multiIf({text} IN ('Infinity', 'POSITIVE_INFINITY'), {greatest}, \
             {text} IN ('-Infinity', 'NEGATIVE_INFINITY'), {least}, \
             NOT match({text}, {NUMBER}), NULL, \
             startsWith({text}, '-') AND {under}, {least}, \
             NOT startsWith({text}, '-') AND {over}, {greatest}, NULL)",
            greatest = bound(&self.greatest),
            least = bound(&self.least),
            under = beyond(&self.least),
            over = beyond(&self.greatest),
        )
    }
}

/// Whether a number is further from zero than a bound, by its digits: none is lost as in a float.
fn beyond_number(text: &str, bound: &str) -> String {
    let (whole, behind) = bound.split_once('.').unwrap_or((bound, ""));
    let whole = whole.trim_start_matches('0');
    let digits = format!("extract({text}, '^[+-]?0*([0-9]*)')");
    let length = whole.len();
    // A power of two and what is short are floats themselves; others become the next power, which is beyond them.
    let than = match (length <= 15 || whole.ends_with('8')) && behind.is_empty() {
        true => ">",
        false => ">=",
    };
    format!(
        "if(positionCaseInsensitive({text}, 'e') > 0, \
         abs(toFloat64OrNull({text})) {than} toFloat64('{bound}'), \
         length({digits}) > {length} OR (length({digits}) = {length} AND {digits} > '{whole}') \
         OR ({digits} = '{whole}' AND match({text}, '\\\\.{behind}[0-9]*[1-9]')))"
    )
}

/// A power of two without what is to be taken away, as text.
fn power(exponent: u32, without: u8) -> String {
    let mut digits = vec![1_u8];
    for _ in 0..exponent {
        let mut carry = 0;
        for digit in &mut digits {
            let doubled = *digit * 2 + carry;
            *digit = doubled % 10;
            carry = doubled / 10;
        }
        if carry > 0 {
            digits.push(carry);
        }
    }
    // A power of two ends with no zero.
    if let Some(last) = digits.first_mut() {
        *last -= without;
    }
    let digits = digits.iter().rev();
    digits.map(|it| char::from(b'0' + it)).collect()
}

/// The number of column `at` within bounds, and NULL where `exact` says that the type has not all of it.
pub(super) fn clamped(at: usize, first: i64, last: i64, exact: &str) -> String {
    let within = match exact.strip_prefix(" AND ") {
        Some(exact) => format!("{exact}, _n{at}, NULL"),
        None => format!("_n{at}"),
    };
    format!(
        "multiIf(_n{at} < {first}, toInt64({first}), _n{at} > {last}, toInt64({last}), {within})"
    )
}

/// A number beyond all bounds, on the side of a time's text of a year that no type has; NULL for any other. At the
/// turn of the year only UTC says on which side it is.
pub(super) fn beyond(text: &str) -> String {
    let year = format!("toInt64OrNull(extract({text}, '^([+-]?[0-9]{{4,18}})-'))");
    format!(
        "multiIf({text} = 'infinity', toInt64({greatest}), {text} = '-infinity', toInt64({least}), \
         NOT match({text}, {ANY_ISO}), NULL, \
         {year} < 1899 OR {year} = 1899 AND endsWith({text}, 'Z'), toInt64({least}), \
         {year} > 2300 OR {year} = 2300 AND endsWith({text}, 'Z'), toInt64({greatest}), NULL)",
        least = i64::MIN + 1,
        greatest = i64::MAX,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str) -> Option<(String, String)> {
        Bounds::of(kind).map(|it| (it.least, it.greatest))
    }

    #[test]
    fn bounds_are_the_types_own() {
        let texts = |least: &str, greatest: &str| Some((least.to_owned(), greatest.to_owned()));
        assert_eq!(of("Int8"), texts("-128", "127"));
        assert_eq!(of("UInt8"), texts("0", "255"));
        assert_eq!(
            of("Int64"),
            texts(&i64::MIN.to_string(), &i64::MAX.to_string())
        );
        assert_eq!(of("UInt128"), texts("0", &u128::MAX.to_string()));
        assert_eq!(
            of("Int128"),
            texts(&i128::MIN.to_string(), &i128::MAX.to_string())
        );
        assert_eq!(of("Decimal(5, 2)"), texts("-999.99", "999.99"));
        assert_eq!(of("Decimal(3, 0)"), texts("-999", "999"));
        assert_eq!(of("Decimal(2, 2)"), texts("-0.99", "0.99"));
        for kind in ["String", "Float64", "Date32", "DateTime64(3)", "UUID"] {
            assert_eq!(of(kind), None, "{kind}");
        }
    }
}
