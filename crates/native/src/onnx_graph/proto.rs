//! The messages of the ONNX format (`onnx.proto3`, IR version 13) that a graph is decoded from, weights included.
//!
//! A subset: unused fields are skipped, and the constants of nodes and the bytes of tensors stay in the file's buffer.
//! The check in `file.rs` has its own, smaller subset. Start reading at [`ModelProto`].

#![allow(missing_docs, reason = "messages and fields are those of onnx.proto, which documents them")]

use bytes::Bytes;
use prost::Message;

/// A file.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
}

/// The version of an operator domain.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// Nodes with their inputs and outputs.
#[derive(Clone, PartialEq, Message)]
pub struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
}

/// One use of an operator.
#[derive(Clone, PartialEq, Message)]
pub struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Each an [`Attribute`](super::attribute::Attribute).
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub attribute: Vec<Bytes>,
    #[prost(string, tag = "7")]
    pub domain: String,
}

/// Numbers with a shape.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

/// An input or output of a graph.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub kind: Option<TypeProto>,
}

/// A type. Only tensor types are decoded.
#[derive(Clone, PartialEq, Message)]
pub struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorTypeProto>,
}

/// The elements and the shape of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// The dimensions of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<DimensionProto>,
}

/// A dimension; open where there is no value.
#[derive(Clone, PartialEq, Message)]
pub struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    pub dim_value: Option<i64>,
}

/// `TensorProto.DataType`: the codes of element types.
pub mod data_type {
    pub const FLOAT: i32 = 1;
    pub const UINT8: i32 = 2;
    pub const INT32: i32 = 6;
    pub const INT64: i32 = 7;
    pub const STRING: i32 = 8;
    pub const BOOL: i32 = 9;
    pub const DOUBLE: i32 = 11;
}

impl TensorProto {
    /// The elements as doubles, row-major. `None` for types other than float, double, int32, int64 and uint8, for
    /// weights in another file, and where the elements do not fill the shape.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        if self.data_location != 0 {
            return None;
        }
        let raw = &self.raw_data;
        let values: Vec<f64> = match self.data_type {
            data_type::FLOAT if raw.is_empty() => self.float_data.iter().copied().map(f64::from).collect(),
            data_type::FLOAT => words(raw)?.map(|word| f64::from(f32::from_le_bytes(word))).collect(),
            data_type::DOUBLE if raw.is_empty() => self.double_data.clone(),
            data_type::DOUBLE => words(raw)?.map(f64::from_le_bytes).collect(),
            data_type::INT64 if raw.is_empty() => self.int64_data.iter().map(|value| *value as f64).collect(),
            data_type::INT64 => words(raw)?.map(|word| i64::from_le_bytes(word) as f64).collect(),
            data_type::INT32 | data_type::UINT8 if raw.is_empty() => {
                self.int32_data.iter().copied().map(f64::from).collect()
            }
            data_type::INT32 => words(raw)?.map(|word| f64::from(i32::from_le_bytes(word))).collect(),
            data_type::UINT8 => raw.iter().copied().map(f64::from).collect(),
            _ => return None,
        };
        let elements = self.dims.iter().try_fold(1_usize, |product, dimension| {
            usize::try_from(*dimension).ok().and_then(|dimension| product.checked_mul(dimension))
        });
        (elements == Some(values.len())).then_some(values)
    }
}

fn words<const N: usize>(raw: &[u8]) -> Option<impl Iterator<Item = [u8; N]>> {
    let (words, rest) = raw.as_chunks::<N>();
    rest.is_empty().then(|| words.iter().copied())
}

/// An attribute of a node, for tests that write one.
#[cfg(any(test, feature = "test-support"))]
#[derive(Clone, PartialEq, Message)]
pub struct AttributeProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, tag = "2")]
    pub f: f32,
    #[prost(int64, tag = "3")]
    pub i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub s: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    #[prost(float, repeated, tag = "7")]
    pub floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub strings: Vec<Vec<u8>>,
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

#[cfg(any(test, feature = "test-support"))]
impl From<AttributeProto> for Bytes {
    fn from(attribute: AttributeProto) -> Self {
        attribute.encode_to_vec().into()
    }
}
