//! Words that stand for a missing value and for yes and no, the same in every table.

/// What people and programs write where a number or a yes/no is not known; case does not matter. A text is missing only
/// where its field is empty: `NA` may be Namibia.
const MISSING: [&str; 12] = ["na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", ".", "<na>"];

/// Whether a word without white space around it stands for a missing number or yes/no.
#[must_use]
pub fn is_missing(word: &str) -> bool {
    word.is_empty() || word.len() <= 4 && MISSING.iter().any(|missing| word.eq_ignore_ascii_case(missing))
}

/// Yes or no: `true`, `yes` and `1`, `false`, `no` and `0`, also as programs write whole numbers beside missing ones.
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
