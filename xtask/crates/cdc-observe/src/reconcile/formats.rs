//! Reports for other programs: CSV, HTML and JUnit's XML. Pure.

use std::fmt::Write;

use super::report::{Difference, Report, Status, TableReport};
use crate::clock;

/// A value of an enumeration as reports write it.
pub fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn key(table: &TableReport, difference: &Difference) -> String {
    let parts = table.key.iter().zip(&difference.key);
    let parts: Vec<String> = parts
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    parts.join(", ")
}

fn severity(table: &TableReport) -> String {
    match table.differing() {
        0 => String::new(),
        _ => word(&table.severity()),
    }
}

fn reason(table: &TableReport) -> &str {
    let error = table.error.as_ref().and_then(|it| it["message"].as_str());
    error.unwrap_or_default()
}

/// CSV as RFC 4180 has it: a line for each table, and one for each row that differs.
pub fn csv(report: &Report) -> String {
    let mut text = String::from(
        "table,status,severity,source_count,target_count,missing_rows,extra_rows,changed_rows,not_settled,difference,key,error\r\n",
    );
    let mut line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|it| cell(it)).collect();
        text += &cells.join(",");
        text += "\r\n";
    };
    for it in &report.tables {
        let counts = [
            it.source_count,
            it.target_count,
            it.missing_rows,
            it.extra_rows,
            it.changed_rows,
            it.not_settled,
        ];
        let mut cells = vec![it.table.clone(), word(&it.status), severity(it)];
        cells.extend(counts.map(|count| count.to_string()));
        cells.extend([String::new(), String::new(), reason(it).to_owned()]);
        line(&cells);
        for difference in &it.differences {
            let mut cells = vec![it.table.clone(), word(&it.status)];
            cells.resize(9, String::new());
            cells.extend([word(&difference.kind), key(it, difference), String::new()]);
            line(&cells);
        }
    }
    for name in &report.not_begun {
        let mut cells = vec![name.clone(), word(&Status::Interrupted)];
        cells.resize(12, String::new());
        line(&cells);
    }
    text
}

fn cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A text in XML and HTML. What XML 1.0 has no place for becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => {
                out.push(char)
            }
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

/// JUnit's XML: a test case for each table.
pub fn junit(report: &Report) -> String {
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let count = |status: Status| {
        report
            .tables
            .iter()
            .filter(|it| it.status == status)
            .count()
    };
    let all = report.tables.len() + report.not_begun.len();
    let took: u64 = report.tables.iter().map(|it| it.took_ms).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"reconcile\" tests=\"{all}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\" timestamp=\"{}\">\n",
        count(Status::Fail),
        count(Status::Error) + count(Status::Interrupted),
        report.not_begun.len(),
        seconds(took),
        clock::utc(report.at).replace(' ', "T").replace("TUTC", ""),
    );
    let class = escaped(&report.profile);
    for it in &report.tables {
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "  <testcase classname=\"{class}\" name=\"{}\" time=\"{}\"",
            escaped(&it.table),
            seconds(it.took_ms)
        );
        text += &match it.status {
            Status::Pass | Status::NoData => "/>\n".to_owned(),
            Status::Fail => {
                let kind = match it.missing_rows + it.extra_rows {
                    0 => "CHECKSUM_MISMATCH",
                    _ => "ROW_COUNT_MISMATCH",
                };
                let rows = it.differences.iter();
                let rows = rows.map(|row| format!("{} {}\n", word(&row.kind), key(it, row)));
                format!(
                    ">\n    <failure type=\"{kind}\" message=\"{} missing, {} extra, {} changed\">{}</failure>\n  </testcase>\n",
                    it.missing_rows,
                    it.extra_rows,
                    it.changed_rows,
                    escaped(&rows.collect::<String>())
                )
            }
            Status::Error | Status::Interrupted => format!(
                ">\n    <error type=\"{}\" message=\"{}\"/>\n  </testcase>\n",
                word(&it.status),
                escaped(&match it.error {
                    Some(_) => reason(it).to_owned(),
                    None => format!(
                        "{} rows kept changing, or it was interrupted",
                        it.not_settled
                    ),
                })
            ),
        };
    }
    for name in &report.not_begun {
        let name = escaped(name);
        let _ = writeln!(
            text,
            "  <testcase classname=\"{class}\" name=\"{name}\"><skipped message=\"interrupted\"/></testcase>"
        );
    }
    text + "</testsuite>\n"
}

/// A page that stands alone.
pub fn html(report: &Report) -> String {
    let status = word(&report.status());
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{status}: reconcile {profile}</title>\n\
         <style>body{{font:14px sans-serif;margin:2em}}table{{border-collapse:collapse;margin:1em 0}}\
         td,th{{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top;white-space:pre-wrap}}\
         .FAIL,.ERROR,.differs{{background:#fdd}}.PASS{{background:#dfd}}.INTERRUPTED,.NO_DATA{{background:#ffd}}</style>\n\
         <h1>reconcile {profile}: <span class=\"{status}\">{status}</span></h1>\n<p>{} ({})</p>\n<table>\n\
         <tr><th>table<th>status<th>severity<th>source<th>target<th>missing<th>extra<th>changed<th>not settled<th>time, ms\n",
        escaped(&report.summary()),
        clock::utc(report.at),
        profile = escaped(&report.profile),
    );
    for it in &report.tables {
        let status = word(&it.status);
        let _ = writeln!(
            text,
            "<tr class=\"{status}\"><td>{}<td>{status}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            escaped(&it.table),
            severity(it),
            it.source_count,
            it.target_count,
            it.missing_rows,
            it.extra_rows,
            it.changed_rows,
            it.not_settled,
            it.took_ms
        );
    }
    text += "</table>\n";
    for it in &report.tables {
        text += &described(it);
    }
    for name in &report.not_begun {
        let _ = writeln!(text, "<p>{}: not begun", escaped(name));
    }
    let recommendations = report.recommendations();
    if !recommendations.is_empty() {
        let items = recommendations
            .iter()
            .map(|it| format!("<li>{}\n", escaped(&crate::printed::ours(it))));
        let _ = write!(
            text,
            "<h2>next</h2>\n<ul>\n{}</ul>\n",
            items.collect::<String>()
        );
    }
    text + "</html>\n"
}

fn described(table: &TableReport) -> String {
    let mut text = String::new();
    if !reason(table).is_empty() {
        let _ = writeln!(
            text,
            "<p>{}: {}",
            escaped(&table.table),
            escaped(reason(table))
        );
    }
    for it in &table.not_compared {
        let _ = writeln!(
            text,
            "<p>{}: {} is not compared: {}",
            escaped(&table.table),
            escaped(&it.column),
            escaped(&it.reason)
        );
    }
    if table.differences.is_empty() {
        return text;
    }
    let _ = write!(
        text,
        "<h2>{}</h2>\n<table>\n<tr><th>row<th>key<th>column<th>source<th>target\n",
        escaped(&table.table)
    );
    for it in &table.differences {
        let (kind, key) = (word(&it.kind), escaped(&key(table, it)));
        if it.cells.is_empty() {
            let _ = writeln!(text, "<tr><td>{kind}<td>{key}<td><td><td>");
        }
        for cell in &it.cells {
            let class = if cell.differs {
                " class=\"differs\""
            } else {
                ""
            };
            let shown =
                |value: &Option<String>| value.as_deref().map_or_else(|| "NULL".into(), escaped);
            let _ = writeln!(
                text,
                "<tr{class}><td>{kind}<td>{key}<td>{}<td>{}<td>{}",
                escaped(&cell.column),
                shown(&cell.source),
                shown(&cell.target)
            );
        }
    }
    text + "</table>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_leave_their_cells() {
        assert_eq!(cell("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        assert_eq!(
            escaped("<b a=\"1\">&\u{0}\u{1f}\u{10ffff}"),
            "&lt;b a=&quot;1&quot;&gt;&amp;\u{fffd}\u{fffd}\u{10ffff}"
        );
    }
}
