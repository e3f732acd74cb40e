//! Shadows: what a challenger changes, and which decisions it is compared on. Nobody is ever shown what it would choose.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::Changes;
use crate::hash::{mix, wide};

/// A challenger that decides beside the answers (`[[shadow]]`).
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// Unique among the shadows.
    pub id: Arc<str>,
    /// Where it holds, sorted; empty for everywhere.
    pub placements: Vec<usize>,
    /// The share of the decisions that it is compared on, above 0 and at most 1.
    pub sample: f64,
    /// What it changes, over what the variants of a customer change. It never has a `count`.
    pub changes: Changes,
    /// The line where it begins, for problems with it.
    pub line: usize,
    /// What decisions are sampled with.
    salt: u64,
}

impl Shadow {
    pub(crate) fn new(id: &str, placements: Vec<usize>, sample: f64, changes: Changes, line: usize) -> Self {
        // A salt of its own: shadows sample independently of each other, of arms and of exploration.
        let salt = wide(format!("shadow:{id}").as_bytes());
        Self { id: id.into(), placements, sample, changes, line, salt }
    }

    /// Whether it holds at a placement.
    #[must_use]
    pub fn is_at(&self, placement: usize) -> bool {
        self.placements.is_empty() || self.placements.binary_search(&placement).is_ok()
    }

    /// Whether it is compared on the decision with this id. Every server and every replay samples the same decisions.
    #[must_use]
    pub fn samples(&self, decision: u128) -> bool {
        let hash = mix(mix((decision >> 64) as u64 ^ self.salt) ^ decision as u64);
        // 53 bits, so that the float is exact: all of them are below a share of 1.
        ((hash >> 11) as f64) < self.sample * (1_u64 << 53) as f64
    }
}
