//! Positions of offers and placements in a release: each orders as the ids do.

/// The position of an offer in its library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferIndex(usize);

/// The position of a placement in its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacementIndex(usize);

impl OfferIndex {
    /// The position `index`.
    #[must_use]
    pub fn new(index: usize) -> Self {
        Self(index)
    }

    /// As a position in a list that has an entry for each offer.
    #[must_use]
    pub fn get(self) -> usize {
        self.0
    }
}

impl PlacementIndex {
    /// The position `index`.
    #[must_use]
    pub fn new(index: usize) -> Self {
        Self(index)
    }

    /// As a position in a list that has an entry for each placement.
    #[must_use]
    pub fn get(self) -> usize {
        self.0
    }
}
