//! The frame of a page: head, header, contents, sections, footer.

use std::fmt::{self, Write as _};

/// The style sheet of every page.
const STYLE: &str = include_str!("style.css");

/// A self-contained HTML page.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The title of the window, as plain text.
    pub title: String,
    /// CSS that this page needs besides the shared style sheet.
    pub style: &'static str,
    /// What a reader sees first.
    pub header: Header,
    /// The sections in order; one with an empty body is left out.
    pub sections: Vec<Section>,
    /// The footer, as HTML.
    pub footer: String,
}

/// The header of a page. All but the title is HTML.
#[derive(Debug, Clone, Default)]
pub struct Header {
    /// The title, as plain text.
    pub title: String,
    /// What the page is made of.
    pub source: String,
    /// The result in a few sentences.
    pub lead: String,
    /// What a reader must know before they use the result, a paragraph each.
    pub warnings: Vec<String>,
    /// The headline numbers, each with what it counts.
    pub tiles: Vec<(String, String)>,
}

/// A section of a page.
#[derive(Debug, Clone, Default)]
pub struct Section {
    /// The target of its link: letters, digits and `-`.
    pub id: &'static str,
    /// The heading, as HTML.
    pub title: String,
    /// What stands below the heading, as HTML.
    pub body: String,
}

impl Section {
    /// A section.
    #[must_use]
    pub fn new(id: &'static str, title: impl Into<String>, body: String) -> Self {
        Self { id, title: title.into(), body }
    }
}

impl Page {
    /// The bytes of the file, as a text.
    #[must_use]
    pub fn html(&self) -> String {
        let shown = || self.sections.iter().filter(|section| !section.body.is_empty());
        let bodies: usize = shown().map(|section| section.body.len() + 128).sum();
        let mut html = String::with_capacity(STYLE.len() + bodies + (16 << 10));
        html.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        append(&mut html, format_args!("<title>{}</title>\n<style>\n", escape(&self.title)));
        html.push_str(STYLE);
        html.push_str(self.style);
        html.push_str("</style>\n</head>\n<body>\n");
        self.header.append_to(&mut html);
        html.push_str("<nav aria-label=\"Contents\"><ul>\n");
        for Section { id, title, .. } in shown() {
            append(&mut html, format_args!("<li><a href=\"#{id}\">{title}</a></li>\n"));
        }
        html.push_str("</ul></nav>\n<main>\n");
        for Section { id, title, body } in shown() {
            append(&mut html, format_args!("<section id=\"{id}\">\n<h2>{title}</h2>\n{body}</section>\n"));
        }
        append(&mut html, format_args!("</main>\n<footer>{}</footer>\n</body>\n</html>\n", self.footer));
        html
    }
}

impl Header {
    fn append_to(&self, html: &mut String) {
        let Self { title, source, lead, warnings, tiles } = self;
        append(html, format_args!("<header>\n<h1>{}</h1>\n", escape(title)));
        append(html, format_args!("<p class=\"source\">{source}</p>\n<p class=\"lead\">{lead}</p>\n"));
        for warning in warnings {
            append(html, format_args!("<p class=\"warn\">{warning}</p>\n"));
        }
        html.push_str("<div class=\"tiles\">\n");
        for (value, what) in tiles {
            append(html, format_args!("<div class=\"tile\"><b>{value}</b><span>{what}</span></div>\n"));
        }
        html.push_str("</div>\n</header>\n");
    }
}

/// Escapes a text for elements and attributes of HTML and SVG.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML does not allow control characters.
            letter if letter.is_control() && letter != '\n' && letter != '\t' => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Appends formatted text without a temporary string.
pub fn append(text: &mut String, addition: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(addition);
}

/// A figure, as SVG, with its caption, as HTML.
#[must_use]
pub fn figure(svg: &str, caption: &str) -> String {
    format!("<figure>\n{svg}<figcaption>{caption}</figcaption>\n</figure>\n")
}

/// The text with a capital first letter.
#[must_use]
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Escapes a text; names in backticks become `<code>`.
#[must_use]
pub fn marked(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 16);
    for (index, part) in text.split('`').enumerate() {
        let part = escape(part);
        match index % 2 {
            0 => html.push_str(&part),
            _ => append(&mut html, format_args!("<code>{part}</code>")),
        }
    }
    html
}

/// A terminal message as a sentence of a page; names in backticks become `<code>`.
#[must_use]
pub fn sentence(message: &str) -> String {
    let mut html = marked(&capitalised(message));
    if !message.ends_with(['.', '?']) {
        html.push('.');
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::well_formed;

    fn page(sections: Vec<Section>) -> Page {
        let tiles = vec![("12".to_owned(), "customers".to_owned())];
        let header = Header { title: "A <b> & \"c\"".to_owned(), tiles, ..Header::default() };
        Page { title: "</title><script>".to_owned(), header, sections, ..Page::default() }
    }

    #[test]
    fn a_page_is_well_formed_and_its_titles_are_escaped() {
        let html = page(vec![Section::new("one", "One", "<p>1</p>\n".to_owned())]).html();
        assert_eq!(well_formed(&html), Ok(()));
        assert!(html.contains("<title>&lt;/title&gt;&lt;script&gt;</title>"), "{html}");
        assert!(html.contains("<h1>A &lt;b&gt; &amp; &quot;c&quot;</h1>"), "{html}");
        assert!(html.contains("<a href=\"#one\">One</a>"), "{html}");
    }

    #[test]
    fn a_section_without_a_body_is_left_out() {
        let html = page(vec![Section::new("none", "Nothing", String::new())]).html();
        assert!(!html.contains("Nothing"), "{html}");
    }

    #[test]
    fn texts_are_escaped_for_elements_and_attributes() {
        assert_eq!(escape("<a href='x'>\"&\u{7}"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\u{fffd}");
    }

    #[test]
    fn a_message_becomes_a_sentence() {
        assert_eq!(sentence("no `<x>` here"), "No <code>&lt;x&gt;</code> here.");
        assert_eq!(sentence("is it?"), "Is it?");
        assert_eq!(sentence(""), ".");
    }
}
