//! `dlq show`: records with what they say about themselves.

use std::borrow::Cow;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::no_flow;
use crate::cli::DlqShow;
use crate::clients::kafka::KafkaClient;
use crate::clock;
use crate::commands::stdout::{self, palette};
use crate::environment::Environment;
use crate::error::Result;
use crate::observe::topics::{lost, message};
use crate::operate::dlq::filter::Filter;
use crate::operate::dlq::headers::{CONNECT, own};
use crate::operate::dlq::queues::{self, CONTEXT};
use crate::operate::dlq::{self, Entry, scan};
use crate::report::Output;
use crate::report::text::{Ink, Palette, one_line, without_escapes};

/// How many bytes of a key, value or header a person is shown.
const SHOWN: usize = 4096;

pub(super) async fn run(
    env: &Environment,
    client: &KafkaClient,
    args: &DlqShow,
    filter: &Filter,
    output: Output,
) -> Result<ExitCode> {
    let max = usize::try_from(args.max).unwrap_or(usize::MAX);
    let found = queues::find(env, client).await?;
    let flow = args
        .name
        .as_deref()
        .filter(|name| env.profile.flows.contains_key(*name));
    let chosen = match (found.choose(args.name.as_deref()), flow) {
        (Ok(queues), _) => Ok(queues),
        (Err(_), Some(flow)) => Err(flow),
        (Err(error), None) => return Err(error),
    };
    let of_flow = chosen.is_err();
    let entries = match chosen {
        Err(flow) => dlq::rejected(env, flow, filter, max)
            .await
            .map_err(|error| error.hint(no_flow(env, flow, "be shown").hint.unwrap_or_default()))?,
        Ok(queues) => {
            let mut entries = Vec::new();
            for topic in queues.iter().filter_map(|queue| queue.topic.as_ref()) {
                let newest = async {
                    let ranges = scan::ranges(client, topic).await?;
                    scan::newest(client, &topic.name, &ranges, filter, max).await
                };
                entries.extend(newest.await.map_err(lost)?);
            }
            entries
        }
    };
    let records = entries.iter().map(|entry| object(entry, args.stack));
    let document = json!({ "records": records.collect::<Vec<_>>() });
    stdout::answer(output, document, || {
        if entries.is_empty() {
            return "no records\n".to_owned();
        }
        let texts = entries.iter();
        let texts = texts.map(|entry| text(entry, args.stack, of_flow, palette()));
        texts.collect::<Vec<_>>().join("\n")
    })
}

fn object(entry: &Entry, stack: bool) -> Value {
    let record = &entry.record;
    let bytes = |bytes: Option<&[u8]>| bytes.map_or(Value::Null, message::value);
    let headers: Vec<Value> = own(&record.headers)
        .map(|header| json!({ "key": header.key, "value": bytes(header.value.as_deref()) }))
        .collect();
    let mut object = json!({
        "at": entry.at,
        "timestamp": u64::try_from(record.timestamp).ok(),
        "failure": entry.failure,
        "key": bytes(record.key.as_deref()),
        "value": bytes(record.value.as_deref()),
        "headers": headers,
    });
    if stack {
        object["failure"]["stack"] = json!(entry.failure.stack);
    }
    object
}

fn text(entry: &Entry, stack: bool, of_flow: bool, palette: Palette) -> String {
    let failure = &entry.failure;
    let now = clock::now_ms();
    let when = match u64::try_from(entry.record.timestamp) {
        Ok(ms) => format!(
            "{}, {} ago",
            clock::utc(ms),
            clock::span(now.saturating_sub(ms))
        ),
        Err(_) => "without a time".to_owned(),
    };
    let at = match of_flow {
        true => entry.at.topic.clone(),
        false => entry.at.to_string(),
    };
    let mut lines = vec![format!(
        "{}  {}",
        palette.ink(Ink::Yellow, at),
        palette.ink(Ink::Dim, when)
    )];
    let mut line = |name: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("  {name:<10} {text}"));
        }
    };
    let origin = match (&failure.origin, failure.has_context) {
        (Some(origin), _) => {
            let mut words = origin.to_string();
            if let Some(connector) = &failure.connector {
                words.push_str(&format!(", in {connector}"));
            }
            if let Some(task) = failure.task {
                words.push_str(&format!(", task {task}"));
            }
            if let Some(stage) = &failure.stage {
                words.push_str(&format!(", at {stage}"));
            }
            words
        }
        (None, true) => "unknown".to_owned(),
        (None, false) => format!("unknown: its sink runs without {CONTEXT}=true"),
    };
    line("from", &one_line(&origin));
    let exception = [failure.exception.as_deref(), failure.message.as_deref()];
    let exception = exception.into_iter().flatten().collect::<Vec<_>>();
    line("exception", &one_line(&exception.join(": ")));
    line(
        "class",
        &one_line(failure.class.as_deref().unwrap_or_default()),
    );
    if failure.rounds > 0 {
        let from = match &failure.from {
            Some(from) => format!(", the last time from {from}"),
            None => String::new(),
        };
        let times = match failure.rounds {
            1 => "once".to_owned(),
            rounds => format!("{rounds} times"),
        };
        line("sent back", &one_line(&format!("{times}{from}")));
    }
    line("damaged", &one_line(&failure.damaged.join(", ")));
    line("key", &readable(entry.record.key.as_deref()));
    line("value", &readable(entry.record.value.as_deref()));
    let headers = own(&entry.record.headers).map(|header| {
        format!(
            "{}={}",
            one_line(&header.key),
            readable(header.value.as_deref())
        )
    });
    line("headers", &headers.collect::<Vec<_>>().join(", "));
    let empty = entry.record.headers.iter();
    let empty = empty.filter(|it| it.key.starts_with(CONNECT) && it.value.is_none());
    let empty: Vec<&str> = empty.map(|header| header.key.as_str()).collect();
    line("empty", &empty.join(", "));
    if let Some(trace) = failure.stack.as_deref().filter(|_| stack) {
        for (index, text) in trace.lines().enumerate() {
            let name = if index == 0 { "stack" } else { "" };
            lines.push(format!(
                "  {name:<10} {}",
                without_escapes(text).replace(char::is_control, " ")
            ));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Bytes as a person reads them: text where they are text, else with escapes; cut where long.
fn readable(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    let part = &bytes[..bytes.len().min(SHOWN)];
    let text: Cow<'_, str> = match std::str::from_utf8(bytes) {
        // The cut may be in the middle of a character.
        Ok(_) => String::from_utf8_lossy(part),
        Err(_) => part.escape_ascii().to_string().into(),
    };
    let text = text.trim_end_matches('\u{fffd}');
    let shown: String = text
        .chars()
        .flat_map(|char| match char.is_control() {
            true => char.escape_default().collect::<Vec<_>>(),
            false => vec![char],
        })
        .collect();
    match bytes.len() > SHOWN {
        true => format!("{shown}… ({} bytes; --output json has all)", bytes.len()),
        false => shown,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::clients::kafka::{Header, Record};

    fn entry() -> Entry {
        let header = |key: &str, value: &str| Header {
            key: key.into(),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
        };
        let record = Record {
            offset: 3,
            timestamp: 0,
            headers: vec![
                header("mine", "\u{1b}[2J"),
                header("__connect.errors.topic", "t"),
                header("__connect.errors.partition", "0"),
                header("__connect.errors.offset", "5"),
                header("__connect.errors.connector.name", "sink"),
                header("__connect.errors.stage", "VALUE_CONVERTER"),
                header("__connect.errors.exception.class.name", "x.E"),
                header("__connect.errors.exception.message", "no\nway"),
                header("__connect.errors.exception.stacktrace", "x.E: no\n\tat y"),
                header("__cdc-xtask.redrive.round", "1"),
                header("__cdc-xtask.redrive.from", "dlq/0@1"),
            ],
            ..Record::new(
                Some("{\"id\":7}".into()),
                Some(Bytes::from_static(b"\xff\x00a")),
            )
        };
        Entry::of("dlq", 0, record)
    }

    #[test]
    fn a_record_tells_where_why_and_what() {
        let shown = text(&entry(), true, false, Palette { colour: false });
        let rest = shown.split_once('\n').unwrap().1;
        assert!(
            shown.starts_with("dlq/0@3  1970-01-01 00:00:00 UTC, "),
            "{shown}"
        );
        assert_eq!(
            rest,
            "  from       t/0@5, in sink, at VALUE_CONVERTER\n  \
             exception  x.E: no way\n  \
             sent back  once, the last time from dlq/0@1\n  \
             key        {\"id\":7}\n  \
             value      \\xff\\x00a\n  \
             headers    mine=\\u{1b}[2J\n  \
             stack      x.E: no\n              at y\n"
        );
        let without = text(&entry(), false, false, Palette { colour: false });
        assert!(!without.contains("stack"));
    }

    #[test]
    fn the_object_has_keys_that_stay() {
        let found = object(&entry(), false);
        assert_eq!(found["at"], "dlq/0@3");
        assert_eq!(found["failure"]["origin"], "t/0@5");
        assert_eq!(found["failure"]["rounds"], 1);
        assert_eq!(found["key"], json!({ "id": 7 }));
        assert_eq!(found["value"], json!({ "base64": "/wBh" }));
        assert_eq!(found["headers"][0]["key"], "mine");
        assert!(found["failure"].get("stack").is_none());
        assert_eq!(
            object(&entry(), true)["failure"]["stack"],
            "x.E: no\n\tat y"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_command_the_terminal(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!readable(Some(&bytes)).contains(char::is_control));
        }
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        let long = "ä".repeat(5000);
        let shown = readable(Some(long.as_bytes()));
        assert!(
            shown.ends_with("(10000 bytes; --output json has all)"),
            "{shown}"
        );
        assert!(shown.starts_with("ää") && !shown.contains('\u{fffd}'));
    }
}
