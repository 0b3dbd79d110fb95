//! Reads objects whose types this program does not own: what is missing or of another type is
//! `None`, never an error.

use std::borrow::Cow;

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;

/// The value at a path of keys.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The text at a path.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str()
}

/// The number at a path.
pub(super) fn number(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path)?.as_i64()
}

/// The list at a path; empty if there is none.
pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A condition of the object's status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition<'a> {
    pub(super) is: bool,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    /// Since when it is as it is.
    pub(super) since: Option<i64>,
}

/// The condition of a type, if the status has it.
pub(super) fn condition<'a>(object: &'a DynamicObject, kind: &str) -> Option<Condition<'a>> {
    let found = list(&object.data, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == Some(kind))?;
    Some(Condition {
        is: text(found, &["status"]) == Some("True"),
        reason: text(found, &["reason"]).unwrap_or_default(),
        message: text(found, &["message"]).unwrap_or_default(),
        since: time(found, &["lastTransitionTime"]),
    })
}

/// The time at a path, in seconds since 1970.
pub(super) fn time(value: &Value, path: &[&str]) -> Option<i64> {
    let time: Timestamp = text(value, path)?.parse().ok()?;
    Some(time.as_second())
}

/// The object's kind; empty if it does not say.
pub fn kind(object: &DynamicObject) -> &str {
    let types = object.types.as_ref();
    types.map_or("", |types| types.kind.as_str())
}

/// The object's own name.
pub(super) fn name(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().unwrap_or("?")
}

/// Whether the object is being deleted.
pub(super) fn leaving(object: &DynamicObject) -> bool {
    object.metadata.deletion_timestamp.is_some()
}

/// A label's value.
pub(super) fn label<'a>(object: &'a DynamicObject, key: &str) -> Option<&'a str> {
    Some(object.metadata.labels.as_ref()?.get(key)?.as_str())
}

/// An annotation's value.
pub(super) fn annotation<'a>(object: &'a DynamicObject, key: &str) -> Option<&'a str> {
    Some(object.metadata.annotations.as_ref()?.get(key)?.as_str())
}

/// Whether the controller or operator has seen the newest specification. Without a generation there is
/// nothing to compare.
pub fn observed(object: &DynamicObject) -> bool {
    match object.metadata.generation {
        None => true,
        Some(generation) => {
            number(&object.data, &["status", "observedGeneration"]).is_some_and(|n| n >= generation)
        }
    }
}

/// When anybody last wrote something of an object other than a subresource, as its status is, in seconds
/// since 1970.
pub fn last_written(object: &DynamicObject) -> Option<i64> {
    let created = object.metadata.creation_timestamp.as_ref();
    object
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter_map(|entry| entry.time.as_ref())
        .chain(created)
        .map(|time| time.0.as_second())
        .max()
}

/// A text without the progress meter that curl writes to where its errors go, as brokers' probes do.
fn without_meter(text: &str) -> Cow<'_, str> {
    let Some((before, meter)) = text.split_once("% Total") else {
        return Cow::Borrowed(text);
    };
    let is_meter = |line: &&str| {
        let mut words = line.split_whitespace();
        line.contains("% Received")
            || line.contains("Dload")
            || words.all(|word| word.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    // Its rows overwrite each other.
    let lines = meter.split(['\n', '\r']).filter(|line| !is_meter(line));
    let kept = std::iter::once(before).chain(lines).map(str::trim);
    let kept: Vec<&str> = kept.filter(|line| !line.is_empty()).collect();
    Cow::Owned(kept.join(" "))
}

/// The first line of a text, shortened to what fits into a status.
pub(super) fn short(text: &str) -> String {
    const LONGEST: usize = 300;
    let text = without_meter(text);
    let text = text.trim();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_tells_its_error_and_not_how_curl_got_there() {
        // As a broker's probe of Strimzi 1.2.0 wrote it.
        let meter = "  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current\n\
                     \x20                                Dload  Upload   Total   Spent    Left  Speed\n\
                     \r  0     0    0     0    0     0      0      0 --:--:-- --:--:-- --:--:--     0\
                     \r  0    34    0     0    0     0      0      0 --:--:-- --:--:-- --:--:--     0\n";
        let said = format!(
            "Readiness probe failed: {meter}curl: (22) The requested URL returned error: 503\n"
        );
        assert_eq!(
            short(&said),
            "Readiness probe failed: curl: (22) The requested URL returned error: 503"
        );
        assert_eq!(
            short(&format!("Readiness probe failed: {meter}")),
            "Readiness probe failed:"
        );
        assert_eq!(short("dial tcp: refused\n"), "dial tcp: refused");
    }
}
