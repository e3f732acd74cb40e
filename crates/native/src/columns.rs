//! Turns a row's values into the keys that trees compare.
//!
//! The steps that an exporter put before the trees (a scaler, an imputer, a cast) are applied here, value by value, in
//! the graph's precision. Start reading at [`Columns::key`].
//! the graph. Start reading at [`Columns::key`].

use crate::ensemble::keys;
use crate::ensemble::trees::{Split, TreeEnsemble, View, ViewKind};
use crate::instructions::SIMD_WIDTH;

/// A number type of rows.
pub trait Number: Copy + Send + Sync + 'static {
    /// Converts to the nearest float.
    fn to_f32(self) -> f32;
    /// Converts to a double.
    fn to_f64(self) -> f64;
}

impl Number for f32 {
    fn to_f32(self) -> f32 {
        self
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Number for f64 {
    fn to_f32(self) -> f32 {
        self as f32
    }
    fn to_f64(self) -> f64 {
        self
    }
}

/// An input of the trees' operator: a value of the row and the steps before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Feature {
    /// The position in the row.
    pub(super) input: usize,
    pub(super) steps: Vec<Step>,
}

impl Feature {
    /// Applies the steps to the row's value.
    #[inline]
    pub(super) fn value<T: Number>(&self, row: &[T]) -> f64 {
        self.steps.iter().fold(row[self.input].to_f64(), |value, step| step.apply(value))
    }

    /// An approximate inverse: an input that gives about this result.
    pub(super) fn undo(&self, value: f64) -> f64 {
        self.steps.iter().rev().fold(value, |value, step| step.undo(value))
    }

    /// Bytes on the heap, including this struct.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(self.steps.as_slice())
    }
}

/// One step on a value. Float arithmetic is computed in doubles and rounded, which gives the same floats.
/// gives the same floats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// Rounds to the nearest float.
    Round,
    Subtract(f64),
    Add(f64),
    Multiply(f64),
    Divide(f64),
    /// 0 for values below 0.
    Positive,
    /// The natural logarithm.
    Log,
    /// 1 for this value, else 0.
    Is(f64),
    /// Replaces a missing value.
    Missing(f64),
    /// Replaces this value.
    Instead {
        of: f64,
        by: f64,
    },
}

impl Step {
    fn apply(self, value: f64) -> f64 {
        match self {
            Self::Round => f64::from(value as f32),
            Self::Subtract(other) => value - other,
            Self::Add(other) => value + other,
            Self::Multiply(factor) => value * factor,
            Self::Divide(divisor) => value / divisor,
            // A missing value stays missing.
            Self::Positive => {
                if value < 0.0 {
                    0.0
                } else {
                    value
                }
            }
            Self::Log => value.ln(),
            Self::Is(wanted) => f64::from(u8::from(keys::of_double(value) == keys::of_double(wanted))),
            Self::Missing(by) => {
                if value.is_nan() {
                    by
                } else {
                    value
                }
            }
            Self::Instead { of, by } => {
                if keys::of_double(value) == keys::of_double(of) {
                    by
                } else {
                    value
                }
            }
        }
    }

    /// An approximate inverse.
    fn undo(self, value: f64) -> f64 {
        match self {
            Self::Round | Self::Positive | Self::Missing(_) | Self::Instead { .. } => value,
            Self::Log => value.exp(),
            Self::Is(wanted) => wanted,
            Self::Subtract(other) => value + other,
            Self::Add(other) => value - other,
            Self::Multiply(factor) => value / factor,
            Self::Divide(divisor) => value * divisor,
        }
    }
}

/// All columns of an ensemble.
#[derive(Debug)]
pub(super) struct Columns {
    double: bool,
    all: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    input: usize,
    steps: Box<[Step]>,
    kind: ViewKind,
    /// For doubles, the cuts in ascending order. The key is the number of cuts below the value's own key.
    cuts: Box<[i64]>,
}

impl Columns {
    /// `features` are the inputs of the trees, by position.
    pub(super) fn new(ensemble: &TreeEnsemble, features: &[Feature]) -> Self {
        let mut cuts: Vec<Vec<i64>> = vec![Vec::new(); ensemble.views.len()];
        if ensemble.double {
            for split in ensemble.trees.iter().flat_map(|tree| &tree.splits) {
                cuts[split.column as usize].push(split.cut);
            }
        }
        let column = |(view, mut cuts): (&View, Vec<i64>)| {
            cuts.sort_unstable();
            cuts.dedup();
            let Feature { input, steps } = features[view.feature].clone();
            Column { input, steps: steps.into(), kind: view.kind.clone(), cuts: cuts.into() }
        };
        Self { double: ensemble.double, all: ensemble.views.iter().zip(cuts).map(column).collect() }
    }

    /// The number of columns.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// The row position of a column's value.
    pub(super) fn input(&self, column: u32) -> usize {
        self.all[column as usize].input
    }

    /// The cut of a condition, in the form of keys.
    pub(super) fn cut(&self, split: &Split) -> i32 {
        let column = &self.all[split.column as usize];
        if self.double && !matches!(column.kind, ViewKind::Members { .. }) {
            return column.cuts.partition_point(|cut| *cut < split.cut) as i32;
        }
        // Float keys have 32 bits.
        split.cut as i32
    }

    /// Adds row values near which a condition changes.
    pub(super) fn add_turning_points(&self, split: &Split, points: &mut Vec<f64>) {
        let column = &self.all[split.column as usize];
        let value =
            |key: i64| if self.double { keys::double(key) } else { f64::from(keys::float(key as i32)) };
        let undo = |value| column.steps.iter().rev().fold(value, |value, step| step.undo(value));
        match &column.kind {
            ViewKind::Members { keys, .. } => points.extend(keys.iter().map(|key| undo(value(*key)))),
            ViewKind::MissingLow | ViewKind::MissingHigh => points.push(undo(value(split.cut))),
        }
    }

    /// The key of a row's value in a column.
    #[inline]
    pub(super) fn key<T: Number>(&self, column: u32, row: &[T]) -> i32 {
        let column = &self.all[column as usize];
        let value = row[column.input];
        if !self.double && column.steps.is_empty() {
            return column.float(value.to_f32());
        }
        let value = column.steps.iter().fold(value.to_f64(), |value, step| step.apply(value));
        if self.double { column.double(value) } else { column.float(value as f32) }
    }

    /// The keys of up to [`SIMD_WIDTH`] rows of `width` values, row-major, in all `columns`. Missing rows repeat the
    /// last.
    pub(super) fn block<T: Number>(
        &self,
        rows: &[T],
        width: usize,
        columns: &[u32],
        out: &mut [[i32; SIMD_WIDTH]],
    ) {
        for column in columns {
            let keys = &mut out[*column as usize];
            let mut key = 0;
            let mut rows = rows.chunks_exact(width);
            for slot in keys {
                if let Some(row) = rows.next() {
                    key = self.key(*column, row);
                }
                *slot = key;
            }
        }
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        let column = |column: &Column| {
            let members = match &column.kind {
                ViewKind::Members { keys, .. } => size_of_val(keys.as_slice()),
                ViewKind::MissingLow | ViewKind::MissingHigh => 0,
            };
            size_of::<Column>() + size_of_val(&*column.steps) + size_of_val(&*column.cuts) + members
        };
        self.all.iter().map(column).sum()
    }
}

impl Column {
    #[inline]
    fn float(&self, value: f32) -> i32 {
        match &self.kind {
            ViewKind::MissingLow => {
                if value.is_nan() {
                    keys::LOWEST
                } else {
                    keys::of_float(value)
                }
            }
            ViewKind::MissingHigh => {
                if value.is_nan() {
                    keys::HIGHEST
                } else {
                    keys::of_float(value)
                }
            }
            ViewKind::Members { keys, missing } => {
                let member = || keys.binary_search(&i64::from(keys::of_float(value))).is_ok();
                i32::from(!if value.is_nan() { *missing } else { member() })
            }
        }
    }

    fn double(&self, value: f64) -> i32 {
        let key = keys::of_double(value);
        match &self.kind {
            ViewKind::MissingLow if value.is_nan() => keys::LOWEST,
            ViewKind::MissingHigh if value.is_nan() => keys::HIGHEST,
            ViewKind::MissingLow | ViewKind::MissingHigh => {
                self.cuts.partition_point(|cut| *cut < key) as i32
            }
            ViewKind::Members { keys, missing } => {
                i32::from(!if value.is_nan() { *missing } else { keys.binary_search(&key).is_ok() })
            }
        }
    }
}
