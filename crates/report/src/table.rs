//! HTML tables.

use super::append;

/// How the cells of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Left.
    Words,
    /// Right.
    Number,
}

/// An HTML table, built row by row.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    html: String,
}

impl Table {
    /// Starts a table; `columns` has the title of each column, as HTML.
    #[must_use]
    pub fn new(columns: &[(&str, Column)]) -> Self {
        let mut html = String::from("<table>\n<thead><tr>");
        for (title, column) in columns {
            append(&mut html, format_args!("<th{}>{title}</th>", alignment(*column)));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        Self { columns: columns.iter().map(|(_, column)| *column).collect(), html }
    }

    /// Adds a row of HTML cells; `class` is the CSS class of the row, or empty.
    pub fn row(&mut self, class: &str, cells: &[String]) {
        let attribute = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        append(&mut self.html, format_args!("<tr{attribute}>"));
        for (cell, column) in cells.iter().zip(&self.columns) {
            append(&mut self.html, format_args!("<td{}>{cell}</td>", alignment(*column)));
        }
        self.html.push_str("</tr>\n");
    }

    /// Adds a row of a first cell and numbers, each with its style as CSS declarations.
    pub fn shaded(&mut self, first: &str, cells: &[(String, String)]) {
        append(&mut self.html, format_args!("<tr><td>{first}</td>"));
        for (cell, style) in cells {
            append(&mut self.html, format_args!("<td class=\"n\" style=\"{style}\">{cell}</td>"));
        }
        self.html.push_str("</tr>\n");
    }

    /// The HTML, in a box that scrolls if it is wider than the page.
    #[must_use]
    pub fn wide(self) -> String {
        format!("<div class=\"wide\">\n{}</div>\n", self.plain())
    }

    /// The HTML.
    #[must_use]
    pub fn plain(mut self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::well_formed;

    #[test]
    fn numbers_are_aligned_to_the_right() {
        let mut table = Table::new(&[("offer", Column::Words), ("shown", Column::Number)]);
        table.row("chosen", &["a".to_owned(), "7".to_owned()]);
        table.shaded("b", &[("8".to_owned(), "color:red".to_owned())]);
        let html = table.wide();
        assert_eq!(well_formed(&html), Ok(()));
        assert!(html.contains("<th>offer</th><th class=\"n\">shown</th>"), "{html}");
        assert!(html.contains("<tr class=\"chosen\"><td>a</td><td class=\"n\">7</td></tr>"), "{html}");
        assert!(html.contains("<td class=\"n\" style=\"color:red\">8</td>"), "{html}");
    }
}
