//! The words for a missing value, for yes and for no: the same in every table.

/// Words that people and programs write for an unknown number or yes/no; case does not matter. A text is missing only
/// if its field is empty: `NA` may be Namibia.
const MISSING: [&str; 12] = ["na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", ".", "<na>"];

/// Whether a trimmed word means a missing number or yes/no.
#[must_use]
pub fn is_missing(word: &str) -> bool {
    word.is_empty() || word.len() <= 4 && MISSING.iter().any(|missing| word.eq_ignore_ascii_case(missing))
}

/// Yes or no: `true`, `yes` and `1`; `false`, `no` and `0`. `1.0` and `0.0` count too: programs write them for whole
/// numbers in a column with missing values.
#[must_use]
pub fn truth(word: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    if is(["1", "true", "yes", "1.0"]) {
        return Some(true);
    }
    is(["0", "false", "no", "0.0"]).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_missing_values_and_for_yes_and_no() {
        for word in ["", "NA", "N/A", "#N/A", "NaN", "NULL", "None", "-", "?", "."] {
            assert!(is_missing(word), "{word:?}");
        }
        for word in ["0", "-1", "unknown", "no", "x"] {
            assert!(!is_missing(word), "{word:?}");
        }
        assert_eq!(["1", "Yes", "TRUE", "1.0"].map(truth), [Some(true); 4]);
        assert_eq!(["0", "no", "False", "0.0"].map(truth), [Some(false); 4]);
        assert_eq!(["", "2", "on", "y"].map(truth), [None; 4]);
    }
}
