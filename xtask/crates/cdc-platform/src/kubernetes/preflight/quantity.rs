//! Kubernetes quantities: `500m`, `1.5Gi`, `2e9`.

/// Thousandths of the unit; none if the text is no quantity.
pub(super) fn milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '+' || c == '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
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
    let milli = (number * factor).ceil();
    // Saturates where a number is out of all proportion.
    milli.is_finite().then_some(milli as i128)
}

/// Processors, for people.
pub(super) fn cpu(milli: i128) -> String {
    match milli % 1000 {
        0 => format!("{}", milli / 1000),
        _ => format!("{milli}m"),
    }
}

/// Memory, for people.
pub(super) fn memory(milli: i128) -> String {
    const MI: i128 = 1000 * 1024 * 1024;
    match milli {
        small if small.abs() < MI => format!("{} bytes", small / 1000),
        milli => format!("{} MiB", milli / MI),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(milli(text), want, "{text}");
        }
        assert_eq!((cpu(1500).as_str(), cpu(2000).as_str()), ("1500m", "2"));
        assert_eq!(memory(1_073_741_824_000), "1024 MiB");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,12}") {
            let _ = milli(&text);
        }
    }
}
