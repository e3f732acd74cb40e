//! Texts and tables for a terminal of 100 columns, as all commands print them: no lines, numbers to the right.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use report::Column;
use telemetry::foreign;

/// The width, in columns.
const WIDTH: u16 = 100;

/// Sentences, wrapped. Foreign names within keep to their line and send nothing to the terminal.
pub(super) fn wrapped(text: &str) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    if let Some(column) = table.add_row([foreign::escaped(text)]).column_mut(0) {
        column.set_padding((0, 0));
    }
    lines(&table)
}

/// Sentences as a list.
pub(super) fn list<'t>(sentences: impl IntoIterator<Item = &'t str>) -> String {
    let items = sentences.into_iter().map(|sentence| wrapped(&format!("- {sentence}")));
    items.collect::<Vec<_>>().join("\n")
}

/// A table.
pub(super) fn table(columns: &[(&str, Column)], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(columns.iter().map(|(title, _)| foreign::shown(title)));
    for row in rows {
        table.add_row(row.iter().map(|cell| foreign::shown(cell)));
    }
    for (at, (_, column)) in columns.iter().enumerate() {
        if *column == Column::Number
            && let Some(column) = table.column_mut(at)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    lines(&table)
}

fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
