//! Sets of values: the values that a condition leaves possible.

use std::cmp::Ordering;
use std::collections::BTreeSet;

/// The possible values of a subject.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ValueSet {
    Truths { yes: bool, no: bool },
    Numbers(Vec<Span>),
    Words(Words),
}

/// Words, or all words except some.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Words {
    Only(BTreeSet<String>),
    AllBut(BTreeSet<String>),
}

/// The numbers between two bounds, which may be infinite.
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

    /// Numbers that have one of the orders to an unknown number between `low` and `high`.
    pub(super) fn of_numbers(orders: Orders, low: f64, high: f64) -> Self {
        let mut spans = Vec::with_capacity(3);
        // A number below `high` may be less than the unknown one. If `low` equals `high`, the set is exact.
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

    /// The same for ints; open ends become the next int.
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

    /// The intersection; the sets of one subject have the same type.
    pub(super) fn intersect(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Truths { yes, no }, Self::Truths { yes: or_yes, no: or_no }) => {
                Self::Truths { yes: *yes && *or_yes, no: *no && *or_no }
            }
            (Self::Numbers(left), Self::Numbers(right)) => {
                let pairs = left.iter().flat_map(|one| right.iter().map(|other| one.intersect(*other)));
                let mut spans: Vec<Span> = pairs.filter(|span| !span.is_empty()).collect();
                if spans.len() > MAX_SPANS {
                    spans = vec![Span::ALL];
                }
                Self::Numbers(spans)
            }
            (Self::Words(left), Self::Words(right)) => Self::Words(left.intersect(right)),
            // Impossible; excludes nothing.
            _ => self.clone(),
        }
    }

    /// The union.
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
            // Impossible; excludes nothing.
            (_, other) => other,
        }
    }
}

/// A set of more spans is treated as one that excludes nothing: that saves time and stays correct.
const MAX_SPANS: usize = 64;

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
