//! The vectors of offers and customers, run by run, and their meeting.

use super::Side;
use super::own::{InWidth, NodesOf, OneRow, Own, Rows};
use crate::model::trees::bits::{BitRun, Both, Nodes};
use crate::model::trees::columns::Number;
use crate::model::trees::engine::{BLOCKS, Engine, Run};
use crate::model::trees::leaves::Tables;
use crate::model::trees::machine::LANES;
use crate::model::trees::real::Real;
use crate::model::trees::scratch::Scratch;
use crate::model::trees::word::Word;

/// Which columns are whose, and the conditions on those of the pair.
#[derive(Debug, Clone)]
pub(super) struct Split {
    customer: Vec<u32>,
    offer: Vec<u32>,
    pair: Vec<u32>,
    /// By run.
    nodes: Vec<Own<NodesOf>>,
    /// Whether a run is walked, which needs the keys of all columns.
    walks: bool,
}

/// Does the same with a run of every width, with its own part beside it.
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
    /// Blocks × columns, where a run is walked.
    keys: Vec<[i32; LANES]>,
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
    /// The positions in what is wanted: from, up to.
    from: usize,
    to: usize,
}

impl Split {
    pub(super) fn new<S: Real>(engine: &Engine<S>, sides: &[Side]) -> Self {
        let of = |side: Side| {
            let own = |column: &u32| sides[engine.columns.input(*column)] == side;
            engine.all.iter().copied().filter(own).collect::<Vec<u32>>()
        };
        let pair = of(Side::Pair);
        let wanted = |column: u32| pair.binary_search(&column).is_ok();
        let nodes = engine.runs.iter().map(|run| match run {
            Run::Bits32(run, _) => Own::Bits32(run.nodes.only(wanted)),
            Run::Bits64(run, _) => Own::Bits64(run.nodes.only(wanted)),
            Run::Bits128(run, _) => Own::Bits128(run.nodes.only(wanted)),
            Run::Bits256(run, _) => Own::Bits256(run.nodes.only(wanted)),
            Run::Walk(..) => Own::Walk,
        });
        let nodes = nodes.collect();
        let walks = engine.runs.iter().any(|run| matches!(run, Run::Walk(..)));
        Self { customer: of(Side::Customer), offer: of(Side::Offer), pair, nodes, walks }
    }

    pub(super) fn has_pair_columns(&self) -> bool {
        !self.pair.is_empty()
    }

    pub(super) fn memory_bytes(&self) -> usize {
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

    pub(super) fn offers<S: Real, T: Number>(&self, engine: &Engine<S>, rows: &[T], width: usize) -> Offers {
        let columns = engine.columns.count();
        let count = rows.len().checked_div(width).unwrap_or(0);
        let mut found = Offers::default();
        if self.walks {
            found.keys.resize(count.div_ceil(LANES) * columns, [0; LANES]);
            let blocks = rows.chunks(LANES * width).zip(found.keys.chunks_exact_mut(columns.max(1)));
            blocks.for_each(|(rows, keys)| engine.columns.block(rows, width, &self.offer, keys));
        }
        let keys: Vec<Vec<i32>> =
            rows.chunks_exact(width.max(1)).map(|row| Self::keys(engine, &self.offer, row)).collect();
        found.runs = engine
            .runs
            .iter()
            .map(|run| match run {
                Run::Bits32(run, _) => Own::Bits32(self.rows(engine, run, &keys)),
                Run::Bits64(run, _) => Own::Bits64(self.rows(engine, run, &keys)),
                Run::Bits128(run, _) => Own::Bits128(self.rows(engine, run, &keys)),
                Run::Bits256(run, _) => Own::Bits256(self.rows(engine, run, &keys)),
                Run::Walk(..) => Own::Walk,
            })
            .collect();
        found
    }

    fn keys<S: Real, T: Number>(engine: &Engine<S>, columns: &[u32], row: &[T]) -> Vec<i32> {
        let mut keys = vec![0; engine.columns.count()];
        for column in columns {
            keys[*column as usize] = engine.columns.key(*column, row);
        }
        keys
    }

    fn rows<S: Real, W: Word>(
        &self,
        engine: &Engine<S>,
        run: &BitRun<W>,
        keys: &[Vec<i32>],
    ) -> Vec<[W; LANES]> {
        let trees = run.trees();
        let mut out = vec![[W::ALL; LANES]; keys.len().div_ceil(LANES) * trees];
        let mut left = Vec::new();
        for (row, keys) in keys.iter().enumerate() {
            left.clear();
            left.resize(trees, W::ALL);
            engine.take(run, keys, &self.offer, &mut left);
            for (out, left) in out[row / LANES * trees..].iter_mut().zip(&left) {
                out[row % LANES] = *left;
            }
        }
        out
    }

    pub(super) fn customer<S: Real, T: Number>(
        &self,
        engine: &Engine<S>,
        row: &[T],
        customer: &mut Customer,
    ) {
        customer.keys.clear();
        customer.keys.resize(engine.columns.count(), 0);
        for column in &self.customer {
            customer.keys[*column as usize] = engine.columns.key(*column, row);
        }
        if customer.runs.len() != engine.runs.len() {
            customer.runs.clear();
        }
        for (at, run) in engine.runs.iter().enumerate() {
            if at == customer.runs.len() {
                customer.runs.push(Own::Walk);
            }
            let (keys, own) = (&customer.keys, &mut customer.runs[at]);
            // In the vectors that served the customer before, where there are such.
            macro_rules! refill {
                ($width:ident, $run:ident) => {{
                    if !matches!(own, Own::$width(_)) {
                        *own = Own::$width(Vec::new());
                    }
                    if let Own::$width(left) = own {
                        self.one(engine, $run, keys, left);
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

    fn one<S: Real, W: Word>(&self, engine: &Engine<S>, run: &BitRun<W>, keys: &[i32], left: &mut Vec<W>) {
        left.clear();
        left.resize(run.trees(), W::ALL);
        engine.take(run, keys, &self.customer, left);
    }

    /// `wanted`: positions of offers, the rows of pairs and their width. Whether the vectors were this model's.
    pub(super) fn score<S: Real, T: Number>(
        &self,
        engine: &Engine<S>,
        customer: &Customer,
        offers: &Offers,
        (wanted, pairs, row_width): (&[usize], &[T], usize),
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> bool {
        let (columns, width) = (engine.columns.count(), engine.width());
        if customer.runs.len() != engine.runs.len() || offers.runs.len() != engine.runs.len() {
            return false;
        }
        if customer.keys.len() != columns {
            return false;
        }
        let mut fits = true;
        let mut next = 0;
        while next < wanted.len() {
            let mut groups = [Group::default(); BLOCKS];
            let mut used = 0;
            while used < BLOCKS && next < wanted.len() {
                groups[used] = group(wanted, next);
                next = groups[used].to;
                used += 1;
            }
            let groups = &groups[..used];
            let mut keys = std::mem::take(&mut scratch.keys);
            if self.walks || self.has_pair_columns() {
                keys.resize((used * columns).max(keys.len()), [0; LANES]);
                for (group, keys) in groups.iter().zip(keys.chunks_exact_mut(columns.max(1))) {
                    self.pair_keys(engine, customer, offers, group, (wanted, pairs, row_width), keys);
                }
            }
            let mut sums = engine.begin(used, scratch);
            for (at, run) in engine.runs.iter().enumerate() {
                let (mine, theirs) = (&customer.runs[at], &offers.runs[at]);
                fits &= match run {
                    Run::Walk(run, tables) => {
                        for (group, sums) in sums.chunks_exact_mut(engine.targets).take(used).enumerate() {
                            engine.walk(run, tables, &keys[group * columns..][..columns], sums);
                        }
                        true
                    }
                    Run::Bits32(..) | Run::Bits64(..) | Run::Bits128(..) | Run::Bits256(..) => {
                        self.meet(engine, at, (mine, theirs), groups, &keys, &mut sums)
                    }
                };
            }
            let (from, to) = (groups[0].from, groups[used - 1].to);
            let places = groups.iter().enumerate().flat_map(|(at, group)| {
                wanted[group.from..group.to].iter().map(move |offer| at * LANES + offer % LANES)
            });
            engine.write(&sums, places, scratch, &mut out[from * width..to * width]);
            S::give_back(scratch, sums);
            scratch.keys = keys;
        }
        fits
    }

    /// Adds a run to the sums of `groups`. Whether the vectors were of its width.
    fn meet<S: Real>(
        &self,
        engine: &Engine<S>,
        at: usize,
        (mine, theirs): (&Own<OneRow>, &Own<Rows>),
        groups: &[Group],
        keys: &[[i32; LANES]],
        sums: &mut [[S; LANES]],
    ) -> bool {
        with_own!(&engine.runs[at], &self.nodes[at], false, |_bits, tables, nodes, LEAVES| {
            match (mine.of(nodes), theirs.of(nodes)) {
                (Some(mine), Some(theirs)) => {
                    pairs::<S, _, LEAVES>(engine, (nodes, tables), (mine, theirs), groups, keys, sums)
                }
                _ => false,
            }
        })
    }

    /// The keys of a group's pairs: those of the pair, and where trees are walked the others, too.
    fn pair_keys<S: Real, T: Number>(
        &self,
        engine: &Engine<S>,
        customer: &Customer,
        offers: &Offers,
        group: &Group,
        (wanted, pairs, row_width): (&[usize], &[T], usize),
        out: &mut [[i32; LANES]],
    ) {
        if self.walks {
            for column in &self.customer {
                out[*column as usize] = [customer.keys[*column as usize]; LANES];
            }
            let theirs = &offers.keys[group.block * out.len()..];
            for column in &self.offer {
                out[*column as usize] = theirs[*column as usize];
            }
        }
        if !self.pair.is_empty() {
            let rows = pairs[group.from * row_width..group.to * row_width].chunks_exact(row_width);
            for (offer, row) in wanted[group.from..group.to].iter().zip(rows) {
                for column in &self.pair {
                    out[*column as usize][offer % LANES] = engine.columns.key(*column, row);
                }
            }
        }
    }
}

/// The next of `wanted` that lie in one block, each at most once.
fn group(wanted: &[usize], from: usize) -> Group {
    let block = wanted[from] / LANES;
    let (mut seen, mut to) = (0_u32, from);
    while to < wanted.len() && wanted[to] / LANES == block && seen & (1 << (wanted[to] % LANES)) == 0 {
        seen |= 1 << (wanted[to] % LANES);
        to += 1;
    }
    Group { block, from, to }
}

/// One AND, one count and one look-up per tree and pair.
fn pairs<S: Real, W: Word, const LEAVES: usize>(
    engine: &Engine<S>,
    (nodes, tables): (&Nodes<W>, &Tables<S>),
    (mine, theirs): (&[W], &[[W; LANES]]),
    groups: &[Group],
    keys: &[[i32; LANES]],
    sums: &mut [[S; LANES]],
) -> bool {
    let (trees, columns) = (nodes.trees(), engine.columns.count());
    let last = groups.iter().map(|group| group.block).max().unwrap_or(0);
    if mine.len() != trees || theirs.len() < (last + 1) * trees {
        return false;
    }
    let own = |group: &Group| &theirs[group.block * trees..][..trees];
    // Without conditions on pairs nobody looks at keys.
    let keys = |group: usize| if nodes.is_empty() { &[][..] } else { &keys[group * columns..][..columns] };
    if let [group] = groups {
        let left = Both { shared: mine, own: [own(group)] };
        engine.reach::<W, _, LEAVES, 1>(nodes, tables, [keys(0)], left, sums);
        return true;
    }
    // Blocks that are not there cost less than a pass of their own for each that is.
    let places: [usize; BLOCKS] = std::array::from_fn(|at| at.min(groups.len() - 1));
    let left = Both { shared: mine, own: places.map(|at| own(&groups[at])) };
    engine.reach::<W, _, LEAVES, BLOCKS>(nodes, tables, places.map(keys), left, sums);
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
