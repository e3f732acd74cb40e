//! Columns of numbers that measure nothing: row numbers, ids and codes; and labels, which measure what is to be predicted.
//!
//! A distance over them is no distance between customers, and nothing else in the result shows it. A name makes a column
//! suspect, its values convict it: `names` reads the name, [`Suspect`] looks at each value, [`Suspect::verdict`] judges at
//! the end. What a person asks for by name (`--keep`, `--only`) is not judged.

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

/// So many rows are in order by more than chance, whatever the column is called.
const NUMBERED_ROWS: u64 = 20;

/// A column with a name such as `class` is a label up to so many values.
const CLASSES: usize = 20;

/// What becomes of a column that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A feature.
    Fine,
    /// A feature that is most likely a mistake; why.
    Warned(String),
    /// No feature; why.
    LeftOut(String),
    /// Nobody can say but a person; what to do.
    Refused(String),
}

/// A column under suspicion, while it is read.
#[derive(Debug)]
pub(super) struct Suspect {
    hints: NameHints,
    /// Whether every number so far is whole and not negative.
    whole: bool,
    /// The first number where numbers go up by one from row to row, beginning with 0 or 1.
    counts_from: Option<f64>,
    /// Bits of the numbers, up to a bound; looked at only where the name may be that of an id.
    seen: HashSet<u64>,
    repeated: bool,
}

/// What is known of a column at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// Rows with a number.
    pub(super) numbers: u64,
    /// Rows without a value.
    pub(super) missing: u64,
    /// Different values, up to a bound.
    pub(super) distinct: usize,
    /// Whether customers have no id column yet.
    pub(super) may_be_id: bool,
}

impl Suspect {
    pub(super) fn new(hints: NameHints) -> Self {
        Self { hints, whole: true, counts_from: None, seen: HashSet::new(), repeated: false }
    }

    /// Looks at the number of a row, counted from 0, before it is rounded to 32 bits: long ids differ in their last digits.
    pub(super) fn look(&mut self, row: u64, number: f64) {
        if row == 0 && [0.0, 1.0].contains(&number) {
            self.counts_from = Some(number);
        }
        if self.counts_from.is_some_and(|first| (number - first - row as f64).abs() > 0.0) {
            self.counts_from = None;
        }
        self.whole &= number >= 0.0 && number.fract() == 0.0;
        // A column whose first thousands of values all differ is as good as one whose values all do.
        if self.whole && self.hints.id && !self.repeated && self.seen.len() < BOUND {
            self.repeated = !self.seen.insert((number + 0.0).to_bits());
        }
    }

    /// Judges a column `name` of numbers.
    pub(super) fn verdict(&self, name: &str, known: Known) -> Verdict {
        let NameHints { stand_in, pandas_index, row_number, id, code, trusted, .. } = self.hints;
        let (whole, some) = (self.whole && known.numbers > 0, known.numbers > 1);
        if stand_in {
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
        if code && whole && known.distinct > 2 {
            return Verdict::Refused(as_code(name));
        }
        self.label(name, known.distinct)
    }

    /// Judges a column of yes and no, or one of numbers that is no row number, id or code.
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
            "has {distinct} values and the name of a label: segments would be made of what they are to predict; leave it \
             out with --drop {name}, or say --keep {name} if it is none"
        ))
    }

    fn unnamed(&self, name: &str, known: Known) -> Verdict {
        if known.numbers == 0 {
            return Verdict::LeftOut("has neither a name nor a value".to_owned());
        }
        if self.whole {
            return Verdict::LeftOut("row numbers that a table was saved with (an index)".to_owned());
        }
        Verdict::Refused(no_name(name))
    }
}

/// What to do about a column without a name of its own.
pub(super) fn no_name(name: &str) -> String {
    if name.is_empty() {
        return "has no name; name it or remove it".to_owned();
    }
    let renamed = argument(&format!("{name}=NAME"));
    format!(
        "has no name of its own; give it one with --rename {renamed}, or leave it out with --drop {}",
        argument(name)
    )
}

fn counted(known: Known) -> String {
    format!("row numbers, {} in order; --keep takes the column all the same", known.numbers)
}

fn as_id(name: &str, may_be_id: bool) -> String {
    let name = argument(name);
    let id = if may_be_id { format!("say --id {name} if it names the customers, ") } else { String::new() };
    format!(
        "has whole numbers that are all different, and the name of an id; {id}leave it out with --drop {name}, or say --keep \
         {name} if it measures something"
    )
}

fn as_code(name: &str) -> String {
    let name = argument(name);
    format!(
        "has whole numbers and the name of a code: neighbouring numbers are no similar customers; leave it out with --drop \
         {name}, write its values as text and say --one-hot {name}, or say --keep {name} if it measures something"
    )
}
