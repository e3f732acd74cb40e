//! Numbers as people write them: which mark separates the decimals, and whether it separates thousands instead.
//!
//! If the comma separates fields, the point is the decimal mark. If not, either may be, and a number with both marks
//! shows which is which. No single number shows whether `5.891` is less than 6 or more than 5,000; a column does:
//! [`Marks`].

use std::fmt::Write as _;
use std::str::FromStr;

/// The length of the longest number that is rewritten.
const LONGEST: usize = 64;

/// The decimal mark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Decimal {
    /// The point; a word with any other mark is not a number.
    #[default]
    Point,
    /// The comma; points separate thousands.
    Comma,
    /// Whichever mark a number has.
    Either,
}

impl Decimal {
    /// The number that a trimmed word means.
    #[must_use]
    pub fn number<T: FromStr>(self, word: &str) -> Option<T> {
        let plain = match self {
            Self::Point => true,
            Self::Comma => !word.contains([',', '.']),
            Self::Either => !word.contains(','),
        };
        if plain {
            return word.parse().ok();
        }
        let mut buffer = [0; LONGEST];
        with_point(word, &mut buffer)?.parse().ok()
    }
}

/// Rewrites a number with at most one comma, before its decimals, and points only between thousands.
fn with_point<'b>(word: &str, buffer: &'b mut [u8; LONGEST]) -> Option<&'b str> {
    let (whole, decimals) = match word.split_once(',') {
        Some((whole, decimals)) => (whole, Some(decimals)),
        None => (word, None),
    };
    if decimals.is_some_and(|decimals| decimals.contains([',', '.']))
        || (whole.contains('.') && !is_grouped(whole, '.'))
    {
        return None;
    }
    let digits = whole.bytes().filter(|byte| *byte != b'.');
    let rest = decimals.into_iter().flat_map(|decimals| std::iter::once(b'.').chain(decimals.bytes()));
    let mut length = 0;
    for byte in digits.chain(rest) {
        *buffer.get_mut(length)? = byte;
        length += 1;
    }
    std::str::from_utf8(&buffer[..length]).ok()
}

/// Whether `mark` separates groups of three digits. The first group has one to three digits and does not begin with
/// 0.
fn is_grouped(word: &str, mark: char) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = word.trim_start_matches(['-', '+']).split(mark);
    let first = groups.next().unwrap_or_default();
    (1..=3).contains(&first.len())
        && digits(first)
        && !first.starts_with('0')
        && word.contains(mark)
        && groups.all(|group| group.len() == 3 && digits(group))
}

/// What a reader advises about a word that is not a number.
#[must_use]
pub fn advice(word: &str) -> &'static str {
    if word.replace(',', ".").parse::<f64>().is_ok() {
        "use a point"
    } else if word.contains(',') && word.replace(',', "").parse::<f64>().is_ok()
        || is_grouped(word, '.')
        || is_grouped(word.split(',').next().unwrap_or_default(), '.')
    {
        "write it without separators"
    } else {
        "leave it empty where the value is not known"
    }
}

/// How the numbers of a column are written, collected while it is read.
#[derive(Debug, Clone)]
pub struct Marks {
    /// Whether the table's decimal mark is already known.
    off: bool,
    points: Mark,
    commas: Mark,
    /// Whether there are numbers without any mark: of at most three digits, and of more.
    short: bool,
    long: bool,
}

/// How one mark is used.
#[derive(Debug, Clone, Default)]
struct Mark {
    /// The row and text of the first number with the mark only between groups of three digits.
    first: Option<(u64, String)>,
    /// Whether a number has it twice.
    twice: bool,
    /// Whether it precedes other than three digits, or follows a leading 0.
    decimal: bool,
}

/// A suspicion that the marks of a column separate thousands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thousands {
    /// The row of the first such number, as the caller gave it.
    pub row: u64,
    /// What was found, and what to do.
    pub message: String,
    /// Whether the other numbers confirm it; the column must not be read as it is then.
    pub certain: bool,
}

impl Default for Marks {
    fn default() -> Self {
        Self::new(Decimal::Point)
    }
}

impl Marks {
    /// For a table with the given decimal mark.
    #[must_use]
    pub fn new(decimal: Decimal) -> Self {
        let (points, commas) = (Mark::default(), Mark::default());
        Self { off: decimal != Decimal::Either, points, commas, short: false, long: false }
    }

    /// Whether words need to be observed.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !self.off
    }

    /// Observes the word of a row.
    pub fn observe(&mut self, row: u64, word: &str) {
        if !self.off {
            self.observe_marks(row, word);
        }
    }

    fn observe_marks(&mut self, row: u64, word: &str) {
        match (word.contains('.'), word.contains(',')) {
            (false, false) => {
                let digits = word.bytes().filter(u8::is_ascii_digit).count();
                self.short |= (1..=3).contains(&digits);
                self.long |= digits > 3;
            }
            (true, false) => self.points.observe(row, word, '.'),
            (false, true) => self.commas.observe(row, word, ','),
            // A valid number has the comma last.
            (true, true) => self.commas.decimal = true,
        }
    }

    /// Whether a number certainly has a decimal comma.
    #[must_use]
    pub fn decimal_comma(&self) -> bool {
        self.commas.decimal
    }

    /// The finding for the whole column. `decimal_comma`: whether another column certainly has decimal commas.
    /// `remedy`: advice to append to the message.
    #[must_use]
    pub fn thousands(&self, decimal_comma: bool, remedy: &str) -> Option<Thousands> {
        let sides = [(&self.points, &self.commas, "point"), (&self.commas, &self.points, "comma")];
        let (mark, other, name) =
            sides.into_iter().find(|(mark, _, _)| mark.first.is_some() && !mark.decimal)?;
        let (row, word) = mark.first.as_ref()?;
        if self.long {
            return None;
        }
        let certain = self.short || mark.twice || other.decimal || (name == "point" && decimal_comma);
        let mut message = format!(
            "{word:?}: every {name} of the column is followed by three digits, so it may separate thousands"
        );
        if self.short {
            message.push_str(", since no number without one has more than three digits");
        }
        let _ = write!(message, "; write numbers without thousands separators{remedy}");
        Some(Thousands { row: *row, message, certain })
    }
}

impl Mark {
    fn observe(&mut self, row: u64, word: &str, mark: char) {
        if !is_grouped(word, mark) {
            self.decimal = true;
            return;
        }
        self.twice |= word.matches(mark).count() > 1;
        if self.first.is_none() {
            self.first = Some((row, word.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_intended() {
        use Decimal::{Comma, Either, Point};
        for (decimal, word, expected) in [
            (Point, "1.5", Some(1.5)),
            (Point, "1,5", None),
            (Point, "1,234.50", None),
            (Either, "1.5", Some(1.5)),
            (Either, "-1,5", Some(-1.5)),
            (Either, "974,02", Some(974.02)),
            (Either, "1.234,56", Some(1234.56)),
            (Either, "1.234.567,8e1", Some(12_345_678.0)),
            (Either, "1,234.50", None),
            (Either, "12.34,5", None),
            (Either, "1.234.567", None),
            (Either, "1,2,3", None),
            (Either, "", None),
            (Comma, "5.891", Some(5891.0)),
            (Comma, "1.234.567", Some(1_234_567.0)),
            (Comma, "5.89", None),
            (Comma, "0.125", None),
            (Comma, "974", Some(974.0)),
            (Comma, "0,125", Some(0.125)),
        ] {
            assert_eq!(decimal.number::<f64>(word), expected, "{decimal:?} {word:?}");
        }
        assert_eq!(Either.number::<f64>(&format!("1,{}", "5".repeat(100))), None);
    }

    fn thousands(words: &[&str], decimal_comma: bool) -> Option<bool> {
        let mut marks = Marks::new(Decimal::Either);
        (0..).zip(words).for_each(|(row, word)| marks.observe(row, word));
        marks.thousands(decimal_comma, "").map(|found| found.certain)
    }

    #[test]
    fn points_between_thousands_are_distinguished_from_decimal_points() {
        // As a German export without decimals writes 5,891 and 974.
        assert_eq!(thousands(&["974", "5.891", "97"], false), Some(true));
        assert_eq!(thousands(&["5.891", "1.000"], false), Some(false));
        assert_eq!(thousands(&["5.891", "1.000"], true), Some(true));
        assert_eq!(thousands(&["1.234.567", "1.000"], false), Some(true));
        assert_eq!(thousands(&["5.891", "974,02"], false), Some(true));
        assert_eq!(thousands(&["5,891", "974"], false), Some(true));
        for fine in [
            &["5.891", "0.125"][..],
            &["5.891", "97.4", "3"],
            &["5.891", "97412"],
            &["974", "12", "97412"],
            &["5,891", "0,5"],
            &["1.234,50", "974"],
            &[],
        ] {
            assert_eq!(thousands(fine, true), None, "{fine:?}");
        }
        let mut marks = Marks::new(Decimal::Point);
        marks.observe(0, "5.891");
        marks.observe(1, "974");
        assert_eq!(marks.thousands(false, ""), None);
    }

    proptest! {
        #[test]
        fn a_number_is_the_same_with_a_decimal_comma(number in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            let written = number.to_string();
            let comma = written.replace('.', ",");
            prop_assume!(written.len() <= LONGEST);
            prop_assert_eq!(Decimal::Either.number::<f64>(&comma), Some(number));
            prop_assert_eq!(Decimal::Either.number::<f64>(&written), Some(number));
            prop_assert_eq!(Decimal::Comma.number::<f64>(&comma), Some(number));
        }
    }
}
