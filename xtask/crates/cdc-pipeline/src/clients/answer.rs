//! What a statement of SQL gives over a protocol of texts.

/// A row of texts; none is NULL.
pub type Row = Vec<Option<String>>;

/// What one statement gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Names of the columns; none of a statement that gives no rows.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: Vec<Row>,
    /// How many rows it gave or changed.
    pub count: u64,
}
