//! What a record of an outbox's topic is to a projection. Pure.

use serde_json::Value;

use crate::clients::kafka::Record;
use crate::components::projections::Event;
use crate::profile::schema::Projection;

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// An event that counts.
    Counts(Event),
    /// Of a type that does not.
    PassedOver,
    /// Nothing that could be added up, for this reason.
    Unreadable(String),
}

/// Reads a record as Debezium's event router writes it: the event's id and type in headers, its payload as a JSON text. What
/// another producer writes as an object is read, too.
pub(super) fn read(projection: &Projection, partition: i32, record: &Record) -> Read {
    let header = |name: &str| {
        let found = record.headers.iter().find(|it| it.key == name)?;
        let text = std::str::from_utf8(found.value.as_ref()?).ok()?;
        Some(text.to_owned())
    };
    match header("eventType") {
        None => return Read::Unreadable("it has no header `eventType`".into()),
        Some(kind) if !projection.events.contains(&kind) => return Read::PassedOver,
        Some(_) => {}
    }
    let Some(id) = header("id") else {
        return Read::Unreadable("it has no header `id`".into());
    };
    match payload(projection, record) {
        Ok(payload) => Read::Counts(Event {
            partition,
            offset: record.offset,
            id,
            payload,
        }),
        Err(why) => Read::Unreadable(why),
    }
}

/// The payload's text, when the fields are there.
fn payload(projection: &Projection, record: &Record) -> Result<String, String> {
    let Some(value) = &record.value else {
        return Err("it has no payload".into());
    };
    let text = std::str::from_utf8(value).map_err(|_| "its payload is not UTF-8")?;
    let parse = |text: &str| {
        serde_json::from_str::<Value>(text)
            .map_err(|error| format!("its payload is no JSON: {error}"))
    };
    let (text, found) = match parse(text)? {
        Value::String(inner) => {
            let found = parse(&inner)?;
            (inner, found)
        }
        found => (text.to_owned(), found),
    };
    if !found.is_object() {
        return Err("its payload is no object".into());
    }
    if found.get(&projection.key).is_none_or(Value::is_null) {
        return Err(format!("its payload has no `{}`", projection.key));
    }
    let mut fields = projection.sum.values();
    match fields.find(|field| !found.get(*field).is_some_and(Value::is_number)) {
        Some(field) => Err(format!("`{field}` of its payload is no number")),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::kafka::Header;
    use serde_json::json;

    fn record(headers: &[(&str, &str)], value: Option<&str>) -> Record {
        let mut record = Record::new(None, value.map(|it| it.to_owned().into()));
        record.offset = 3;
        record.headers = headers
            .iter()
            .map(|(key, value)| Header {
                key: (*key).to_owned(),
                value: Some((*value).to_owned().into()),
            })
            .collect();
        record
    }

    #[test]
    fn only_what_counts_and_can_be_added_up_is_an_event() {
        let projection: Projection = serde_json::from_value(json!({
            "topic": "outbox.events", "events": ["OrderPlaced"], "into": "shop", "table": "public.order_totals",
            "key": "customer_id", "count": "orders", "sum": { "total": "amount" }, "queue": "dlq", "truth": "SELECT 1",
        }))
        .expect("a projection");
        let placed = [("id", "a"), ("eventType", "OrderPlaced")];
        let whole = r#"{"customer_id": 1, "amount": 0.10}"#;
        let text = serde_json::to_string(whole).expect("a text");
        // A number keeps its digits.
        for value in [whole, &text] {
            let Read::Counts(event) = read(&projection, 2, &record(&placed, Some(value))) else {
                panic!("{value} does not count");
            };
            assert_eq!(
                (event.payload.as_str(), event.offset, event.partition),
                (whole, 3, 2)
            );
        }
        let shipped = [("id", "a"), ("eventType", "OrderShipped")];
        assert_eq!(
            read(&projection, 0, &record(&shipped, Some("x"))),
            Read::PassedOver
        );
        for (headers, value, why) in [
            (&placed[..1], Some(whole), "eventType"),
            (&placed[1..], Some(whole), "`id`"),
            (&placed, None, "no payload"),
            (&placed, Some("{"), "no JSON"),
            (&placed, Some("\"{\""), "no JSON"),
            (&placed, Some("[1]"), "no object"),
            (&placed, Some(r#"{"amount": 1}"#), "no `customer_id`"),
            (
                &placed,
                Some(r#"{"customer_id": null, "amount": 1}"#),
                "no `customer_id`",
            ),
            (&placed, Some(r#"{"customer_id": 1}"#), "`amount`"),
            (
                &placed,
                Some(r#"{"customer_id": 1, "amount": "1"}"#),
                "`amount`",
            ),
        ] {
            match read(&projection, 0, &record(headers, value)) {
                Read::Unreadable(found) => assert!(found.contains(why), "{found}"),
                other => panic!("{value:?} is {other:?}"),
            }
        }
    }
}
