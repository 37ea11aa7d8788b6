//! Columns as Kafka's tools print them. Most have one space between, where some grow with their
//! widest cell and some never do; others end each cell with a tab. Scripts know all of these. The
//! same rows as JSON have the columns' names for keys.

use serde_json::{Map, Value};

#[derive(Debug, Clone)]
pub(crate) struct Column {
    title: &'static str,
    width: usize,
    grows: bool,
    is_number: bool,
}

impl Column {
    /// At least this wide.
    pub(crate) fn growing(title: &'static str, width: usize) -> Self {
        Self {
            grows: true,
            ..Self::fixed(title, width)
        }
    }

    /// This wide; a longer cell shifts what follows it.
    pub(crate) fn fixed(title: &'static str, width: usize) -> Self {
        Self {
            title,
            width,
            grows: false,
            is_number: false,
        }
    }

    /// Ends where its text ends.
    pub(crate) fn last(title: &'static str) -> Self {
        Self::fixed(title, 0)
    }

    /// In JSON its cells are numbers.
    pub(crate) fn number(self) -> Self {
        Self {
            is_number: true,
            ..self
        }
    }
}

/// What stands between two cells, and behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Space,
    Tabs,
}

#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    rule: Rule,
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
            rule: Rule::Space,
        }
    }

    /// All columns grow, and each cell ends with a tab.
    pub(crate) fn tabbed(columns: Vec<Column>) -> Self {
        let fit = |column: Column| Column {
            width: column.title.len(),
            grows: true,
            ..column
        };
        Self {
            rule: Rule::Tabs,
            ..Self::new(columns.into_iter().map(fit).collect())
        }
    }

    pub(crate) fn push(&mut self, row: Vec<String>) {
        for (column, cell) in self.columns.iter_mut().zip(&row) {
            if column.grows {
                column.width = column.width.max(cell.chars().count());
            }
        }
        self.rows.push(row);
    }

    /// The titles, then the rows.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let titles = self.columns.iter().map(|column| column.title.to_owned());
        let titles: Vec<_> = titles.collect();
        let rows = self.rows.iter().map(|row| self.line(row));
        std::iter::once(self.line(&titles)).chain(rows)
    }

    /// The rows as JSON. A cell without a value is null.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Value> {
        self.rows.iter().map(|row| {
            let fields = self.columns.iter().zip(row);
            let fields = fields.filter(|(column, _)| !column.title.is_empty());
            let fields = fields.map(|(column, cell)| (key(column.title), column.value(cell)));
            Value::Object(Map::from_iter(fields))
        })
    }

    fn line(&self, cells: &[String]) -> String {
        let padded = self.columns.iter().zip(cells);
        let padded = padded.map(|(column, cell)| format!("{cell:<width$}", width = column.width));
        let padded: Vec<_> = padded.collect();
        match self.rule {
            Rule::Space => padded.join(" "),
            Rule::Tabs => padded.join("\t") + "\t",
        }
    }
}

impl Column {
    fn value(&self, cell: &str) -> Value {
        match cell {
            "-" | "None" | "" => Value::Null,
            cell if self.is_number => cell.parse::<i64>().map_or(Value::Null, Value::from),
            cell => Value::from(cell),
        }
    }
}

/// `LOG-END-OFFSET`, `LogEndOffset` → `logEndOffset`; signs and what is in brackets are left out.
fn key(title: &str) -> String {
    let bare = title.split(" (").next().unwrap_or(title);
    let is_shouted = !bare.chars().any(|c| c.is_ascii_lowercase());
    let mut key = String::new();
    let mut is_start = false;
    for c in bare.chars() {
        if !c.is_ascii_alphanumeric() {
            is_start = !key.is_empty();
            continue;
        }
        key.push(match is_start {
            true => c.to_ascii_uppercase(),
            false if is_shouted || key.is_empty() => c.to_ascii_lowercase(),
            false => c,
        });
        is_start = false;
    }
    key
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

    #[test]
    fn tabbed_cells_are_as_wide_as_the_widest() {
        let mut table = Table::tabbed(vec![Column::last("Id"), Column::last("State")]);
        table.push(vec!["longer".into(), "On".into()]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines, ["Id    \tState\t", "longer\tOn   \t"]);
    }

    #[test]
    fn rows_are_objects() {
        let mut table = Table::new(vec![
            Column::last("CONSUMER-ID"),
            Column::last("#PARTITIONS").number(),
            Column::last("LAG").number(),
            Column::last("COORDINATOR (ID)"),
            Column::last("LastTimestamp"),
            Column::last("Duration(min)").number(),
            Column::last(""),
        ]);
        let row = ["7", "7", "-", "h:1  (0)", "None", "3", ""];
        table.push(row.map(str::to_owned).to_vec());
        let objects: Vec<_> = table.objects().map(|object| object.to_string()).collect();
        assert_eq!(
            objects,
            [
                "{\"consumerId\":\"7\",\"coordinator\":\"h:1  (0)\",\"durationMin\":3,\"lag\":null,\"lastTimestamp\":null,\"partitions\":7}"
            ]
        );
    }
}
