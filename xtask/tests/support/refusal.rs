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
    let at = GOOD
        .lines()
        .position(|text| text == line)
        .unwrap_or_else(|| panic!("no line {line:?}"));
    let text = GOOD.replacen(line, with, 1);
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
