//! Trees of up to 256 leaves: each condition that fails takes leaves away from a bit vector, and the lowest that is left is
//! the one that a row reaches.
//!
//! Taking away is an AND, which has no order. So conditions may be looked at tree by tree for several rows
//! ([`Nodes`], [`reach`]), or column by column for one row ([`BitRun::row`]), and what some columns take away can be kept
//! and joined with what others do. Source: Lucchese et al., "`QuickScorer`", SIGIR 2015.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use super::ensemble::{Split, Tree};
use super::leaves::Reached;
use super::machine::LANES;
use super::vectors::{Lanes, Set};
use super::word::Word;
use crate::priority::pause;

/// Consecutive trees of an ensemble, all with vectors of one width.
#[derive(Debug)]
pub(super) struct BitRun<W> {
    /// All conditions, tree by tree.
    pub(super) nodes: Nodes<W>,
    /// No conditions, for the same trees.
    pub(super) nothing: Nodes<W>,
    /// All conditions, column by column, in the order of the columns.
    prefixes: Vec<Prefix<W>>,
}

/// Conditions tree by tree.
#[derive(Debug, Clone)]
pub(super) struct Nodes<W> {
    /// Where the conditions of each tree begin, and the end.
    starts: Vec<u32>,
    all: Vec<Node<W>>,
}

#[derive(Debug, Clone, Copy)]
struct Node<W> {
    column: u32,
    /// It fails where the key of the column is greater.
    cut: i32,
    /// What is left where it fails.
    mask: W,
}

/// The conditions on one column, by their cuts: those that fail for a row come first.
#[derive(Debug)]
struct Prefix<W> {
    cuts: Vec<i32>,
    /// The tree of the run, and what is left of it.
    masks: Vec<(u32, W)>,
    /// What all conditions up to each `every`th leave, for all trees: entry by entry × trees.
    steps: Vec<W>,
    every: usize,
}

impl<W: Word> BitRun<W> {
    /// `trees`: at most [`Word::LEAVES`] leaves each; `cut`: the cut of a condition as the keys of a row have it.
    pub(super) fn new(trees: &[Tree], columns: usize, cut: impl Fn(&Split) -> i32) -> Self {
        let splits = trees.iter().map(|tree| tree.splits.len()).sum();
        let mut nodes = Nodes { starts: vec![0], all: Vec::with_capacity(splits) };
        let mut counts = vec![0; columns];
        let all = trees.iter().flat_map(|tree| &tree.splits);
        all.for_each(|split| counts[split.column as usize] += 1);
        let mut by_column: Vec<Vec<(i32, u32, W)>> = counts.into_iter().map(Vec::with_capacity).collect();
        for (at, tree) in trees.iter().enumerate() {
            for split in &tree.splits {
                let (column, cut) = (split.column, cut(split));
                let mask = W::without(split.first, split.middle);
                nodes.all.push(Node { column, cut, mask });
                by_column[column as usize].push((cut, at as u32, mask));
            }
            nodes.starts.push(nodes.all.len() as u32);
        }
        let prefixes = by_column.into_iter().map(|conditions| Prefix::new(conditions, trees.len())).collect();
        let nothing = nodes.only(|_| false);
        Self { nodes, nothing, prefixes }
    }

    /// Trees.
    pub(super) fn trees(&self) -> usize {
        self.nodes.trees()
    }

    /// Takes away what the conditions on `columns` do for one row. `keys`: of all columns; `out`: a vector per tree.
    #[inline(always)]
    pub(super) fn row(&self, keys: &[i32], columns: &[u32], out: &mut [W]) {
        for column in columns {
            self.prefixes[*column as usize].take(keys[*column as usize], out);
        }
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.memory_bytes() + self.prefixes.iter().map(Prefix::memory_bytes).sum::<usize>()
    }
}

impl<W: Word> Prefix<W> {
    fn new(mut conditions: Vec<(i32, u32, W)>, trees: usize) -> Self {
        /// A step of the whole ensemble costs as much as this share of its bytes in single conditions, measured; so much
        /// memory is spent per condition.
        const BYTES_PER_CONDITION: usize = 32;
        pause();
        conditions.sort_unstable_by_key(|(cut, tree, _)| (*cut, *tree));
        let every = (trees * size_of::<W>() / BYTES_PER_CONDITION).max(16);
        let mut steps = Vec::with_capacity(conditions.len() / every * trees);
        let mut left = vec![W::ALL; trees];
        for some in conditions.chunks_exact(every) {
            for (_, tree, mask) in some {
                left[*tree as usize] = left[*tree as usize].and(*mask);
            }
            steps.extend_from_slice(&left);
        }
        let cuts = conditions.iter().map(|(cut, _, _)| *cut).collect();
        let masks = conditions.into_iter().map(|(_, tree, mask)| (tree, mask)).collect();
        Self { cuts, masks, steps, every }
    }

    #[inline(always)]
    fn take(&self, key: i32, out: &mut [W]) {
        let failing = self.cuts.partition_point(|cut| key > *cut);
        let whole = failing / self.every;
        if let Some(before) = whole.checked_sub(1) {
            let step = &self.steps[before * out.len()..][..out.len()];
            for (left, step) in out.iter_mut().zip(step) {
                *left = left.and(*step);
            }
        }
        for (tree, mask) in &self.masks[whole * self.every..failing] {
            let left = &mut out[*tree as usize];
            *left = left.and(*mask);
        }
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(self.cuts.as_slice())
            + size_of_val(self.masks.as_slice())
            + size_of_val(self.steps.as_slice())
    }
}

impl<W: Word> Nodes<W> {
    /// The conditions on some columns alone.
    pub(super) fn only(&self, wanted: impl Fn(u32) -> bool) -> Self {
        let mut some = Self { starts: vec![0], all: Vec::new() };
        for tree in self.starts.windows(2) {
            let conditions = &self.all[tree[0] as usize..tree[1] as usize];
            some.all.extend(conditions.iter().filter(|node| wanted(node.column)));
            some.starts.push(some.all.len() as u32);
        }
        some
    }

    /// Trees.
    pub(super) fn trees(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.starts.as_slice()) + size_of_val(self.all.as_slice())
    }
}

/// What is left of trees before conditions are looked at.
pub(super) trait Left<W: Word> {
    fn of<L: Lanes<W>>(&self, tree: usize, block: usize) -> L;
}

/// Everything.
pub(super) struct Everything;

impl<W: Word> Left<W> for Everything {
    #[inline(always)]
    fn of<L: Lanes<W>>(&self, _: usize, _: usize) -> L {
        L::splat(W::ALL)
    }
}

/// The same for all rows: a vector per tree.
pub(super) struct Alike<'v, W>(pub(super) &'v [W]);

impl<W: Word> Left<W> for Alike<'_, W> {
    #[inline(always)]
    fn of<L: Lanes<W>>(&self, tree: usize, _: usize) -> L {
        L::splat(self.0[tree])
    }
}

/// What a row of its own and one that all share leave both.
pub(super) struct Both<'v, W, const B: usize> {
    pub(super) shared: &'v [W],
    /// For each block, a vector per tree and row.
    pub(super) own: [&'v [[W; LANES]]; B],
}

impl<W: Word, const B: usize> Left<W> for Both<'_, W, B> {
    #[inline(always)]
    fn of<L: Lanes<W>>(&self, tree: usize, block: usize) -> L {
        L::load(&self.own[block][tree]).and(L::splat(self.shared[tree]))
    }
}

/// Finds the leaves of `B` × [`LANES`] rows in every tree, in order, and tells `reached`.
///
/// `left`: what is left of a tree for a block before `nodes` take away; `keys`: of all columns, for each block.
#[inline(always)]
pub(super) fn reach<W: Word, M: Set, const B: usize>(
    nodes: &Nodes<W>,
    keys: [&[[i32; LANES]]; B],
    left: &impl Left<W>,
    reached: &mut impl Reached,
) {
    for (tree, bounds) in nodes.starts.windows(2).enumerate() {
        let mut left: [M::Lanes<W>; B] = std::array::from_fn(|block| left.of(tree, block));
        for node in &nodes.all[bounds[0] as usize..bounds[1] as usize] {
            left = std::array::from_fn(|block| {
                left[block].and_where(&keys[block][node.column as usize], node.cut, node.mask)
            });
        }
        for (block, left) in left.into_iter().enumerate() {
            reached.leaves(tree, block, left.lowest());
        }
    }
}
