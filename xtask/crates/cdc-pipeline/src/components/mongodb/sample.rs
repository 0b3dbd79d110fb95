//! What the documents of a collection have in their fields, by a sample of them.
//!
//! A field has no type, and what is chosen must hold every value that was seen. Drivers write an integer as wide as it
//! is, so one is taken as 64 bits; a document may lack any field but `_id`, so all others may be NULL. Values of
//! several types, and those that a column of none holds without a loss, are texts: as extended JSON, but for scalars.

use indexmap::IndexMap;
use mongodb::bson::{Bson, Document};

use crate::components::source::Sample;
use crate::flows::types::{Column, Kind, SECONDS};

/// The field that every document has, by which it is known.
const ID: &str = "_id";

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    documents: u64,
    fields: IndexMap<String, Field>,
}

#[derive(Debug, Default)]
struct Field {
    /// How many documents have it.
    documents: u64,
    /// Its values' types, as MongoDB calls them.
    types: Vec<&'static str>,
    /// Whether one is an integer that no float is, or a time that no target's column holds.
    is_beyond: bool,
}

impl Seen {
    /// Takes one more document.
    pub(super) fn add(&mut self, document: &Document) {
        self.documents += 1;
        for (name, value) in document {
            let field = self.fields.entry(name.clone()).or_default();
            field.documents += 1;
            let called = called(value);
            if !field.types.contains(&called) {
                field.types.push(called);
            }
            field.is_beyond |= is_beyond(value);
        }
    }

    /// The fields as columns, the most frequent first.
    pub(super) fn sample(self) -> Sample {
        let column = |(name, field): (String, Field)| {
            let is_key = name == ID;
            let column = Column {
                written: field.types.join(", "),
                kind: field.kind(),
                is_nullable: !is_key,
                is_key,
                is_filled: false,
                name,
            };
            (column, field.documents)
        };
        let mut fields: Vec<(Column, u64)> = self.fields.into_iter().map(column).collect();
        fields.sort_by_key(|(column, documents)| (!column.is_key, u64::MAX - documents));
        Sample {
            documents: self.documents,
            fields,
        }
    }
}

impl Field {
    fn kind(&self) -> Kind {
        let mut types = self.types.clone();
        types.retain(|it| *it != "null");
        types.sort_unstable();
        match (types.as_slice(), self.is_beyond) {
            (["bool"], _) => Kind::Bool,
            (["int"] | ["long"] | ["int", "long"], _) => Kind::Integer {
                bits: 64,
                signed: true,
            },
            (
                ["double"] | ["double", "int"] | ["double", "long"] | ["double", "int", "long"],
                false,
            ) => Kind::Float { bits: 64 },
            (["decimal"], _) => Kind::Decimal { digits: None },
            (["date"], false) => Kind::Instant { digits: 3 },
            _ => Kind::Text,
        }
    }
}

/// A value's type as MongoDB's `$type` calls it.
fn called(value: &Bson) -> &'static str {
    match value {
        Bson::Null | Bson::Undefined => "null",
        Bson::Boolean(_) => "bool",
        Bson::Int32(_) => "int",
        Bson::Int64(_) => "long",
        Bson::Double(_) => "double",
        Bson::Decimal128(_) => "decimal",
        Bson::DateTime(_) => "date",
        Bson::Timestamp(_) => "timestamp",
        Bson::String(_) => "string",
        Bson::ObjectId(_) => "objectId",
        Bson::Document(_) => "object",
        Bson::Array(_) => "array",
        Bson::Binary(_) => "binData",
        _ => "other",
    }
}

fn is_beyond(value: &Bson) -> bool {
    match value {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "whether it loses something is what is asked"
        )]
        Bson::Int64(number) => *number as f64 as i128 != i128::from(*number),
        Bson::DateTime(time) => {
            let (first, last) = SECONDS;
            !(first..=last).contains(&time.timestamp_millis().div_euclid(1_000))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{DateTime, Decimal128, Timestamp, doc};
    use proptest::prelude::*;

    use super::*;

    fn kind(values: &[Bson]) -> Kind {
        let mut seen = Seen::default();
        for value in values {
            seen.add(&doc! { "f": value.clone() });
        }
        seen.sample().fields[0].0.kind
    }

    fn decimal(text: &str) -> Bson {
        Bson::Decimal128(text.parse::<Decimal128>().expect("a decimal"))
    }

    const LONG: Kind = Kind::Integer {
        bits: 64,
        signed: true,
    };

    #[test]
    fn a_field_s_type_holds_what_was_seen() {
        let int = || Bson::Int32(5);
        let date = |millis| Bson::DateTime(DateTime::from_millis(millis));
        let double = || Bson::Double(5.5);
        for (values, wanted) in [
            (vec![int()], LONG),
            (vec![int(), Bson::Int64(i64::MAX), Bson::Null], LONG),
            (vec![int(), double()], Kind::Float { bits: 64 }),
            (
                vec![double(), Bson::Int64(1 << 53)],
                Kind::Float { bits: 64 },
            ),
            (vec![double(), Bson::Int64((1 << 53) + 1)], Kind::Text),
            (vec![double(), Bson::Int64(i64::MAX)], Kind::Text),
            (vec![decimal("12.34")], Kind::Decimal { digits: None }),
            (vec![decimal("12.34"), int()], Kind::Text),
            (vec![date(0)], Kind::Instant { digits: 3 }),
            (vec![date(-2_208_988_800_001)], Kind::Text),
            (vec![date(10_413_792_000_000)], Kind::Text),
            (vec![date(0), Bson::String("2026-01-01".into())], Kind::Text),
            (
                vec![Bson::Timestamp(Timestamp {
                    time: 1,
                    increment: 2,
                })],
                Kind::Text,
            ),
            (vec![Bson::Boolean(true)], Kind::Bool),
            (vec![Bson::Boolean(true), int()], Kind::Text),
            (vec![Bson::Null], Kind::Text),
            (vec![Bson::Array(Vec::new())], Kind::Text),
        ] {
            assert_eq!(kind(&values), wanted, "{values:?}");
        }
    }

    #[test]
    fn documents_that_lack_a_field_are_counted_and_only_the_key_is_never_null() {
        let mut seen = Seen::default();
        seen.add(&doc! { "rare": 1, "_id": ObjectId::new(), "n": 1 });
        seen.add(&doc! { "_id": ObjectId::new(), "n": Bson::Null });
        let sample = seen.sample();
        assert_eq!(sample.documents, 2);
        let fields: Vec<_> = sample
            .fields
            .iter()
            .map(|(it, documents)| {
                (
                    it.name.as_str(),
                    it.is_nullable,
                    it.is_key,
                    *documents,
                    it.written.as_str(),
                )
            })
            .collect();
        assert_eq!(
            fields,
            [
                ("_id", false, true, 2, "objectId"),
                ("n", true, false, 2, "int, null"),
                ("rare", true, false, 1, "int"),
            ]
        );
    }

    fn values() -> impl Strategy<Value = Bson> {
        prop_oneof![
            Just(Bson::Null),
            any::<bool>().prop_map(Bson::Boolean),
            any::<i32>().prop_map(Bson::Int32),
            any::<i64>().prop_map(Bson::Int64),
            (-1_i64 << 54..1_i64 << 54).prop_map(Bson::Int64),
            any::<f64>().prop_map(Bson::Double),
            any::<i64>().prop_map(|it| decimal(&it.to_string())),
            any::<i64>().prop_map(|it| Bson::DateTime(DateTime::from_millis(it))),
            (-3_000_000_000_000_i64..11_000_000_000_000)
                .prop_map(|it| Bson::DateTime(DateTime::from_millis(it))),
            any::<String>().prop_map(Bson::String),
            Just(Bson::Document(doc! { "a": 1 })),
        ]
    }

    /// Whether a column of the kind has the value without a loss; a text has any.
    fn has(kind: Kind, value: &Bson) -> bool {
        match (kind, value) {
            (Kind::Text, _) | (_, Bson::Null) => true,
            (Kind::Bool, Bson::Boolean(_)) | (Kind::Decimal { .. }, Bson::Decimal128(_)) => true,
            (Kind::Integer { .. }, Bson::Int32(_) | Bson::Int64(_)) => true,
            (Kind::Float { .. }, Bson::Double(_) | Bson::Int32(_)) => true,
            (Kind::Float { .. }, Bson::Int64(number)) => {
                // By its bits, and not by a conversion: what is left without its zeros fits a float's.
                let odd = number.unsigned_abs() >> number.trailing_zeros().min(63);
                odd < 1 << 53
            }
            (Kind::Instant { .. }, Bson::DateTime(time)) => {
                let text = time.try_to_rfc3339_string();
                text.is_ok_and(|it| ("1900"..="2299").contains(&&it[..4]))
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn every_sampled_value_is_held(values in prop::collection::vec(values(), 1..6)) {
            let kind = kind(&values);
            for value in &values {
                prop_assert!(has(kind, value), "{kind:?} {value:?}");
            }
            // A document more never narrows it.
            if values.iter().all(|it| matches!(it, Bson::Int32(_) | Bson::Int64(_))) {
                prop_assert_eq!(kind, LONG);
            }
        }
    }
}
