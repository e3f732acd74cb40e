//! The rows of a model in memory, in the layout that the graph takes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::inputs::{Element, Input, Plan, TensorPlan};
use super::onnx::{Tensor, TensorData};
use feature::{Row, ValueRef};
use native::NativeModel;

/// Rows for one model: one contiguous buffer per tensor. Clearing keeps the memory.
#[derive(Debug)]
pub struct Matrix {
    plan: Arc<Plan>,
    /// One per tensor of the plan, in the same order. Each holds `rows × columns` elements, row-major.
    buffers: Vec<Buffer>,
    rows: usize,
}

/// Why a row cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// A missing value that the model requires.
    #[error("`{feature}` is missing, and the model does not accept that")]
    Missing {
        /// The feature, or `segment`.
        feature: String,
    },
    /// An integer that does not fit into the model's 32 bits.
    #[error("`{feature}` is {value}, which does not fit into the 32 bits of the model's input")]
    TooLarge {
        /// The feature, or `segment`.
        feature: String,
        /// Its value.
        value: i64,
    },
}

impl Matrix {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let buffers = plan.tensors.iter().map(|tensor| Buffer::new(tensor.element)).collect();
        Self { plan, buffers, rows: 0 }
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Removes the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Appends a row. Its values must follow the schema that the model was loaded with.
    ///
    /// # Errors
    /// A value that is missing or does not fit. The matrix is then unchanged.
    pub fn push(&mut self, row: &Row<'_>) -> Result<(), InputError> {
        self.push_with(|input| input.source.value(row))
    }

    /// Appends a row of the features' defaults.
    pub(super) fn push_stand_ins(&mut self) -> Result<(), InputError> {
        let plan = Arc::clone(&self.plan);
        let mut stand_ins = plan.tensors.iter().flat_map(|tensor| &tensor.columns);
        self.push_with(|_| stand_ins.next().map_or(ValueRef::Missing, |input| input.stand_in.as_ref()))
    }

    /// Calls `value` for each input once, in the order of the tensors and their columns.
    fn push_with<'v>(&mut self, mut value: impl FnMut(&Input) -> ValueRef<'v>) -> Result<(), InputError> {
        for (tensor, buffer) in self.plan.tensors.iter().zip(&mut self.buffers) {
            for input in &tensor.columns {
                if let Err(error) = buffer.push(input, value(input), self.plan.accepts_missing) {
                    self.truncate(self.rows);
                    return Err(error);
                }
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// The tensors of `rows`, as views. Where the graph takes more rows per run, the last is repeated up to `batch`.
    pub(super) fn tensors(&self, rows: &Range<usize>, batch: usize) -> Vec<Tensor<'_>> {
        let parts = self.plan.tensors.iter().zip(&self.buffers);
        parts
            .map(|(tensor, buffer)| tensor.of(buffer.part(rows, tensor.columns.len(), batch), batch))
            .collect()
    }

    fn truncate(&mut self, rows: usize) {
        for (tensor, buffer) in self.plan.tensors.iter().zip(&mut self.buffers) {
            buffer.truncate(rows * tensor.columns.len());
        }
        self.rows = rows;
    }
}

/// Rows to score: a matrix, or dense values as received, for a model with one float tensor.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows<'r> {
    Matrix(&'r Matrix),
    Dense { tensor: &'r TensorPlan, values: &'r [f32] },
}

/// Rows as numbers: the columns of all tensors in order, row-major.
pub(super) enum Numbers<'r> {
    Floats(&'r [f32]),
    Doubles(Vec<f64>),
}

impl<'r> Rows<'r> {
    /// The tensors of `rows`, as views. Where the graph takes more rows per run, the last is repeated up to `batch`.
    pub(super) fn tensors(&self, rows: &Range<usize>, batch: usize) -> Vec<Tensor<'r>> {
        match self {
            Self::Matrix(matrix) => matrix.tensors(rows, batch),
            Self::Dense { tensor, values } => {
                let data = TensorData::Float32(part(values, rows, tensor.columns.len(), batch));
                vec![tensor.of(data, batch)]
            }
        }
    }

    /// The rows `rows` in the format of the native engine.
    pub(super) fn numbers(&self, rows: &Range<usize>, engine: &NativeModel) -> Numbers<'r> {
        match self {
            Self::Dense { tensor, values } => {
                let width = tensor.columns.len();
                Numbers::Floats(&values[rows.start * width..rows.end * width])
            }
            Self::Matrix(matrix) => match matrix.buffers.as_slice() {
                [Buffer::Float32(values)] => {
                    let width = matrix.plan.tensors[0].columns.len();
                    Numbers::Floats(&values[rows.start * width..rows.end * width])
                }
                buffers => {
                    let mut numbers = Vec::new();
                    for row in rows.clone() {
                        for (tensor, buffer) in matrix.plan.tensors.iter().zip(buffers) {
                            // The length modulo the row width is the position in the row.
                            let first = numbers.len() % engine.row_width().max(1);
                            buffer.numbers(row, tensor.columns.len(), (engine, first), &mut numbers);
                        }
                    }
                    Numbers::Doubles(numbers)
                }
            },
        }
    }
}

impl TensorPlan {
    /// The tensor with this data in `rows` rows.
    pub(super) fn of<'t>(&'t self, data: TensorData<'t>, rows: usize) -> Tensor<'t> {
        Tensor { name: Cow::Borrowed(&self.name), shape: self.shape(rows), data }
    }
}

/// The rows `rows` of a row-major matrix of `width` columns. The last is repeated up to `batch`.
pub(super) fn part<'v, T: Clone>(
    values: &'v [T],
    rows: &Range<usize>,
    width: usize,
    batch: usize,
) -> Cow<'v, [T]> {
    let part = &values[rows.start * width..rows.end * width];
    if batch <= rows.len() {
        return Cow::Borrowed(part);
    }
    let mut padded = Vec::with_capacity(batch * width);
    padded.extend_from_slice(part);
    let last = &part[part.len().saturating_sub(width)..];
    for _ in rows.len()..batch {
        padded.extend_from_slice(last);
    }
    Cow::Owned(padded)
}

#[derive(Debug)]
enum Buffer {
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Int64(Vec<i64>),
    Int32(Vec<i32>),
    Bool(Vec<bool>),
    String(Vec<String>),
}

impl Buffer {
    fn new(element: Element) -> Self {
        match element {
            Element::Float32 => Self::Float32(Vec::new()),
            Element::Float64 => Self::Float64(Vec::new()),
            Element::Int64 => Self::Int64(Vec::new()),
            Element::Int32 => Self::Int32(Vec::new()),
            Element::Bool => Self::Bool(Vec::new()),
            Element::String => Self::String(Vec::new()),
        }
    }

    /// Appends a value whose type the plan matched with the buffer's. Any other type counts as missing.
    fn push(&mut self, input: &Input, value: ValueRef<'_>, accepts_missing: bool) -> Result<(), InputError> {
        let missing = || InputError::Missing { feature: input.feature.clone() };
        match self {
            Self::Float32(values) => {
                let number = float(value);
                if number.is_nan() && !accepts_missing {
                    return Err(missing());
                }
                values.push(number);
            }
            Self::Float64(values) => {
                let number = value.as_f64().unwrap_or(f64::NAN);
                if number.is_nan() && !accepts_missing {
                    return Err(missing());
                }
                values.push(number);
            }
            Self::Int64(values) => values.push(whole(value).ok_or_else(missing)?),
            Self::Int32(values) => {
                let value = whole(value).ok_or_else(missing)?;
                let feature = || input.feature.clone();
                let fits = i32::try_from(value);
                values.push(fits.map_err(|_| InputError::TooLarge { feature: feature(), value })?);
            }
            Self::Bool(values) => match value {
                ValueRef::Bool(truth) => values.push(truth),
                ValueRef::Missing | ValueRef::Float(_) | ValueRef::Int(_) | ValueRef::String(_) => {
                    return Err(missing());
                }
            },
            Self::String(values) => match value {
                ValueRef::String(text) => values.push(text.to_owned()),
                ValueRef::Missing | ValueRef::Float(_) | ValueRef::Int(_) | ValueRef::Bool(_) => {
                    return Err(missing());
                }
            },
        }
        Ok(())
    }

    fn truncate(&mut self, elements: usize) {
        match self {
            Self::Float32(values) => values.truncate(elements),
            Self::Float64(values) => values.truncate(elements),
            Self::Int64(values) => values.truncate(elements),
            Self::Int32(values) => values.truncate(elements),
            Self::Bool(values) => values.truncate(elements),
            Self::String(values) => values.truncate(elements),
        }
    }

    /// Appends a row as numbers. `first` is the position of its first value in a row of all tensors.
    fn numbers(&self, row: usize, width: usize, (engine, first): (&NativeModel, usize), into: &mut Vec<f64>) {
        let part = row * width..(row + 1) * width;
        match self {
            Self::Float32(values) => into.extend(values[part].iter().map(|value| f64::from(*value))),
            Self::Float64(values) => into.extend_from_slice(&values[part]),
            Self::Int64(values) => into.extend(values[part].iter().map(|value| *value as f64)),
            Self::Int32(values) => into.extend(values[part].iter().map(|value| f64::from(*value))),
            Self::Bool(values) => into.extend(values[part].iter().map(|value| f64::from(u8::from(*value)))),
            Self::String(values) => {
                into.extend(values[part].iter().zip(first..).map(|(text, place)| engine.text(place, text)));
            }
        }
    }

    fn part(&self, rows: &Range<usize>, width: usize, batch: usize) -> TensorData<'_> {
        match self {
            Self::Float32(values) => TensorData::Float32(part(values, rows, width, batch)),
            Self::Float64(values) => TensorData::Float64(part(values, rows, width, batch)),
            Self::Int64(values) => TensorData::Int64(part(values, rows, width, batch)),
            Self::Int32(values) => TensorData::Int32(part(values, rows, width, batch)),
            Self::Bool(values) => TensorData::Bool(part(values, rows, width, batch)),
            Self::String(values) => TensorData::String(part(values, rows, width, batch)),
        }
    }
}

impl Input {
    /// The number that a value becomes in a tensor of `element`, as [`Matrix::push`] converts it. NaN where it may be
    /// missing.
    ///
    /// # Errors
    /// A value that is missing or does not fit.
    pub(super) fn number(
        &self,
        element: Element,
        value: ValueRef<'_>,
        accepts_missing: bool,
    ) -> Result<f64, InputError> {
        let missing = || InputError::Missing { feature: self.feature.clone() };
        let number = match element {
            Element::Float32 => f64::from(float(value)),
            Element::Float64 => value.as_f64().unwrap_or(f64::NAN),
            Element::Int64 => return whole(value).map(|number| number as f64).ok_or_else(missing),
            Element::Int32 => {
                let value = whole(value).ok_or_else(missing)?;
                let fits = i32::try_from(value).map(f64::from);
                return fits.map_err(|_| InputError::TooLarge { feature: self.feature.clone(), value });
            }
            Element::Bool => match value {
                ValueRef::Bool(truth) => f64::from(u8::from(truth)),
                ValueRef::Missing | ValueRef::Float(_) | ValueRef::Int(_) | ValueRef::String(_) => f64::NAN,
            },
            // A text needs the native engine's vocabulary; callers look it up there.
            Element::String => return Err(missing()),
        };
        if number.is_nan() && (element == Element::Bool || !accepts_missing) {
            Err(missing())
        } else {
            Ok(number)
        }
    }
}

fn float(value: ValueRef<'_>) -> f32 {
    match value {
        ValueRef::Float(number) => number,
        ValueRef::Int(number) => number as f32,
        ValueRef::Bool(truth) => f32::from(u8::from(truth)),
        ValueRef::Missing | ValueRef::String(_) => f32::NAN,
    }
}

fn whole(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Int(number) => Some(number),
        ValueRef::Bool(truth) => Some(i64::from(truth)),
        ValueRef::Missing | ValueRef::Float(_) | ValueRef::String(_) => None,
    }
}
