//! Open reservations: what was shown and may still lead to an outcome that a limit counts.
//!
//! A reservation ends when its outcome comes, when it lapses, or when its decision is taken back. Outcomes can come
//! before the decision that they belong to, where logs of several servers are read; so the last ones are remembered,
//! and such a decision reserves nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use uuid::Uuid;

use super::{Spend, TotalLimit};
use crate::moment::Millis;

/// How many outcomes are remembered for decisions that come later.
const MOST_SETTLED: usize = 1_024;

/// What a decision reserves with one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The type of the outcome that it waits for.
    pub counted: u16,
    /// The first moment at which it no longer holds.
    pub until: Millis,
    pub spend: Spend,
}

/// The open reservations of one offer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reservations {
    /// In the order in which they lapse.
    open: BTreeMap<(Millis, Uuid, TotalLimit), Hold>,
    /// When they lapse.
    lapses: HashMap<(Uuid, TotalLimit), Millis>,
    /// The decisions whose outcome of a type has come.
    settled: HashSet<(Uuid, u16)>,
    /// The same, the oldest first.
    settled_in_order: VecDeque<(Uuid, u16)>,
}

impl Reservations {
    /// Opens a reservation unless it is open. Returns whether it was opened.
    pub(crate) fn open(&mut self, decision: Uuid, limit: TotalLimit, hold: Hold) -> bool {
        let Entry::Vacant(lapse) = self.lapses.entry((decision, limit)) else { return false };
        lapse.insert(hold.until);
        self.open.insert((hold.until, decision, limit), hold);
        true
    }

    /// Ends a reservation that is open.
    pub(super) fn close(&mut self, decision: Uuid, limit: TotalLimit) -> Option<Hold> {
        let until = self.lapses.remove(&(decision, limit))?;
        self.open.remove(&(until, decision, limit))
    }

    /// Ends the reservation that an outcome of type `counted` was waited for with.
    pub(super) fn settle(&mut self, decision: Uuid, limit: TotalLimit, counted: u16) -> Option<Hold> {
        let until = self.lapses.get(&(decision, limit))?;
        self.open.get(&(*until, decision, limit)).filter(|hold| hold.counted == counted)?;
        self.close(decision, limit)
    }

    /// Whether an outcome of this type came of the decision, as far as is remembered.
    pub(super) fn has_settled(&self, decision: Uuid, counted: u16) -> bool {
        self.settled.contains(&(decision, counted))
    }

    /// Remembers that an outcome came.
    pub(crate) fn remember(&mut self, decision: Uuid, counted: u16) {
        if !self.settled.insert((decision, counted)) {
            return;
        }
        if self.settled_in_order.len() >= MOST_SETTLED
            && let Some(oldest) = self.settled_in_order.pop_front()
        {
            self.settled.remove(&oldest);
        }
        self.settled_in_order.push_back((decision, counted));
    }

    /// Ends the first reservation that has lapsed at `now`, and returns when it did.
    pub(super) fn lapse(&mut self, now: Millis) -> Option<(Millis, TotalLimit, Hold)> {
        let entry = self.open.first_entry().filter(|first| first.key().0 <= now)?;
        let ((until, decision, limit), hold) = entry.remove_entry();
        self.lapses.remove(&(decision, limit));
        Some((until, limit, hold))
    }

    /// Those of a limit and type, in the order in which they lapse.
    pub(super) fn of(&self, limit: TotalLimit, counted: u16) -> impl Iterator<Item = &Hold> {
        self.open
            .iter()
            .filter(move |((_, _, of), hold)| *of == limit && hold.counted == counted)
            .map(|(_, hold)| hold)
    }

    /// Every open reservation.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = (Uuid, TotalLimit, &Hold)> {
        self.open.iter().map(|((_, decision, limit), hold)| (*decision, *limit, hold))
    }

    /// The remembered outcomes, the oldest first.
    pub(crate) fn settled(&self) -> impl ExactSizeIterator<Item = (Uuid, u16)> {
        self.settled_in_order.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The bytes of the reservations, roughly.
    pub(super) fn memory_bytes(&self) -> usize {
        self.open.len() * 128 + self.settled_in_order.len() * 64
    }
}
