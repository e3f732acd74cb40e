//! The messages of the ONNX format (`onnx.proto3`, IR version 13) that a graph is read from, weights included.
//!
//! A subset: fields that nobody here reads are skipped, and the constants of nodes and the bytes of tensors stay where they are in
//! the file. The check in `file.rs` has a smaller one of its own. Start reading at [`ModelProto`].

use bytes::Bytes;
use prost::Message;

/// A file.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub(in crate::model) ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub(in crate::model) graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub(in crate::model) opset_import: Vec<OperatorSetIdProto>,
}

/// The version of a domain of operators.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    pub(in crate::model) domain: String,
    #[prost(int64, tag = "2")]
    pub(in crate::model) version: i64,
}

/// Nodes, and what goes in and out of them.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::model) node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    pub(in crate::model) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(in crate::model) initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub(in crate::model) input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub(in crate::model) output: Vec<ValueInfoProto>,
}

/// One use of an operator.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(in crate::model) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(in crate::model) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(in crate::model) name: String,
    #[prost(string, tag = "4")]
    pub(in crate::model) op_type: String,
    /// Each an [`Attribute`](super::attribute::Attribute).
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub(in crate::model) attribute: Vec<Bytes>,
    #[prost(string, tag = "7")]
    pub(in crate::model) domain: String,
}

/// Numbers with a shape.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub(in crate::model) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(in crate::model) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub(in crate::model) float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(in crate::model) int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub(in crate::model) int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(in crate::model) name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub(in crate::model) raw_data: Bytes,
    #[prost(double, repeated, tag = "10")]
    pub(in crate::model) double_data: Vec<f64>,
    #[prost(int32, tag = "14")]
    pub(in crate::model) data_location: i32,
}

/// An input or output of a graph.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub(in crate::model) name: String,
    #[prost(message, optional, tag = "2")]
    pub(in crate::model) kind: Option<TypeProto>,
}

/// A type, of which only tensors are told.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub(in crate::model) tensor: Option<TensorTypeProto>,
}

/// The elements and the shape of a tensor.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    pub(in crate::model) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(in crate::model) shape: Option<TensorShapeProto>,
}

/// The dimensions of a tensor.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::model) dim: Vec<DimensionProto>,
}

/// A dimension; open where there is no value.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    pub(in crate::model) dim_value: Option<i64>,
}

/// `TensorProto.DataType`: the numbers that stand for the types of elements.
pub(in crate::model) mod data_type {
    pub(in crate::model) const FLOAT: i32 = 1;
    pub(in crate::model) const UINT8: i32 = 2;
    pub(in crate::model) const INT32: i32 = 6;
    pub(in crate::model) const INT64: i32 = 7;
    pub(in crate::model) const STRING: i32 = 8;
    pub(in crate::model) const BOOL: i32 = 9;
    pub(in crate::model) const DOUBLE: i32 = 11;
}

impl TensorProto {
    /// The elements as doubles, row-major; `None` for other types than float, double, int32, int64 and uint8, for weights in
    /// another file, and where the elements do not fill the shape.
    pub(in crate::model) fn numbers(&self) -> Option<Vec<f64>> {
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

/// A constant of a node, for tests that write one.
#[cfg(test)]
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub(in crate::model) name: String,
    #[prost(float, tag = "2")]
    pub(in crate::model) f: f32,
    #[prost(int64, tag = "3")]
    pub(in crate::model) i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(in crate::model) s: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    pub(in crate::model) t: Option<TensorProto>,
    #[prost(float, repeated, tag = "7")]
    pub(in crate::model) floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub(in crate::model) ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub(in crate::model) strings: Vec<Vec<u8>>,
    #[prost(int32, tag = "20")]
    pub(in crate::model) kind: i32,
}

#[cfg(test)]
impl From<AttributeProto> for Bytes {
    fn from(attribute: AttributeProto) -> Self {
        attribute.encode_to_vec().into()
    }
}
