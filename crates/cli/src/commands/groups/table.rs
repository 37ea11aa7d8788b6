//! Columns as Kafka's tools print them, one space between. Some grow with their widest cell, some
//! never do: scripts know both.

#[derive(Debug, Clone)]
pub(super) struct Column {
    title: &'static str,
    width: usize,
    grows: bool,
}

impl Column {
    /// At least this wide.
    pub(super) fn growing(title: &'static str, width: usize) -> Self {
        Self {
            grows: true,
            ..Self::fixed(title, width)
        }
    }

    /// This wide; a longer cell shifts what follows it.
    pub(super) fn fixed(title: &'static str, width: usize) -> Self {
        Self {
            title,
            width,
            grows: false,
        }
    }

    /// Ends where its text ends.
    pub(super) fn last(title: &'static str) -> Self {
        Self::fixed(title, 0)
    }
}

#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, row: Vec<String>) {
        for (column, cell) in self.columns.iter_mut().zip(&row) {
            if column.grows {
                column.width = column.width.max(cell.chars().count());
            }
        }
        self.rows.push(row);
    }

    /// The titles, then the rows.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let titles = self.columns.iter().map(|column| column.title.to_owned());
        let titles: Vec<_> = titles.collect();
        let rows = self.rows.iter().map(|row| self.line(row));
        std::iter::once(self.line(&titles)).chain(rows)
    }

    fn line(&self, cells: &[String]) -> String {
        let padded = self.columns.iter().zip(cells);
        let padded = padded.map(|(column, cell)| format!("{cell:<width$}", width = column.width));
        padded.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_grow_with_their_cells_or_do_not() {
        let mut table = Table::new(vec![
            Column::fixed("A", 3),
            Column::growing("B", 15),
            Column::last("C"),
        ]);
        table.push(vec!["1".into(), "a long cell of text".into(), "x".into()]);
        table.push(vec!["12345".into(), "b".into(), String::new()]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "A   B                   C",
                "1   a long cell of text x",
                "12345 b                   ",
            ]
        );
    }
}
