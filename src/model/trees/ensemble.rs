//! An ensemble of trees in one form, whatever operator it came from.
//!
//! Every condition becomes "the key of a column is at most a cut": columns are views of features ([`View`]) whose keys are
//! whole numbers in the order of the values, so that missing values, equality and sets are decided where a value becomes a
//! key, and trees compare integers. Start reading at [`Ensemble::build`].

mod build;
pub(super) mod operators;

use hashbrown::HashMap;

use super::Unsupported;
use super::finish::{Finish, ScoreKind, Transform};
use super::keys;

/// Trees, what they look at, and what becomes of their sums.
#[derive(Debug)]
pub(super) struct Ensemble {
    /// Whether thresholds and sums are doubles; floats otherwise.
    pub(super) double: bool,
    /// What the trees compare, in the order of [`Split::column`].
    pub(super) views: Vec<View>,
    pub(super) trees: Vec<Tree>,
    pub(super) weights: LeafWeights,
    /// Sums per row.
    pub(super) targets: usize,
    pub(super) aggregate: Aggregate,
    pub(super) finish: Finish,
}

/// How the leaves of a row become one number per target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// A feature as trees look at it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct View {
    /// The column of the rows that the operator takes.
    pub(super) feature: usize,
    pub(super) kind: ViewKind,
}

/// What a value's key says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum ViewKind {
    /// The order of the values; a missing one is below all.
    MissingLow,
    /// The order of the values; a missing one is above all.
    MissingHigh,
    /// 0 for a member, 1 for anything else.
    Members {
        /// The keys of the members, ascending.
        keys: Vec<i64>,
        /// Whether a missing value counts as a member.
        missing: bool,
    },
}

/// One tree. Its leaves are numbered from left to right, where left is where a condition holds.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Child,
    pub(super) splits: Vec<Split>,
    /// The position of each leaf's weights in [`Ensemble::weights`].
    pub(super) leaves: Vec<u32>,
}

/// The weights of leaves, one after the other.
#[derive(Debug)]
pub(super) struct LeafWeights {
    /// Where those of each leaf begin, and the end.
    starts: Vec<u32>,
    /// Target and value.
    all: Vec<(u32, f64)>,
}

/// Where a branch leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    Split(u32),
    Leaf(u32),
}

/// A condition: the key of `column` is at most `cut`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    pub(super) column: u32,
    pub(super) cut: i64,
    pub(super) holds: Child,
    pub(super) fails: Child,
    /// The first leaf below.
    pub(super) first: u32,
    /// The first leaf below where the condition fails.
    pub(super) middle: u32,
}

/// Trees as an operator writes them: conditions and leaves that refer to each other, not yet known to be trees.
#[derive(Debug, Default)]
pub(super) struct Forest {
    pub(super) nodes: Vec<Condition>,
    pub(super) leaves: LeafWeights,
    pub(super) roots: Vec<Reference>,
}

/// A node of a [`Forest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    Node(u32),
    Leaf(u32),
}

/// A condition as the operator writes it.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) feature: u32,
    pub(super) mode: Mode,
    /// The threshold; for [`Mode::Member`] the members.
    pub(super) values: Values,
    /// Whether a missing value makes it hold.
    pub(super) missing: bool,
    pub(super) holds: Reference,
    pub(super) fails: Reference,
}

/// What a condition compares with.
#[derive(Debug)]
pub(super) enum Values {
    One(f64),
    Set(Vec<f64>),
}

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    AtMost,
    Less,
    AtLeast,
    Greater,
    Equal,
    NotEqual,
    Member,
}

impl Default for LeafWeights {
    fn default() -> Self {
        Self { starts: vec![0], all: Vec::new() }
    }
}

impl LeafWeights {
    /// Of so many `leaves`: `all` are a leaf, a target and a value each, in any order.
    ///
    /// # Errors
    /// A leaf with two weights for one target.
    pub(super) fn new(leaves: usize, all: &[(u32, u32, f64)]) -> Result<Self, Unsupported> {
        let mut starts = vec![0_u32; leaves + 1];
        for (leaf, _, _) in all {
            starts[*leaf as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut sorted = vec![(0, 0.0); all.len()];
        for (leaf, target, value) in all {
            let (first, place) = (starts[*leaf as usize] as usize, &mut next[*leaf as usize]);
            if sorted[first..*place as usize].iter().any(|(other, _)| other == target) {
                return Err(Unsupported::because("a leaf has two weights for one target".to_owned()));
            }
            sorted[*place as usize] = (*target, *value);
            *place += 1;
        }
        Ok(Self { starts, all: sorted })
    }

    /// Another leaf.
    pub(super) fn push(&mut self, target: u32, value: f64) {
        self.all.push((target, value));
        self.starts.push(self.all.len() as u32);
    }

    /// Adds the leaves of another ensemble, and says how many there were before.
    fn append(&mut self, other: &Self) -> u32 {
        let (leaves, weights) = (self.len() as u32, self.all.len() as u32);
        self.starts.extend(other.starts[1..].iter().map(|start| weights + start));
        self.all.extend_from_slice(&other.all);
        leaves
    }

    /// The leaves.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Those of a leaf.
    pub(super) fn of(&self, leaf: u32) -> &[(u32, f64)] {
        &self.all[self.starts[leaf as usize] as usize..self.starts[leaf as usize + 1] as usize]
    }

    /// Those of each leaf.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[(u32, f64)]> {
        (0..self.len() as u32).map(|leaf| self.of(leaf))
    }

    /// All of them, leaf by leaf.
    pub(super) fn all_mut(&mut self) -> &mut [(u32, f64)] {
        &mut self.all
    }
}

impl Ensemble {
    /// Turns a forest into trees.
    ///
    /// # Errors
    /// What is no tree: a cycle, a node that no root leads to, more nodes than there is room for.
    pub(super) fn build(
        forest: Forest,
        double: bool,
        targets: usize,
        aggregate: Aggregate,
        finish: Finish,
    ) -> Result<Self, Unsupported> {
        let every = |leaf: &[(u32, f64)]| leaf.len() == targets;
        if matches!(aggregate, Aggregate::Min | Aggregate::Max) && !forest.leaves.iter().all(every) {
            // Then it depends on the row whether a target has a value at all.
            return Err(Unsupported::because(
                "MIN or MAX, and a leaf without a weight for each target".to_owned(),
            ));
        }
        let mut views = Views::default();
        let trees = build::trees(&forest, double, &mut views)?;
        let weights = forest.leaves;
        Ok(Self { double, views: views.all, trees, weights, targets, aggregate, finish })
    }

    /// The sum of several ensembles over the same columns, or their mean.
    ///
    /// # Errors
    /// Ensembles of different kinds, or such that do more than add up.
    pub(super) fn join(parts: Vec<Self>, mean: bool) -> Result<Self, Unsupported> {
        let unlike = || Unsupported::because("ensembles of different kinds are added up".to_owned());
        let plain = |part: &Self| {
            part.aggregate == Aggregate::Sum
                && part.finish.scores == ScoreKind::PerTarget
                && part.finish.transform == Transform::None
                && part.finish.base.is_empty()
                && part.finish.divisor == 1
        };
        let divisor = if mean { parts.len() } else { 1 };
        let mut views = Views::default();
        let mut all: Option<Self> = None;
        for mut part in parts {
            if !plain(&part) {
                return Err(unlike());
            }
            let columns: Vec<u32> = part.views.drain(..).map(|view| views.column(view)).collect();
            for split in part.trees.iter_mut().flat_map(|tree| &mut tree.splits) {
                split.column = columns[split.column as usize];
            }
            match &mut all {
                None => all = Some(part),
                Some(all) if all.double == part.double && all.targets == part.targets => {
                    let before = all.weights.append(&part.weights);
                    part.trees.iter_mut().flat_map(|tree| &mut tree.leaves).for_each(|leaf| *leaf += before);
                    all.trees.append(&mut part.trees);
                }
                Some(_) => return Err(unlike()),
            }
        }
        let mut all = all.ok_or_else(unlike)?;
        all.views = views.all;
        all.finish.divisor = divisor;
        Ok(all)
    }

    /// At most so much come the absolute values of what is added up to a score to; 1 where a transform maps any sum to 0..=1.
    pub(super) fn magnitude(&self) -> f64 {
        if self.finish.transform != Transform::None {
            return 1.0;
        }
        let largest = |tree: &Tree| {
            let weights = tree.leaves.iter().flat_map(|leaf| self.weights.of(*leaf));
            weights.map(|(_, value)| value.abs()).fold(0.0, f64::max)
        };
        let trees = self.trees.iter().map(largest);
        let sums = match self.aggregate {
            Aggregate::Sum => trees.sum::<f64>(),
            Aggregate::Average => trees.sum::<f64>() / self.trees.len().max(1) as f64,
            Aggregate::Min | Aggregate::Max => trees.fold(0.0, f64::max),
        };
        let base = self.finish.base.iter().map(|base| base.abs()).fold(0.0, f64::max);
        sums / self.finish.divisor as f64 + base
    }

    /// The key of a threshold or member.
    fn key(double: bool, value: f64) -> i64 {
        if double { keys::of_double(value) } else { i64::from(keys::of_float(value as f32)) }
    }
}

/// The views so far, each once.
#[derive(Debug, Default)]
pub(super) struct Views {
    all: Vec<View>,
    known: HashMap<View, u32>,
}

impl Views {
    fn column(&mut self, view: View) -> u32 {
        if let Some(column) = self.known.get(&view) {
            return *column;
        }
        let column = self.all.len() as u32;
        self.all.push(view.clone());
        self.known.insert(view, column);
        column
    }
}
