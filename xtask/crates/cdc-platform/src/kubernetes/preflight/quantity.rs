//! Kubernetes quantities in thousandths, for people.

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
    fn quantities_are_written() {
        assert_eq!((cpu(1500).as_str(), cpu(2000).as_str()), ("1500m", "2"));
        assert_eq!(memory(1_073_741_824_000), "1024 MiB");
    }
}
