//! An ensemble of trees, ready to score: columns, runs of trees with their tables, and the steps after the sums.
//!
//! `trees` brings the operators into one form, and `columns` turns values into keys. `bits` (up to 256 leaves) and
//! `walk` (more) find the leaf of each tree; `leaves` has their values. Start reading at [`Ensemble::score`], which
//! takes whole rows; [`crate::factorised`] takes them in parts.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

pub(crate) mod bits;
pub(crate) mod keys;
pub(crate) mod leaves;
pub(crate) mod trees;
mod walk;
pub(crate) mod word;

use crate::after::After;
use crate::columns::{Columns, Feature, Number};
use crate::evaluate::Evaluate;
use crate::finish::Finish;
use crate::instructions::{Instructions, Kernel, SIMD_WIDTH};
use crate::real::Real;
use crate::scratch::Scratch;
use crate::vectors::InstructionSet;
use bits::{AllLeaves, BitRun, Nodes, Remaining, Shared, reach};
use leaves::{MultiTarget, Reached, SingleTarget, Tables};
use trees::{Aggregate, Tree, TreeEnsemble};
use walk::WalkRun;
use word::Word;

/// Blocks of rows that share one pass over the trees' tables.
pub(crate) const BLOCKS: usize = 4;

/// Fewer rows than this are faster one by one, column by column; measured.
const FEW: usize = 3;

#[derive(Debug)]
pub(crate) struct Ensemble<S> {
    pub(crate) instructions: Instructions,
    pub(crate) columns: Columns,
    /// All columns.
    pub(crate) all: Vec<u32>,
    pub(crate) runs: Vec<Run<S>>,
    pub(crate) targets: usize,
    aggregate: Aggregate,
    finish: Finish,
    pub(crate) after: After,
}

/// Consecutive trees that are evaluated the same way, with their leaf values.
#[derive(Debug)]
pub(crate) enum Run<S> {
    Bits32(BitRun<u32>, Tables<S>),
    Bits64(BitRun<u64>, Tables<S>),
    Bits128(BitRun<[u64; 2]>, Tables<S>),
    Bits256(BitRun<[u64; 4]>, Tables<S>),
    Walk(WalkRun, Tables<S>),
}

/// The kernel that finds leaves by bit vectors.
struct Reach<'j, W, L, R, const B: usize> {
    nodes: &'j Nodes<W>,
    keys: [&'j [[i32; SIMD_WIDTH]]; B],
    left: L,
    reached: &'j mut R,
}

impl<W: Word, L: Remaining<W>, R: Reached, const B: usize> Kernel for Reach<'_, W, L, R, B> {
    #[inline(always)]
    fn run<M: InstructionSet>(self) {
        reach::<W, M, B>(self.nodes, self.keys, &self.left, self.reached);
    }
}

/// The kernel that finds leaves by walking down.
struct WalkDown<'j, R> {
    run: &'j WalkRun,
    keys: &'j [[i32; SIMD_WIDTH]],
    reached: &'j mut R,
}

impl<R: Reached> Kernel for WalkDown<'_, R> {
    #[inline(always)]
    fn run<M: InstructionSet>(self) {
        self.run.reach([self.keys], self.reached);
    }
}

/// The kernel that computes the reachable leaves of a run's trees for one row.
struct Row<'j, W> {
    run: &'j BitRun<W>,
    keys: &'j [i32],
    columns: &'j [u32],
    out: &'j mut [W],
}

impl<W: Word> Kernel for Row<'_, W> {
    #[inline(always)]
    fn run<M: InstructionSet>(self) {
        self.run.row(self.keys, self.columns, self.out);
    }
}

impl<S: Real> Ensemble<S> {
    pub(crate) fn new(ensemble: &TreeEnsemble, features: &[Feature], after: After) -> Self {
        let columns = Columns::new(ensemble, features);
        let aggregate = ensemble.aggregate;
        let widest =
            ensemble.trees.iter().map(|tree| tree.leaves.len()).filter(|leaves| *leaves <= 256).max();
        let width = widest.unwrap_or(1).next_power_of_two().max(32);
        let small = |tree: &Tree| tree.leaves.len() <= 256;
        let mut runs = Vec::new();
        for trees in ensemble.trees.chunk_by(|one, other| small(one) == small(other)) {
            let (count, cut) = (columns.count(), |split: &_| columns.cut(split));
            let tables = |size| Tables::new(trees, &ensemble.weights, size, aggregate);
            runs.push(if !trees.first().is_some_and(small) {
                let most = trees.iter().map(|tree| tree.leaves.len()).max().unwrap_or(1);
                Run::Walk(WalkRun::new(trees, cut), tables(most.next_power_of_two()))
            } else if width == 32 {
                Run::Bits32(BitRun::new(trees, count, cut), tables(32))
            } else if width == 64 {
                Run::Bits64(BitRun::new(trees, count, cut), tables(64))
            } else if width == 128 {
                Run::Bits128(BitRun::new(trees, count, cut), tables(128))
            } else {
                Run::Bits256(BitRun::new(trees, count, cut), tables(256))
            });
        }
        let (targets, finish) = (ensemble.targets, ensemble.finish.clone());
        let all = (0..columns.count() as u32).collect();
        Self { instructions: Instructions::best(), columns, all, runs, targets, aggregate, finish, after }
    }

    /// Scores one row: each of its values removes leaves from all trees.
    fn score_row<T: Number>(&self, row: &[T], scratch: &mut Scratch, out: &mut [f32]) {
        let mut keys = std::mem::take(&mut scratch.row_keys);
        keys.clear();
        keys.extend(self.all.iter().map(|column| self.columns.key(*column, row)));
        let mut sums = self.begin(1, scratch);
        for run in &self.runs {
            match run {
                Run::Bits32(run, tables) => self.row::<_, 32>(run, tables, &keys, scratch, &mut sums),
                Run::Bits64(run, tables) => self.row::<_, 64>(run, tables, &keys, scratch, &mut sums),
                Run::Bits128(run, tables) => self.row::<_, 128>(run, tables, &keys, scratch, &mut sums),
                Run::Bits256(run, tables) => self.row::<_, 256>(run, tables, &keys, scratch, &mut sums),
                Run::Walk(..) => {}
            }
        }
        self.write(&sums, 0..1, scratch, out);
        S::give_back(scratch, sums);
        scratch.row_keys = keys;
    }

    fn row<W: Word, const LEAVES: usize>(
        &self,
        run: &BitRun<W>,
        tables: &Tables<S>,
        keys: &[i32],
        scratch: &mut Scratch,
        sums: &mut [[S; SIMD_WIDTH]],
    ) {
        let left = W::scratch_sets(scratch, run.trees());
        self.take(run, keys, &self.all, left);
        self.reach::<W, _, LEAVES, 1>(&run.nothing, tables, [&[]], Shared(left), sums);
    }

    /// Removes from `left` the leaves that `columns` of a row exclude. `left` has a vector per tree of the run.
    pub(crate) fn take<W: Word>(&self, run: &BitRun<W>, keys: &[i32], columns: &[u32], left: &mut [W]) {
        self.instructions.run(Row { run, keys, columns, out: left });
    }

    /// Initial sums, blocks × targets: for one block, or for [`BLOCKS`] if there are more.
    pub(crate) fn begin(&self, blocks: usize, scratch: &mut Scratch) -> Vec<[S; SIMD_WIDTH]> {
        let mut sums = S::take(scratch);
        sums.clear();
        let nothing = S::of(match self.aggregate {
            Aggregate::Sum | Aggregate::Average => 0.0,
            Aggregate::Min => f64::INFINITY,
            Aggregate::Max => f64::NEG_INFINITY,
        });
        let blocks = if blocks > 1 { BLOCKS } else { 1 };
        sums.resize(blocks * self.targets, [nothing; SIMD_WIDTH]);
        sums
    }

    /// Adds a run to the sums of `blocks` blocks. `keys` are complete: blocks × columns.
    fn add(&self, run: &Run<S>, keys: &[[i32; SIMD_WIDTH]], blocks: usize, sums: &mut [[S; SIMD_WIDTH]]) {
        match run {
            Run::Bits32(run, tables) => self.blocks::<_, 32>(run, tables, keys, blocks, sums),
            Run::Bits64(run, tables) => self.blocks::<_, 64>(run, tables, keys, blocks, sums),
            Run::Bits128(run, tables) => self.blocks::<_, 128>(run, tables, keys, blocks, sums),
            Run::Bits256(run, tables) => self.blocks::<_, 256>(run, tables, keys, blocks, sums),
            Run::Walk(run, tables) => {
                for (block, sums) in sums.chunks_exact_mut(self.targets).take(blocks).enumerate() {
                    let columns = self.columns.count();
                    self.walk(run, tables, &keys[block * columns..][..columns], sums);
                }
            }
        }
    }

    fn blocks<W: Word, const LEAVES: usize>(
        &self,
        run: &BitRun<W>,
        tables: &Tables<S>,
        keys: &[[i32; SIMD_WIDTH]],
        blocks: usize,
        sums: &mut [[S; SIMD_WIDTH]],
    ) {
        let columns = self.columns.count();
        let keys = |block: usize| &keys[block * columns..][..columns];
        if blocks > 1 {
            // Repeating a block costs less than a pass for each block.
            let keys: [_; BLOCKS] = std::array::from_fn(keys);
            return self.reach::<W, _, LEAVES, BLOCKS>(&run.nodes, tables, keys, AllLeaves, sums);
        }
        self.reach::<W, _, LEAVES, 1>(&run.nodes, tables, [keys(0)], AllLeaves, sums);
    }

    /// Adds the leaves of `B` blocks to their sums, `B` × targets. `LEAVES` is that of `W`.
    pub(crate) fn reach<W: Word, L: Remaining<W>, const LEAVES: usize, const B: usize>(
        &self,
        nodes: &Nodes<W>,
        tables: &Tables<S>,
        keys: [&[[i32; SIMD_WIDTH]]; B],
        left: L,
        sums: &mut [[S; SIMD_WIDTH]],
    ) {
        const { assert!(LEAVES == W::LEAVES, "a table has a place for each bit") };
        let adds = matches!(self.aggregate, Aggregate::Sum | Aggregate::Average);
        if adds && self.targets == 1 && tables.is_single() {
            let mut reached =
                SingleTarget::<S, B, LEAVES>::new(tables, std::array::from_fn(|block| sums[block]));
            self.instructions.run(Reach { nodes, keys, left, reached: &mut reached });
            sums.copy_from_slice(&reached.sums);
        } else {
            let mut reached = MultiTarget::new(tables, self.aggregate, self.targets, sums);
            self.instructions.run(Reach { nodes, keys, left, reached: &mut reached });
        }
    }

    /// Adds the leaves of one block with complete keys to its sums.
    pub(crate) fn walk(
        &self,
        run: &WalkRun,
        tables: &Tables<S>,
        keys: &[[i32; SIMD_WIDTH]],
        sums: &mut [[S; SIMD_WIDTH]],
    ) {
        let mut reached = MultiTarget::new(tables, self.aggregate, self.targets, sums);
        self.instructions.run(WalkDown { run, keys, reached: &mut reached });
    }

    /// Writes the scores of the rows `places` (block × [`SIMD_WIDTH`] + position) from their sums into `out`.
    pub(crate) fn write(
        &self,
        sums: &[[S; SIMD_WIDTH]],
        places: impl IntoIterator<Item = usize>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let own = self.finish.width(self.targets);
        scratch.scores.resize(own.max(scratch.scores.len()), 0.0);
        let mut row = S::take_row(scratch);
        row.resize(self.targets, S::default());
        for (place, out) in places.into_iter().zip(out.chunks_exact_mut(self.width())) {
            let (block, position) = (place / SIMD_WIDTH, place % SIMD_WIDTH);
            for (sum, sums) in row.iter_mut().zip(&sums[block * self.targets..]) {
                *sum = sums[position];
            }
            let scores = &mut scratch.scores[..own];
            self.finish.row(&row, scores);
            self.after.row(scores, out);
        }
        S::give_back_row(scratch, row);
    }
}

impl<S: Real> Evaluate for Ensemble<S> {
    fn width(&self) -> usize {
        self.after.width(self.finish.width(self.targets))
    }

    fn keep_only(&mut self, score: usize) {
        self.after.only = Some(score);
    }

    fn layers(&self) -> usize {
        0
    }

    fn score<T: Number>(&self, rows: &[T], width: usize, scratch: &mut Scratch, out: &mut [f32]) {
        let count = out.len() / self.width();
        if count < FEW && self.runs.iter().all(|run| !matches!(run, Run::Walk(..))) {
            for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(self.width())) {
                self.score_row(row, scratch, out);
            }
            return;
        }
        let columns = self.columns.count();
        scratch.keys.resize(BLOCKS * columns, [0; SIMD_WIDTH]);
        let outs = out.chunks_mut(BLOCKS * SIMD_WIDTH * self.width());
        for (rows, out) in rows.chunks(BLOCKS * SIMD_WIDTH * width).zip(outs) {
            let mut blocks = 0;
            for (rows, keys) in
                rows.chunks(SIMD_WIDTH * width).zip(scratch.keys.chunks_exact_mut(columns.max(1)))
            {
                self.columns.block(rows, width, &self.all, keys);
                blocks += 1;
            }
            let blocks = if columns == 0 { rows.len().div_ceil(SIMD_WIDTH * width) } else { blocks };
            let keys = std::mem::take(&mut scratch.keys);
            let mut sums = self.begin(blocks, scratch);
            for run in &self.runs {
                self.add(run, &keys, blocks, &mut sums);
            }
            self.write(&sums, 0..out.len() / self.width(), scratch, out);
            S::give_back(scratch, sums);
            scratch.keys = keys;
        }
    }

    fn memory_bytes(&self) -> usize {
        let run = |run: &Run<S>| match run {
            Run::Bits32(run, tables) => run.memory_bytes() + tables.memory_bytes(),
            Run::Bits64(run, tables) => run.memory_bytes() + tables.memory_bytes(),
            Run::Bits128(run, tables) => run.memory_bytes() + tables.memory_bytes(),
            Run::Bits256(run, tables) => run.memory_bytes() + tables.memory_bytes(),
            Run::Walk(run, tables) => run.memory_bytes() + tables.memory_bytes(),
        };
        self.columns.memory_bytes() + self.runs.iter().map(run).sum::<usize>()
    }
}
