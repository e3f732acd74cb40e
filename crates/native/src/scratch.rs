//! Scratch memory for scoring, kept so that a warm thread allocates nothing.

use crate::instructions::SIMD_WIDTH;
use crate::mlp::LayerUnits;

/// Scratch memory for scoring: one per thread, for any models.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Blocks × columns.
    pub(super) keys: Vec<[i32; SIMD_WIDTH]>,
    /// One row, by column.
    pub(super) row_keys: Vec<i32>,
    /// The remaining leaves of trees for one row, in vectors of 32 bits.
    pub(super) halves: Vec<u32>,
    /// The remaining leaves of trees for one row, in vectors of 64 bits or multiples.
    pub(super) words: Vec<u64>,
    /// Blocks × targets.
    pub(super) floats: Vec<[f32; SIMD_WIDTH]>,
    /// Blocks × targets.
    pub(super) doubles: Vec<[f64; SIMD_WIDTH]>,
    /// By target.
    pub(super) row_floats: Vec<f32>,
    /// By target.
    pub(super) row_doubles: Vec<f64>,
    /// Sides × targets.
    pub(super) parts: Vec<f64>,
    /// A block of rows, for an MLP.
    pub(super) mlp: LayerUnits,
    /// The units of the MLP's next layer.
    pub(super) next: Vec<f32>,
    /// One row, before the steps behind the trees.
    pub(super) scores: Vec<f32>,
}
