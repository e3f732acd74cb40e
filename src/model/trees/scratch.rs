//! Memory that scoring needs and keeps, so that it allocates nothing once it is warm.

use super::machine::LANES;
use super::network::Sums;

/// Room to score in: one per thread, for any models.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Blocks × columns.
    pub(super) keys: Vec<[i32; LANES]>,
    /// Of one row, by column.
    pub(super) row_keys: Vec<i32>,
    /// What is left of trees for one row, in vectors of 32 bits.
    pub(super) halves: Vec<u32>,
    /// What is left of trees for one row, in vectors of 64 bits or several of them.
    pub(super) words: Vec<u64>,
    /// Blocks × targets.
    pub(super) floats: Vec<[f32; LANES]>,
    /// Blocks × targets.
    pub(super) doubles: Vec<[f64; LANES]>,
    /// By target.
    pub(super) row_floats: Vec<f32>,
    /// By target.
    pub(super) row_doubles: Vec<f64>,
    /// Sides × targets.
    pub(super) parts: Vec<f64>,
    /// Of a block of rows, for a network.
    pub(super) network: Sums,
    /// The sums of its next layer.
    pub(super) next: Vec<f32>,
    /// Of one row, before what stands behind the trees.
    pub(super) scores: Vec<f32>,
}
