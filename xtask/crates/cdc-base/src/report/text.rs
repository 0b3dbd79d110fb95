//! Words and numbers as every face of a report writes them.

use std::borrow::Cow;
use std::time::Duration;

use crate::printed::TOOL;

/// A node's duration, in the unit that compares well with its neighbours: `85 ms`, `12.4 s`,
/// `3 min 05 s`.
///
/// Finer than [`crate::clock::span`], which tells ages: here 205 s and 239 s must differ.
pub fn duration(took: Duration) -> String {
    let ms = took.as_millis();
    let tenths = (ms + 50) / 100;
    let seconds = (ms + 500) / 1000;
    match ms {
        0 => "0 s".into(),
        1..100 => format!("{ms} ms"),
        _ if tenths < 600 => format!("{}.{} s", tenths / 10, tenths % 10),
        _ if seconds < 3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A number of bytes in decimal units, as download pages and `ls --si` give it: `12.3 MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(size, _)| count >= *size) {
        None => format!("{count} B"),
        Some((size, unit)) => {
            let tenths = u128::from(count) * 10 / u128::from(*size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

/// `part` of `whole` as a whole percentage; a part of nothing is nothing.
pub fn percent(part: Duration, whole: Duration) -> u32 {
    (fraction(part, whole) * 100.0).round() as u32
}

/// `part` of `whole` between 0 and 1.
pub fn fraction(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() {
        return 0.0;
    }
    (part.as_secs_f64() / whole.as_secs_f64()).min(1.0)
}

/// `1 step`, `2 steps`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(words: &[impl AsRef<str>]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// The text, whose lines are broken at words where they are longer than a terminal is wide. What goes on stands
/// below the column that it belongs to. Printed commands stay whole, so that they can be copied.
pub fn folded(text: &str, width: usize) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let is_evidence = line.trim_start().starts_with("| ");
        match shown(line) <= width || line.contains(TOOL) || is_evidence {
            true => line.to_owned(),
            false => fold(line, width),
        }
    });
    lines.collect()
}

/// How many columns a text takes.
fn shown(text: &str) -> usize {
    without_escapes(text.trim_end()).chars().count()
}

fn fold(line: &str, width: usize) -> String {
    let plain: Vec<char> = without_escapes(line.trim_end()).chars().collect();
    let indent = plain.iter().take_while(|c| **c == ' ').count();
    // The last column that begins in the first two thirds; what has no columns goes on where it began.
    let column = (indent + 2..width * 2 / 3)
        .rev()
        .find(|at| plain.get(at - 2..*at) == Some(&[' ', ' ']) && plain.get(*at) != Some(&' '));
    let hang = column.unwrap_or(indent);
    let (mut out, mut at, mut began) = (String::new(), 0, false);
    for word in line.split_inclusive(' ') {
        let long = shown(word);
        if began && long > 0 && at + long > width {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.push_str(&" ".repeat(hang));
            at = hang;
        }
        out.push_str(word);
        at += without_escapes(word.trim_end_matches('\n')).chars().count();
        began |= long > 0;
    }
    out
}

/// The text on one line and without control characters.
///
/// Messages quote what servers and processes say. A newline would break the bars, and an escape
/// sequence would command the reader's terminal.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text.trim());
    }
    let words = without_escapes(text).replace(char::is_control, " ");
    Cow::Owned(words.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Drops terminal escape sequences: CSI (`ESC [ … final`), OSC (`ESC ] …` to BEL or a
/// backslash, the end of `ESC \`) and two-character ones.
pub fn without_escapes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if next != '\u{1b}' {
            kept.push(next);
            continue;
        }
        match rest.next() {
            Some('[') => skip_past(&mut rest, |char| matches!(char, '@'..='~')),
            Some(']') => skip_past(&mut rest, |char| matches!(char, '\u{7}' | '\\')),
            _ => {}
        }
    }
    kept
}

fn skip_past(rest: &mut std::str::Chars<'_>, is_end: impl Fn(char) -> bool) {
    let _ = rest.find(|&char| is_end(char));
}

/// The colours that a report uses. Meaning never depends on them alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Done.
    Green,
    /// Failed.
    Red,
    /// At work.
    Cyan,
    /// The longest path.
    Yellow,
    /// What may be overlooked.
    Dim,
}

/// Puts colour on text, or leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Whether escape codes are written at all.
    pub colour: bool,
}

impl Palette {
    /// The text in a colour, if colours are wanted.
    pub fn ink<'text>(self, ink: Ink, text: impl Into<Cow<'text, str>>) -> Cow<'text, str> {
        let text = text.into();
        if !self.colour || text.is_empty() {
            return text;
        }
        let code = match ink {
            Ink::Green => 32,
            Ink::Red => 31,
            Ink::Cyan => 36,
            Ink::Yellow => 33,
            Ink::Dim => 2,
        };
        Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_once_and_change_unit_where_it_reads_best() {
        let text = |ms| duration(Duration::from_millis(ms));
        assert_eq!(text(0), "0 s");
        assert_eq!(text(99), "99 ms");
        assert_eq!(text(100), "0.1 s");
        assert_eq!(text(12_449), "12.4 s");
        assert_eq!(text(59_949), "59.9 s");
        assert_eq!(text(59_950), "1 min 00 s");
        assert_eq!(text(205_000), "3 min 25 s");
        assert_eq!(text(3_599_600), "1 h 00 min");
        assert_eq!(text(7_500_000), "2 h 05 min");
    }

    #[test]
    fn long_lines_break_at_words_below_their_column() {
        for (text, want) in [
            ("short\n", "short\n"),
            ("one two three four\n", "one two\nthree four\n"),
            ("  one two three", "  one two\n  three"),
            ("AB  one two three\n", "AB  one two\n    three\n"),
            ("a_word_longer_than_that b", "a_word_longer_than_that\nb"),
            (
                "\u{1b}[31mone\u{1b}[0m two three\n",
                "\u{1b}[31mone\u{1b}[0m two\nthree\n",
            ),
            ("  | evidence is as it was", "  | evidence is as it was"),
            ("next: cargo xtask up", "next: cargo xtask up"),
        ] {
            assert_eq!(folded(text, 11), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn folding_loses_no_word(text in "[a-z \\n]{0,80}", width in 1_usize..40) {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            proptest::prop_assert_eq!(words(&folded(&text, width)), words(&text));
        }
    }

    #[test]
    fn bytes_are_decimal() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_000), "1.0 kB");
        assert_eq!(bytes(12_345_678), "12.3 MB");
        assert_eq!(bytes(u64::MAX), "18446744073.7 GB");
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!(percent(Duration::from_secs(1), Duration::ZERO), 0);
        assert_eq!(percent(Duration::from_secs(1), Duration::from_secs(3)), 33);
    }

    #[test]
    fn one_line_disarms_what_a_server_says() {
        assert_eq!(one_line("  plain – ünïcode ✓ "), "plain – ünïcode ✓");
        assert_eq!(one_line("a\r\n\tb\0c"), "a b c");
        assert_eq!(one_line("\u{1b}[31;1mred\u{1b}[0m text"), "red text");
        assert_eq!(one_line("\u{1b}]0;title\u{7}x\u{1b}]8;;u\u{1b}\\y"), "xy");
        assert_eq!(one_line("cut off \u{1b}["), "cut off");
    }

    #[test]
    fn a_palette_without_colour_writes_no_escapes() {
        assert_eq!(Palette { colour: false }.ink(Ink::Red, "x"), "x");
        assert_eq!(
            Palette { colour: true }.ink(Ink::Red, "x"),
            "\u{1b}[31mx\u{1b}[0m"
        );
        assert_eq!(Palette { colour: true }.ink(Ink::Red, ""), "");
    }
}
