//! `dlq list`: queues at a glance.

use std::process::ExitCode;

use serde_json::json;

use crate::clients::kafka::KafkaClient;
use crate::clock;
use crate::commands::stdout::{self, palette};
use crate::environment::Environment;
use crate::error::Result;
use crate::observe::topics::lost;
use crate::operate::dlq::queues::{self, Queue};
use crate::operate::dlq::scan::{self, Summary};
use crate::operate::dlq::{self, Errors};
use crate::report::Output;
use crate::report::table::Table;
use crate::report::text::{Ink, Palette};

pub(super) async fn run(
    env: &Environment,
    client: &KafkaClient,
    output: Output,
) -> Result<ExitCode> {
    let (found, errors) = tokio::join!(queues::find(env, client), dlq::errors(env));
    let found = found?;
    let mut rows = Vec::new();
    for queue in &found.queues {
        let summary = match &queue.topic {
            Some(topic) => Some(scan::summary(client, topic).await.map_err(lost)?),
            None => None,
        };
        rows.push((queue, summary));
    }
    let notes = found.notes();
    let queues = rows.iter().map(|(queue, summary)| {
        json!({
            "topic": queue.name,
            "connectors": queue.sinks,
            "exists": queue.topic.is_some(),
            "summary": summary,
        })
    });
    let queues: Vec<_> = queues.collect();
    let object = json!({ "queues": queues, "flows": errors, "notes": notes });
    stdout::answer(output, object, || text(&rows, &errors, &notes, palette()))
}

fn text(
    rows: &[(&Queue, Option<Summary>)],
    errors: &[Errors],
    notes: &[String],
    palette: Palette,
) -> String {
    let now = clock::now_ms();
    let age = |ms: Option<u64>| match ms {
        Some(ms) => clock::span(now.saturating_sub(ms)),
        None => "-".to_owned(),
    };
    let stamp = |ms: Option<i64>| age(ms.and_then(|ms| u64::try_from(ms).ok()));
    let mut text = String::new();
    if rows.is_empty() {
        text.push_str("no dead letter queues\n");
    } else {
        let mut table = Table::titled("QUEUE  CONNECTOR  >RECORDS  >OLDEST  >NEWEST  EXCEPTIONS");
        for (queue, summary) in rows {
            let sinks = match queue.sinks.is_empty() {
                true => "none".to_owned(),
                false => queue.sinks.join(", "),
            };
            let Some(summary) = summary else {
                let cells = [queue.name.as_str(), &sinks, "no topic", "", "", ""];
                table.row(cells);
                continue;
            };
            table.inked([
                (queue.name.clone(), None),
                (sinks, queue.sinks.is_empty().then_some(Ink::Dim)),
                (
                    summary.records.to_string(),
                    (summary.records > 0).then_some(Ink::Red),
                ),
                (stamp(summary.oldest_ms), None),
                (stamp(summary.newest_ms), None),
                (exceptions(summary), None),
            ]);
        }
        text.push_str(&table.text(palette));
    }
    if !errors.is_empty() {
        let mut table = Table::titled("FLOW  TABLE  >RECORDS  >OLDEST  >NEWEST  REASONS");
        for row in errors {
            let Some(reasons) = &row.reasons else {
                let why = row.unanswered.as_deref().unwrap_or_default();
                table.row([row.flow.as_str(), &row.table, "?", "", "", why]);
                continue;
            };
            let count: u64 = reasons.values().sum();
            let words = reasons
                .iter()
                .map(|(reason, count)| format!("{count} {reason}"));
            table.inked([
                (row.flow.clone(), None),
                (row.table.clone(), Some(Ink::Dim)),
                (count.to_string(), (count > 0).then_some(Ink::Red)),
                (age(row.oldest_ms), None),
                (age(row.newest_ms), None),
                (words.collect::<Vec<_>>().join(", "), None),
            ]);
        }
        text.push('\n');
        text.push_str(&table.text(palette));
    }
    for note in notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// `3 DataException, 1 ?`, most first, with the classes' last names.
fn exceptions(summary: &Summary) -> String {
    let mut classes: Vec<(&String, &u64)> = summary.exceptions.iter().collect();
    classes.sort_by_key(|(class, count)| (std::cmp::Reverse(**count), class.as_str()));
    let words = classes.into_iter().map(|(class, count)| {
        let short = class.rsplit('.').next().unwrap_or(class);
        format!("{count} {short}")
    });
    let mut text = words.collect::<Vec<_>>().join(", ");
    if summary.looked_at < summary.records {
        text.push_str(&format!(" (of the newest {})", summary.looked_at));
    }
    if summary.redriven > 0 {
        text.push_str(&format!("; {} came back", summary.redriven));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn exceptions_are_counted_with_the_most_first() {
        let mut summary = Summary {
            records: 4,
            looked_at: 4,
            exceptions: BTreeMap::from([("a.b.Late".to_owned(), 1), ("a.Often".to_owned(), 3)]),
            redriven: 2,
            ..Summary::default()
        };
        assert_eq!(exceptions(&summary), "3 Often, 1 Late; 2 came back");
        summary.records = 50;
        summary.redriven = 0;
        assert_eq!(exceptions(&summary), "3 Often, 1 Late (of the newest 4)");
    }

    #[test]
    fn what_there_is_stands_in_columns() {
        let queue = |name: &str, sinks: &[&str]| Queue {
            name: name.into(),
            sinks: sinks.iter().map(|&sink| sink.to_owned()).collect(),
            topic: None,
        };
        let (with, without) = (queue("dlq.a", &["s"]), queue("old-dlq", &[]));
        let summary = Summary {
            records: 1,
            looked_at: 1,
            exceptions: BTreeMap::from([("x.E".to_owned(), 1)]),
            ..Summary::default()
        };
        let errors = Errors {
            flow: "users".into(),
            table: "users_errors".into(),
            reasons: Some(BTreeMap::from([("not JSON".to_owned(), 2)])),
            oldest_ms: None,
            newest_ms: None,
            unanswered: None,
        };
        let text = text(
            &[(&with, Some(summary)), (&without, None)],
            &[errors],
            &["s loses records".to_owned()],
            Palette { colour: false },
        );
        assert_eq!(
            text,
            "QUEUE    CONNECTOR   RECORDS  OLDEST  NEWEST  EXCEPTIONS\n\
             dlq.a    s                 1       -       -  1 E\n\
             old-dlq  none       no topic\n\
             \n\
             FLOW   TABLE         RECORDS  OLDEST  NEWEST  REASONS\n\
             users  users_errors        2       -       -  2 not JSON\n\
             note: s loses records\n"
        );
    }
}
