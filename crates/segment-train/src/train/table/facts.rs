//! The facts about the columns of a table, for people to read before the training.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use report::percent::percent;
use telemetry::foreign;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// Texts, encoded as a column of 0 and 1 per value.
    Text,
    /// The ids of the customers.
    Id,
    /// `yes` and `no`, `true` and `false`, or booleans: 1 and 0.
    YesNo,
    /// Left out without being read.
    NotRead,
}

impl Kind {
    /// The word in tables and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Id => "id",
            Self::YesNo => "yes/no",
            Self::NotRead => "not read",
        }
    }
}

/// A column of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnFacts {
    /// The name in the header.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Rows without a value.
    pub missing: u64,
    /// Distinct known values, counted up to a limit.
    pub distinct: u64,
    /// Whether the count of distinct values reached its limit.
    pub distinct_bounded: bool,
    /// Why it was left out.
    pub left_out: Option<String>,
    /// Why it should be left out although it is used.
    pub warning: Option<String>,
}

/// The columns of a table; `Display` prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The path of the file.
    pub file: String,
    /// Customers.
    pub rows: u64,
    /// In the order of the file.
    pub columns: Vec<ColumnFacts>,
    /// Warnings about the file as a whole, a sentence each: a missing quote, a last line without a line end.
    pub notes: Vec<String>,
}

impl Facts {
    /// Warnings about the file and about columns that are used, a sentence each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let warned =
            |column: &ColumnFacts| Some(format!("column `{}`: {}", column.name, column.warning.as_ref()?));
        let notes = self.notes.iter().map(|note| format!("{}: {note}", self.file));
        notes.chain(self.columns.iter().filter_map(warned))
    }

    fn note(column: &ColumnFacts) -> String {
        if column.warning.is_some() {
            return "looks like a label; see the warning".to_owned();
        }
        match (&column.left_out, column.kind) {
            (Some(reason), _) => reason.clone(),
            (None, Kind::Text) => format!("encoded as {} columns of 0 and 1", column.distinct),
            (None, Kind::YesNo) => "yes is 1, no is 0".to_owned(),
            (None, Kind::Number | Kind::Id | Kind::NotRead) => String::new(),
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} customers, {} columns", self.file, self.rows, self.columns.len())?;
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["column", "type", "missing", "share", "distinct", "note"]);
        for column in &self.columns {
            let read = column.kind != Kind::NotRead;
            let number = |text: String| if read { text } else { String::new() };
            let share = percent(column.missing as f64 / self.rows.max(1) as f64);
            table.add_row([
                foreign::shown(&column.name).into_owned(),
                column.kind.as_str().to_owned(),
                number(column.missing.to_string()),
                number(share),
                number(format!("{}{}", column.distinct, if column.distinct_bounded { "+" } else { "" })),
                foreign::shown(&Self::note(column)).into_owned(),
            ]);
        }
        for number in 2..5 {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_missing_counts_and_columns_left_out_are_shown() {
        let column = |name: &str, kind, missing, distinct| ColumnFacts {
            name: name.into(),
            kind,
            missing,
            distinct,
            distinct_bounded: distinct == 10_000,
            left_out: None,
            warning: None,
        };
        let dropped = ColumnFacts {
            left_out: Some("left out on request".into()),
            ..column("duration", Kind::NotRead, 0, 0)
        };
        let columns = vec![
            column("id", Kind::Id, 0, 400),
            column("balance", Kind::Number, 1, 10_000),
            column("job", Kind::Text, 0, 12),
            column("loan", Kind::YesNo, 0, 2),
            dropped,
        ];
        let text = Facts { file: "bank.csv".into(), rows: 400, columns, notes: Vec::new() }.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "bank.csv: 400 customers, 5 columns");
        let rows = [
            "│ id       ┆ id       ┆       0 ┆   0 % ┆      400 ┆                                  │",
            "│ balance  ┆ number   ┆       1 ┆ 0.2 % ┆   10000+ ┆                                  │",
            "│ job      ┆ text     ┆       0 ┆   0 % ┆       12 ┆ encoded as 12 columns of 0 and 1 │",
            "│ loan     ┆ yes/no   ┆       0 ┆   0 % ┆        2 ┆ yes is 1, no is 0                │",
            "│ duration ┆ not read ┆         ┆       ┆          ┆ left out on request              │",
        ];
        assert_eq!(lines[4..9], rows, "{text}");
    }
}
