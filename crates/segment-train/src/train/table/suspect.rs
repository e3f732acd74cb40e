//! Detects columns of numbers that are not features: row numbers, ids, codes and labels.
//!
//! They distort the distances between customers, and nothing in the result shows it.
//! `names` derives hints from the name of a column, [`Suspect`] observes its values, and [`Suspect::verdict`] decides.
//! Columns named with `--keep` or `--only` are not checked.

#[cfg(test)]
mod files;
mod names;
#[cfg(test)]
mod tests;

use hashbrown::HashSet;

pub(super) use self::names::{NameHints, hints};

use self::names::Label;
use super::column::argument;
use super::distinct::BOUND;

/// From this number of rows on, consecutive numbers are no coincidence, with any name of the column.
const NUMBERED_ROWS: u64 = 20;

/// A column with a name such as `class` is a label up to this number of values.
const CLASSES: usize = 20;

/// The decision on a readable column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A feature.
    Fine,
    /// A feature that is probably a mistake, with the reason.
    Warned(String),
    /// Not a feature, with the reason.
    LeftOut(String),
    /// Undecided; the message tells the user what to do.
    Refused(String),
}

/// Observes the values of a column that may not be a feature.
#[derive(Debug)]
pub(super) struct Suspect {
    hints: NameHints,
    /// Whether every number so far is whole and not negative.
    whole: bool,
    /// The first number, 0 or 1, as long as numbers increase by one from row to row.
    counts_from: Option<f64>,
    /// Sums that detect row numbers in another order.
    sums: Sums,
    /// Bits of the numbers, up to a limit; only for names of ids.
    seen: HashSet<u64>,
    repeated: bool,
}

/// Sums of whole numbers that detect row numbers in any order.
///
/// The sums of row numbers are known. Other numbers could only by chance have the same minimum, maximum, sum and sum of
/// squares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sums {
    least: u64,
    greatest: u64,
    sum: u128,
    squares: u128,
}

impl Default for Sums {
    fn default() -> Self {
        Self { least: u64::MAX, greatest: 0, sum: 0, squares: 0 }
    }
}

impl Sums {
    /// Adds a whole number. Greater ones count as [`NO_ROW`], so that no sum overflows with long ids.
    fn add(&mut self, number: f64) {
        // Whole and not negative, so the cast is exact.
        let number = number.min(NO_ROW) as u64;
        self.least = self.least.min(number);
        self.greatest = self.greatest.max(number);
        self.sum += u128::from(number);
        self.squares += u128::from(number) * u128::from(number);
    }

    /// Whether the numbers are those of `rows` rows from 0 or 1 on, each once.
    fn are_row_numbers(&self, rows: u64) -> bool {
        let mut numbers = Self::default();
        if self.least > 1 || self.greatest.checked_sub(self.least) != rows.checked_sub(1) {
            return false;
        }
        (self.least..=self.greatest).for_each(|number| numbers.add(number as f64));
        numbers == *self
    }
}

/// 2³²: a table has fewer rows, and the sum of that many squares fits 128 bits.
const NO_ROW: f64 = 4_294_967_296.0;

/// Counts over the whole column.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnCounts {
    /// Rows with a number.
    pub(super) numbers: u64,
    /// Rows without a value.
    pub(super) missing: u64,
    /// Distinct values, up to a limit.
    pub(super) distinct: usize,
    /// Whether there is no id column.
    pub(super) may_be_id: bool,
}

impl Suspect {
    pub(super) fn new(hints: NameHints) -> Self {
        Self {
            hints,
            whole: true,
            counts_from: None,
            sums: Sums::default(),
            seen: HashSet::new(),
            repeated: false,
        }
    }

    /// Observes the number of a row, counted from 0, before it is rounded to 32 bits.
    ///
    /// Rounding would make long ids equal, which differ in their last digits.
    pub(super) fn observe(&mut self, row: u64, number: f64) {
        if row == 0 && [0.0, 1.0].contains(&number) {
            self.counts_from = Some(number);
        }
        if self.counts_from.is_some_and(|first| (number - first - row as f64).abs() > 0.0) {
            self.counts_from = None;
        }
        self.whole &= number >= 0.0 && number.fract() == 0.0;
        if self.whole {
            self.sums.add(number);
        }
        // If the first thousands of values are distinct, the rest are assumed to be.
        if self.whole && self.hints.id && !self.repeated && self.seen.len() < BOUND {
            self.repeated = !self.seen.insert((number + 0.0).to_bits());
        }
    }

    /// Decides on a column of numbers.
    pub(super) fn verdict(&self, name: &str, known: ColumnCounts) -> Verdict {
        let NameHints { placeholder, pandas_index, row_number, id, code, trusted, .. } = self.hints;
        let (whole, some) = (self.whole && known.numbers > 0, known.numbers > 1);
        if placeholder {
            return self.unnamed(name, known);
        }
        let counts = self.counts_from.is_some() && known.missing == 0 && some && !trusted;
        if row_number && counts {
            return Verdict::LeftOut(counted(known));
        }
        if id && whole && some && !self.repeated {
            return Verdict::Refused(as_id(name, known.may_be_id));
        }
        if pandas_index {
            return Verdict::LeftOut("the index of the pandas table".to_owned());
        }
        if counts && known.numbers >= NUMBERED_ROWS {
            return Verdict::LeftOut(counted(known));
        }
        let shuffled = whole && known.missing == 0 && !trusted && known.numbers >= NUMBERED_ROWS;
        if shuffled && self.sums.are_row_numbers(known.numbers) {
            return Verdict::LeftOut(numbered(known, "in another order"));
        }
        if code && whole && known.distinct > 2 {
            return Verdict::Refused(as_code(name));
        }
        self.label(name, known.distinct)
    }

    /// Decides whether a yes/no column, or one of numbers that is no row number, id or code, is a label.
    pub(super) fn label(&self, name: &str, distinct: usize) -> Verdict {
        let is_label = match self.hints.label {
            Label::No => false,
            Label::OfTwo => distinct == 2,
            Label::OfFew => (2..=CLASSES).contains(&distinct) && self.whole,
        };
        if !is_label {
            return Verdict::Fine;
        }
        let name = argument(name);
        Verdict::Warned(format!(
            "has {distinct} values and the name of a label, which segments should not use; leave it out with --drop \
             {name}, or use --keep {name} if it is no label"
        ))
    }

    fn unnamed(&self, name: &str, known: ColumnCounts) -> Verdict {
        if known.numbers == 0 {
            return Verdict::LeftOut("has neither a name nor a value".to_owned());
        }
        if self.whole {
            return Verdict::LeftOut("row numbers saved with the table (an index)".to_owned());
        }
        Verdict::Refused(no_name(name))
    }
}

/// The advice for a column without a name.
pub(super) fn no_name(name: &str) -> String {
    if name.is_empty() {
        return "has no name; name it or remove it".to_owned();
    }
    let renamed = argument(&format!("{name}=NAME"));
    format!(
        "has no proper name; give it one with --rename {renamed}, or leave it out with --drop {}",
        argument(name)
    )
}

fn counted(known: ColumnCounts) -> String {
    numbered(known, "in order")
}

fn numbered(known: ColumnCounts, order: &str) -> String {
    format!("row numbers, {} {order}; --keep uses the column anyway", known.numbers)
}

fn as_id(name: &str, may_be_id: bool) -> String {
    let name = argument(name);
    let id =
        if may_be_id { format!("use --id {name} if it identifies the customers, ") } else { String::new() };
    format!(
        "has distinct whole numbers and the name of an id; {id}leave it out with --drop {name}, or use --keep {name} \
         if it is a quantity"
    )
}

fn as_code(name: &str) -> String {
    let name = argument(name);
    format!(
        "has whole numbers and the name of a code, whose values are not ordered; leave it out with --drop {name}, \
         write its values as text and use --one-hot {name}, or use --keep {name} if it is a quantity"
    )
}
