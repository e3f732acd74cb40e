//! HTML tables of the report.

use super::append;

/// How the cells of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Left.
    Words,
    /// Right.
    Number,
}

/// An HTML table, built row by row.
pub(super) struct Table {
    columns: Vec<Column>,
    html: String,
}

impl Table {
    /// Starts a table; `columns` has the title of each column, as HTML.
    pub(super) fn new(columns: &[(&str, Column)]) -> Self {
        let mut html = String::from("<table>\n<thead><tr>");
        for (title, column) in columns {
            append(&mut html, format_args!("<th{}>{title}</th>", alignment(*column)));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        Self { columns: columns.iter().map(|(_, column)| *column).collect(), html }
    }

    /// Adds a row of HTML cells; `class` is the CSS class of the row, or empty.
    pub(super) fn row(&mut self, class: &str, cells: &[String]) {
        let attribute = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        append(&mut self.html, format_args!("<tr{attribute}>"));
        for (cell, column) in cells.iter().zip(&self.columns) {
            append(&mut self.html, format_args!("<td{}>{cell}</td>", alignment(*column)));
        }
        self.html.push_str("</tr>\n");
    }

    /// Adds a row of a first cell and numbers, each with its style as CSS declarations.
    pub(super) fn shaded(&mut self, first: &str, cells: &[(String, String)]) {
        append(&mut self.html, format_args!("<tr><td>{first}</td>"));
        for (cell, style) in cells {
            append(&mut self.html, format_args!("<td class=\"n\" style=\"{style}\">{cell}</td>"));
        }
        self.html.push_str("</tr>\n");
    }

    /// The HTML, in a box that scrolls if it is wider than the page.
    pub(super) fn wide(self) -> String {
        format!("<div class=\"wide\">\n{}</div>\n", self.plain())
    }

    /// The HTML.
    pub(super) fn plain(mut self) -> String {
        self.html.push_str("</tbody>\n</table>\n");
        self.html
    }
}

fn alignment(column: Column) -> &'static str {
    match column {
        Column::Words => "",
        Column::Number => " class=\"n\"",
    }
}
