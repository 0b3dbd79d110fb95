//! A line-by-line comparison of two texts, as `diff -u` shows it.

/// How many changed lines are looked for at the most; beyond, what lies between the common beginning
/// and the common end is shown as replaced.
const MOST: usize = 2_000;

/// A line of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// In both texts.
    Same(&'a str),
    /// In the first text only.
    Old(&'a str),
    /// In the second text only.
    New(&'a str),
}

/// The shortest way from one text to the other (Myers).
pub fn compare<'a>(before: &'a str, after: &'a str) -> Vec<Line<'a>> {
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.lines().collect();
    let equal = |(old, new): &(&&str, &&str)| old == new;
    let head = old.iter().zip(&new).take_while(equal).count();
    let rest = old[head..].iter().rev().zip(new[head..].iter().rev());
    let tail = rest.take_while(equal).count();
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let mut lines: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    lines.extend(middle(&old[head..old_end], &new[head..new_end]));
    lines.extend(old[old_end..].iter().map(|line| Line::Same(line)));
    lines
}

fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let replaced = || {
        let gone = old.iter().map(|line| Line::Old(line));
        gone.chain(new.iter().map(|line| Line::New(line))).collect()
    };
    let most = (old.len() + new.len()).min(MOST);
    // `furthest[k + most]` is how far into `old` the diagonal k was followed.
    let mut furthest = vec![0_usize; 2 * most + 2];
    let mut trace = Vec::new();
    for edits in 0..=most {
        trace.push(furthest.clone());
        for step in 0..=edits {
            let diagonal = most + 2 * step - edits;
            let down =
                step == 0 || (step != edits && furthest[diagonal - 1] < furthest[diagonal + 1]);
            let mut x = if down {
                furthest[diagonal + 1]
            } else {
                furthest[diagonal - 1] + 1
            };
            while x < old.len()
                && x + most >= diagonal
                && old.get(x) == new.get(x + most - diagonal)
            {
                x += 1;
            }
            furthest[diagonal] = x;
            if x >= old.len() && x + most >= diagonal + new.len() {
                return walk(old, new, &trace, most);
            }
        }
    }
    replaced()
}

/// Follows the trace back.
fn walk<'a>(old: &[&'a str], new: &[&'a str], trace: &[Vec<usize>], most: usize) -> Vec<Line<'a>> {
    let (mut x, mut y) = (old.len(), new.len());
    let mut lines = Vec::new();
    for (edits, furthest) in trace.iter().enumerate().rev() {
        let diagonal = most + x - y;
        let lowest = diagonal + edits == most;
        let highest = diagonal == most + edits;
        let down = lowest || (!highest && furthest[diagonal - 1] < furthest[diagonal + 1]);
        let from = if down { diagonal + 1 } else { diagonal - 1 };
        let start = if edits == 0 { 0 } else { furthest[from] };
        let above = if edits == 0 { 0 } else { start + most - from };
        while x > start && y > above && old[x - 1] == new[y - 1] {
            (x, y) = (x - 1, y - 1);
            lines.push(Line::Same(old[x]));
        }
        if edits == 0 {
            break;
        }
        if down {
            y -= 1;
            lines.push(Line::New(new[y]));
        } else {
            x -= 1;
            lines.push(Line::Old(old[x]));
        }
    }
    lines.reverse();
    lines
}

/// The comparison as text, with `context` common lines around each change. Empty if nothing differs.
pub fn unified(before: &str, after: &str, context: usize) -> String {
    let lines = compare(before, after);
    let changed: Vec<usize> = (0..lines.len())
        .filter(|&index| !matches!(lines[index], Line::Same(_)))
        .collect();
    let mut text = String::new();
    let mut at = 0;
    while at < changed.len() {
        let mut last = at;
        while last + 1 < changed.len() && changed[last + 1] - changed[last] <= 2 * context + 1 {
            last += 1;
        }
        let from = changed[at].saturating_sub(context);
        let to = (changed[last] + context + 1).min(lines.len());
        text.push_str(&hunk(&lines, from, to));
        at = last + 1;
    }
    text
}

fn hunk(lines: &[Line<'_>], from: usize, to: usize) -> String {
    let count = |lines: &[Line<'_>], old: bool| {
        let other = |line: &&Line<'_>| match line {
            Line::Same(_) => true,
            Line::Old(_) => old,
            Line::New(_) => !old,
        };
        lines.iter().filter(other).count()
    };
    let span = |old: bool| {
        let (before, inside) = (count(&lines[..from], old), count(&lines[from..to], old));
        format!("{},{inside}", if inside == 0 { before } else { before + 1 })
    };
    let mut text = format!("@@ -{} +{} @@\n", span(true), span(false));
    for line in &lines[from..to] {
        let (sign, line) = match line {
            Line::Same(line) => (' ', line),
            Line::Old(line) => ('-', line),
            Line::New(line) => ('+', line),
        };
        text.push(sign);
        text.push_str(line);
        text.push('\n');
    }
    text
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
            let lines = compare(&before, &after);
            let old: Vec<&str> = before.lines().collect();
            let new: Vec<&str> = after.lines().collect();
            let of = |skip_new: bool| -> Vec<&str> {
                lines
                    .iter()
                    .filter_map(|line| match *line {
                        Line::Same(line) => Some(line),
                        Line::Old(line) => skip_new.then_some(line),
                        Line::New(line) => (!skip_new).then_some(line),
                    })
                    .collect()
            };
            prop_assert_eq!(of(true), old.clone());
            prop_assert_eq!(of(false), new.clone());
            let same = lines.iter().filter(|line| matches!(line, Line::Same(_))).count();
            prop_assert_eq!(same, common(&old, &new));
            prop_assert_eq!(unified(&before, &after, 3).is_empty(), old == new);
        }
    }
}
