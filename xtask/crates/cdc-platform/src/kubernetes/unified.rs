//! A line-by-line comparison of two texts, as `diff -u` shows it.

use std::fmt::Write;
use std::ops::Range;

use similar::{DiffOp, TextDiff};

/// The comparison as text, with `context` common lines around each change. Empty if nothing differs.
pub fn unified(before: &str, after: &str, context: usize) -> String {
    let before: Vec<&str> = before.lines().collect();
    let after: Vec<&str> = after.lines().collect();
    let diff = TextDiff::from_slices(&before, &after);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(context).iter_hunks() {
        let [old, new] = [DiffOp::old_range, DiffOp::new_range].map(|of| span(hunk.ops(), of));
        // Writing to a text cannot fail.
        let _ = writeln!(text, "@@ -{old} +{new} @@");
        for change in hunk.iter_changes() {
            let _ = writeln!(text, "{}{}", change.tag(), change.value());
        }
    }
    text
}

/// First line and number of lines. Of no lines the first is the one before.
fn span(ops: &[DiffOp], of: fn(&DiffOp) -> Range<usize>) -> String {
    let start = ops.first().map_or(0, |op| of(op).start);
    let count = ops.last().map_or(0, |op| of(op).end) - start;
    format!("{},{count}", start + usize::from(count > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_as_diff_does() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let after = "a\nb\nc\nD\ne\nf\ng\nh\ni\n";
        assert_eq!(
            unified(before, after, 1),
            "@@ -3,3 +3,3 @@\n c\n-d\n+D\n e\n@@ -8,1 +8,2 @@\n h\n+i\n"
        );
        assert_eq!(unified(before, before, 3), "");
        assert_eq!(unified("", "a\n", 3), "@@ -0,0 +1,1 @@\n+a\n");
    }

    fn text() -> impl Strategy<Value = String> {
        prop::collection::vec("[abc]", 0..24).prop_map(|lines| lines.join("\n"))
    }

    /// The length of the longest common subsequence, by the book.
    fn common(old: &[&str], new: &[&str]) -> usize {
        let mut row = vec![0; new.len() + 1];
        for line in old {
            let mut corner = 0;
            for (index, other) in new.iter().enumerate() {
                let above = row[index + 1];
                row[index + 1] = if line == other {
                    corner + 1
                } else {
                    above.max(row[index])
                };
                corner = above;
            }
        }
        row[new.len()]
    }

    proptest! {
        #[test]
        fn both_texts_are_in_the_comparison_and_it_is_the_shortest(before in text(), after in text()) {
            let old: Vec<&str> = before.lines().collect();
            let new: Vec<&str> = after.lines().collect();
            let text = unified(&before, &after, 1_000);
            let lines: Vec<&str> = match text.is_empty() {
                true => old.clone(),
                false => text.lines().skip(1).collect(),
            };
            let of = |skipped: char| -> Vec<&str> {
                let kept = lines.iter().filter(|line| !line.starts_with(skipped));
                kept.map(|line| line.trim_start_matches([' ', '-', '+'])).collect()
            };
            prop_assert_eq!(of('+'), old.clone());
            prop_assert_eq!(of('-'), new.clone());
            let same = lines.iter().filter(|line| !line.starts_with(['+', '-'])).count();
            prop_assert_eq!(same, common(&old, &new));
            prop_assert_eq!(unified(&before, &after, 3).is_empty(), old == new);
        }
    }
}
