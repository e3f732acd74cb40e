//! Makes foreign text safe for a log line and for a terminal.
//!
//! A request id, an author or a column name can contain line ends that forge a line. It can contain terminal escape
//! sequences, and marks that reverse the reading direction. Any character that [`is_shown`] rejects is written as an
//! escape (`\u{202e}`) wherever text is shown to people. Logs do that in their formatter (`logging.rs`), commands in
//! `cli/printing.rs`.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The most characters of one foreign text that are shown.
const MAX_SHOWN: usize = 400;

/// Whether a character may be written as it is. Control characters (ASCII, DEL, C1), direction marks, and line and
/// paragraph separators may not.
#[must_use]
pub const fn is_shown(letter: char) -> bool {
    !matches!(letter,
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
    )
}

/// A foreign text on one line, escaped, and cut with an ellipsis if it is long.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    cut(text, MAX_SHOWN)
}

/// A foreign text on one line, escaped: at most `most` characters, and behind them an ellipsis if that is not all. No
/// escape is cut in two.
#[must_use]
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    let width = |letter: char| if is_shown(letter) { 1 } else { letter.escape_default().len() };
    let mut left = most;
    for (at, letter) in text.char_indices() {
        match left.checked_sub(width(letter)) {
            Some(rest) => left = rest,
            None => return Cow::Owned(escaped(&text[..at]).into_owned() + "…"),
        }
    }
    escaped(text)
}

/// The text on one line, escaped.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    escaped_but(text, |_| false)
}

/// The text with its line ends and tabs, escaped otherwise; for texts that this process composed of several lines.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped_but(text, |letter| matches!(letter, '\n' | '\t'))
}

/// JSON in which every character that [`is_shown`] rejects is a JSON escape. Line ends are kept: a JSON string
/// contains no raw one.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    let hidden = |letter: char| !is_shown(letter) && letter != '\n';
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if hidden(letter) {
            // All of them have at most four hexadecimal digits, and writing to a string cannot fail.
            _ = write!(written, "\\u{:04x}", u32::from(letter));
        } else {
            written.push(letter);
        }
    }
    Cow::Owned(written)
}

fn escaped_but(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(|letter| is_shown(letter) || kept(letter)) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_shown(letter) || kept(letter) {
            written.push(letter);
        } else {
            written.extend(letter.escape_default());
        }
    }
    Cow::Owned(written)
}

/// Writes its input on one line, escaped, up to a number of bytes, followed by one ellipsis if it was cut.
pub(super) struct Escaping<'w> {
    inner: &'w mut dyn Write,
    left: usize,
}

impl<'w> Escaping<'w> {
    /// `most`: the most bytes to write.
    pub(super) fn new(inner: &'w mut dyn Write, most: usize) -> Self {
        Self { inner, left: most }
    }
}

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.left == 0 || text.is_empty() {
            return Ok(());
        }
        let text = escaped(text);
        match self.left.checked_sub(text.len()) {
            Some(left) => {
                self.left = left;
                self.inner.write_str(&text)
            }
            None => {
                let end = text.floor_char_boundary(self.left);
                self.left = 0;
                self.inner.write_str(&text[..end])?;
                self.inner.write_char('…')
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every kind of character that can mislead a reader or a terminal, among harmless ones.
    pub(crate) fn hostile() -> impl Strategy<Value = String> {
        let letter = prop_oneof![
            any::<char>(),
            (0_u32..0xa0).prop_map(|code| char::from_u32(code).unwrap()),
            (0x2000_u32..0x2070).prop_map(|code| char::from_u32(code).unwrap()),
            Just('\u{61c}'),
        ];
        proptest::collection::vec(letter, 0..600).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn no_misleading_character_is_shown(text in hostile()) {
            prop_assert!(shown(&text).chars().all(is_shown));
            prop_assert!(escaped(&text).chars().all(is_shown));
            for most in [0, 1, 40] {
                let cut = cut(&text, most);
                let whole = cut.strip_suffix('…').filter(|_| cut != escaped(&text));
                prop_assert!(whole.map_or(cut.chars().count(), |head| head.chars().count()) <= most);
                prop_assert!(escaped(&text).starts_with(whole.unwrap_or(&cut)));
            }
            prop_assert!(lines(&text).chars().all(|letter| is_shown(letter) || matches!(letter, '\n' | '\t')));
            let json_text = serde_json::to_string(&text).unwrap();
            prop_assert!(json(&json_text).chars().all(is_shown));
            prop_assert_eq!(serde_json::from_str::<String>(&json(&json_text)).unwrap(), text.clone());
            let mut written = String::new();
            let mut escaping = Escaping::new(&mut written, 100);
            for part in text.split_inclusive('a') {
                escaping.write_str(part).unwrap();
            }
            prop_assert!(written.chars().all(is_shown) && written.len() <= 100 + '…'.len_utf8());
        }

        #[test]
        fn plain_text_is_shown_as_it_is(text in "[ -~äß€żółw漢字]{0,400}") {
            prop_assert_eq!(shown(&text), text.as_str());
        }
    }

    #[test]
    fn a_forged_line_is_one_line() {
        assert_eq!(shown("a\nb\u{1b}[31m\u{202e}\0"), "a\\nb\\u{1b}[31m\\u{202e}\\u{0}");
        assert_eq!(shown(&"x".repeat(MAX_SHOWN + 1)), "x".repeat(MAX_SHOWN) + "…");
        // An escape is there whole, or not at all.
        assert_eq!((cut("ab\u{202e}", 10), cut("ab\u{202e}", 9)), ("ab\\u{202e}".into(), "ab…".into()));
        assert_eq!(lines("a\nb\r"), "a\nb\\r");
        assert_eq!(json("{\"a\":\"\u{85}\u{202e}\"}\n"), "{\"a\":\"\\u0085\\u202e\"}\n");
    }
}
