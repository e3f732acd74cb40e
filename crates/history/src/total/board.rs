//! Which meters have no room, a bit for each.
//!
//! Most limits have room most of the time. So a view reads a word for 64 of them, and looks at those alone whose bits
//! are set.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use crate::append::AppendList;

/// The bits of every meter of a history.
#[derive(Debug, Default)]
pub(crate) struct Board {
    words: AppendList,
    slots: Mutex<Slots>,
}

/// The slots that were given out.
#[derive(Debug, Default)]
struct Slots {
    /// How many there are.
    number: usize,
    /// Those that were given back.
    free: Vec<usize>,
}

impl Board {
    /// The word and the bit of a slot.
    pub(crate) fn place(slot: usize) -> (usize, usize) {
        (slot / 64, slot % 64)
    }

    /// The slots of a word whose meters have no room, by bit.
    pub(crate) fn word(&self, word: usize) -> u64 {
        self.words.get(word)
    }

    /// A slot whose bit is not set.
    pub(super) fn take_slot(&self) -> usize {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.free.pop().unwrap_or_else(|| {
            slots.number += 1;
            slots.number - 1
        })
    }

    /// Gives a slot back.
    pub(super) fn give_back(&self, slot: usize) {
        self.clear(slot);
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).free.push(slot);
    }

    /// Sets a bit.
    pub(super) fn set(&self, slot: usize) {
        let (word, bit) = Self::place(slot);
        if let Some(word) = self.words.item(word) {
            word.fetch_or(1 << bit, Ordering::Release);
        }
    }

    /// Clears a bit.
    pub(super) fn clear(&self, slot: usize) {
        let (word, bit) = Self::place(slot);
        if let Some(word) = self.words.item(word) {
            word.fetch_and(!(1 << bit), Ordering::Release);
        }
    }
}
