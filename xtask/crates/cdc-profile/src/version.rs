//! Versions as numbers. Pure.

/// Whether a version is one from the first, until (and without) the second. A name such as `latest`
/// is in no range: nobody knows what it means.
pub fn within(version: &str, from: Option<&str>, until: Option<&str>) -> bool {
    let this = numbers(version);
    !this.is_empty()
        && from.is_none_or(|from| this >= numbers(from))
        && until.is_none_or(|until| this < numbers(until))
}

/// The numbers that a version begins with: of `3.4.0.Final` they are 3 and 4, as zeros at the end say
/// nothing (4.0 and 4.0.0 are one version).
pub fn numbers(version: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = bare(version)
        .trim_start_matches('v')
        .split(['.', '-'])
        .map_while(|part| part.parse().ok())
        .collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

/// A pin without its digest.
pub fn bare(version: &str) -> &str {
    version.split('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        assert!(numbers("3.10.0.Final") > numbers("3.9"));
        assert_eq!(numbers("4.0"), numbers("4.0.0"));
        assert_eq!(numbers("v1.34.11@sha256:9"), [1, 34, 11]);
        assert!(numbers("latest").is_empty());
        assert!(!within("latest", None, None));
    }

    fn written(parts: &[u64]) -> String {
        let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
        parts.join(".")
    }

    fn version() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(0_u64..30, 1..4)
    }

    proptest! {
        /// A range has its first version and not its last one, and every version is on one side of
        /// any border, whatever is written behind the numbers.
        #[test]
        fn a_border_parts_all_versions(
            border in version(),
            this in version(),
            tail in "(\\.Final|\\.0|-alpine|@sha256:0a)?",
        ) {
            prop_assume!(this.iter().any(|part| *part > 0));
            let (edge, text) = (written(&border), written(&this) + &tail);
            let below = within(&text, None, Some(&edge));
            let above = within(&text, Some(&edge), None);
            prop_assert!(below != above, "{text} at {edge}");
            let padded = |parts: &[u64]| [0, 1, 2].map(|at| parts.get(at).copied().unwrap_or(0));
            prop_assert_eq!(below, padded(&this) < padded(&border), "{} at {}", text, edge);
        }

        /// Ranges that meet leave nothing between them and have nothing in common.
        #[test]
        fn ranges_that_meet_share_nothing(mut borders in prop::collection::vec(version(), 3), this in version()) {
            prop_assume!(this.iter().any(|part| *part > 0));
            borders.sort_by_key(|parts| numbers(&written(parts)));
            let edges: Vec<String> = borders.iter().map(|parts| written(parts)).collect();
            let text = written(&this);
            let first = within(&text, Some(&edges[0]), Some(&edges[1]));
            let second = within(&text, Some(&edges[1]), Some(&edges[2]));
            let both = within(&text, Some(&edges[0]), Some(&edges[2]));
            prop_assert!(!(first && second));
            prop_assert_eq!(first || second, both);
        }

        #[test]
        fn any_text_is_a_version_or_none(text in "\\PC{0,40}") {
            let numbers = numbers(&text);
            prop_assert!(numbers.last() != Some(&0));
        }
    }
}
