//! An ensemble as it is evaluated: columns, runs of trees with their tables, and what becomes of the sums.
//!
//! Start reading at [`Engine::score`], which takes rows as they are; [`super::factorised`] takes them in parts.

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use super::after::After;
use super::bits::{Alike, BitRun, Everything, Left, Nodes, reach};
use super::columns::{Columns, Feature, Number};
use super::ensemble::{Aggregate, Ensemble, Tree};
use super::finish::Finish;
use super::leaves::{Reached, Several, Single, Tables};
use super::machine::{Job, LANES, Machine};
use super::real::Real;
use super::scratch::Scratch;
use super::vectors::Set;
use super::walk::WalkRun;
use super::word::Word;

/// Blocks of rows that share one pass over the tables of the trees.
pub(super) const BLOCKS: usize = 4;

/// Fewer rows than this are cheaper one by one, column by column; measured.
const FEW: usize = 3;

#[derive(Debug)]
pub(super) struct Engine<S> {
    pub(super) machine: Machine,
    pub(super) columns: Columns,
    /// Every column.
    pub(super) all: Vec<u32>,
    pub(super) runs: Vec<Run<S>>,
    pub(super) targets: usize,
    aggregate: Aggregate,
    finish: Finish,
    pub(super) after: After,
}

/// Consecutive trees that are evaluated alike, with the values of their leaves.
#[derive(Debug)]
pub(super) enum Run<S> {
    Bits32(BitRun<u32>, Tables<S>),
    Bits64(BitRun<u64>, Tables<S>),
    Bits128(BitRun<[u64; 2]>, Tables<S>),
    Bits256(BitRun<[u64; 4]>, Tables<S>),
    Walk(WalkRun, Tables<S>),
}

/// Finding leaves by bit vectors, as a job.
struct Reach<'j, W, L, R, const B: usize> {
    nodes: &'j Nodes<W>,
    keys: [&'j [[i32; LANES]]; B],
    left: L,
    reached: &'j mut R,
}

impl<W: Word, L: Left<W>, R: Reached, const B: usize> Job for Reach<'_, W, L, R, B> {
    #[inline(always)]
    fn run<M: Set>(self) {
        reach::<W, M, B>(self.nodes, self.keys, &self.left, self.reached);
    }
}

/// Finding leaves by walking down, as a job.
struct WalkDown<'j, R> {
    run: &'j WalkRun,
    keys: &'j [[i32; LANES]],
    reached: &'j mut R,
}

impl<R: Reached> Job for WalkDown<'_, R> {
    #[inline(always)]
    fn run<M: Set>(self) {
        self.run.reach([self.keys], self.reached);
    }
}

/// What one row leaves of the trees of a run, as a job.
struct Row<'j, W> {
    run: &'j BitRun<W>,
    keys: &'j [i32],
    columns: &'j [u32],
    out: &'j mut [W],
}

impl<W: Word> Job for Row<'_, W> {
    #[inline(always)]
    fn run<M: Set>(self) {
        self.run.row(self.keys, self.columns, self.out);
    }
}

impl<S: Real> Engine<S> {
    pub(super) fn new(ensemble: &Ensemble, features: &[Feature], after: After) -> Self {
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
        Self { machine: Machine::best(), columns, all, runs, targets, aggregate, finish, after }
    }

    /// Scores per row.
    pub(super) fn width(&self) -> usize {
        self.after.width(self.finish.width(self.targets))
    }

    /// Scores `rows` of `width` values into `out`, rows × [`Engine::width`].
    pub(super) fn score<T: Number>(&self, rows: &[T], width: usize, scratch: &mut Scratch, out: &mut [f32]) {
        let count = out.len() / self.width();
        if count < FEW && self.runs.iter().all(|run| !matches!(run, Run::Walk(..))) {
            for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(self.width())) {
                self.score_row(row, scratch, out);
            }
            return;
        }
        let columns = self.columns.count();
        scratch.keys.resize(BLOCKS * columns, [0; LANES]);
        let outs = out.chunks_mut(BLOCKS * LANES * self.width());
        for (rows, out) in rows.chunks(BLOCKS * LANES * width).zip(outs) {
            let mut blocks = 0;
            for (rows, keys) in rows.chunks(LANES * width).zip(scratch.keys.chunks_exact_mut(columns.max(1)))
            {
                self.columns.block(rows, width, &self.all, keys);
                blocks += 1;
            }
            let blocks = if columns == 0 { rows.len().div_ceil(LANES * width) } else { blocks };
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

    /// One row, by what each of its values takes away from all trees.
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
        sums: &mut [[S; LANES]],
    ) {
        let left = W::room(scratch, run.trees());
        self.take(run, keys, &self.all, left);
        self.reach::<W, _, LEAVES, 1>(&run.nothing, tables, [&[]], Alike(left), sums);
    }

    /// Takes away what `columns` of a row do from `left`, a vector per tree of the run.
    pub(super) fn take<W: Word>(&self, run: &BitRun<W>, keys: &[i32], columns: &[u32], left: &mut [W]) {
        self.machine.work(Row { run, keys, columns, out: left });
    }

    /// Sums of nothing, blocks × targets: for one block, or where there are more for [`BLOCKS`].
    pub(super) fn begin(&self, blocks: usize, scratch: &mut Scratch) -> Vec<[S; LANES]> {
        let mut sums = S::take(scratch);
        sums.clear();
        let nothing = S::of(match self.aggregate {
            Aggregate::Sum | Aggregate::Average => 0.0,
            Aggregate::Min => f64::INFINITY,
            Aggregate::Max => f64::NEG_INFINITY,
        });
        let blocks = if blocks > 1 { BLOCKS } else { 1 };
        sums.resize(blocks * self.targets, [nothing; LANES]);
        sums
    }

    /// Adds a run to the sums of `blocks` blocks, whose `keys` are complete: blocks × columns.
    fn add(&self, run: &Run<S>, keys: &[[i32; LANES]], blocks: usize, sums: &mut [[S; LANES]]) {
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
        keys: &[[i32; LANES]],
        blocks: usize,
        sums: &mut [[S; LANES]],
    ) {
        let columns = self.columns.count();
        let keys = |block: usize| &keys[block * columns..][..columns];
        if blocks > 1 {
            // Blocks that are not there cost less than a pass of their own for each that is.
            let keys: [_; BLOCKS] = std::array::from_fn(keys);
            return self.reach::<W, _, LEAVES, BLOCKS>(&run.nodes, tables, keys, Everything, sums);
        }
        self.reach::<W, _, LEAVES, 1>(&run.nodes, tables, [keys(0)], Everything, sums);
    }

    /// Adds the leaves of `B` blocks to their sums, `B` × targets. `LEAVES`: those of `W`.
    pub(super) fn reach<W: Word, L: Left<W>, const LEAVES: usize, const B: usize>(
        &self,
        nodes: &Nodes<W>,
        tables: &Tables<S>,
        keys: [&[[i32; LANES]]; B],
        left: L,
        sums: &mut [[S; LANES]],
    ) {
        const { assert!(LEAVES == W::LEAVES, "a table has a place for each bit") };
        let adds = matches!(self.aggregate, Aggregate::Sum | Aggregate::Average);
        if adds && self.targets == 1 && tables.is_single() {
            let mut reached = Single::<S, B, LEAVES>::new(tables, std::array::from_fn(|block| sums[block]));
            self.machine.work(Reach { nodes, keys, left, reached: &mut reached });
            sums.copy_from_slice(&reached.sums);
        } else {
            let mut reached = Several::new(tables, self.aggregate, self.targets, sums);
            self.machine.work(Reach { nodes, keys, left, reached: &mut reached });
        }
    }

    /// Adds the leaves of one block, whose keys are complete, to its sums.
    pub(super) fn walk(
        &self,
        run: &WalkRun,
        tables: &Tables<S>,
        keys: &[[i32; LANES]],
        sums: &mut [[S; LANES]],
    ) {
        let mut reached = Several::new(tables, self.aggregate, self.targets, sums);
        self.machine.work(WalkDown { run, keys, reached: &mut reached });
    }

    /// Makes scores of the sums of the rows `places` (block × [`LANES`] + lane), into `out`.
    pub(super) fn write(
        &self,
        sums: &[[S; LANES]],
        places: impl IntoIterator<Item = usize>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let own = self.finish.width(self.targets);
        scratch.scores.resize(own.max(scratch.scores.len()), 0.0);
        let mut row = S::take_row(scratch);
        row.resize(self.targets, S::default());
        for (place, out) in places.into_iter().zip(out.chunks_exact_mut(self.width())) {
            let (block, lane) = (place / LANES, place % LANES);
            for (sum, sums) in row.iter_mut().zip(&sums[block * self.targets..]) {
                *sum = sums[lane];
            }
            let scores = &mut scratch.scores[..own];
            self.finish.row(&row, scores);
            self.after.row(scores, out);
        }
        S::give_back_row(scratch, row);
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
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
