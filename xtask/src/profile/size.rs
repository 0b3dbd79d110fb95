//! Sizes as profiles write them.

use crate::error::{Code, Error, Result};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A profile's size in bytes: `256m`, `1gb`.
///
/// # Errors
/// It is none.
pub fn bytes(size: &str) -> Result<u64> {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match size[digits.len()..].to_ascii_lowercase().as_str() {
        "m" | "mb" => Some(MIB),
        "g" | "gb" => Some(GIB),
        _ => None,
    };
    digits
        .parse::<u64>()
        .ok()
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .ok_or_else(|| Error::new(Code::ProfileInvalid, format!("{size:?} is no size")))
}

/// In gigabytes, as WiredTiger takes it, which wants a quarter at the least.
pub fn gigabytes(bytes: u64) -> String {
    let hundredths = (bytes / (GIB / 100)).max(25);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (size, want) in [("512m", 512 * MIB), ("1GB", GIB), ("2g", 2 * GIB)] {
            assert_eq!(bytes(size).expect(size), want);
        }
        for size in ["", "m", "1", "1k", "99999999999g"] {
            assert!(bytes(size).is_err(), "{size}");
        }
        for (size, want) in [(GIB, "1.00"), (3 * GIB / 2, "1.50"), (MIB, "0.25")] {
            assert_eq!(gigabytes(size), want);
        }
    }
}
