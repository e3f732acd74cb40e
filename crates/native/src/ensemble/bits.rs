//! Trees of up to 256 leaves. Each failed condition removes leaves from a bit vector; the lowest remaining leaf is the
//! one that a row reaches.
//!
//! Removing is an AND, so the order of conditions is free. They may be evaluated tree by tree for several rows
//! ([`Nodes`], [`reach`]), or column by column for one row ([`BitRun::row`]). The results of some columns can be stored
//! and combined with those of others. Source: Lucchese et al., "`QuickScorer`", SIGIR 2015.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use crate::ensemble::leaves::Reached;
use crate::ensemble::trees::{Split, Tree};
use crate::ensemble::word::Word;
use crate::instructions::SIMD_WIDTH;
use crate::vectors::{InstructionSet, Vector};
use work::priority::yield_if_due;

/// Consecutive trees of an ensemble whose vectors have the same width.
#[derive(Debug)]
pub(crate) struct BitRun<W> {
    /// All conditions, by tree.
    pub(crate) nodes: Nodes<W>,
    /// The same trees without conditions.
    pub(crate) nothing: Nodes<W>,
    /// All conditions, by column, in the order of the columns.
    prefixes: Vec<Prefix<W>>,
}

/// Conditions by tree.
#[derive(Debug, Clone)]
pub(crate) struct Nodes<W> {
    /// The start of each tree's conditions, and the end.
    starts: Vec<u32>,
    all: Vec<Node<W>>,
}

#[derive(Debug, Clone, Copy)]
struct Node<W> {
    column: u32,
    /// The condition fails where the key of the column is greater.
    cut: i32,
    /// The leaves that remain if it fails.
    mask: W,
}

/// The conditions on one column, sorted by cut: those that fail for a row come first.
#[derive(Debug)]
struct Prefix<W> {
    cuts: Vec<i32>,
    /// The tree in the run, and the leaves that remain in it.
    masks: Vec<(u32, W)>,
    /// For all trees, the leaves that remain after every `every`th condition: entries × trees.
    steps: Vec<W>,
    every: usize,
}

impl<W: Word> BitRun<W> {
    /// `trees` have at most [`Word::LEAVES`] leaves each. `cut` gives the cut of a condition in the form of keys.
    pub(crate) fn new(trees: &[Tree], columns: usize, cut: impl Fn(&Split) -> i32) -> Self {
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

    /// The number of trees.
    pub(crate) fn trees(&self) -> usize {
        self.nodes.trees()
    }

    /// Removes the leaves that the conditions on `columns` exclude for one row. `keys` are those of all columns; `out`
    /// has a vector per tree.
    #[inline(always)]
    pub(crate) fn row(&self, keys: &[i32], columns: &[u32], out: &mut [W]) {
        for column in columns {
            self.prefixes[*column as usize].take(keys[*column as usize], out);
        }
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.nodes.memory_bytes() + self.prefixes.iter().map(Prefix::memory_bytes).sum::<usize>()
    }
}

impl<W: Word> Prefix<W> {
    fn new(mut conditions: Vec<(i32, u32, W)>, trees: usize) -> Self {
        /// The memory spent per condition. Measured: a step of the whole ensemble costs as much as one condition per
        /// this many of its bytes.
        const BYTES_PER_CONDITION: usize = 32;
        yield_if_due();
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
    /// Only the conditions on some columns.
    pub(crate) fn only(&self, wanted: impl Fn(u32) -> bool) -> Self {
        let mut some = Self { starts: vec![0], all: Vec::new() };
        for tree in self.starts.windows(2) {
            let conditions = &self.all[tree[0] as usize..tree[1] as usize];
            some.all.extend(conditions.iter().filter(|node| wanted(node.column)));
            some.starts.push(some.all.len() as u32);
        }
        some
    }

    /// The number of trees.
    pub(crate) fn trees(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are no conditions.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Bytes on the heap.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(self.starts.as_slice()) + size_of_val(self.all.as_slice())
    }
}

/// The leaves that remain in trees before conditions are evaluated.
pub(crate) trait Remaining<W: Word> {
    fn of<L: Vector<W>>(&self, tree: usize, block: usize) -> L;
}

/// All leaves.
pub(crate) struct AllLeaves;

impl<W: Word> Remaining<W> for AllLeaves {
    #[inline(always)]
    fn of<L: Vector<W>>(&self, _: usize, _: usize) -> L {
        L::splat(W::ALL)
    }
}

/// The same leaves for all rows: a vector per tree.
pub(crate) struct Shared<'v, W>(pub(crate) &'v [W]);

impl<W: Word> Remaining<W> for Shared<'_, W> {
    #[inline(always)]
    fn of<L: Vector<W>>(&self, tree: usize, _: usize) -> L {
        L::splat(self.0[tree])
    }
}

/// The intersection of a row's own leaves and those shared by all rows.
pub(crate) struct Intersection<'v, W, const B: usize> {
    pub(crate) shared: &'v [W],
    /// For each block, a vector per tree and row.
    pub(crate) own: [&'v [[W; SIMD_WIDTH]]; B],
}

impl<W: Word, const B: usize> Remaining<W> for Intersection<'_, W, B> {
    #[inline(always)]
    fn of<L: Vector<W>>(&self, tree: usize, block: usize) -> L {
        L::load(&self.own[block][tree]).and(L::splat(self.shared[tree]))
    }
}

/// Finds the leaves of `B` × [`SIMD_WIDTH`] rows in every tree, in order, and passes them to `reached`.
///
/// `left` gives the leaves that remain in a tree for a block before `nodes`. `keys` are those of all columns, per
/// block.
#[inline(always)]
pub(crate) fn reach<W: Word, M: InstructionSet, const B: usize>(
    nodes: &Nodes<W>,
    keys: [&[[i32; SIMD_WIDTH]]; B],
    left: &impl Remaining<W>,
    reached: &mut impl Reached,
) {
    for (tree, bounds) in nodes.starts.windows(2).enumerate() {
        let mut left: [M::Vector<W>; B] = std::array::from_fn(|block| left.of(tree, block));
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
