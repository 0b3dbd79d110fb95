//! Which records of a dead letter queue are meant. Pure.

use super::headers::{Failure, Place};
use crate::clients::kafka::Record;
use crate::error::{Code, Error, Result, nearest};

/// What a record can be chosen by.
pub const FIELDS: [&str; 9] = [
    "exception",
    "message",
    "stage",
    "connector",
    "topic",
    "partition",
    "offset",
    "dlq-offset",
    "key",
];

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Exception(String),
    Message(String),
    Stage(String),
    Connector(String),
    Topic(String),
    Partition(i32),
    Offset(Range),
    DlqOffset(Range),
    Key(Vec<u8>),
}

/// Both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range(i64, i64);

impl Range {
    /// `7`, `3..9`, `3..`, `..9`.
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
        let (low, high) = match text.split_once("..") {
            None => return number(text).map(|only| Range(only, only)),
            Some(("", "")) => return None,
            Some((low, high)) => (low, high),
        };
        let low = match low {
            "" => 0,
            text => number(text)?,
        };
        let high = match high {
            "" => i64::MAX,
            text => number(text)?,
        };
        (low <= high).then_some(Range(low, high))
    }

    fn holds(self, number: i64) -> bool {
        (self.0..=self.1).contains(&number)
    }
}

/// Conditions, all of which a record must fulfil.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Vec<Condition>);

impl Filter {
    /// Reads `FIELD=VALUE` texts.
    ///
    /// # Errors
    /// There is no such field, with the nearest one; or the value does not fit it.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let conditions = texts.iter().map(|text| condition(text));
        conditions.collect::<Result<_>>().map(Filter)
    }

    /// Whether a record at a place of its queue is meant.
    pub fn wants(&self, at: &Place, failure: &Failure, record: &Record) -> bool {
        let part = |text: &Option<String>, wanted: &str| {
            text.as_deref().is_some_and(|text| text.contains(wanted))
        };
        let origin = failure.origin.as_ref();
        self.0.iter().all(|condition| match condition {
            Condition::Exception(text) => part(&failure.exception, text),
            Condition::Message(text) => part(&failure.message, text),
            Condition::Stage(text) => {
                let stage = failure.stage.as_deref();
                stage.is_some_and(|stage| stage.eq_ignore_ascii_case(text))
            }
            Condition::Connector(name) => failure.connector.as_ref() == Some(name),
            Condition::Topic(name) => origin.is_some_and(|origin| origin.topic == *name),
            Condition::Partition(index) => origin.is_some_and(|origin| origin.partition == *index),
            Condition::Offset(range) => origin.is_some_and(|origin| range.holds(origin.offset)),
            Condition::DlqOffset(range) => range.holds(at.offset),
            Condition::Key(text) => record
                .key
                .as_deref()
                .is_some_and(|key| key.windows(text.len()).any(|part| part == text)),
        })
    }
}

fn condition(text: &str) -> Result<Condition> {
    let Some((field, value)) = text.split_once('=') else {
        return Err(
            Error::new(Code::Usage, format!("`--filter {text}` is no FIELD=VALUE"))
                .hint(format!("fields: {}", FIELDS.join(", "))),
        );
    };
    let owned = value.to_owned();
    let range = || {
        let wanted = "an offset, or a range with both ends included: 7, 3..9, 3.., ..9";
        Range::parse(value).ok_or_else(|| unfit(text, wanted))
    };
    let partition = || {
        let index = value.parse().ok().filter(|index| *index >= 0);
        index.ok_or_else(|| unfit(text, "a partition's number"))
    };
    if value.is_empty() {
        return Err(unfit(text, "a value after the `=`"));
    }
    Ok(match field {
        "exception" => Condition::Exception(owned),
        "message" => Condition::Message(owned),
        "stage" => Condition::Stage(owned),
        "connector" => Condition::Connector(owned),
        "topic" => Condition::Topic(owned),
        "partition" => Condition::Partition(partition()?),
        "offset" => Condition::Offset(range()?),
        "dlq-offset" => Condition::DlqOffset(range()?),
        "key" => Condition::Key(value.as_bytes().to_vec()),
        _ => {
            let what = format!("`--filter {text}`: there is no field `{field}`");
            let hint = match nearest(field, FIELDS) {
                Some(near) => format!("did you mean `{near}={value}`?"),
                None => format!("fields: {}", FIELDS.join(", ")),
            };
            return Err(Error::new(Code::Usage, what).hint(hint));
        }
    })
}

fn unfit(text: &str, wanted: &str) -> Error {
    Error::new(Code::Usage, format!("`--filter {text}` does not fit"))
        .hint(format!("it wants {wanted}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(texts: &[&str]) -> Result<Filter> {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        Filter::parse(&texts)
    }

    fn wants(texts: &[&str]) -> bool {
        let failure = Failure {
            origin: Some("orders/2@17".parse().unwrap()),
            connector: Some("sink".into()),
            stage: Some("VALUE_CONVERTER".into()),
            exception: Some("org.apache.kafka.connect.errors.DataException".into()),
            message: Some("no schema".into()),
            ..Failure::default()
        };
        let record = Record::new(Some("{\"id\":7}".into()), None);
        let at = "dlq/0@3".parse().unwrap();
        filter(texts).unwrap().wants(&at, &failure, &record)
    }

    #[test]
    fn all_conditions_must_hold() {
        assert!(wants(&[]));
        for right in [
            "exception=DataException",
            "message=schema",
            "stage=value_converter",
            "connector=sink",
            "topic=orders",
            "partition=2",
            "offset=17",
            "offset=17..",
            "offset=..17",
            "offset=10..20",
            "dlq-offset=3",
            "key=\"id\":7",
        ] {
            assert!(wants(&[right]), "{right}");
            assert!(!wants(&[right, "topic=order"]), "{right}");
        }
        for wrong in ["connector=sin", "offset=18..", "partition=0", "key=8"] {
            assert!(!wants(&[wrong]), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_known_is_not_meant() {
        let bare = Record::new(None, None);
        let at: Place = "dlq/0@3".parse().unwrap();
        for text in ["topic=t", "offset=0..", "exception=x", "key=k"] {
            let found = filter(&[text]).unwrap();
            assert!(!found.wants(&at, &Failure::default(), &bare), "{text}");
        }
    }

    #[test]
    fn wrong_filters_say_what_is_right() {
        for (text, words) in [
            ("exeption=x", "`exception=x`"),
            ("nothing", "fields: exception"),
            ("zzzzzzz=1", "fields: exception"),
            ("partition=x", "partition's number"),
            ("offset=9..3", "both ends included"),
            ("offset=..", "both ends included"),
            ("topic=", "a value"),
        ] {
            let error = filter(&[text]).unwrap_err();
            assert_eq!(error.code, Code::Usage, "{text}");
            assert!(error.hint.unwrap().contains(words), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*", number in any::<i64>()) {
            drop(filter(&[&text]));
            if let Some(Range(low, high)) = Range::parse(&text) {
                prop_assert!(low <= high && Range(low, high).holds(low) && Range(low, high).holds(high));
            }
            let range = Range(3, 9);
            prop_assert_eq!(range.holds(number), (3..=9).contains(&number));
        }
    }
}
