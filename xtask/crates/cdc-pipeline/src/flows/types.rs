//! What a column at a source may hold, in terms that sources and targets share.
//!
//! A source's type says what its columns are ([`Column`]), a target's which of its own types holds all of that
//! ([`crate::components::target::Target::suited`]). What changes look like on the way is Debezium's: integers, floats
//! and booleans as JSON has them, decimals as texts, dates as days, times without a zone as a number of
//! milliseconds (up to three digits) or microseconds, times with a zone as ISO 8601, bytes as base64, documents
//! and arrays as JSON in a text.

use crate::profile::schema::Flow;

/// The first and the last second, since the epoch, that targets' times have: of the years 1900 to 2299.
pub const SECONDS: (i64, i64) = (-2_208_988_800, 10_413_791_999);

/// What values a column may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// An integer.
    Integer {
        /// How many bits it has.
        bits: u32,
        /// Whether it may be negative.
        signed: bool,
    },
    /// A binary floating point number.
    Float {
        /// How many bits it has.
        bits: u32,
    },
    /// A decimal number.
    Decimal {
        /// Its digits and those behind the point; none where each value has its own.
        digits: Option<(u32, u32)>,
    },
    /// A text, or what is written as one without a loss.
    Text,
    /// A UUID.
    Uuid,
    /// A day.
    Date,
    /// A date with a time and without a zone.
    LocalTime {
        /// Digits of its seconds.
        digits: u32,
    },
    /// A moment.
    Instant {
        /// Digits of its seconds.
        digits: u32,
    },
    /// A time of the day or a span, which arrive as microseconds (a time of up to three digits: milliseconds).
    Span,
    /// Bytes, which arrive as base64.
    Bytes,
    /// A document or an array, which arrives as JSON.
    Json,
    /// It is in no change: why.
    Unread(&'static str),
}

impl Kind {
    /// How a change has a value of it, for people.
    pub fn arrives(self) -> &'static str {
        match self {
            Kind::Bool => "true or false",
            Kind::Integer { .. } => "number",
            Kind::Float { .. } => "number; NaN and infinities as texts",
            Kind::Decimal { .. } => "all digits, as text",
            Kind::Text | Kind::Uuid => "text",
            Kind::Date => "days since 1970",
            Kind::LocalTime { digits: ..=3 } => "milliseconds since 1970",
            Kind::LocalTime { .. } => "microseconds since 1970",
            Kind::Instant { .. } => "ISO 8601, UTC",
            Kind::Span => "microseconds (time(3) and less: milliseconds)",
            Kind::Bytes => "base64",
            Kind::Json => "JSON in a text",
            Kind::Unread(why) => why,
        }
    }
}

/// Why a change has no value of a type that Debezium does not know.
pub const LEFT_OUT: &str = "Debezium leaves columns of this type out of its changes";

/// A column of a source's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as the source writes it.
    pub written: String,
    /// What it may hold.
    pub kind: Kind,
    /// Whether it may be NULL.
    pub is_nullable: bool,
    /// Whether the primary key has it.
    pub is_key: bool,
    /// Whether the source fills it where a row is inserted without it.
    pub is_filled: bool,
}

impl Column {
    /// Whether a flow's rows may have NULL in it.
    pub fn is_nullable_in(&self, flow: &Flow) -> bool {
        self.is_nullable && !flow.key.contains(&self.name)
    }
}
