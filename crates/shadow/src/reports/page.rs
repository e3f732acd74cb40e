//! A report as a self-contained HTML page.

use report::{Header, Page, Section, Table, append, figure};
use telemetry::foreign;

use super::outline::{Block, Cell, Grid, Outline, Part};

const TITLE: &str = "Shadow scoring";

/// The page.
pub(super) fn render(outline: &Outline) -> String {
    let Outline { source, lead, warnings, tiles, parts } = outline;
    let section = |part: &Part| Section::new(part.id, escape(&part.title), html(&part.blocks));
    let header = Header {
        title: TITLE.to_owned(),
        source: prose(source),
        lead: prose(lead),
        warnings: warnings.iter().map(|warning| prose(warning)).collect(),
        tiles: tiles.iter().map(|(value, what)| (escape(value), prose(what))).collect(),
    };
    let page = Page {
        title: foreign::escaped(&format!("{TITLE}: {source}").replace('`', "")).into_owned(),
        style: include_str!("style.css"),
        header,
        sections: parts.iter().map(section).collect(),
        footer: "Written by Proffer. The same report as JSON has every number.".to_owned(),
    };
    page.html()
}

/// Escapes a text for HTML. Marks that turn the direction of what follows are shown instead of obeyed.
pub(super) fn escape(text: &str) -> String {
    report::escape(&foreign::escaped(text))
}

/// Sentences as HTML. No line begins with a per cent sign.
fn prose(text: &str) -> String {
    report::marked(&foreign::escaped(text)).replace(" %", "\u{a0}%")
}

fn html(blocks: &[Block]) -> String {
    blocks.iter().map(block).collect()
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(text) => format!("<h3>{}</h3>\n", escape(text)),
        Block::Text(text) => format!("<p>{}</p>\n", prose(text)),
        Block::Grid(grid) => table(grid),
        Block::List(items) => {
            let mut html = String::from("<ul class=\"method\">\n");
            for item in items {
                append(&mut html, format_args!("<li>{}</li>\n", prose(item)));
            }
            html.push_str("</ul>\n");
            html
        }
        Block::Pictures(pictures) => {
            let figures: String =
                pictures.iter().map(|(svg, caption)| figure(svg, &prose(caption))).collect();
            format!("<div class=\"pair\">\n{figures}</div>\n")
        }
        Block::More { blocks, .. } => html(blocks),
    }
}

fn table(grid: &Grid) -> String {
    let mut table = Table::new(&grid.columns);
    for row in &grid.rows {
        table.row("", &row.iter().map(cell).collect::<Vec<_>>());
    }
    table.wide()
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => escape(text),
        Cell::Named { name, id } if name.is_empty() => format!("<code>{}</code>", escape(id)),
        Cell::Named { name, id } => format!("{} <span class=\"id\">{}</span>", escape(name), escape(id)),
        Cell::With { value, notes } => {
            let mut html = escape(value);
            for note in notes {
                append(&mut html, format_args!(" <span class=\"note-below\">{}</span>", escape(note)));
            }
            html
        }
    }
}
