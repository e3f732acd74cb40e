//! Checks of pages, for the tests of this crate and of its users.

/// Elements without an end tag.
const VOID: [&str; 2] = ["meta", "br"];

/// Checks that elements nest, attributes are quoted and every `&` begins a character reference.
///
/// # Errors
/// What is wrong first.
pub fn well_formed(html: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").unwrap_or(html);
    while let Some(begin) = rest.find('<') {
        for reference in rest[..begin].split('&').skip(1) {
            let end = reference.find(';').ok_or_else(|| format!("a bare & before `{reference:.20}`"))?;
            if end > 5 {
                return Err(format!("a bare & before `{reference:.20}`"));
            }
        }
        let end = rest[begin..].find('>').ok_or("an element that never ends")? + begin;
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
            continue;
        }
        if tag.matches('"').count() % 2 == 1 {
            return Err(format!("quotes of <{tag}>"));
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        if name == "style" {
            rest = &rest[rest.find("</style>").ok_or("a style that never ends")?..];
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("never closed: {open:?}")) }
}

/// What a page must not have: scripts, and references to anything outside itself.
///
/// # Errors
/// What was found first.
pub fn self_contained(html: &str) -> Result<(), String> {
    for forbidden in ["<script", " src=\"", "url(", "@import", "<link", "<img", "<iframe", "<object"] {
        if html.contains(forbidden) {
            return Err(format!("`{forbidden}`"));
        }
    }
    match html.split(" href=\"").skip(1).find(|reference| !reference.starts_with('#')) {
        Some(reference) => Err(format!("a link to `{reference:.20}`")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_found() {
        assert_eq!(well_formed("<p>a &amp; b<br></p>"), Ok(()));
        for wrong in ["<p>a & b</p>", "<p><b></p></b>", "<p", "<p class=\"x></p>", "<p>"] {
            assert!(well_formed(wrong).is_err(), "{wrong}");
        }
        assert_eq!(self_contained("<a href=\"#x\">x</a>"), Ok(()));
        for wrong in ["<a href=\"http://x\">x</a>", "<script>", "<img src=\"x\"/>"] {
            assert!(self_contained(wrong).is_err(), "{wrong}");
        }
    }
}
