//! Tables for people: columns as wide as what is in them.

use std::borrow::Cow;

use super::text::{Ink, Palette};

/// On which side a column's texts stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table under construction.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<(String, Option<Ink>)>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Side)>) -> Self {
        let columns = columns
            .into_iter()
            .map(|(name, side)| (clean(name).into_owned(), side));
        Table {
            columns: columns.collect(),
            rows: Vec::new(),
        }
    }

    /// A table of which the header is known: two spaces stand between names, and `>` before one whose texts
    /// stand on the right.
    pub fn titled(header: &str) -> Self {
        Table::new(header.split("  ").map(|name| match name.strip_prefix('>') {
            Some(name) => (name, Side::Right),
            None => (name, Side::Left),
        }))
    }

    /// Adds a row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.inked(cells.into_iter().map(|text| (text.into(), None)));
    }

    /// Adds a row in which some texts have a colour.
    pub fn inked(&mut self, cells: impl IntoIterator<Item = (String, Option<Ink>)>) {
        let cells = cells
            .into_iter()
            .map(|(text, ink)| (clean(&text).into_owned(), ink));
        self.rows.push(cells.collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each with its end.
    pub fn text(&self, palette: Palette) -> String {
        let width = |column: usize, name: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widths = cells.map(|(text, _)| text.chars().count());
            widths.max().unwrap_or(0).max(name.chars().count())
        };
        let columns = self.columns.iter().enumerate();
        let columns: Vec<(usize, Side)> = columns
            .map(|(at, (name, side))| (width(at, name), *side))
            .collect();
        let mut text = String::new();
        let header = self.columns.iter();
        let header = header.map(|(name, _)| (name.clone(), Some(Ink::Dim)));
        let header = header.collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let cells = row.iter().enumerate().map(|(at, (cell, ink))| {
                let (width, side) = columns.get(at).copied().unwrap_or((0, Side::Left));
                let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
                let cell = match ink {
                    Some(ink) => palette.ink(*ink, cell.as_str()),
                    None => cell.as_str().into(),
                };
                match side {
                    Side::Left => format!("{cell}{gap}"),
                    Side::Right => format!("{gap}{cell}"),
                }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A line end or tab would break the columns, and an escape sequence would command the terminal.
fn clean(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        true => text.replace(char::is_control, " ").into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::titled("NAME  >N  WHY");
        table.row(["a", "1000", ""]);
        table.row(["größer", "7", "x\ny\x1b"]);
        assert_eq!(
            table.text(Palette { colour: false }),
            "NAME       N  WHY\n\
             a       1000\n\
             größer     7  x y\n"
        );
    }

    #[test]
    fn colour_does_not_count_as_width() {
        let mut table = Table::new([("A", Side::Left), ("B", Side::Left)]);
        table.inked([("x".to_owned(), Some(Ink::Red)), ("y".to_owned(), None)]);
        let text = table.text(Palette { colour: true });
        assert!(text.ends_with("\u{1b}[31mx\u{1b}[0m  y\n"), "{text:?}");
    }
}
