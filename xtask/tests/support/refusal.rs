//! Profiles that `up` refuses.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::panic, reason = "a test fails by a panic")]

use super::Xtask;

/// A profile that is right, for mistakes to be made in.
pub(crate) const GOOD: &str = "\
connectors:
  pg:
    source: postgres
    prefix: app
    slot: app_slot
    publication: app_pub
    config: {}
  docs:
    source: mongodb
    prefix: docs
    config: {}
flows:
  orders:
    connector: pg
    table: public.orders
    keep: latest
    key: [order_id]
    group: ch_orders
    columns:
      order_id: Int64
      note: String
    canary:
      note: canary {id}
  visits:
    connector: docs
    table: shop.visits
    keep: every
    key: [_id]
    group: ch_visits
    columns:
      _id: String
";

/// A profile with a second PostgreSQL and a sink to it that is right, for mistakes to be made in.
pub(crate) const SINK: &str = "\
clickhouse: ~
components:
  left:
    type: postgres
    port: 5442
  right:
    type: postgres
    port: 5443
connectors:
  pg:
    source: left
    prefix: app
    slot: app_slot
    publication: app_pub
    config: {}
  sink:
    sink: right
    tasks: 1
flows:
  orders:
    connector: pg
    to: sink
    table: public.orders
    key: [order_id]
";

/// Refuses `up` with this profile, with exit code 3 and all of `parts`.
#[track_caller]
pub(crate) fn refused(text: &str, parts: &[&str]) {
    Xtask::new()
        .file("own.yaml", text)
        .args("up")
        .profile("own.yaml")
        .refuses(3, parts);
}

/// Replaces one line of [`GOOD`] and expects the refusal at that line, at this column from 1.
#[track_caller]
pub(crate) fn refused_line(line: &str, with: &str, column: usize, parts: &[&str]) {
    refused_line_of(GOOD, line, with, column, parts);
}

/// Replaces one line of `good` and expects the refusal at that line, at this column from 1.
#[track_caller]
pub(crate) fn refused_line_of(good: &str, line: &str, with: &str, column: usize, parts: &[&str]) {
    let at = good
        .lines()
        .position(|text| text == line)
        .unwrap_or_else(|| panic!("no line {line:?}"));
    let text = good.replacen(line, with, 1);
    let place = format!("own.yaml:{}:{column}: ", at + 1);
    let parts: Vec<&str> = std::iter::once(place.as_str())
        .chain(parts.iter().copied())
        .collect();
    refused(&text, &parts);
}

#[track_caller]
pub(crate) fn refused_set(set: &str, parts: &[&str]) {
    Xtask::new()
        .file("own.yaml", GOOD)
        .args("up")
        .profile("own.yaml")
        .arg("--set")
        .arg(set)
        .refuses(3, parts);
}
