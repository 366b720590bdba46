//! The formats in which rows are printed.

use std::str::FromStr;

/// How rows are printed. All but `Table` are for programs and keep their schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Aligned columns for a person.
    #[default]
    Table,
    /// One JSON array.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// RFC 4180 with a header.
    Csv,
}

impl Format {
    pub const NAMES: [&'static str; 4] = ["table", "json", "jsonl", "csv"];
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "table" => Ok(Format::Table),
            "json" => Ok(Format::Json),
            "jsonl" => Ok(Format::Jsonl),
            "csv" => Ok(Format::Csv),
            _ => Err(format!("unknown format `{text}`: one of {}", Format::NAMES.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_format() {
        for name in Format::NAMES {
            assert!(name.parse::<Format>().is_ok(), "{name}");
        }
        assert!("xml".parse::<Format>().unwrap_err().contains("table, json, jsonl, csv"));
    }
}
