//! Column names as words for people.

use std::collections::BTreeMap;

use report::capitalised;

/// The words of a column's name, in lower case.
///
/// `CASH_ADVANCE_TRX` and `cashAdvanceTrx` are `cash advance trx`; the one-hot feature `job=retired` is `job: retired`.
pub(crate) fn words(column: &str) -> String {
    let mut spaced = String::with_capacity(column.len() + 4);
    let mut before = ' ';
    for letter in column.chars() {
        let boundary = letter.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit());
        let separates = matches!(letter, '_' | '-' | '.' | '=' | '/');
        match letter {
            '=' if !spaced.is_empty() && !spaced.ends_with(' ') => spaced.push_str(": "),
            _ if boundary || separates => spaced.push(' '),
            _ => {}
        }
        if !separates {
            spaced.extend(letter.to_lowercase());
        }
        before = letter;
    }
    let words: Vec<&str> = spaced.split_whitespace().collect();
    if words.is_empty() { column.to_owned() } else { words.join(" ") }
}

/// The label of each column: its words, or its name if two columns have the same words.
pub(super) fn labels<'n>(columns: impl Iterator<Item = &'n str> + Clone) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for column in columns.clone() {
        *seen.entry(words(column)).or_default() += 1;
    }
    let label = |column: &str| {
        let words = words(column);
        if seen.get(&words).copied() == Some(1) { capitalised(&words) } else { column.to_owned() }
    };
    columns.map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_names_become_words() {
        let cases = [
            ("CASH_ADVANCE_TRX", "cash advance trx"),
            ("cashAdvanceTrx", "cash advance trx"),
            ("PAY_0", "pay 0"),
            ("limit.bal", "limit bal"),
            ("job=blue-collar", "job: blue collar"),
            ("Größe", "größe"),
            ("___", "___"),
        ];
        for (column, expected) in cases {
            assert_eq!(words(column), expected);
        }
    }

    #[test]
    fn columns_of_the_same_words_keep_their_names() {
        assert_eq!(labels(["A_b", "a b", "limit"].into_iter()), ["A_b", "a b", "Limit"]);
    }
}
