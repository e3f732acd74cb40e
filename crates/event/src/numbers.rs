//! Positions and sequences in files and their names.
//!
//! Anything may have happened to a file. So its numbers are checked here, where they are read, and everything else may
//! add to them.

/// The greatest number that is believed. A server with a million events per second takes 146,000 years to reach it.
pub(crate) const GREATEST: u64 = 1 << 62;

/// The greatest number that a log goes on from: what it writes then can be read.
pub(crate) const GREATEST_START: u64 = 1 << 61;

/// A number that was read; `None` if no server reaches it.
pub(crate) fn checked(number: u64) -> Option<u64> {
    (number <= GREATEST).then_some(number)
}

/// The number that a text is.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let are_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| are_digits).and_then(checked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_number_and_what_is_too_great_is_refused() {
        let greatest = GREATEST.to_string();
        assert_eq!([parse("0"), parse("00017"), parse(&greatest)], [Some(0), Some(17), Some(GREATEST)]);
        let beyond = (GREATEST + 1).to_string();
        for text in ["", "+1", "-1", "1 ", "x", &beyond, "18446744073709551615", "18446744073709551616"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_that_are_believed_can_be_added_to(number in any::<u64>()) {
            match checked(number) {
                Some(number) => prop_assert!(number.checked_add(GREATEST_START).is_some_and(|sum| sum.cast_signed() > 0)),
                None => prop_assert!(number > GREATEST),
            }
        }
    }
}
