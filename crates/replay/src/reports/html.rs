//! A report as a self-contained HTML page.

use report::{Column, Header, Page, Section, Table, append, escape, marked};

use super::outline::{Block, Cell, Grid, Kind, Outline};

/// The longest bar, in pixels.
const LONGEST: f64 = 120.0;

/// The page.
pub(super) fn render(outline: &Outline) -> String {
    let Outline { title, source, lead, warnings, tiles, parts, .. } = outline;
    let section = |part: &super::outline::Part| {
        Section::new(part.id, escape(part.title), part.blocks.iter().map(block).collect())
    };
    let tile = |(value, what): &(String, String)| (escape(value), marked(what));
    let header = Header {
        title: title.clone(),
        source: marked(source),
        lead: marked(lead),
        warnings: warnings.iter().map(|warning| marked(warning)).collect(),
        tiles: tiles.iter().map(tile).collect(),
    };
    let page = Page {
        title: format!("{title}: {source}").replace('`', ""),
        style: include_str!("style.css"),
        header,
        sections: parts.iter().map(section).collect(),
        footer: "Written by Proffer. The same report as JSON has every number.".to_owned(),
    };
    page.html()
}

fn block(block: &Block) -> String {
    match block {
        Block::Text(text) => format!("<p>{}</p>\n", marked(text)),
        Block::Heading(text) => format!("<h3>{}</h3>\n", escape(text)),
        Block::Grid(grid) => table(grid),
        Block::List(items) => {
            let mut html = String::from("<ul class=\"method\">\n");
            for item in items {
                append(&mut html, format_args!("<li>{}</li>\n", marked(item)));
            }
            html.push_str("</ul>\n");
            html
        }
    }
}

fn table(grid: &Grid) -> String {
    let column = |(title, kind): &(&'static str, Kind)| match kind {
        Kind::Words | Kind::Bars => (*title, Column::Words),
        Kind::Number => (*title, Column::Number),
    };
    let columns: Vec<(&str, Column)> = grid.columns.iter().map(column).collect();
    let mut table = Table::new(&columns);
    for row in &grid.rows {
        table.row("", &row.iter().map(cell).collect::<Vec<_>>());
    }
    table.wide()
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => escape(text),
        Cell::Named { name, id } if name.is_empty() => format!("<code>{}</code>", escape(id)),
        Cell::Named { name, id } => {
            format!("{} <span class=\"id\">{}</span>", escape(name), escape(id))
        }
        Cell::Change { amounts, relative } if relative.is_empty() => escape(amounts),
        Cell::Change { amounts, relative } => {
            format!("{} <span class=\"change\">{}</span>", escape(amounts), escape(relative))
        }
        Cell::Bars { before, after, label } => bars(*before, *after, label),
    }
}

/// The bar of before above that of after.
fn bars(before: f64, after: f64, label: &str) -> String {
    let length = |share: f64| if share > 0.0 { (share.min(1.0) * LONGEST).max(1.0) } else { 0.0 };
    format!(
        "<svg class=\"bars\" viewBox=\"0 0 {LONGEST} 16\" role=\"img\" aria-label=\"{}\"><rect class=\"before\" y=\"1\" \
         width=\"{:.1}\" height=\"6\"/><rect class=\"after\" y=\"8\" width=\"{:.1}\" height=\"6\"/></svg>",
        escape(label),
        length(before),
        length(after)
    )
}
