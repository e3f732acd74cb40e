//! Where a record has what a column holds.

use std::collections::BTreeMap;

use super::{Cells, Column};

/// A column of the records `R`.
pub(crate) struct ColumnOf<R> {
    pub(crate) name: &'static str,
    pub(crate) cell: Cell<R>,
    /// As in [`Column`].
    pub(crate) repeats: bool,
}

impl<R> ColumnOf<R> {
    pub(super) const fn new(name: &'static str, cell: Cell<R>) -> Self {
        Self { name, cell, repeats: false }
    }

    /// With values that repeat.
    pub(super) const fn repeats(mut self) -> Self {
        self.repeats = true;
        self
    }

    pub(super) const fn text(name: &'static str, of: Part<R, String>) -> Self {
        Self::new(name, Cell::Text(of))
    }

    pub(super) const fn time(name: &'static str, of: Part<R, i64>) -> Self {
        Self::new(name, Cell::Time(of))
    }

    pub(super) const fn whole(name: &'static str, of: Part<R, u64>) -> Self {
        Self::new(name, Cell::Whole(of))
    }

    pub(super) const fn count(name: &'static str, of: Part<R, u32>) -> Self {
        Self::new(name, Cell::Count(of))
    }

    pub(super) const fn number(name: &'static str, of: Part<R, f64>) -> Self {
        Self::new(name, Cell::Number(of))
    }

    pub(super) const fn truth(name: &'static str, of: Part<R, bool>) -> Self {
        Self::new(name, Cell::Truth(of))
    }

    /// What files have of it.
    pub(crate) fn column(&self) -> Column {
        let Self { name, cell, repeats } = self;
        Column { name, cells: cell.cells(), nullable: cell.is_nullable(), repeats: *repeats }
    }
}

/// Leads to a part of a record.
pub(super) type Part<R, T> = fn(&mut R) -> &mut T;
/// Leads to a part that not every record has.
pub(super) type SomePart<R, T> = fn(&mut R) -> Option<&mut T>;
/// Leads to a part of each element of a list.
pub(super) type Each<R, T> = fn(&mut R, &mut dyn FnMut(&mut T));
/// Leads to a part that not every element has.
pub(super) type EachSome<R, T> = fn(&mut R, &mut dyn FnMut(Option<&mut T>));

/// Passes a text of each element of a list.
pub(super) type TextsOf<R> = fn(&R, &mut dyn FnMut(&str));
/// Passes a number of each element of a list.
pub(super) type NumbersOf<R, T> = fn(&R, &mut dyn FnMut(T));

/// Where a record has what a column holds. The functions lead to it, so that it can be taken out and put back.
pub(crate) enum Cell<R> {
    /// Microseconds since 1970.
    Time(Part<R, i64>),
    /// As [`Cell::Time`]; 0 is unknown, and null in the column.
    KnownTime(Part<R, i64>),
    Whole(Part<R, u64>),
    Count(Part<R, u32>),
    Number(Part<R, f64>),
    Text(Part<R, String>),
    Truth(Part<R, bool>),
    /// A field of a part that not every record has.
    PartWhole(SomePart<R, i64>),
    PartCount(SomePart<R, u32>),
    PartText(SomePart<R, String>),
    Texts(Part<R, Vec<String>>),
    Pairs(Part<R, BTreeMap<String, String>>),
    /// A field of each element of a list. How many there are, `record` says.
    EachText(Each<R, String>),
    EachNumber(Each<R, f64>),
    EachCount(Each<R, u32>),
    /// A field of a part that not every element has.
    EachPartNumber(EachSome<R, f64>),
    /// What follows from other fields, for readers: `record` has it, too.
    Follows(fn(&R) -> bool),
    /// What follows from each element of a list …
    FollowTexts(TextsOf<R>),
    FollowCounts(NumbersOf<R, u32>),
    /// … and digests of 64 bits, whose bits the column has. Formats of text have them in hexadecimal: many readers
    /// keep 53 bits of a number.
    FollowDigests(NumbersOf<R, u64>),
}

/// What a cell holds.
pub(crate) enum Shown<'r> {
    Missing,
    Time(i64),
    Whole(i64),
    Count(u64),
    Number(f64),
    Truth(bool),
    Text(&'r str),
    Texts(Vec<String>),
    Numbers(Vec<Option<f64>>),
    Counts(Vec<u32>),
    Pairs(&'r BTreeMap<String, String>),
}

impl<R> Cell<R> {
    pub(super) fn cells(&self) -> Cells {
        match self {
            Self::Time(_) | Self::KnownTime(_) => Cells::Times,
            Self::Whole(_) | Self::Count(_) | Self::PartWhole(_) | Self::PartCount(_) => Cells::Wholes,
            Self::Number(_) => Cells::Numbers,
            Self::Text(_) | Self::PartText(_) => Cells::Texts,
            Self::Truth(_) | Self::Follows(_) => Cells::Truths,
            Self::Texts(_) | Self::EachText(_) | Self::FollowTexts(_) => Cells::TextLists,
            Self::Pairs(_) => Cells::TextMaps,
            Self::EachNumber(_) => Cells::NumberLists,
            Self::EachCount(_) | Self::FollowCounts(_) | Self::FollowDigests(_) => Cells::WholeLists,
            Self::EachPartNumber(_) => Cells::GappyLists,
        }
    }

    fn is_nullable(&self) -> bool {
        matches!(self, Self::KnownTime(_) | Self::PartWhole(_) | Self::PartCount(_) | Self::PartText(_))
    }

    /// What a record has there.
    pub(super) fn show<'r>(&self, record: &'r mut R) -> Shown<'r> {
        match self {
            Self::Time(of) => Shown::Time(*of(record)),
            Self::KnownTime(of) => match *of(record) {
                0 => Shown::Missing,
                time => Shown::Time(time),
            },
            Self::Whole(of) => Shown::Count(*of(record)),
            Self::Count(of) => Shown::Count((*of(record)).into()),
            Self::Number(of) => Shown::Number(*of(record)),
            Self::Text(of) => Shown::Text(of(record)),
            Self::Truth(of) => Shown::Truth(*of(record)),
            Self::PartWhole(of) => of(record).map_or(Shown::Missing, |whole| Shown::Whole(*whole)),
            Self::PartCount(of) => of(record).map_or(Shown::Missing, |count| Shown::Count((*count).into())),
            Self::PartText(of) => of(record).map_or(Shown::Missing, |text| Shown::Text(text)),
            Self::Texts(of) => Shown::Texts(of(record).clone()),
            Self::Pairs(of) => Shown::Pairs(of(record)),
            Self::EachText(each) => {
                let mut texts = Vec::new();
                each(record, &mut |text| texts.push(text.clone()));
                Shown::Texts(texts)
            }
            Self::EachNumber(each) => {
                let mut numbers = Vec::new();
                each(record, &mut |number| numbers.push(Some(*number)));
                Shown::Numbers(numbers)
            }
            Self::EachCount(each) => {
                let mut counts = Vec::new();
                each(record, &mut |count| counts.push(*count));
                Shown::Counts(counts)
            }
            Self::EachPartNumber(each) => {
                let mut numbers = Vec::new();
                each(record, &mut |number| numbers.push(number.copied()));
                Shown::Numbers(numbers)
            }
            Self::Follows(of) => Shown::Truth(of(record)),
            Self::FollowTexts(each) => {
                let mut texts = Vec::new();
                each(record, &mut |text| texts.push(text.to_owned()));
                Shown::Texts(texts)
            }
            Self::FollowCounts(each) => {
                let mut counts = Vec::new();
                each(record, &mut |count| counts.push(count));
                Shown::Counts(counts)
            }
            Self::FollowDigests(each) => {
                let mut digests = Vec::new();
                each(record, &mut |digest| digests.push(format!("{digest:016x}")));
                Shown::Texts(digests)
            }
        }
    }

    /// Passes each text to `take` that a record has there; none if it has something else there.
    pub(super) fn each_text(&self, record: &mut R, take: &mut dyn FnMut(&str)) {
        match self {
            Self::Text(of) => take(of(record)),
            Self::PartText(of) => of(record).into_iter().for_each(|text| take(text)),
            Self::Texts(of) => of(record).iter().for_each(|text| take(text)),
            Self::EachText(each) => each(record, &mut |text| take(text)),
            Self::FollowTexts(each) => each(record, take),
            Self::Pairs(of) => {
                of(record).iter().flat_map(|(name, text)| [name, text]).for_each(|text| take(text));
            }
            Self::Time(_)
            | Self::KnownTime(_)
            | Self::Whole(_)
            | Self::Count(_)
            | Self::Number(_)
            | Self::Truth(_)
            | Self::PartWhole(_)
            | Self::PartCount(_)
            | Self::EachNumber(_)
            | Self::EachCount(_)
            | Self::EachPartNumber(_)
            | Self::Follows(_)
            | Self::FollowCounts(_)
            | Self::FollowDigests(_) => {}
        }
    }
}
