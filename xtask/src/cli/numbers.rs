//! Numbers of options: whoever gives another one reads which there are.

use std::fmt::Display;
use std::str::FromStr;

/// Reads a number from `from` to `to`.
pub(super) fn number<T>(from: T, to: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok();
        number
            .filter(|number| (from..=to).contains(number))
            .ok_or_else(|| format!("expected a number from {from} to {to}"))
    }
}
