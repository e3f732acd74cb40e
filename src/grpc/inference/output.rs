//! Selects the outputs that a request wants, and encodes the answer.
//!
//! Start reading at [`Wanted::of`], then [`encode`].

use half::{bf16, f16};

use super::InferenceError;
use super::datatype;
use super::error::shortened;
use crate::grpc::proto::inference::infer_parameter::ParameterChoice;
use crate::grpc::proto::inference::model_infer_request::InferRequestedOutputTensor;
use crate::grpc::proto::inference::model_infer_response::InferOutputTensor;
use crate::grpc::proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
};
use document::suggestion;
use model::onnx::{OutputValue, Signature, TensorData, TensorSpec, ValueKind};
use native::Labels;

/// The parameter of a ZipMap output that holds its class labels.
const LABELS: &str = "labels";

/// The outputs that a request wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Positions in the outputs of the signature, in the order of the answer.
    pub(super) outputs: Vec<usize>,
    /// How the elements are sent.
    pub(super) form: Form,
}

/// How the elements of all outputs are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In `raw_output_contents`.
    Raw,
    /// In `contents`, by datatype.
    Typed,
}

impl Wanted {
    /// The outputs that `request` names, or all that the protocol can carry. They are typed where the inputs are,
    /// unless the request asks for raw contents or an output has no typed form.
    pub(super) fn of(request: &ModelInferRequest, signature: &Signature) -> Result<Self, InferenceError> {
        let outputs = if request.outputs.is_empty() {
            let carried = |at: &usize| datatype::of_output(&signature.outputs[*at]).is_some();
            (0..signature.outputs.len()).filter(carried).collect()
        } else {
            named(&request.outputs, &signature.outputs)?
        };
        let typed = outputs.iter().all(|at| {
            datatype::of_output(&signature.outputs[*at])
                .is_some_and(|(element, _)| datatype::contents_field(element).is_some())
        });
        let asks = is_true(request.parameters.get("binary_data_output"))
            || request.outputs.iter().any(|output| is_true(output.parameters.get("binary_data")));
        let sent_typed = request.inputs.iter().any(|input| input.contents.is_some());
        let form = if typed && sent_typed && !asks { Form::Typed } else { Form::Raw };
        Ok(Self { outputs, form })
    }
}

fn named(
    requested: &[InferRequestedOutputTensor],
    outputs: &[TensorSpec],
) -> Result<Vec<usize>, InferenceError> {
    let mut positions = Vec::new();
    for (index, output) in requested.iter().enumerate() {
        let field = format!("outputs[{index}]");
        let unsupported =
            |key: &&String| key.as_str() == "classification" || key.starts_with("shared_memory_");
        if let Some(key) = output.parameters.keys().find(unsupported) {
            let message = format!("{} is not supported", shortened(key));
            return Err(InferenceError::invalid(format!("{field}.parameters"), message));
        }
        let Some(position) = outputs.iter().position(|spec| spec.name == output.name) else {
            let name = shortened(&output.name);
            let names: Vec<&str> = outputs.iter().map(|spec| spec.name.as_str()).collect();
            let hint = suggestion(&name, names.iter().copied());
            let message =
                format!("the model has no output `{name}`, only {}{hint}", shortened(&names.join(", ")));
            return Err(InferenceError::invalid(format!("{field}.name"), message));
        };
        if let ValueKind::Unsupported(kind) = &outputs[position].kind {
            let message = format!("`{}` is {kind}, which the protocol cannot carry", outputs[position].name);
            return Err(InferenceError::invalid(format!("{field}.name"), message));
        }
        if positions.contains(&position) {
            let message = format!("output `{}` comes twice", outputs[position].name);
            return Err(InferenceError::invalid(format!("{field}.name"), message));
        }
        positions.push(position);
    }
    Ok(positions)
}

fn is_true(parameter: Option<&InferParameter>) -> bool {
    matches!(parameter, Some(InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) }))
}

/// The answer that holds `values`, without the names of request and model.
///
/// # Errors
/// When it would take more than `limit` bytes. This is checked before the elements are copied where it can be.
pub(super) fn encode(
    values: Vec<OutputValue>,
    form: Form,
    limit: usize,
) -> Result<ModelInferResponse, InferenceError> {
    let elements = values.iter().map(|value| match value {
        OutputValue::Tensor(tensor) => size(&tensor.data),
        OutputValue::ZipMap { values, .. } => size_of_val(values.as_slice()),
    });
    let at_least = match form {
        Form::Raw => elements.sum(),
        // The smallest integers and booleans take a byte, of any type.
        Form::Typed => elements.map(|bytes| bytes / size_of::<u64>()).sum(),
    };
    within(at_least, limit)?;
    let mut response = ModelInferResponse::default();
    for value in values {
        let (output, data) = described(value);
        match form {
            Form::Raw => {
                response.outputs.push(output);
                response.raw_output_contents.push(raw(&data));
            }
            Form::Typed => {
                let contents = Some(typed(data));
                response.outputs.push(InferOutputTensor { contents, ..output });
            }
        }
    }
    within(prost::Message::encoded_len(&response), limit)?;
    Ok(response)
}

fn within(bytes: usize, limit: usize) -> Result<(), InferenceError> {
    if bytes > limit { Err(InferenceError::AnswerTooLarge { bytes, limit }) } else { Ok(()) }
}

/// Name, datatype and shape of a value, without its elements.
fn described(value: OutputValue) -> (InferOutputTensor, TensorData<'static>) {
    let (name, shape, data, labels) = match value {
        OutputValue::Tensor(tensor) => (tensor.name.into_owned(), tensor.shape, tensor.data, None),
        OutputValue::ZipMap { name, labels, rows, values } => {
            let shape = vec![rows as i64, labels.len() as i64];
            (name, shape, TensorData::Float32(values.into()), Some(labels))
        }
    };
    let mut output = InferOutputTensor {
        name,
        datatype: datatype::name(data.element_type()).to_owned(),
        shape,
        ..InferOutputTensor::default()
    };
    if let Some(labels) = labels {
        let parameter_choice = Some(ParameterChoice::StringParam(json(labels)));
        output.parameters.insert(LABELS.to_owned(), InferParameter { parameter_choice });
    }
    (output, data)
}

fn json(labels: Labels) -> String {
    match labels {
        Labels::Int64(labels) => serde_json::Value::from(labels).to_string(),
        Labels::String(labels) => serde_json::Value::from(labels).to_string(),
    }
}

/// The bytes of the elements in raw contents.
fn size(data: &TensorData<'_>) -> usize {
    if let TensorData::String(strings) = data {
        return strings.iter().map(|string| size_of::<u32>() + string.len()).sum();
    }
    data.len() * datatype::size(data.element_type()).unwrap_or_default()
}

fn raw(data: &TensorData<'_>) -> Vec<u8> {
    match data {
        TensorData::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
        TensorData::Uint8(values) => values.to_vec(),
        TensorData::Uint16(values) => little_endian(values, u16::to_le_bytes),
        TensorData::Uint32(values) => little_endian(values, u32::to_le_bytes),
        TensorData::Uint64(values) => little_endian(values, u64::to_le_bytes),
        TensorData::Int8(values) => little_endian(values, i8::to_le_bytes),
        TensorData::Int16(values) => little_endian(values, i16::to_le_bytes),
        TensorData::Int32(values) => little_endian(values, i32::to_le_bytes),
        TensorData::Int64(values) => little_endian(values, i64::to_le_bytes),
        TensorData::Float16(values) => little_endian(values, f16::to_le_bytes),
        TensorData::Bfloat16(values) => little_endian(values, bf16::to_le_bytes),
        TensorData::Float32(values) => little_endian(values, f32::to_le_bytes),
        TensorData::Float64(values) => little_endian(values, f64::to_le_bytes),
        TensorData::String(strings) => {
            let mut raw = Vec::with_capacity(size(data));
            for string in strings.iter() {
                // A string longer than 4 GiB is longer than any message, and was refused.
                raw.extend_from_slice(&(string.len() as u32).to_le_bytes());
                raw.extend_from_slice(string.as_bytes());
            }
            raw
        }
    }
}

fn little_endian<T: Copy, const SIZE: usize>(values: &[T], write: fn(T) -> [u8; SIZE]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(values.len() * SIZE);
    for value in values {
        raw.extend_from_slice(&write(*value));
    }
    raw
}

fn typed(data: TensorData<'static>) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match data {
        TensorData::Bool(values) => contents.bool_contents = values.into_owned(),
        TensorData::Uint8(values) => contents.uint_contents = widened(&values),
        TensorData::Uint16(values) => contents.uint_contents = widened(&values),
        TensorData::Uint32(values) => contents.uint_contents = values.into_owned(),
        TensorData::Uint64(values) => contents.uint64_contents = values.into_owned(),
        TensorData::Int8(values) => contents.int_contents = widened(&values),
        TensorData::Int16(values) => contents.int_contents = widened(&values),
        TensorData::Int32(values) => contents.int_contents = values.into_owned(),
        TensorData::Int64(values) => contents.int64_contents = values.into_owned(),
        // Unreachable: an answer with half precision in it is raw.
        TensorData::Float16(_) | TensorData::Bfloat16(_) => {}
        TensorData::Float32(values) => contents.fp32_contents = values.into_owned(),
        TensorData::Float64(values) => contents.fp64_contents = values.into_owned(),
        TensorData::String(strings) => {
            contents.bytes_contents = strings.into_owned().into_iter().map(String::into_bytes).collect();
        }
    }
    contents
}

fn widened<From: Copy, To: std::convert::From<From>>(values: &[From]) -> Vec<To> {
    values.iter().map(|value| To::from(*value)).collect()
}

#[cfg(test)]
mod tests;
