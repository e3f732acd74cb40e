//! The total caps and budgets of a release that have no room.

use offer::OfferIndex;
use smallvec::SmallVec;

use super::{OfferMeter, OfferSet};
use crate::bits::bits;
use crate::moment::Millis;
use crate::total::Board;

/// Those without room at one moment. Usually there are none or few.
#[derive(Debug, Clone, Default)]
pub(crate) struct FullTotals {
    /// Positions among the meters, and from when on each has room.
    meters: SmallVec<[(usize, Millis); 2]>,
    offers: OfferSet,
}

impl FullTotals {
    /// The offers with a limit that has no room.
    pub(crate) fn offers(&self) -> &OfferSet {
        &self.offers
    }

    /// From when on the meter at a position has room; `None` where it has.
    pub(crate) fn frees(&self, meter: usize) -> Option<Millis> {
        self.meters.iter().find(|(of, _)| *of == meter).map(|(_, frees)| *frees)
    }

    /// Whether every one has room.
    pub(crate) fn is_empty(&self) -> bool {
        self.meters.is_empty()
    }

    /// Adds the meter at a position, which is of `offer` and has no room until `frees`.
    pub(crate) fn push(&mut self, meter: usize, frees: Millis, offer: OfferIndex) {
        self.meters.push((meter, frees));
        self.offers.insert(offer);
    }
}

/// Where the meters of a release are on the board of a history: the words with a bit of one of them.
#[derive(Debug)]
pub(super) struct Watch(Vec<Watched>);

#[derive(Debug)]
struct Watched {
    word: usize,
    /// The bits of meters of the release.
    mask: u64,
    /// Their positions among the meters, by bit.
    meters: [usize; 64],
}

impl Watch {
    pub(super) fn new(meters: &[OfferMeter]) -> Self {
        let mut words: Vec<Watched> = Vec::new();
        for (place, OfferMeter { meter, .. }) in meters.iter().enumerate() {
            let (word, bit) = Board::place(meter.slot());
            let known = words.iter().position(|watched| watched.word == word);
            let at = known.unwrap_or_else(|| {
                words.push(Watched { word, mask: 0, meters: [0; 64] });
                words.len() - 1
            });
            words[at].mask |= 1 << bit;
            words[at].meters[bit] = place;
        }
        Self(words)
    }

    /// Those of `meters` that have no room at `now`.
    pub(super) fn full(&self, board: &Board, meters: &[OfferMeter], now: Millis) -> FullTotals {
        let mut full = FullTotals::default();
        for watched in &self.0 {
            for bit in bits(board.word(watched.word) & watched.mask) {
                let place = watched.meters[bit];
                let OfferMeter { offer, meter } = &meters[place];
                let frees = meter.frees();
                if now < frees {
                    full.push(place, frees, *offer);
                }
            }
        }
        full
    }
}
