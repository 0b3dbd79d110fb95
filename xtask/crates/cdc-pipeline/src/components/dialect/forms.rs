//! The canonical texts of values, by what the two columns may hold that are compared.

use crate::flows::types::{Column, Kind};

/// How a value is written canonically, without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `0` or `1`.
    Bool,
    /// Digits of an integer.
    Integer,
    /// Digits of a decimal number without zeros at its end.
    Decimal,
    /// `\x` and the 16 digits of the IEEE 754 double, or `NaN`. There is one zero.
    Float {
        /// How many bits the narrower column has: a number of 32 bits in a wider column is the one with the same
        /// digits.
        bits: u32,
    },
    /// The text.
    Text,
    /// The UUID in small letters.
    Uuid,
    /// Days since 1970-01-01.
    Date,
    /// `\x` and the 16 digits of the microseconds since 2000-01-01 UTC, in two's complement: as PostgreSQL has them.
    Time,
    /// Microseconds, or milliseconds of a time of the day with up to three digits.
    Span {
        /// Whether the other side has what Debezium writes.
        is_arrived: bool,
    },
    /// Base64.
    Bytes,
    /// The JSON text that Debezium writes.
    JsonText,
    /// JSON as the server writes it canonically, with its keys in order.
    Json,
}

impl Form {
    /// Whether a `|` may be in it, so that it stands with its length.
    pub fn has_length(self) -> bool {
        matches!(self, Form::Text | Form::JsonText | Form::Json)
    }

    /// A canonical value for people.
    pub fn shown(self, text: &str) -> String {
        let hex = |text: &str| u64::from_str_radix(text.strip_prefix("\\x")?, 16).ok();
        let shown = match self {
            Form::Bool => Some(if text == "1" { "true" } else { "false" }.to_owned()),
            Form::Float { bits } => hex(text).map(f64::from_bits).map(|it| match bits {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "it was widened from 32 bits"
                )]
                32 => format!("{:?}", it as f32),
                _ => format!("{it:?}"),
            }),
            Form::Time => hex(text).and_then(|it| time(it.cast_signed())),
            Form::Date => text.parse().ok().and_then(date),
            _ => None,
        };
        shown.unwrap_or_else(|| text.to_owned())
    }
}

/// Microseconds between 1970 and 2000, where the canonical text of a time begins.
pub const UNTIL_2000: i64 = 946_684_800_000_000;

fn time(micros: i64) -> Option<String> {
    let micros = micros.checked_add(UNTIL_2000)?;
    let time = jiff::Timestamp::from_microsecond(micros).ok()?;
    Some(time.to_string())
}

fn date(days: i32) -> Option<String> {
    let epoch = jiff::civil::date(1970, 1, 1);
    let date = epoch
        .checked_add(jiff::Span::new().try_days(days).ok()?)
        .ok()?;
    Some(date.to_string())
}

/// The form in which a source's column and the target's are compared.
///
/// # Errors
/// They cannot be: why.
pub fn form(source: &Column, target: &Column) -> Result<Form, String> {
    let form = match (source.kind, target.kind) {
        (Kind::Unread(why), _) => return Err(why.to_owned()),
        (_, Kind::Unread(_)) => None,
        (Kind::Bool, Kind::Bool) => Some(Form::Bool),
        (Kind::Bool | Kind::Integer { .. }, Kind::Integer { .. } | Kind::Bool) => {
            Some(Form::Integer)
        }
        (
            Kind::Integer { .. } | Kind::Decimal { .. },
            Kind::Integer { .. } | Kind::Decimal { .. },
        ) => Some(Form::Decimal),
        (Kind::Integer { .. } | Kind::Decimal { .. }, Kind::Text) => Some(Form::Text),
        (Kind::Float { .. }, Kind::Float { bits }) => Some(Form::Float { bits }),
        (Kind::Uuid, Kind::Uuid) => Some(Form::Uuid),
        (Kind::Text | Kind::Uuid, Kind::Text | Kind::Uuid) => Some(Form::Text),
        (Kind::Date, Kind::Date) => Some(Form::Date),
        (
            Kind::LocalTime { .. } | Kind::Instant { .. },
            Kind::LocalTime { .. } | Kind::Instant { .. },
        ) => Some(Form::Time),
        (Kind::Span, Kind::Integer { .. }) => Some(Form::Span { is_arrived: true }),
        (Kind::Span, Kind::Span) => Some(Form::Span { is_arrived: false }),
        (Kind::Bytes, Kind::Bytes | Kind::Text) => Some(Form::Bytes),
        (Kind::Json, Kind::Text) => Some(Form::JsonText),
        (Kind::Json, Kind::Json) => Some(Form::Json),
        _ => None,
    };
    form.ok_or_else(|| {
        format!(
            "{} at the source and {} at the target have no common form",
            source.written, target.written
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_values_are_shown_as_people_write_them() {
        assert_eq!(
            Form::Time.shown("\\x0000000000000005"),
            "2000-01-01T00:00:00.000005Z"
        );
        assert_eq!(
            Form::Time.shown("\\xffffffffffffffff"),
            "1999-12-31T23:59:59.999999Z"
        );
        assert_eq!(Form::Date.shown("-1"), "1969-12-31");
        assert_eq!(Form::Float { bits: 64 }.shown("\\x3fb999999999999a"), "0.1");
        assert_eq!(Form::Float { bits: 32 }.shown("\\x3fb99999a0000000"), "0.1");
        assert_eq!(Form::Float { bits: 64 }.shown("NaN"), "NaN");
        assert_eq!(Form::Integer.shown("7"), "7");
    }
}
