//! Conversion between Proffer's tensors and those of `ort`.

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;

use half::{bf16, f16};
use ort::session::{Session, SessionInputValue};
use ort::value::{
    DynMapValueType, IntoTensorElementType, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef,
    Value, ValueType,
};

use crate::ModelError;
use crate::onnx::tensor::{
    ElementType, LabelKind, OutputValue, Signature, Tensor, TensorData, TensorSpec, ValueKind,
};
use native::Labels;

/// The inputs and outputs of a session.
pub(super) fn signature(session: &Session) -> Signature {
    let specs = |outlets: &[Outlet]| outlets.iter().map(spec).collect();
    Signature { inputs: specs(session.inputs()), outputs: specs(session.outputs()) }
}

fn spec(outlet: &Outlet) -> TensorSpec {
    let shape = outlet.dtype().tensor_shape().map(|shape| shape.to_vec()).unwrap_or_default();
    TensorSpec { name: outlet.name().to_owned(), kind: kind(outlet.dtype()), shape }
}

fn kind(value: &ValueType) -> ValueKind {
    let supported = match value {
        ValueType::Tensor { ty, .. } => element_type(*ty).map(ValueKind::Tensor),
        ValueType::Sequence(row) => labels(row).map(|labels| ValueKind::ZipMap { labels }),
        ValueType::Map { .. } | ValueType::Optional(_) => None,
    };
    supported.unwrap_or_else(|| ValueKind::Unsupported(value.to_string()))
}

/// The type of the labels, if `row` is the map of a ZipMap.
fn labels(row: &ValueType) -> Option<LabelKind> {
    let kinds =
        [(TensorElementType::Int64, LabelKind::Int64), (TensorElementType::String, LabelKind::String)];
    kinds.into_iter().find_map(|(key, labels)| {
        (*row == ValueType::Map { key, value: TensorElementType::Float32 }).then_some(labels)
    })
}

fn element_type(element: TensorElementType) -> Option<ElementType> {
    Some(match element {
        TensorElementType::Bool => ElementType::Bool,
        TensorElementType::Uint8 => ElementType::Uint8,
        TensorElementType::Uint16 => ElementType::Uint16,
        TensorElementType::Uint32 => ElementType::Uint32,
        TensorElementType::Uint64 => ElementType::Uint64,
        TensorElementType::Int8 => ElementType::Int8,
        TensorElementType::Int16 => ElementType::Int16,
        TensorElementType::Int32 => ElementType::Int32,
        TensorElementType::Int64 => ElementType::Int64,
        TensorElementType::Float16 => ElementType::Float16,
        TensorElementType::Bfloat16 => ElementType::Bfloat16,
        TensorElementType::Float32 => ElementType::Float32,
        TensorElementType::Float64 => ElementType::Float64,
        TensorElementType::String => ElementType::String,
        TensorElementType::Complex64
        | TensorElementType::Complex128
        | TensorElementType::Float8E4M3FN
        | TensorElementType::Float8E4M3FNUZ
        | TensorElementType::Float8E5M2
        | TensorElementType::Float8E5M2FNUZ
        | TensorElementType::Float8E8M0
        | TensorElementType::Float4E2M1
        | TensorElementType::Uint4
        | TensorElementType::Int4
        | TensorElementType::Uint2
        | TensorElementType::Int2
        | TensorElementType::Undefined
        | _ => return None,
    })
}

/// A tensor as an input. Numbers are views of its memory; strings are copies that ONNX Runtime owns.
pub(super) fn input<'t>(tensor: &'t Tensor<'_>) -> Result<(Cow<'t, str>, SessionInputValue<'t>), ModelError> {
    let shape = tensor.shape.as_slice();
    let value = match &tensor.data {
        TensorData::Bool(values) => view(shape, values),
        TensorData::Uint8(values) => view(shape, values),
        TensorData::Uint16(values) => view(shape, values),
        TensorData::Uint32(values) => view(shape, values),
        TensorData::Uint64(values) => view(shape, values),
        TensorData::Int8(values) => view(shape, values),
        TensorData::Int16(values) => view(shape, values),
        TensorData::Int32(values) => view(shape, values),
        TensorData::Int64(values) => view(shape, values),
        TensorData::Float16(values) => view::<f16>(shape, values),
        TensorData::Bfloat16(values) => view::<bf16>(shape, values),
        TensorData::Float32(values) => view(shape, values),
        TensorData::Float64(values) => view(shape, values),
        TensorData::String(values) => {
            ort::value::Tensor::from_string_array((shape, values.as_ref())).map(SessionInputValue::from)
        }
    };
    let value = value.map_err(|error| ModelError::Input {
        name: tensor.name.clone().into_owned(),
        message: error.to_string(),
    })?;
    Ok((Cow::Borrowed(tensor.name.as_ref()), value))
}

fn view<'t, T>(shape: &'t [i64], values: &'t [T]) -> ort::Result<SessionInputValue<'t>>
where
    T: PrimitiveTensorElementType + Clone + Debug + 'static,
{
    Ok(TensorRef::from_array_view((shape, values))?.into())
}

/// A value from a session, copied into our memory.
pub(super) fn output(spec: &TensorSpec, value: &Value) -> Result<OutputValue, ModelError> {
    let refuse = |message: String| ModelError::Output { name: spec.name.clone(), message };
    match &spec.kind {
        ValueKind::Tensor(element) => {
            let (shape, data) =
                tensor(*element, value).map_err(|error| ModelError::Run(error.to_string()))?;
            Ok(OutputValue::Tensor(Tensor { name: Cow::Owned(spec.name.clone()), shape, data }))
        }
        ValueKind::ZipMap { labels: LabelKind::Int64 } => zip_map(spec, value, Labels::Int64),
        ValueKind::ZipMap { labels: LabelKind::String } => zip_map(spec, value, Labels::String),
        ValueKind::Unsupported(kind) => Err(refuse(format!("it is a {kind}, which is not supported"))),
    }
}

fn tensor(element: ElementType, value: &Value) -> ort::Result<(Vec<i64>, TensorData<'static>)> {
    match element {
        ElementType::Bool => copy(value, TensorData::Bool),
        ElementType::Uint8 => copy(value, TensorData::Uint8),
        ElementType::Uint16 => copy(value, TensorData::Uint16),
        ElementType::Uint32 => copy(value, TensorData::Uint32),
        ElementType::Uint64 => copy(value, TensorData::Uint64),
        ElementType::Int8 => copy(value, TensorData::Int8),
        ElementType::Int16 => copy(value, TensorData::Int16),
        ElementType::Int32 => copy(value, TensorData::Int32),
        ElementType::Int64 => copy(value, TensorData::Int64),
        ElementType::Float16 => copy(value, TensorData::Float16),
        ElementType::Bfloat16 => copy(value, TensorData::Bfloat16),
        ElementType::Float32 => copy(value, TensorData::Float32),
        ElementType::Float64 => copy(value, TensorData::Float64),
        ElementType::String => {
            let (shape, values) = value.try_extract_strings()?;
            Ok((shape.to_vec(), TensorData::String(Cow::Owned(values))))
        }
    }
}

fn copy<T: PrimitiveTensorElementType + Clone>(
    value: &Value,
    wrap: fn(Cow<'static, [T]>) -> TensorData<'static>,
) -> ort::Result<(Vec<i64>, TensorData<'static>)> {
    let (shape, values) = value.try_extract_tensor::<T>()?;
    Ok((shape.to_vec(), wrap(Cow::Owned(values.to_vec()))))
}

/// The maps of a ZipMap as a matrix. Every row has the labels of the first, because the operator writes them all.
fn zip_map<K>(
    spec: &TensorSpec,
    value: &Value,
    labels: fn(Vec<K>) -> Labels,
) -> Result<OutputValue, ModelError>
where
    K: IntoTensorElementType + Debug + Clone + Hash + Eq,
{
    let failed = |error: ort::Error| ModelError::Run(error.to_string());
    let maps = value.try_extract_sequence::<DynMapValueType>().map_err(failed)?;
    let rows = maps.len();
    let mut columns: Vec<K> = Vec::new();
    let mut values = Vec::new();
    for (row, map) in maps.iter().enumerate() {
        let entries = map.try_extract_key_values::<K, f32>().map_err(failed)?;
        if row == 0 {
            columns = entries.iter().map(|(label, _)| label.clone()).collect();
            values.reserve(rows * columns.len());
        }
        if !entries.iter().map(|(label, _)| label).eq(&columns) {
            let message = format!("row {row} has other classes than row 0");
            return Err(ModelError::Output { name: spec.name.clone(), message });
        }
        values.extend(entries.iter().map(|(_, value)| *value));
    }
    Ok(OutputValue::ZipMap { name: spec.name.clone(), labels: labels(columns), rows, values })
}
