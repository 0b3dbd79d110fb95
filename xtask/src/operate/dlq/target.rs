//! Looking a sink's rows up where it writes them, if that is a database of this environment. Of other
//! sinks the positions are the proof.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Place;
use super::decide::Outgoing;
use super::queues::Sink;
use crate::components::{SinkRows, service};
use crate::environment::Environment;
use crate::error::Result;

/// What was found at a sink's target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// How many records have their row there, or for a delete none.
    pub found: usize,
    /// The records of which the opposite is true, by their places in the queue.
    pub missing: Vec<Place>,
    /// Why records were not looked up, and how many; then their sink's positions are the proof.
    pub not_looked_up: BTreeMap<String, usize>,
}

/// Whether a value has its row deleted: none, or a change that Debezium calls a delete.
fn is_delete(value: Option<&[u8]>) -> bool {
    let Some(value) = value else { return true };
    let value: Value = serde_json::from_slice(value).unwrap_or_default();
    let payload = value.get("payload").unwrap_or(&value);
    payload.get("op").and_then(Value::as_str) == Some("d")
}

/// Looks up the rows of records that a sink has taken.
///
/// # Errors
/// The database does not answer, or refuses.
pub(super) async fn look(env: &Environment, sink: &Sink, records: &[&Outgoing]) -> Result<Looked> {
    let mut looked = Looked::default();
    let mut skip = |why: &str, count: usize| {
        if count > 0 {
            *looked.not_looked_up.entry(why.to_owned()).or_default() += count;
        }
    };
    let rows = match SinkRows::of(env, &sink.config) {
        Ok(rows) => rows,
        Err(why) => {
            skip(&why, records.len());
            return Ok(looked);
        }
    };
    // Records whose rows are found by the same columns of the same table, together.
    type Wanted<'a> = Vec<(&'a Outgoing, Vec<String>)>;
    let mut groups: BTreeMap<(String, Vec<String>), Wanted<'_>> = BTreeMap::new();
    for one in records {
        let delete = is_delete(one.record.value.as_deref());
        let why = match rows.key(one.record.key.as_deref()) {
            _ if one.superseded => "something newer may have changed their rows",
            _ if delete && !rows.deletes => "the sink ignores deletes",
            None => "their keys are not JSON that can be looked up",
            Some(key) => {
                let (columns, values): (Vec<_>, Vec<_>) = key.into_iter().unzip();
                let table = rows.table(&one.origin.topic);
                let group = groups.entry((table, columns)).or_default();
                group.push((one, values));
                continue;
            }
        };
        skip(why, 1);
    }
    for (group, wanted) in groups {
        let values: Vec<&[String]> = wanted.iter().map(|(_, it)| it.as_slice()).collect();
        let there = rows.there(env, &group, &values).await.map_err(service)?;
        let there = there.map(|there| there.into_iter().map(Some).collect());
        // Where there is no table, nothing is as it should be: not even a row is gone.
        let there = there.unwrap_or_else(|| vec![None; wanted.len()]);
        for ((one, _), there) in wanted.into_iter().zip(there) {
            match there == Some(!is_delete(one.record.value.as_deref())) {
                true => looked.found += 1,
                false => looked.missing.push(one.from.clone()),
            }
        }
    }
    Ok(looked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletes_are_nothing_and_debezium_s() {
        assert!(is_delete(None));
        assert!(is_delete(Some(br#"{"payload":{"op":"d"}}"#)));
        assert!(is_delete(Some(br#"{"op":"d"}"#)));
        assert!(!is_delete(Some(br#"{"payload":{"op":"u"}}"#)));
        assert!(!is_delete(Some(b"x")));
    }
}
