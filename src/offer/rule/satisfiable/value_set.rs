//! Sets of values: what a condition leaves of all that something can be.

use std::cmp::Ordering;
use std::collections::BTreeSet;

/// What something can be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ValueSet {
    Truths { yes: bool, no: bool },
    Numbers(Vec<Span>),
    Words(Words),
}

/// Words, or all words but some.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Words {
    Only(BTreeSet<String>),
    AllBut(BTreeSet<String>),
}

/// Numbers from one to another; infinite ends are within.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    low: f64,
    high: f64,
    low_is_in: bool,
    high_is_in: bool,
}

/// The orders of two numbers for which a comparison holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) less: bool,
    pub(super) equal: bool,
    pub(super) greater: bool,
}

impl Orders {
    pub(super) const EQUAL: Self = Self { less: false, equal: true, greater: false };

    pub(super) fn hold(self, order: Ordering) -> bool {
        match order {
            Ordering::Less => self.less,
            Ordering::Equal => self.equal,
            Ordering::Greater => self.greater,
        }
    }

    pub(super) fn negated(self) -> Self {
        Self { less: !self.less, equal: !self.equal, greater: !self.greater }
    }

    pub(super) fn exchanged(self) -> Self {
        Self { less: self.greater, greater: self.less, ..self }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            less: self.less && other.less,
            equal: self.equal && other.equal,
            greater: self.greater && other.greater,
        }
    }
}

impl Span {
    pub(super) const ALL: Self =
        Self { low: f64::NEG_INFINITY, high: f64::INFINITY, low_is_in: true, high_is_in: true };

    pub(super) fn closed(low: f64, high: f64) -> Self {
        Self { low, high, low_is_in: true, high_is_in: true }
    }

    fn is_empty(self) -> bool {
        match self.low.partial_cmp(&self.high) {
            Some(Ordering::Less) => false,
            Some(Ordering::Equal) => !(self.low_is_in && self.high_is_in),
            Some(Ordering::Greater) | None => true,
        }
    }

    fn intersect(self, other: Self) -> Self {
        let (low, low_is_in) = match self.low.total_cmp(&other.low) {
            Ordering::Less => (other.low, other.low_is_in),
            Ordering::Greater => (self.low, self.low_is_in),
            Ordering::Equal => (self.low, self.low_is_in && other.low_is_in),
        };
        let (high, high_is_in) = match self.high.total_cmp(&other.high) {
            Ordering::Less => (self.high, self.high_is_in),
            Ordering::Greater => (other.high, other.high_is_in),
            Ordering::Equal => (self.high, self.high_is_in && other.high_is_in),
        };
        Self { low, high, low_is_in, high_is_in }
    }
}

impl ValueSet {
    pub(super) fn truth(truth: bool) -> Self {
        Self::Truths { yes: truth, no: !truth }
    }

    pub(super) fn span(span: Span) -> Self {
        Self::Numbers(vec![span])
    }

    /// Numbers that are in one of the orders to a number between `low` and `high`, of which no more is known.
    pub(super) fn of_numbers(orders: Orders, low: f64, high: f64) -> Self {
        let mut spans = Vec::with_capacity(3);
        // What is less than the greatest may be less; where it is one number, it is told exactly.
        if orders.less {
            spans.push(Span { high, high_is_in: false, ..Span::ALL });
        }
        if orders.equal {
            spans.push(Span::closed(low, high));
        }
        if orders.greater {
            spans.push(Span { low, low_is_in: false, ..Span::ALL });
        }
        Self::Numbers(spans)
    }

    /// The same of whole numbers; open ends become the next whole number.
    pub(super) fn of_wholes(orders: Orders, number: f64) -> Self {
        let mut spans = Vec::with_capacity(3);
        if orders.less {
            spans.push(Span { high: number.ceil() - 1.0, ..Span::ALL });
        }
        if orders.equal && number.fract() == 0.0 {
            spans.push(Span::closed(number, number));
        }
        if orders.greater {
            spans.push(Span { low: number.floor() + 1.0, ..Span::ALL });
        }
        Self::Numbers(spans)
    }

    /// The orders themselves, as numbers.
    pub(super) fn of_orders(orders: Orders) -> Self {
        let all = [(orders.less, -1.0), (orders.equal, 0.0), (orders.greater, 1.0)];
        Self::Numbers(
            all.iter().filter(|(holds, _)| *holds).map(|(_, order)| Span::closed(*order, *order)).collect(),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Truths { yes, no } => !yes && !no,
            Self::Numbers(spans) => spans.is_empty(),
            Self::Words(Words::Only(words)) => words.is_empty(),
            Self::Words(Words::AllBut(_)) => false,
        }
    }

    /// What is in both; sets of one thing are of one sort.
    pub(super) fn intersect(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Truths { yes, no }, Self::Truths { yes: or_yes, no: or_no }) => {
                Self::Truths { yes: *yes && *or_yes, no: *no && *or_no }
            }
            (Self::Numbers(left), Self::Numbers(right)) => {
                let pairs = left.iter().flat_map(|one| right.iter().map(|other| one.intersect(*other)));
                let mut spans: Vec<Span> = pairs.filter(|span| !span.is_empty()).collect();
                if spans.len() > MOST_SPANS {
                    spans = vec![Span::ALL];
                }
                Self::Numbers(spans)
            }
            (Self::Words(left), Self::Words(right)) => Self::Words(left.intersect(right)),
            // Never so; whatever it is, nothing is excluded.
            _ => self.clone(),
        }
    }

    /// What is in one of both.
    pub(super) fn unite(self, other: Self) -> Self {
        match (self, other) {
            (Self::Numbers(mut left), Self::Numbers(right)) => {
                left.extend(right);
                Self::Numbers(left)
            }
            (Self::Words(left), Self::Words(right)) => Self::Words(left.unite(right)),
            (Self::Truths { yes, no }, Self::Truths { yes: or_yes, no: or_no }) => {
                Self::Truths { yes: yes || or_yes, no: no || or_no }
            }
            // Never so; whatever it is, nothing is excluded.
            (_, other) => other,
        }
    }
}

/// So many spans are a set that excludes nothing: what is spared is time, not truth.
const MOST_SPANS: usize = 64;

impl Words {
    fn intersect(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(left), Self::Only(right)) => Self::Only(left & right),
            (Self::Only(words), Self::AllBut(gone)) | (Self::AllBut(gone), Self::Only(words)) => {
                Self::Only(words - gone)
            }
            (Self::AllBut(left), Self::AllBut(right)) => Self::AllBut(left | right),
        }
    }

    fn unite(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(left), Self::Only(right)) => Self::Only(&left | &right),
            (Self::Only(words), Self::AllBut(gone)) | (Self::AllBut(gone), Self::Only(words)) => {
                Self::AllBut(&gone - &words)
            }
            (Self::AllBut(left), Self::AllBut(right)) => Self::AllBut(&left & &right),
        }
    }
}
