//! Tables of the page.

use super::append;

/// How the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Words, from the left.
    Words,
    /// Numbers, to the right.
    Number,
}

/// A table, row by row.
pub(super) struct Table {
    columns: Vec<Column>,
    html: String,
}

impl Table {
    /// With a title per column, HTML.
    pub(super) fn new(columns: &[(&str, Column)]) -> Self {
        let mut html = String::from("<table>\n<thead><tr>");
        for (title, column) in columns {
            append(&mut html, format_args!("<th{}>{title}</th>", class(*column)));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        Self { columns: columns.iter().map(|(_, column)| *column).collect(), html }
    }

    /// A row of cells, HTML; `kind` is the class of the row, or nothing.
    pub(super) fn row(&mut self, kind: &str, cells: &[String]) {
        let kind = if kind.is_empty() { String::new() } else { format!(" class=\"{kind}\"") };
        append(&mut self.html, format_args!("<tr{kind}>"));
        for (cell, column) in cells.iter().zip(&self.columns) {
            append(&mut self.html, format_args!("<td{}>{cell}</td>", class(*column)));
        }
        self.html.push_str("</tr>\n");
    }

    /// A row whose numbers have colours behind them (CSS declarations) after the first cell.
    pub(super) fn shaded(&mut self, first: &str, cells: &[(String, String)]) {
        append(&mut self.html, format_args!("<tr><td>{first}</td>"));
        for (cell, style) in cells {
            append(&mut self.html, format_args!("<td class=\"n\" style=\"{style}\">{cell}</td>"));
        }
        self.html.push_str("</tr>\n");
    }

    /// The table, which scrolls where it is wider than the page.
    pub(super) fn wide(self) -> String {
        format!("<div class=\"wide\">\n{}</div>\n", self.plain())
    }

    /// The table.
    pub(super) fn plain(mut self) -> String {
        self.html.push_str("</tbody>\n</table>\n");
        self.html
    }
}

fn class(column: Column) -> &'static str {
    match column {
        Column::Words => "",
        Column::Number => " class=\"n\"",
    }
}
