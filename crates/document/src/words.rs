//! Numbers and the words that go with them, as messages and reports have them.

use std::fmt::Display;

/// `3 files`, `1 file`.
#[must_use]
pub fn plural<N: Copy + PartialEq + Display + From<u8>>(count: N, what: &str) -> String {
    format!("{count} {}", noun(count, what))
}

/// The word for one thing, or for several: `file`, `files`.
#[must_use]
pub fn noun<N: Copy + PartialEq + From<u8>>(count: N, what: &str) -> String {
    agreeing(count, what, &format!("{what}s")).to_owned()
}

/// The word that goes with one thing, or that for several: `is`, `are`.
#[must_use]
pub fn agreeing<'w, N: Copy + PartialEq + From<u8>>(count: N, one: &'w str, several: &'w str) -> &'w str {
    if count == N::from(1) { one } else { several }
}

/// Digits in groups of three, as messages and reports show numbers: `12,345`.
#[must_use]
pub fn grouped(digits: &str) -> String {
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_agree_with_their_number() {
        let sentence = |count: u64| format!("{} {}", plural(count, "log file"), agreeing(count, "is", "are"));
        assert_eq!([0, 1, 2].map(sentence), ["0 log files are", "1 log file is", "2 log files are"]);
        assert_eq!((noun(1_usize, "row"), noun(7_u32, "row")), ("row".to_owned(), "rows".to_owned()));
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(["", "7", "123", "1234", "1234567"].map(grouped), ["", "7", "123", "1,234", "1,234,567"]);
    }
}
