//! The values of leaves, and how those that rows reach are put together.
//!
//! Always in the order of the trees, one row like another: so the bits are the same however leaves were found, and for sums
//! the same as those of ONNX Runtime in one thread.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use super::ensemble::{Aggregate, LeafWeights, Tree};
use super::machine::LANES;
use super::real::Real;
use super::vectors::Leaves;

/// Who is told which leaves rows reach, tree by tree.
pub(super) trait Reached {
    /// `tree`: position in its run; `leaves`: of the rows of a block.
    fn leaves(&mut self, tree: usize, block: usize, leaves: impl Leaves);
}

/// The values of the leaves of a run of trees, `SIZE` places for each tree and target.
#[derive(Debug)]
pub(super) struct Tables<S> {
    /// Places in a table: a power of two.
    size: usize,
    values: Vec<S>,
    /// For each table its tree's end within this list, and its target.
    targets: Vec<u32>,
    /// Where the tables of each tree begin, and the end. Empty where each tree has one table, for target 0.
    starts: Vec<u32>,
}

impl<S: Real> Tables<S> {
    /// `size`: a power of two that no tree has more leaves than.
    pub(super) fn new(trees: &[Tree], weights: &LeafWeights, size: usize, aggregate: Aggregate) -> Self {
        // What changes nothing where a leaf has no weight for a target.
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
    pub(super) fn is_single(&self) -> bool {
        self.targets.iter().all(|target| *target == 0)
            && self.starts.windows(2).all(|pair| pair[1] - pair[0] == 1)
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
            + size_of_val(self.targets.as_slice())
            + size_of_val(self.starts.as_slice())
    }
}

/// Sums for one target, `B` blocks of rows, of trees of at most `SIZE` leaves.
pub(super) struct Single<'t, S, const B: usize, const SIZE: usize> {
    tables: &'t [[S; SIZE]],
    pub(super) sums: [[S; LANES]; B],
}

impl<'t, S: Real, const B: usize, const SIZE: usize> Single<'t, S, B, SIZE> {
    #[inline(always)]
    pub(super) fn new(tables: &'t Tables<S>, sums: [[S; LANES]; B]) -> Self {
        Self { tables: tables.values.as_chunks().0, sums }
    }
}

impl<S: Real, const B: usize, const SIZE: usize> Reached for Single<'_, S, B, SIZE> {
    #[inline(always)]
    fn leaves(&mut self, tree: usize, block: usize, leaves: impl Leaves) {
        S::add_leaves(leaves, &self.tables[tree], &mut self.sums[block]);
    }
}

/// Any number of targets, put together in any way.
pub(super) struct Several<'t, S> {
    tables: &'t Tables<S>,
    aggregate: Aggregate,
    targets: usize,
    /// Blocks × targets × rows.
    sums: &'t mut [[S; LANES]],
}

impl<'t, S: Real> Several<'t, S> {
    /// `sums`: blocks × `targets` × rows.
    pub(super) fn new(
        tables: &'t Tables<S>,
        aggregate: Aggregate,
        targets: usize,
        sums: &'t mut [[S; LANES]],
    ) -> Self {
        Self { tables, aggregate, targets, sums }
    }
}

impl<S: Real> Reached for Several<'_, S> {
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
