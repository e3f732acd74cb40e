//! Classifies a text field: a number, a yes or no, a missing value, or something unusable.

use std::str;

use table::Decimal;

/// A trimmed field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'t> {
    /// Empty, `NA`, `NaN` or a given word for a missing value.
    Missing,
    /// Another usual word for a missing number, which is a text in a column of texts.
    Nothing(&'t str),
    /// A finite number.
    Number(f32),
    /// Infinite, or too large for a 32-bit float.
    Infinite(&'t str),
    /// A number except for a comma.
    Comma(&'t str),
    /// `yes`, `no`, `true` or `false`.
    Truth(bool, &'t str),
    /// Anything else.
    Text(&'t str),
    /// Not UTF-8.
    NotUtf8,
}

/// Additional words for a missing value, and the decimal separator.
#[derive(Debug, Default)]
pub(super) struct MissingWords {
    words: Vec<String>,
    /// The words that are numbers: `-1` also matches `-1.0`, and stored numbers of Parquet.
    numbers: Vec<f32>,
    decimal: Decimal,
}

impl MissingWords {
    pub(super) fn new(words: &[String]) -> Self {
        let words: Vec<String> = words.iter().map(|word| word.trim().to_owned()).collect();
        let numbers = words
            .iter()
            .filter_map(|word| word.parse().ok())
            .filter(|number: &f32| number.is_finite())
            .collect();
        Self { words, numbers, decimal: Decimal::Point }
    }

    /// Sets the decimal separator.
    pub(super) fn with_decimal(self, decimal: Decimal) -> Self {
        Self { decimal, ..self }
    }

    fn has_word(&self, text: &str) -> bool {
        self.words.iter().any(|word| word.eq_ignore_ascii_case(text))
    }

    pub(super) fn has_number(&self, value: f32) -> bool {
        // Adding 0 turns −0 into 0.
        self.numbers.iter().any(|number| (number + 0.0).total_cmp(&(value + 0.0)).is_eq())
    }
}

/// Classifies a field. Allocates nothing.
pub(super) fn classify<'t>(field: &'t [u8], missing: &MissingWords) -> Cell<'t> {
    let field = field.trim_ascii();
    if field.is_empty() {
        return Cell::Missing;
    }
    let Ok(text) = str::from_utf8(field) else { return Cell::NotUtf8 };
    // Only a text with non-ASCII characters can have further white space to trim.
    let text = if field.is_ascii() { text } else { text.trim() };
    match missing.decimal.number::<f32>(text) {
        Some(value) if value.is_nan() || missing.has_number(value) => Cell::Missing,
        Some(value) if value.is_finite() => Cell::Number(value),
        Some(_) if missing.has_word(text) => Cell::Missing,
        Some(_) => Cell::Infinite(text),
        None => classify_text(text, missing),
    }
}

fn classify_text<'t>(text: &'t str, missing: &MissingWords) -> Cell<'t> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if text.is_empty() || is("na") || missing.has_word(text) {
        Cell::Missing
    } else if table::is_missing(text) {
        Cell::Nothing(text)
    } else if let Some(truth) = table::truth(text) {
        Cell::Truth(truth, text)
    } else if has_decimal_comma(text) {
        Cell::Comma(text)
    } else {
        Cell::Text(text)
    }
}

fn has_decimal_comma(text: &str) -> bool {
    let numeric = |byte: u8| byte.is_ascii_digit() || b",.+-eE".contains(&byte);
    text.contains(',')
        && text.starts_with(|first: char| !matches!(first, 'e' | 'E'))
        && text.bytes().all(numeric)
        && text.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_field_is_recognised() {
        let missing = MissingWords::new(&["unknown".into(), " -1 ".into(), "inf".into()]);
        let cases: [(&[u8], Cell<'_>); 22] = [
            (b"", Cell::Missing),
            (b" \t", Cell::Missing),
            (b"na", Cell::Missing),
            (b"-nan", Cell::Missing),
            (b"N/A", Cell::Nothing("N/A")),
            (b"?", Cell::Nothing("?")),
            (b" Unknown ", Cell::Missing),
            (b"-1.0", Cell::Missing),
            (b"INF", Cell::Missing),
            ("\u{a0}7\u{a0}".as_bytes(), Cell::Number(7.0)),
            (b" -2e3", Cell::Number(-2000.0)),
            (b"16777217", Cell::Number(16_777_216.0)),
            (b"-inf", Cell::Infinite("-inf")),
            (b"1e39", Cell::Infinite("1e39")),
            (b"1,5", Cell::Comma("1,5")),
            (b"1.234,56", Cell::Comma("1.234,56")),
            (b"e,1", Cell::Text("e,1")),
            (b",", Cell::Text(",")),
            (b"Yes", Cell::Truth(true, "Yes")),
            (b"false", Cell::Truth(false, "false")),
            (b"admin.", Cell::Text("admin.")),
            (b"M\xfcller", Cell::NotUtf8),
        ];
        for (field, expected) in cases {
            assert_eq!(classify(field, &missing), expected, "{}", field.escape_ascii());
        }
    }
}
