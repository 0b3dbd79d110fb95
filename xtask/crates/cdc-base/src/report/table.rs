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
        let widths: Vec<usize> = columns.map(|(at, (name, _))| width(at, name)).collect();
        let mut text = String::new();
        let header: Vec<_> = self
            .columns
            .iter()
            .map(|(name, _)| (name.clone(), Some(Ink::Dim)))
            .collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let mut line = String::new();
            for (at, (cell, ink)) in row.iter().enumerate() {
                let gap = widths
                    .get(at)
                    .map_or(0, |width| width - cell.chars().count());
                let last = at + 1 == row.len();
                let right = self
                    .columns
                    .get(at)
                    .is_some_and(|(_, side)| *side == Side::Right);
                if right {
                    line.extend(std::iter::repeat_n(' ', gap));
                }
                match ink {
                    Some(ink) => line.push_str(&palette.ink(*ink, cell.as_str())),
                    None => line.push_str(cell),
                }
                if !right && !last {
                    line.extend(std::iter::repeat_n(' ', gap));
                }
                if !last {
                    line.push_str("  ");
                }
            }
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
        let mut table = Table::new([
            ("NAME", Side::Left),
            ("N", Side::Right),
            ("WHY", Side::Left),
        ]);
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
