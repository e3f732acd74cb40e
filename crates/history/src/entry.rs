//! An entry: something that happened to a customer, in 64 bits.
//!
//! The upper 40 bits are the moment. Below them, 23 bits are a code of [`Names`](super::names::Names), which says what
//! it was: decision or outcome, of which offer, where. The lowest bit says that the entry belongs to the same decision
//! as the one before it: a decision that shows three offers is three entries in a row.

use super::moment::Millis;
use super::names::Code;

/// The bits below the moment.
const BELOW_MOMENT: u32 = 24;

/// Something that happened to a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Entry(u64);

impl Entry {
    /// An entry at a moment within 0..=[`LAST`](super::moment::LAST). `follows`: of the same decision as the entry
    /// before.
    pub(crate) fn new(at: Millis, code: Code, follows: bool) -> Self {
        Self((at as u64) << BELOW_MOMENT | u64::from(code.get()) << 1 | u64::from(follows))
    }

    /// An entry as [`Entry::bits`] gave it.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn at(self) -> Millis {
        (self.0 >> BELOW_MOMENT) as Millis
    }

    pub(crate) fn code(self) -> Code {
        Code::new((self.0 >> 1) as u32 & Code::MOST)
    }

    /// Whether it belongs to the same decision as the entry before.
    pub(crate) fn follows(self) -> bool {
        self.0 & 1 == 1
    }

    /// The same as the first entry of its decision.
    pub(crate) fn leading(self) -> Self {
        Self(self.0 & !1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::LAST;

    #[test]
    fn an_entry_keeps_its_parts() {
        for (at, code, follows) in [(0, 0, false), (LAST, Code::MOST, true), (212_345_678_901, 77, false)] {
            let entry = Entry::new(at, Code::new(code), follows);
            assert_eq!((entry.at(), entry.code().get(), entry.follows()), (at, code, follows));
            assert_eq!(Entry::from_bits(entry.bits()), entry);
            assert_eq!(entry.leading(), Entry::new(at, Code::new(code), false));
        }
    }
}
