//! A list that only grows, read without locks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The logarithm of the length of the first block; each further block is twice as long.
const FIRST_BITS: u32 = 12;

/// Enough blocks for 2²³ items.
const BLOCKS: usize = 12;

/// Items by position; those that were never set are 0.
#[derive(Debug, Default)]
pub(crate) struct AppendList {
    blocks: [OnceLock<Box<[AtomicU64]>>; BLOCKS],
}

impl AppendList {
    /// The item at `position`; 0 if there is none yet.
    pub(crate) fn get(&self, position: usize) -> u64 {
        let (block, place) = place(position);
        let block = self.blocks.get(block).and_then(OnceLock::get);
        block.and_then(|block| block.get(place)).map_or(0, |item| item.load(Ordering::Acquire))
    }

    /// Reads many items.
    pub(crate) fn reader(&self) -> Reader<'_> {
        let first = self.blocks.first().and_then(OnceLock::get);
        Reader { first: first.map_or(&[], |block| &**block), list: self }
    }

    /// Sets the item at `position`, which is below 2²³.
    pub(crate) fn set(&self, position: usize, item: u64) {
        if let Some(place) = self.item(position) {
            place.store(item, Ordering::Release);
        }
    }

    /// The item at `position`, to change it; `None` where there is no room.
    pub(crate) fn item(&self, position: usize) -> Option<&AtomicU64> {
        let (block, place) = place(position);
        let length = 1 << (FIRST_BITS as usize + block);
        let block = self.blocks.get(block)?;
        block.get_or_init(|| (0..length).map(|_| AtomicU64::new(0)).collect()).get(place)
    }
}

/// Reads items of the first block, where most are, without a look at the blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'l> {
    first: &'l [AtomicU64],
    list: &'l AppendList,
}

impl Reader<'_> {
    /// The item at `position`; 0 if there is none yet.
    #[inline]
    pub(crate) fn get(&self, position: usize) -> u64 {
        match self.first.get(position) {
            Some(item) => item.load(Ordering::Acquire),
            None => self.list.get(position),
        }
    }
}

/// The block of a position, and the place in it.
fn place(position: usize) -> (usize, usize) {
    let shifted = position + (1 << FIRST_BITS);
    let bits = shifted.ilog2();
    ((bits - FIRST_BITS) as usize, shifted - (1 << bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_in_every_block() {
        let list = AppendList::default();
        let last = (1 << 23) - 1;
        let positions = [0, 1, 4_095, 4_096, 12_287, 12_288, 100_000, last];
        for position in positions {
            assert_eq!(list.get(position), 0);
            list.set(position, position as u64 + 1);
        }
        for position in positions {
            assert_eq!(list.get(position), position as u64 + 1);
            assert_eq!(list.reader().get(position), position as u64 + 1);
        }
        for position in [2, usize::MAX >> 1] {
            assert_eq!((list.get(position), list.reader().get(position)), (0, 0));
        }
    }
}
