//! Aligned columns for a person, printed page by page: a million rows never sit in memory.

use std::io;

use console::measure_text_width;

use super::out::{Out, Tint, printable};

/// Rows that are measured together. Widths are those of the first page and grow when a later one needs more.
const PAGE_ROWS: usize = 256;
const GAP: &str = "  ";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    Left,
    /// For numbers.
    Right,
}

#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub align: Align,
}

impl Column {
    pub const fn left(name: &'static str) -> Column {
        Column {
            name,
            align: Align::Left,
        }
    }

    pub const fn right(name: &'static str) -> Column {
        Column {
            name,
            align: Align::Right,
        }
    }
}

/// Prints nothing where there is no row.
pub struct Table {
    columns: Vec<Column>,
    widths: Vec<usize>,
    page: Vec<Vec<String>>,
    has_header: bool,
}

impl Table {
    pub fn new(columns: &[Column]) -> Table {
        let widths = columns.iter().map(|column| measure_text_width(column.name)).collect();
        Table {
            columns: columns.to_vec(),
            widths,
            page: Vec::new(),
            has_header: false,
        }
    }

    /// One cell a column.
    pub fn row(&mut self, out: &mut Out, cells: Vec<String>) -> io::Result<()> {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.page.push(cells.iter().map(|cell| printable(cell)).collect());
        if self.page.len() < PAGE_ROWS {
            Ok(())
        } else {
            self.flush_page(out)
        }
    }

    pub fn finish(mut self, out: &mut Out) -> io::Result<()> {
        self.flush_page(out)
    }

    fn flush_page(&mut self, out: &mut Out) -> io::Result<()> {
        if self.page.is_empty() {
            return Ok(());
        }
        for row in &self.page {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(cell));
            }
        }
        if !self.has_header {
            self.has_header = true;
            let names: Vec<String> = self.columns.iter().map(|column| column.name.to_owned()).collect();
            let header = out.tinted(Tint::Heading, &self.aligned(&names));
            out.line(&header)?;
            let rules: Vec<String> = self.widths.iter().map(|width| "─".repeat(*width)).collect();
            let rule = out.tinted(Tint::Faint, &rules.join(GAP));
            out.line(&rule)?;
        }
        for row in std::mem::take(&mut self.page) {
            out.line(&self.aligned(&row))?;
        }
        Ok(())
    }

    fn aligned(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (index, ((cell, column), width)) in cells.iter().zip(&self.columns).zip(&self.widths).enumerate() {
            if index > 0 {
                line.push_str(GAP);
            }
            let padding = " ".repeat(width.saturating_sub(measure_text_width(cell)));
            match column.align {
                Align::Left => line.extend([cell.as_str(), &padding]),
                Align::Right => line.extend([padding.as_str(), cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Columns that rows would take in a table.
pub fn table_width(columns: &[Column], rows: &[Vec<String>]) -> usize {
    let column_width = |(index, column): (usize, &Column)| {
        let cells = rows.iter().map(|row| measure_text_width(&row[index]));
        cells.max().unwrap_or(0).max(measure_text_width(column.name))
    };
    columns.iter().enumerate().map(column_width).sum::<usize>() + GAP.len() * columns.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [Column::left("name"), Column::right("value"), Column::left("note")];

    fn printed(rows: &[[&str; 3]]) -> String {
        let (mut out, captured) = Out::captured(None);
        let mut table = Table::new(&COLUMNS);
        for row in rows {
            table.row(&mut out, row.map(str::to_owned).to_vec()).unwrap();
        }
        table.finish(&mut out).unwrap();
        captured.data()
    }

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let text = printed(&[["a", "1.5", "x"], ["温度", "-20.25", ""], ["e\u{301}t", "3", "y\u{1b}"]]);
        let expected = "\
name   value  note
────  ──────  ────
a        1.5  x
温度  -20.25
e\u{301}t         3  y\u{fffd}
";
        assert_eq!(text, expected);
        let rows = [vec!["温度".to_owned(), "-20.25".to_owned(), String::new()]];
        assert_eq!(table_width(&COLUMNS, &rows), 18);
    }

    #[test]
    fn no_rows_print_nothing() {
        assert_eq!(printed(&[]), "");
    }

    #[test]
    fn a_later_page_keeps_the_widths_and_the_header_is_printed_once() {
        let mut rows = vec![["wide name", "1", ""]; PAGE_ROWS];
        rows.push(["b", "2", ""]);
        let text = printed(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), PAGE_ROWS + 3);
        assert_eq!(lines[2], "wide name      1");
        assert_eq!(lines[PAGE_ROWS + 2], "b              2");
    }

    #[test]
    fn at_most_a_page_of_rows_is_held() {
        let (mut out, captured) = Out::captured(None);
        let mut table = Table::new(&[Column::left("n")]);
        for number in 0..10 * PAGE_ROWS {
            table.row(&mut out, vec![number.to_string()]).unwrap();
            assert!(table.page.len() < PAGE_ROWS);
        }
        assert_eq!(captured.data().lines().count(), 10 * PAGE_ROWS + 2);
    }
}
