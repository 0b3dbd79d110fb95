//! Sizes and lengths of time, read from what people and programs write.

use std::str::FromStr;
use std::time::Duration;

use crate::error::{Code, Error, Result};

const GIB: u64 = 1 << 30;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// As profiles write it, in the form of JVMs and databases: `256m`, `1gb`, powers of 1024.
impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let size = number(text).and_then(|(number, unit)| {
            let unit = match unit.to_ascii_lowercase().as_str() {
                "m" | "mb" => 1 << 20,
                "g" | "gb" => GIB,
                _ => return None,
            };
            Size::of(number, unit as f64)
        });
        size.ok_or_else(|| Error::new(Code::ProfileInvalid, format!("{text:?} is no size")))
    }
}

impl Size {
    /// A Kubernetes quantity: `5Gi`, `128974848`, `2e9`.
    pub fn quantity(text: &str) -> Option<Self> {
        let bytes = quantity(text)? / 1000;
        Some(Size(u64::try_from(bytes).ok()?))
    }

    /// As Maven and pip write it, in powers of 1000: `4.5 MB`, `812 bytes`.
    pub fn decimal(text: &str) -> Option<Self> {
        let (number, unit) = number(text)?;
        let unit = match unit {
            " B" | " bytes" => 1.0,
            " kB" => 1e3,
            " MB" => 1e6,
            " GB" => 1e9,
            _ => return None,
        };
        Size::of(number, unit)
    }

    /// In gigabytes, as WiredTiger takes it: at least a quarter.
    pub fn gigabytes(self) -> String {
        let hundredths = (self.0 / (GIB / 100)).max(25);
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    }

    fn of(number: f64, unit: f64) -> Option<Self> {
        let bytes = number * unit;
        (0.0..u64::MAX as f64)
            .contains(&bytes)
            .then_some(Size(bytes as u64))
    }
}

/// A Kubernetes quantity (`500m`, `1.5Gi`, `2e9`) in thousandths of its unit, rounded up.
pub fn quantity(text: &str) -> Option<i128> {
    let (number, suffix) = number(text.trim())?;
    let factor: f64 = match suffix {
        "n" => 1e-6,
        "u" => 1e-3,
        "m" => 1.0,
        "" => 1e3,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "P" => 1e18,
        "E" => 1e21,
        "Ki" => 1e3 * 1024.0,
        "Mi" => 1e3 * 1024f64.powi(2),
        "Gi" => 1e3 * 1024f64.powi(3),
        "Ti" => 1e3 * 1024f64.powi(4),
        "Pi" => 1e3 * 1024f64.powi(5),
        "Ei" => 1e3 * 1024f64.powi(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            1e3 * 10f64.powi(power)
        }
    };
    let thousandths = (number * factor).ceil();
    // The cast saturates where a number is out of all proportion.
    thousandths.is_finite().then_some(thousandths as i128)
}

/// The number at the text's start, and the rest.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest))
}

/// A length of time: `250ms`, `30s`, `10m` (or `10min`), `2h`, `1d`, or a sum such as `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let none = || Error::new(Code::Usage, format!("`{text}` is no length of time"));
        Ok(Span(Duration::from_millis(ms(text).ok_or_else(none)?)))
    }
}

impl Span {
    /// In milliseconds.
    pub fn ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

fn ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: u64 = rest.strip_suffix(after)?.parse().ok()?;
        rest = after.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match after.strip_suffix(rest)? {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        sum = sum.checked_add(number.checked_mul(unit)?)?;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn sizes_of_profiles() {
        for (size, want) in [("512m", 512 * MIB), ("1GB", GIB), ("2g", 2 * GIB)] {
            assert_eq!(size.parse::<Size>().expect(size).0, want);
        }
        for size in ["", "m", "1", "1k", "-1g", "99999999999g"] {
            assert!(size.parse::<Size>().is_err(), "{size}");
        }
        for (size, want) in [(GIB, "1.00"), (3 * GIB / 2, "1.50"), (MIB, "0.25")] {
            assert_eq!(Size(size).gigabytes(), want);
        }
    }

    #[test]
    fn quantities_are_read() {
        for (text, want) in [
            ("500m", Some(500)),
            ("1", Some(1000)),
            ("0.1", Some(100)),
            ("1Ki", Some(1_024_000)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("1G", Some(1_000_000_000_000)),
            ("2e3", Some(2_000_000)),
            ("128974848", Some(128_974_848_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("", None),
            ("x", None),
            ("1Xi", None),
            ("-", None),
        ] {
            assert_eq!(quantity(text), want, "{text}");
        }
        assert_eq!(Size::quantity("5Gi"), Some(Size(5 * GIB)));
        assert_eq!(Size::quantity("-5Gi"), None);
    }

    #[test]
    fn decimal_sizes() {
        assert_eq!(Size::decimal("4.5 MB"), Some(Size(4_500_000)));
        assert_eq!(Size::decimal("812 bytes"), Some(Size(812)));
        assert_eq!(Size::decimal("812"), None);
    }

    #[test]
    fn spans() {
        for (text, want) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("15min", 900_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(text.parse::<Span>().expect(text).ms(), want, "{text}");
        }
        for text in [
            "",
            "10",
            "m",
            "10x",
            "-1s",
            "1é",
            "1.5h",
            "99999999999999999999s",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,12}") {
            let _ = (quantity(&text), Size::decimal(&text), text.parse::<Size>(), text.parse::<Span>());
        }
    }
}
