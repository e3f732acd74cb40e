//! Pairs of an ensemble of trees: the vectors of offers and customers, by run, and their AND.

use std::sync::Arc;

use super::own::{InWidth, NodesOf, OneRow, Own, Rows};
use super::{CustomerVectors, OfferVectors, Side, Wanted};
use crate::columns::Number;
use crate::ensemble::bits::{BitRun, Intersection, Nodes};
use crate::ensemble::leaves::Tables;
use crate::ensemble::word::Word;
use crate::ensemble::{BLOCKS, Ensemble, Run};
use crate::evaluate::{Evaluate, EvaluatePairs};
use crate::instructions::SIMD_WIDTH;
use crate::real::Real;
use crate::scratch::Scratch;

/// An ensemble whose columns are split by side.
#[derive(Debug, Clone)]
pub(super) struct SplitEnsemble<S> {
    ensemble: Arc<Ensemble<S>>,
    split: Split,
}

impl<S: Real> SplitEnsemble<S> {
    pub(super) fn new(ensemble: &Arc<Ensemble<S>>, sides: &[Side]) -> Self {
        Self { ensemble: Arc::clone(ensemble), split: Split::new(ensemble, sides) }
    }
}

impl<S: Real> EvaluatePairs for SplitEnsemble<S> {
    fn has_pair_columns(&self) -> bool {
        self.split.has_pair_columns()
    }

    fn offers<T: Number>(&self, rows: &[T], row_width: usize, vectors: &mut OfferVectors) {
        vectors.trees = self.split.offers(&self.ensemble, rows, row_width);
    }

    fn customer<T: Number>(&self, row: &[T], vectors: &mut CustomerVectors) {
        self.split.customer(&self.ensemble, row, &mut vectors.trees);
    }

    fn score_pairs<T: Number>(
        &self,
        customer: &CustomerVectors,
        offers: &OfferVectors,
        wanted: Wanted<'_, T>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> bool {
        self.split.score(&self.ensemble, &customer.trees, &offers.trees, wanted, scratch, out)
    }

    fn memory_bytes(&self) -> usize {
        self.split.memory_bytes()
    }
}

/// Which columns belong to which side, and the conditions on the pair's columns.
#[derive(Debug, Clone)]
struct Split {
    customer: Vec<u32>,
    offer: Vec<u32>,
    pair: Vec<u32>,
    /// By run.
    nodes: Vec<Own<NodesOf>>,
    /// Whether a run is walked, which needs the keys of all columns.
    walks: bool,
}

/// Expands for a run of each width, with the matching part.
macro_rules! with_own {
    ($run:expr, $own:expr, $walk:expr, |$bits:ident, $tables:ident, $part:ident, $leaves:ident| $work:expr) => {
        match ($run, $own) {
            (Run::Bits32($bits, $tables), Own::Bits32($part)) => {
                const $leaves: usize = 32;
                $work
            }
            (Run::Bits64($bits, $tables), Own::Bits64($part)) => {
                const $leaves: usize = 64;
                $work
            }
            (Run::Bits128($bits, $tables), Own::Bits128($part)) => {
                const $leaves: usize = 128;
                $work
            }
            (Run::Bits256($bits, $tables), Own::Bits256($part)) => {
                const $leaves: usize = 256;
                $work
            }
            _ => $walk,
        }
    };
}

/// The vectors of offers.
#[derive(Debug, Clone, Default)]
pub(super) struct Offers {
    runs: Vec<Own<Rows>>,
    /// Blocks × columns, if a run is walked.
    keys: Vec<[i32; SIMD_WIDTH]>,
}

/// The vectors of a customer.
#[derive(Debug, Clone, Default)]
pub(super) struct Customer {
    runs: Vec<Own<OneRow>>,
    /// By column.
    keys: Vec<i32>,
}

/// Offers of one block that are scored together.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    block: usize,
    /// The range in `wanted`: from, up to.
    from: usize,
    to: usize,
}

impl Split {
    fn new<S: Real>(ensemble: &Ensemble<S>, sides: &[Side]) -> Self {
        let of = |side: Side| {
            let own = |column: &u32| sides[ensemble.columns.input(*column)] == side;
            ensemble.all.iter().copied().filter(own).collect::<Vec<u32>>()
        };
        let pair = of(Side::Pair);
        let wanted = |column: u32| pair.binary_search(&column).is_ok();
        let nodes = ensemble.runs.iter().map(|run| match run {
            Run::Bits32(run, _) => Own::Bits32(run.nodes.only(wanted)),
            Run::Bits64(run, _) => Own::Bits64(run.nodes.only(wanted)),
            Run::Bits128(run, _) => Own::Bits128(run.nodes.only(wanted)),
            Run::Bits256(run, _) => Own::Bits256(run.nodes.only(wanted)),
            Run::Walk(..) => Own::Walk,
        });
        let nodes = nodes.collect();
        let walks = ensemble.runs.iter().any(|run| matches!(run, Run::Walk(..)));
        Self { customer: of(Side::Customer), offer: of(Side::Offer), pair, nodes, walks }
    }

    fn has_pair_columns(&self) -> bool {
        !self.pair.is_empty()
    }

    fn memory_bytes(&self) -> usize {
        let nodes = |own: &Own<NodesOf>| match own {
            Own::Bits32(nodes) => nodes.memory_bytes(),
            Own::Bits64(nodes) => nodes.memory_bytes(),
            Own::Bits128(nodes) => nodes.memory_bytes(),
            Own::Bits256(nodes) => nodes.memory_bytes(),
            Own::Walk => 0,
        };
        let columns = self.customer.len() + self.offer.len() + self.pair.len();
        columns * size_of::<u32>() + self.nodes.iter().map(nodes).sum::<usize>()
    }

    fn offers<S: Real, T: Number>(&self, ensemble: &Ensemble<S>, rows: &[T], width: usize) -> Offers {
        let columns = ensemble.columns.count();
        let count = rows.len().checked_div(width).unwrap_or(0);
        let mut found = Offers::default();
        if self.walks {
            found.keys.resize(count.div_ceil(SIMD_WIDTH) * columns, [0; SIMD_WIDTH]);
            let blocks = rows.chunks(SIMD_WIDTH * width).zip(found.keys.chunks_exact_mut(columns.max(1)));
            blocks.for_each(|(rows, keys)| ensemble.columns.block(rows, width, &self.offer, keys));
        }
        let keys: Vec<Vec<i32>> =
            rows.chunks_exact(width.max(1)).map(|row| Self::keys(ensemble, &self.offer, row)).collect();
        found.runs = ensemble
            .runs
            .iter()
            .map(|run| match run {
                Run::Bits32(run, _) => Own::Bits32(self.rows(ensemble, run, &keys)),
                Run::Bits64(run, _) => Own::Bits64(self.rows(ensemble, run, &keys)),
                Run::Bits128(run, _) => Own::Bits128(self.rows(ensemble, run, &keys)),
                Run::Bits256(run, _) => Own::Bits256(self.rows(ensemble, run, &keys)),
                Run::Walk(..) => Own::Walk,
            })
            .collect();
        found
    }

    fn keys<S: Real, T: Number>(ensemble: &Ensemble<S>, columns: &[u32], row: &[T]) -> Vec<i32> {
        let mut keys = vec![0; ensemble.columns.count()];
        for column in columns {
            keys[*column as usize] = ensemble.columns.key(*column, row);
        }
        keys
    }

    fn rows<S: Real, W: Word>(
        &self,
        ensemble: &Ensemble<S>,
        run: &BitRun<W>,
        keys: &[Vec<i32>],
    ) -> Vec<[W; SIMD_WIDTH]> {
        let trees = run.trees();
        let mut out = vec![[W::ALL; SIMD_WIDTH]; keys.len().div_ceil(SIMD_WIDTH) * trees];
        let mut left = Vec::new();
        for (row, keys) in keys.iter().enumerate() {
            left.clear();
            left.resize(trees, W::ALL);
            ensemble.take(run, keys, &self.offer, &mut left);
            for (out, left) in out[row / SIMD_WIDTH * trees..].iter_mut().zip(&left) {
                out[row % SIMD_WIDTH] = *left;
            }
        }
        out
    }

    fn customer<S: Real, T: Number>(&self, ensemble: &Ensemble<S>, row: &[T], customer: &mut Customer) {
        customer.keys.clear();
        customer.keys.resize(ensemble.columns.count(), 0);
        for column in &self.customer {
            customer.keys[*column as usize] = ensemble.columns.key(*column, row);
        }
        if customer.runs.len() != ensemble.runs.len() {
            customer.runs.clear();
        }
        for (at, run) in ensemble.runs.iter().enumerate() {
            if at == customer.runs.len() {
                customer.runs.push(Own::Walk);
            }
            let (keys, own) = (&customer.keys, &mut customer.runs[at]);
            // Reuses the vectors of the previous customer, if there are any.
            macro_rules! refill {
                ($width:ident, $run:ident) => {{
                    if !matches!(own, Own::$width(_)) {
                        *own = Own::$width(Vec::new());
                    }
                    if let Own::$width(left) = own {
                        self.one(ensemble, $run, keys, left);
                    }
                }};
            }
            match run {
                Run::Bits32(run, _) => refill!(Bits32, run),
                Run::Bits64(run, _) => refill!(Bits64, run),
                Run::Bits128(run, _) => refill!(Bits128, run),
                Run::Bits256(run, _) => refill!(Bits256, run),
                Run::Walk(..) => *own = Own::Walk,
            }
        }
    }

    fn one<S: Real, W: Word>(
        &self,
        ensemble: &Ensemble<S>,
        run: &BitRun<W>,
        keys: &[i32],
        left: &mut Vec<W>,
    ) {
        left.clear();
        left.resize(run.trees(), W::ALL);
        ensemble.take(run, keys, &self.customer, left);
    }

    /// Returns whether the vectors belong to this model.
    fn score<S: Real, T: Number>(
        &self,
        ensemble: &Ensemble<S>,
        customer: &Customer,
        offers: &Offers,
        wanted: Wanted<'_, T>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> bool {
        let Wanted { offers: positions, .. } = wanted;
        let (columns, width) = (ensemble.columns.count(), ensemble.width());
        if customer.runs.len() != ensemble.runs.len() || offers.runs.len() != ensemble.runs.len() {
            return false;
        }
        if customer.keys.len() != columns {
            return false;
        }
        let mut fits = true;
        let mut next = 0;
        while next < positions.len() {
            let mut groups = [Group::default(); BLOCKS];
            let mut used = 0;
            while used < BLOCKS && next < positions.len() {
                groups[used] = group(positions, next);
                next = groups[used].to;
                used += 1;
            }
            let groups = &groups[..used];
            let mut keys = std::mem::take(&mut scratch.keys);
            if self.walks || self.has_pair_columns() {
                keys.resize((used * columns).max(keys.len()), [0; SIMD_WIDTH]);
                for (group, keys) in groups.iter().zip(keys.chunks_exact_mut(columns.max(1))) {
                    self.pair_keys(ensemble, customer, offers, group, wanted, keys);
                }
            }
            let mut sums = ensemble.begin(used, scratch);
            for (at, run) in ensemble.runs.iter().enumerate() {
                let (mine, theirs) = (&customer.runs[at], &offers.runs[at]);
                fits &= match run {
                    Run::Walk(run, tables) => {
                        for (group, sums) in sums.chunks_exact_mut(ensemble.targets).take(used).enumerate() {
                            ensemble.walk(run, tables, &keys[group * columns..][..columns], sums);
                        }
                        true
                    }
                    Run::Bits32(..) | Run::Bits64(..) | Run::Bits128(..) | Run::Bits256(..) => {
                        self.add_run(ensemble, at, (mine, theirs), groups, &keys, &mut sums)
                    }
                };
            }
            let (from, to) = (groups[0].from, groups[used - 1].to);
            let places = groups.iter().enumerate().flat_map(|(at, group)| {
                positions[group.from..group.to].iter().map(move |offer| at * SIMD_WIDTH + offer % SIMD_WIDTH)
            });
            ensemble.write(&sums, places, scratch, &mut out[from * width..to * width]);
            S::give_back(scratch, sums);
            scratch.keys = keys;
        }
        fits
    }

    /// Adds a run to the sums of `groups`. Returns whether the vectors have its width.
    fn add_run<S: Real>(
        &self,
        ensemble: &Ensemble<S>,
        at: usize,
        (mine, theirs): (&Own<OneRow>, &Own<Rows>),
        groups: &[Group],
        keys: &[[i32; SIMD_WIDTH]],
        sums: &mut [[S; SIMD_WIDTH]],
    ) -> bool {
        with_own!(&ensemble.runs[at], &self.nodes[at], false, |_bits, tables, nodes, LEAVES| {
            match (mine.of(nodes), theirs.of(nodes)) {
                (Some(mine), Some(theirs)) => {
                    pairs::<S, _, LEAVES>(ensemble, (nodes, tables), (mine, theirs), groups, keys, sums)
                }
                _ => false,
            }
        })
    }

    /// The keys of a group's pairs: those of the pair, and for walked trees also the others.
    fn pair_keys<S: Real, T: Number>(
        &self,
        ensemble: &Ensemble<S>,
        customer: &Customer,
        offers: &Offers,
        group: &Group,
        wanted: Wanted<'_, T>,
        out: &mut [[i32; SIMD_WIDTH]],
    ) {
        let Wanted { offers: positions, pairs, row_width } = wanted;
        if self.walks {
            for column in &self.customer {
                out[*column as usize] = [customer.keys[*column as usize]; SIMD_WIDTH];
            }
            let theirs = &offers.keys[group.block * out.len()..];
            for column in &self.offer {
                out[*column as usize] = theirs[*column as usize];
            }
        }
        if !self.pair.is_empty() {
            let rows = pairs[group.from * row_width..group.to * row_width].chunks_exact(row_width);
            for (offer, row) in positions[group.from..group.to].iter().zip(rows) {
                for column in &self.pair {
                    out[*column as usize][offer % SIMD_WIDTH] = ensemble.columns.key(*column, row);
                }
            }
        }
    }
}

/// The next of `wanted` that lie in one block, each at most once.
fn group(wanted: &[usize], from: usize) -> Group {
    let block = wanted[from] / SIMD_WIDTH;
    let (mut seen, mut to) = (0_u32, from);
    while to < wanted.len()
        && wanted[to] / SIMD_WIDTH == block
        && seen & (1 << (wanted[to] % SIMD_WIDTH)) == 0
    {
        seen |= 1 << (wanted[to] % SIMD_WIDTH);
        to += 1;
    }
    Group { block, from, to }
}

/// One AND, one count and one look-up per tree and pair.
fn pairs<S: Real, W: Word, const LEAVES: usize>(
    ensemble: &Ensemble<S>,
    (nodes, tables): (&Nodes<W>, &Tables<S>),
    (mine, theirs): (&[W], &[[W; SIMD_WIDTH]]),
    groups: &[Group],
    keys: &[[i32; SIMD_WIDTH]],
    sums: &mut [[S; SIMD_WIDTH]],
) -> bool {
    let (trees, columns) = (nodes.trees(), ensemble.columns.count());
    let last = groups.iter().map(|group| group.block).max().unwrap_or(0);
    if mine.len() != trees || theirs.len() < (last + 1) * trees {
        return false;
    }
    let own = |group: &Group| &theirs[group.block * trees..][..trees];
    // Without conditions on pairs, keys are not read.
    let keys = |group: usize| if nodes.is_empty() { &[][..] } else { &keys[group * columns..][..columns] };
    if let [group] = groups {
        let left = Intersection { shared: mine, own: [own(group)] };
        ensemble.reach::<W, _, LEAVES, 1>(nodes, tables, [keys(0)], left, sums);
        return true;
    }
    // Repeating a block costs less than a pass for each block.
    let places: [usize; BLOCKS] = std::array::from_fn(|at| at.min(groups.len() - 1));
    let left = Intersection { shared: mine, own: places.map(|at| own(&groups[at])) };
    ensemble.reach::<W, _, LEAVES, BLOCKS>(nodes, tables, places.map(keys), left, sums);
    true
}

impl Offers {
    pub(super) fn memory_bytes(&self) -> usize {
        let run = |run: &Own<Rows>| match run {
            Own::Bits32(rows) => size_of_val(rows.as_slice()),
            Own::Bits64(rows) => size_of_val(rows.as_slice()),
            Own::Bits128(rows) => size_of_val(rows.as_slice()),
            Own::Bits256(rows) => size_of_val(rows.as_slice()),
            Own::Walk => 0,
        };
        size_of_val(self.keys.as_slice()) + self.runs.iter().map(run).sum::<usize>()
    }
}
