//! The values of leaves, and how the reached ones are aggregated.
//!
//! Always in the order of the trees, the same for every row. So the bits do not depend on how leaves were found. For
//! sums they equal those of ONNX Runtime in one thread.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use crate::ensemble::trees::{Aggregate, LeafWeights, Tree};
use crate::instructions::SIMD_WIDTH;
use crate::real::Real;
use crate::vectors::Leaves;

/// Receives the leaves that rows reach, tree by tree.
pub(crate) trait Reached {
    /// `tree` is the position in the run; `leaves` are those of a block's rows.
    fn leaves(&mut self, tree: usize, block: usize, leaves: impl Leaves);
}

/// The leaf values of a run of trees, `SIZE` entries per tree and target.
#[derive(Debug)]
pub(crate) struct Tables<S> {
    /// Entries per table: a power of two.
    size: usize,
    values: Vec<S>,
    /// For each table, the end of its tree in this list, and its target.
    targets: Vec<u32>,
    /// The start of each tree's tables, and the end. Empty where each tree has one table, for target 0.
    starts: Vec<u32>,
}

impl<S: Real> Tables<S> {
    /// `size` is a power of two, at least the leaves of any tree.
    pub(crate) fn new(trees: &[Tree], weights: &LeafWeights, size: usize, aggregate: Aggregate) -> Self {
        // The neutral value, where a leaf has no weight for a target.
        let nothing = S::of(match aggregate {
            Aggregate::Sum | Aggregate::Average => 0.0,
            Aggregate::Min => f64::INFINITY,
            Aggregate::Max => f64::NEG_INFINITY,
        });
        let mut tables = Self { size, values: Vec::new(), targets: Vec::new(), starts: vec![0] };
        tables.values.reserve_exact(trees.len() * size);
        let mut targets: Vec<u32> = Vec::new();
        for tree in trees {
            let weighted = tree.leaves.iter().flat_map(|leaf| weights.of(*leaf));
            targets.clear();
            targets.extend(weighted.map(|(target, _)| *target));
            targets.sort_unstable();
            targets.dedup();
            for target in targets.drain(..) {
                let table = tables.values.len();
                tables.values.resize(table + size, nothing);
                for (at, leaf) in tree.leaves.iter().enumerate() {
                    if let Some((_, value)) = weights.of(*leaf).iter().find(|(other, _)| *other == target) {
                        tables.values[table + at] = S::of(*value);
                    }
                }
                tables.targets.push(target);
            }
            tables.starts.push(tables.targets.len() as u32);
        }
        tables
    }

    /// Whether each tree has one table, for target 0.
    pub(crate) fn is_single(&self) -> bool {
        self.targets.iter().all(|target| *target == 0)
            && self.starts.windows(2).all(|pair| pair[1] - pair[0] == 1)
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
            + size_of_val(self.targets.as_slice())
            + size_of_val(self.starts.as_slice())
    }
}

/// Sums for one target and `B` blocks of rows, for trees of at most `SIZE` leaves.
pub(crate) struct SingleTarget<'t, S, const B: usize, const SIZE: usize> {
    tables: &'t [[S; SIZE]],
    pub(crate) sums: [[S; SIMD_WIDTH]; B],
}

impl<'t, S: Real, const B: usize, const SIZE: usize> SingleTarget<'t, S, B, SIZE> {
    #[inline(always)]
    pub(crate) fn new(tables: &'t Tables<S>, sums: [[S; SIMD_WIDTH]; B]) -> Self {
        Self { tables: tables.values.as_chunks().0, sums }
    }
}

impl<S: Real, const B: usize, const SIZE: usize> Reached for SingleTarget<'_, S, B, SIZE> {
    #[inline(always)]
    fn leaves(&mut self, tree: usize, block: usize, leaves: impl Leaves) {
        S::add_leaves(leaves, &self.tables[tree], &mut self.sums[block]);
    }
}

/// Aggregates for any number of targets.
pub(crate) struct MultiTarget<'t, S> {
    tables: &'t Tables<S>,
    aggregate: Aggregate,
    targets: usize,
    /// Blocks × targets × rows.
    sums: &'t mut [[S; SIMD_WIDTH]],
}

impl<'t, S: Real> MultiTarget<'t, S> {
    /// `sums`: blocks × `targets` × rows.
    pub(crate) fn new(
        tables: &'t Tables<S>,
        aggregate: Aggregate,
        targets: usize,
        sums: &'t mut [[S; SIMD_WIDTH]],
    ) -> Self {
        Self { tables, aggregate, targets, sums }
    }
}

impl<S: Real> Reached for MultiTarget<'_, S> {
    #[inline(always)]
    fn leaves(&mut self, tree: usize, block: usize, leaves: impl Leaves) {
        let Tables { size, values, targets, starts } = self.tables;
        for table in starts[tree] as usize..starts[tree + 1] as usize {
            let values = &values[table * size..][..*size];
            let sums = &mut self.sums[block * self.targets + targets[table] as usize];
            for (sum, leaf) in sums.iter_mut().zip(leaves.numbers()) {
                let value = values[leaf as usize & (size - 1)];
                *sum = match self.aggregate {
                    Aggregate::Sum | Aggregate::Average => *sum + value,
                    Aggregate::Min => {
                        if value < *sum {
                            value
                        } else {
                            *sum
                        }
                    }
                    Aggregate::Max => {
                        if value > *sum {
                            value
                        } else {
                            *sum
                        }
                    }
                };
            }
        }
    }
}
