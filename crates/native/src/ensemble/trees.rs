//! An ensemble of trees in one form, for every operator.
//!
//! Every condition becomes "the key of a column is at most a cut". Columns are views of features ([`View`]) whose keys
//! are integers in the order of the values. Missing values, equality and sets are resolved when a value becomes a key,
//! so trees compare integers. Start reading at [`TreeEnsemble::build`].

mod build;
pub(crate) mod operators;

use hashbrown::HashMap;

use crate::Unsupported;
use crate::ensemble::keys;
use crate::finish::{Finish, ScoreKind, Transform};

/// Trees, their inputs, and the steps after their sums.
#[derive(Debug)]
pub(crate) struct TreeEnsemble {
    /// Whether thresholds and sums are doubles; else floats.
    pub(crate) double: bool,
    /// The views that trees compare, in the order of [`Split::column`].
    pub(crate) views: Vec<View>,
    pub(crate) trees: Vec<Tree>,
    pub(crate) weights: LeafWeights,
    /// Sums per row.
    pub(crate) targets: usize,
    pub(crate) aggregate: Aggregate,
    pub(crate) finish: Finish,
}

/// How the leaves of a row are aggregated per target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// A feature as trees compare it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct View {
    /// The column among the operator's inputs.
    pub(crate) feature: usize,
    pub(crate) kind: ViewKind,
}

/// The meaning of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ViewKind {
    /// The order of the values; missing is lowest.
    MissingLow,
    /// The order of the values; missing is highest.
    MissingHigh,
    /// 0 for a member of the set, else 1.
    Members {
        /// The members' keys, ascending.
        keys: Vec<i64>,
        /// Whether a missing value counts as a member.
        missing: bool,
    },
}

/// One tree. Its leaves are numbered from left to right; left is where a condition holds.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Child,
    pub(crate) splits: Vec<Split>,
    /// For each leaf, the position of its weights in [`TreeEnsemble::weights`].
    pub(crate) leaves: Vec<u32>,
}

/// The weights of all leaves, in one list.
#[derive(Debug)]
pub(crate) struct LeafWeights {
    /// The start of each leaf's weights, and the end.
    starts: Vec<u32>,
    /// Target and value.
    all: Vec<(u32, f64)>,
}

/// The target of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    Split(u32),
    Leaf(u32),
}

/// A condition: the key of `column` is at most `cut`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Split {
    pub(crate) column: u32,
    pub(crate) cut: i64,
    pub(crate) holds: Child,
    pub(crate) fails: Child,
    /// The first leaf below the condition.
    pub(crate) first: u32,
    /// The first leaf below where the condition fails.
    pub(crate) middle: u32,
}

/// Trees as an operator stores them: conditions and leaves with references, not yet checked to be trees.
#[derive(Debug, Default)]
pub(crate) struct Forest {
    pub(crate) nodes: Vec<Condition>,
    pub(crate) leaves: LeafWeights,
    pub(crate) roots: Vec<Reference>,
}

/// A node of a [`Forest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference {
    Node(u32),
    Leaf(u32),
}

/// A condition as the operator stores it.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) feature: u32,
    pub(crate) mode: Mode,
    /// The threshold, or the members for [`Mode::Member`].
    pub(crate) values: Values,
    /// Whether a missing value satisfies it.
    pub(crate) missing: bool,
    pub(crate) holds: Reference,
    pub(crate) fails: Reference,
}

/// What a condition compares with.
#[derive(Debug)]
pub(crate) enum Values {
    One(f64),
    Set(Vec<f64>),
}

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
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
    /// The weights of `leaves` leaves. `all` holds leaf, target and value, in any order.
    ///
    /// # Errors
    /// A leaf with two weights for one target.
    pub(crate) fn new(leaves: usize, all: &[(u32, u32, f64)]) -> Result<Self, Unsupported> {
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

    /// Adds a leaf.
    pub(crate) fn push(&mut self, target: u32, value: f64) {
        self.all.push((target, value));
        self.starts.push(self.all.len() as u32);
    }

    /// Appends the leaves of another ensemble and returns the previous count.
    fn append(&mut self, other: &Self) -> u32 {
        let (leaves, weights) = (self.len() as u32, self.all.len() as u32);
        self.starts.extend(other.starts[1..].iter().map(|start| weights + start));
        self.all.extend_from_slice(&other.all);
        leaves
    }

    /// The number of leaves.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The weights of a leaf.
    pub(crate) fn of(&self, leaf: u32) -> &[(u32, f64)] {
        &self.all[self.starts[leaf as usize] as usize..self.starts[leaf as usize + 1] as usize]
    }

    /// The weights of each leaf.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[(u32, f64)]> {
        (0..self.len() as u32).map(|leaf| self.of(leaf))
    }

    /// All weights, by leaf.
    pub(crate) fn all_mut(&mut self) -> &mut [(u32, f64)] {
        &mut self.all
    }
}

impl TreeEnsemble {
    /// Turns a forest into trees.
    ///
    /// # Errors
    /// Conditions that are no tree: a cycle, a node that no root leads to, or too many nodes.
    pub(crate) fn build(
        forest: Forest,
        double: bool,
        targets: usize,
        aggregate: Aggregate,
        finish: Finish,
    ) -> Result<Self, Unsupported> {
        let every = |leaf: &[(u32, f64)]| leaf.len() == targets;
        if matches!(aggregate, Aggregate::Min | Aggregate::Max) && !forest.leaves.iter().all(every) {
            // Whether a target has a value at all would then depend on the row.
            return Err(Unsupported::because(
                "MIN or MAX, and a leaf without a weight for each target".to_owned(),
            ));
        }
        let mut views = Views::default();
        let trees = build::trees(&forest, double, &mut views)?;
        let weights = forest.leaves;
        Ok(Self { double, views: views.all, trees, weights, targets, aggregate, finish })
    }

    /// The sum or mean of several ensembles over the same columns.
    ///
    /// # Errors
    /// Ensembles of different kinds, or with more than a sum.
    pub(crate) fn join(parts: Vec<Self>, mean: bool) -> Result<Self, Unsupported> {
        let unlike = || Unsupported::because("it adds ensembles of different kinds".to_owned());
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

    /// A bound of the sum of the absolute terms of a score; 1 where a transform maps any sum to 0..=1.
    pub(crate) fn magnitude(&self) -> f64 {
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

/// The views so far, without duplicates.
#[derive(Debug, Default)]
pub(crate) struct Views {
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
