//! A report as text for a terminal, with tables as all commands print them: no lines, numbers to the right.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use telemetry::foreign;

use super::outline::{Block, Cell, Grid, Kind, Outline};

/// The text. `width` is that of the terminal in columns; `None`: that of the one there is, if any.
pub(super) fn render(outline: &Outline, width: Option<u16>) -> String {
    let Outline { source, lead, warnings, parts, verdict, .. } = outline;
    let mut paragraphs = vec![wrapped(&format!("{source}\n{lead}"), width)];
    paragraphs.extend(warnings.iter().map(|warning| wrapped(&format!("Note: {warning}"), width)));
    for part in parts.iter().filter(|part| !part.blocks.is_empty()) {
        paragraphs.push(part.title.to_owned());
        let mut joined = true;
        for block in &part.blocks {
            let text = match block {
                Block::Text(text) => wrapped(text, width),
                Block::Heading(text) => (*text).to_owned(),
                Block::List(items) => {
                    let items: Vec<String> =
                        items.iter().map(|item| wrapped(&format!("- {item}"), width)).collect();
                    items.join("\n")
                }
                Block::Grid(grid) => table(grid, width),
            };
            if joined && let Some(last) = paragraphs.last_mut() {
                last.push('\n');
                last.push_str(&text);
            } else {
                paragraphs.push(text);
            }
            joined = matches!(block, Block::Heading(_));
        }
    }
    paragraphs.extend(verdict.clone());
    paragraphs.join("\n\n")
}

/// Foreign names within sentences keep to their line and send nothing to the terminal.
fn wrapped(text: &str, width: Option<u16>) -> String {
    let text = foreign::lines(text);
    let Some(width) = width else { return text.into_owned() };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    if let Some(column) = table.add_row([text]).column_mut(0) {
        column.set_padding((0, 0));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn table(grid: &Grid, width: Option<u16>) -> String {
    let shown: Vec<usize> = (0..grid.columns.len()).filter(|at| grid.columns[*at].1 != Kind::Bars).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header(shown.iter().map(|at| grid.columns[*at].0));
    for row in &grid.rows {
        table.add_row(shown.iter().map(|at| row.get(*at).map(cell).unwrap_or_default()));
    }
    for (column, at) in shown.iter().enumerate() {
        if grid.columns[*at].1 == Kind::Number
            && let Some(column) = table.column_mut(column)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn cell(cell: &Cell) -> String {
    let text = match cell {
        Cell::Text(text) => text.clone(),
        Cell::Named { name, id } if name.is_empty() => id.clone(),
        Cell::Named { name, id } => format!("{name} ({id})"),
        Cell::Change { amounts, relative } if relative.is_empty() => amounts.clone(),
        Cell::Change { amounts, relative } => format!("{amounts} {relative}"),
        Cell::Bars { label, .. } => label.clone(),
    };
    foreign::shown(&text).into_owned()
}
