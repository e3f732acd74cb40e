//! A report as text for a terminal, with tables as all commands print them: no lines, numbers to the right.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use report::Column;
use telemetry::foreign;

use super::outline::{Block, Cell, Grid, Outline};

/// The text. `width` is that of the terminal in columns; `None`: that of the one there is, if any.
pub(super) fn render(outline: &Outline, width: Option<u16>) -> String {
    let Outline { source, lead, warnings, parts, .. } = outline;
    let source = wrapped(&report::capitalised(source), width);
    let mut paragraphs = vec![format!("{source}\n{}", wrapped(lead, width))];
    paragraphs.extend(warnings.iter().map(|warning| wrapped(&format!("Note: {warning}"), width)));
    for part in parts.iter().filter(|part| !part.blocks.is_empty()) {
        let mut heading = Some(wrapped(&part.title, width));
        for block in &part.blocks {
            let text = match block {
                Block::Heading(text) => {
                    paragraphs.extend(heading.take());
                    heading = Some(wrapped(text, width));
                    continue;
                }
                Block::Text(text) => wrapped(text, width),
                Block::List(items) => {
                    let items = items.iter().map(|item| wrapped(&format!("- {item}"), width));
                    items.collect::<Vec<_>>().join("\n")
                }
                Block::Grid(grid) => table(grid, width),
                Block::Pictures(_) => continue,
                Block::More { instead, .. } => wrapped(instead, width),
            };
            // A heading stands right above what it is of.
            paragraphs.push(match heading.take() {
                Some(heading) => format!("{heading}\n{text}"),
                None => text,
            });
        }
        paragraphs.extend(heading);
    }
    paragraphs.join("\n\n")
}

/// Foreign names within sentences keep to their line and send nothing to the terminal.
fn wrapped(text: &str, width: Option<u16>) -> String {
    let text = foreign::escaped(text);
    let Some(width) = width else { return text.into_owned() };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    if let Some(column) = table.add_row([text]).column_mut(0) {
        column.set_padding((0, 0));
    }
    lines(&table)
}

fn table(grid: &Grid, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header(grid.columns.iter().map(|(title, _)| *title));
    for row in &grid.rows {
        table.add_row(row.iter().map(cell));
    }
    for (at, (_, kind)) in grid.columns.iter().enumerate() {
        if *kind == Column::Number
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

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => foreign::shown(text).into_owned(),
        Cell::Named { name, id } if name.is_empty() => foreign::shown(id).into_owned(),
        Cell::Named { name, id } => foreign::shown(&format!("{name} ({id})")).into_owned(),
        Cell::With { value, notes } => format!("{value}\n{}", notes.join("\n")),
    }
}
