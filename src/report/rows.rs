//! Rows in any format: what tables, JSON and CSV of one thing have in common.

use std::io;

use serde::Serialize;

use super::csv;
use super::format::Format;
use super::json::JsonRows;
use super::out::Out;
use super::table::{Column, Table};

/// One row in each of its forms; only the one that is printed is made.
pub trait Row {
    /// For a person; one cell a column.
    fn cells(&self) -> Vec<String>;
    /// For programs: the names are a schema.
    fn json(&self) -> impl Serialize;
    /// For programs; one cell a name of the header.
    fn csv(&self) -> Vec<String>;
}

/// Prints rows one by one in constant memory.
pub enum Rows {
    Table(Table),
    Json(JsonRows),
    Csv,
}

/// Names the column that a table of one sensor leaves out.
pub const SENSOR: &str = "sensor";

/// The columns, with or without the sensor's.
pub fn columns(all: &[Column], has_sensor_column: bool) -> Vec<Column> {
    let is_shown = |column: &&Column| has_sensor_column || column.name != SENSOR;
    all.iter().filter(is_shown).copied().collect()
}

impl Rows {
    /// `columns` head a table, `names` a CSV.
    pub fn begin(out: &mut Out, format: Format, columns: &[Column], names: &[&str]) -> io::Result<Rows> {
        Ok(match format {
            Format::Table => Rows::Table(Table::new(columns)),
            Format::Json => Rows::Json(JsonRows::array()),
            Format::Jsonl => Rows::Json(JsonRows::lines()),
            Format::Csv => {
                csv::write_line(out, names.iter().copied())?;
                Rows::Csv
            }
        })
    }

    pub fn row(&mut self, out: &mut Out, row: &impl Row) -> io::Result<()> {
        match self {
            Rows::Table(table) => table.row(out, row.cells()),
            Rows::Json(rows) => rows.row(out, &row.json()),
            Rows::Csv => csv::write_line(out, row.csv().iter().map(String::as_str)),
        }
    }

    pub fn finish(self, out: &mut Out) -> io::Result<()> {
        match self {
            Rows::Table(table) => table.finish(out),
            Rows::Json(rows) => rows.finish(out),
            Rows::Csv => Ok(()),
        }
    }
}
