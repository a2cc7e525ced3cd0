// SPDX-License-Identifier: Apache-2.0
//! Answers as tables for people and as JSON for programs.

use anyhow::Result;
use serde::Serialize;

use crate::args::Format;

/// Prints rows under headings, or `value` as JSON.
pub fn print(format: Format, value: &impl Serialize, headings: &[&str], rows: &[Vec<String>]) -> Result<()> {
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(value)?),
        Format::Table => print!("{}", table(headings, rows)),
    }
    Ok(())
}

/// Columns as wide as their widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&headings).chain(rows).collect();
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| all.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    all.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_space() {
        let rows = [vec!["eni-1".to_owned(), "7".to_owned()], vec!["e".to_owned(), String::new()]];
        assert_eq!(table(&["ENI", "PACKETS"], &rows), "ENI    PACKETS\neni-1  7\ne\n");
    }
}
