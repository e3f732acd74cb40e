//! Tensors and signatures in Proffer's types.

use native::Labels;
use std::borrow::Cow;
use std::fmt;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElementType {
    /// True or false, one byte.
    Bool,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// IEEE 754 half precision.
    Float16,
    /// The upper half of a 32-bit float.
    Bfloat16,
    /// IEEE 754 single precision.
    Float32,
    /// IEEE 754 double precision.
    Float64,
    /// UTF-8 text.
    String,
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Float32 => "float",
            Self::Float64 => "double",
            Self::String => "string",
        })
    }
}

/// The type of the class labels of a ZipMap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    /// Whole numbers.
    Int64,
    /// Text.
    String,
}

/// The type of an input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// A tensor.
    Tensor(ElementType),
    /// A sequence with one map per row, from class label to float32: the ZipMap of scikit-learn's converters.
    ZipMap {
        /// The type of the labels.
        labels: LabelKind,
    },
    /// Anything else, described for a message.
    Unsupported(String),
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(element) => write!(f, "tensor of {element}"),
            Self::ZipMap { labels: LabelKind::Int64 } => f.write_str("ZipMap with int64 labels"),
            Self::ZipMap { labels: LabelKind::String } => f.write_str("ZipMap with string labels"),
            Self::Unsupported(kind) => f.write_str(kind),
        }
    }
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Its name in the graph.
    pub name: String,
    /// Its type.
    pub kind: ValueKind,
    /// The dimensions, -1 where the graph leaves one open; empty for scalars and values that are not tensors.
    pub shape: Vec<i64>,
}

/// The inputs and outputs of a model, in the order of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The required inputs.
    pub inputs: Vec<TensorSpec>,
    /// The available outputs.
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    /// Checks that `inputs` are exactly those of the model.
    ///
    /// # Errors
    /// [`ModelError::Input`] for the first mismatch.
    pub fn check_inputs(&self, inputs: &[Tensor<'_>]) -> Result<(), ModelError> {
        let refuse = |name: &str, message: String| Err(ModelError::Input { name: name.to_owned(), message });
        for (at, input) in inputs.iter().enumerate() {
            let Some(spec) = self.inputs.iter().find(|spec| spec.name == input.name) else {
                let names: Vec<&str> = self.inputs.iter().map(|spec| spec.name.as_str()).collect();
                return refuse(
                    &input.name,
                    format!("the model has no such input, only {}", names.join(", ")),
                );
            };
            if inputs[..at].iter().any(|other| other.name == input.name) {
                return refuse(&input.name, "it is given twice".to_owned());
            }
            let (given, wanted) = (ValueKind::Tensor(input.data.element_type()), &spec.kind);
            if given != *wanted {
                return refuse(&input.name, format!("it must be a {wanted}, not a {given}"));
            }
            if let Some(message) = input.misfit(&spec.shape) {
                return refuse(&input.name, message);
            }
        }
        match self.inputs.iter().find(|spec| inputs.iter().all(|input| input.name != spec.name)) {
            Some(missing) => refuse(&missing.name, "it is missing".to_owned()),
            None => Ok(()),
        }
    }
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<'a> {
    /// The name of the input or output.
    pub name: Cow<'a, str>,
    /// The dimensions, none negative.
    pub shape: Vec<i64>,
    /// The elements, row-major.
    pub data: TensorData<'a>,
}

impl Tensor<'_> {
    /// Why the tensor does not fit a declared shape, if it does not.
    fn misfit(&self, declared: &[i64]) -> Option<String> {
        let elements = self.shape.iter().try_fold(1_usize, |product, dimension| {
            usize::try_from(*dimension).ok().and_then(|dimension| product.checked_mul(dimension))
        });
        if elements != Some(self.data.len()) {
            return Some(format!("{} elements do not fill the shape {:?}", self.data.len(), self.shape));
        }
        let fits = |(given, wanted): (&i64, &i64)| *wanted < 0 || given == wanted;
        if self.shape.len() == declared.len() && self.shape.iter().zip(declared).all(fits) {
            return None;
        }
        Some(format!("the model takes the shape {declared:?} (-1 = any), not {:?}", self.shape))
    }
}

/// The elements of a tensor, borrowed where they can be.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant holds the elements of the type of its name")]
pub enum TensorData<'a> {
    Bool(Cow<'a, [bool]>),
    Uint8(Cow<'a, [u8]>),
    Uint16(Cow<'a, [u16]>),
    Uint32(Cow<'a, [u32]>),
    Uint64(Cow<'a, [u64]>),
    Int8(Cow<'a, [i8]>),
    Int16(Cow<'a, [i16]>),
    Int32(Cow<'a, [i32]>),
    Int64(Cow<'a, [i64]>),
    Float16(Cow<'a, [f16]>),
    Bfloat16(Cow<'a, [bf16]>),
    Float32(Cow<'a, [f32]>),
    Float64(Cow<'a, [f64]>),
    String(Cow<'a, [String]>),
}

impl TensorData<'_> {
    /// `count` elements of that type: zeros, false, empty texts.
    pub(super) fn zeros(element: ElementType, count: usize) -> Self {
        match element {
            ElementType::Bool => Self::Bool(vec![false; count].into()),
            ElementType::Uint8 => Self::Uint8(vec![0; count].into()),
            ElementType::Uint16 => Self::Uint16(vec![0; count].into()),
            ElementType::Uint32 => Self::Uint32(vec![0; count].into()),
            ElementType::Uint64 => Self::Uint64(vec![0; count].into()),
            ElementType::Int8 => Self::Int8(vec![0; count].into()),
            ElementType::Int16 => Self::Int16(vec![0; count].into()),
            ElementType::Int32 => Self::Int32(vec![0; count].into()),
            ElementType::Int64 => Self::Int64(vec![0; count].into()),
            ElementType::Float16 => Self::Float16(vec![f16::ZERO; count].into()),
            ElementType::Bfloat16 => Self::Bfloat16(vec![bf16::ZERO; count].into()),
            ElementType::Float32 => Self::Float32(vec![0.0; count].into()),
            ElementType::Float64 => Self::Float64(vec![0.0; count].into()),
            ElementType::String => Self::String(vec![String::new(); count].into()),
        }
    }

    /// The type of the elements.
    #[must_use]
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::Bool(_) => ElementType::Bool,
            Self::Uint8(_) => ElementType::Uint8,
            Self::Uint16(_) => ElementType::Uint16,
            Self::Uint32(_) => ElementType::Uint32,
            Self::Uint64(_) => ElementType::Uint64,
            Self::Int8(_) => ElementType::Int8,
            Self::Int16(_) => ElementType::Int16,
            Self::Int32(_) => ElementType::Int32,
            Self::Int64(_) => ElementType::Int64,
            Self::Float16(_) => ElementType::Float16,
            Self::Bfloat16(_) => ElementType::Bfloat16,
            Self::Float32(_) => ElementType::Float32,
            Self::Float64(_) => ElementType::Float64,
            Self::String(_) => ElementType::String,
        }
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Uint8(values) => values.len(),
            Self::Uint16(values) => values.len(),
            Self::Uint32(values) => values.len(),
            Self::Uint64(values) => values.len(),
            Self::Int8(values) => values.len(),
            Self::Int16(values) => values.len(),
            Self::Int32(values) => values.len(),
            Self::Int64(values) => values.len(),
            Self::Float16(values) => values.len(),
            Self::Bfloat16(values) => values.len(),
            Self::Float32(values) => values.len(),
            Self::Float64(values) => values.len(),
            Self::String(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An output of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputValue {
    /// A tensor.
    Tensor(Tensor<'static>),
    /// The maps of a ZipMap as one matrix.
    ZipMap {
        /// The name of the output.
        name: String,
        /// The classes, one per column; none where there are no rows.
        labels: Labels,
        /// The number of maps.
        rows: usize,
        /// `rows × labels`, row-major.
        values: Vec<f32>,
    },
}
