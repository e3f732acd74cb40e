//! The tensors of a request, checked against the inputs of the model.
//!
//! Everything is checked before it is copied, and allocations are bounded by the bytes of the request. Start reading at
//! [`decode`].

use std::borrow::Cow;
use std::collections::HashSet;

use half::{bf16, f16};

use super::InferenceError;
use super::datatype;
use super::error::shortened;
use crate::grpc::proto::inference::model_infer_request::InferInputTensor;
use crate::grpc::proto::inference::{InferTensorContents, ModelInferRequest};
use document::suggestion;
use model::onnx::{ElementType, Signature, Tensor, TensorData, TensorSpec, ValueKind};

/// The inputs of `request` in the model's form; numbers of typed contents are borrowed where the types are equal.
/// `limit` is the largest number of elements of a tensor: what a message can hold.
pub(super) fn decode<'a>(
    request: &'a ModelInferRequest,
    signature: &Signature,
    limit: usize,
) -> Result<Vec<Tensor<'a>>, InferenceError> {
    let raw = &request.raw_input_contents;
    if !raw.is_empty() && raw.len() != request.inputs.len() {
        let message =
            format!("{} entries for {} inputs; send one per input", raw.len(), request.inputs.len());
        return Err(InferenceError::invalid("raw_input_contents", message));
    }
    let mut seen = HashSet::new();
    let mut tensors = Vec::with_capacity(signature.inputs.len());
    for (index, input) in request.inputs.iter().enumerate() {
        let field = format!("inputs[{index}]");
        let spec = wanted(input, &field, signature)?;
        if !seen.insert(&spec.name) {
            let message = format!("input `{}` comes twice", spec.name);
            return Err(InferenceError::invalid(format!("{field}.name"), message));
        }
        let element = element_type(input, &field, spec)?;
        let count = element_count(input, &field, spec, limit)?;
        let data = match (raw.get(index), &input.contents) {
            (Some(_), Some(_)) => {
                let message = "must not be sent along with raw_input_contents";
                return Err(InferenceError::invalid(format!("{field}.contents"), message));
            }
            (Some(raw), None) => from_raw(raw, element, count, &format!("raw_input_contents[{index}]"))?,
            (None, contents) => {
                from_contents(contents.as_ref(), element, count, &format!("{field}.contents"))?
            }
        };
        tensors.push(Tensor { name: Cow::Borrowed(&input.name), shape: input.shape.clone(), data });
    }
    match signature.inputs.iter().find(|spec| !seen.contains(&spec.name)) {
        Some(missing) => {
            let message = format!("missing `{}`; the model wants {}", missing.name, described(missing));
            Err(InferenceError::invalid("inputs", message))
        }
        None => Ok(tensors),
    }
}

fn wanted<'s>(
    input: &InferInputTensor,
    field: &str,
    signature: &'s Signature,
) -> Result<&'s TensorSpec, InferenceError> {
    if let Some(key) = input.parameters.keys().find(|key| key.starts_with("shared_memory_")) {
        let message = format!("{} is not supported; send the tensor with the request", shortened(key));
        return Err(InferenceError::invalid(format!("{field}.parameters"), message));
    }
    signature.inputs.iter().find(|spec| spec.name == input.name).ok_or_else(|| {
        let name = shortened(&input.name);
        let hint = suggestion(&name, signature.inputs.iter().map(|spec| spec.name.as_str()));
        let names: Vec<&str> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
        let message = format!("the model has no input `{name}`, only {}{hint}", shortened(&names.join(", ")));
        InferenceError::invalid(format!("{field}.name"), message)
    })
}

fn element_type(
    input: &InferInputTensor,
    field: &str,
    spec: &TensorSpec,
) -> Result<ElementType, InferenceError> {
    match spec.kind {
        ValueKind::Tensor(element) if datatype::name(element) == input.datatype => Ok(element),
        ValueKind::Tensor(_) | ValueKind::ZipMap { .. } | ValueKind::Unsupported(_) => {
            let message =
                format!("is `{}`, but the model wants {}", shortened(&input.datatype), described(spec));
            Err(InferenceError::invalid(format!("{field}.datatype"), message))
        }
    }
}

fn element_count(
    input: &InferInputTensor,
    field: &str,
    spec: &TensorSpec,
    limit: usize,
) -> Result<usize, InferenceError> {
    let field = || format!("{field}.shape");
    let shape = shortened(&format!("{:?}", &input.shape[..input.shape.len().min(32)]));
    if input.shape.iter().any(|dimension| *dimension < 0) {
        let message = format!("{shape} has a negative dimension; the model wants {}", described(spec));
        return Err(InferenceError::invalid(field(), message));
    }
    if !datatype::fits(&input.shape, &spec.shape) {
        let message = format!("is {shape}, but the model wants {}", described(spec));
        return Err(InferenceError::invalid(field(), message));
    }
    datatype::elements(&input.shape, limit).ok_or_else(|| {
        let message = format!("{shape} has more elements than a message can hold ({limit})");
        InferenceError::invalid(field(), message)
    })
}

/// A tensor for messages: `FP32 [-1, 4]`.
fn described(spec: &TensorSpec) -> String {
    match &spec.kind {
        ValueKind::Tensor(element) if spec.shape.is_empty() => datatype::name(*element).to_owned(),
        ValueKind::Tensor(element) => format!("{} {:?}", datatype::name(*element), spec.shape),
        ValueKind::ZipMap { .. } => "a sequence of maps".to_owned(),
        ValueKind::Unsupported(kind) => kind.clone(),
    }
}

fn from_raw<'a>(
    raw: &'a [u8],
    element: ElementType,
    count: usize,
    field: &str,
) -> Result<TensorData<'a>, InferenceError> {
    if let Some(size) = datatype::size(element)
        && Some(raw.len()) != count.checked_mul(size)
    {
        let message = format!("{} bytes, but the shape needs {count} × {size}", raw.len());
        return Err(InferenceError::invalid(field, message));
    }
    Ok(match element {
        ElementType::Bool => TensorData::Bool(raw.iter().map(|byte| *byte != 0).collect()),
        ElementType::Uint8 => TensorData::Uint8(Cow::Borrowed(raw)),
        ElementType::Uint16 => TensorData::Uint16(little_endian(raw, u16::from_le_bytes)),
        ElementType::Uint32 => TensorData::Uint32(little_endian(raw, u32::from_le_bytes)),
        ElementType::Uint64 => TensorData::Uint64(little_endian(raw, u64::from_le_bytes)),
        ElementType::Int8 => TensorData::Int8(little_endian(raw, i8::from_le_bytes)),
        ElementType::Int16 => TensorData::Int16(little_endian(raw, i16::from_le_bytes)),
        ElementType::Int32 => TensorData::Int32(little_endian(raw, i32::from_le_bytes)),
        ElementType::Int64 => TensorData::Int64(little_endian(raw, i64::from_le_bytes)),
        ElementType::Float16 => TensorData::Float16(little_endian(raw, f16::from_le_bytes)),
        ElementType::Bfloat16 => TensorData::Bfloat16(little_endian(raw, bf16::from_le_bytes)),
        ElementType::Float32 => TensorData::Float32(little_endian(raw, f32::from_le_bytes)),
        ElementType::Float64 => TensorData::Float64(little_endian(raw, f64::from_le_bytes)),
        ElementType::String => TensorData::String(Cow::Owned(raw_strings(raw, count, field)?)),
    })
}

fn little_endian<T: Clone, const SIZE: usize>(raw: &[u8], read: fn([u8; SIZE]) -> T) -> Cow<'static, [T]> {
    raw.as_chunks::<SIZE>().0.iter().map(|bytes| read(*bytes)).collect()
}

/// Elements of a 4-byte length and as many bytes each.
fn raw_strings(raw: &[u8], count: usize, field: &str) -> Result<Vec<String>, InferenceError> {
    let mut strings = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let element = strings.len();
        if element == count {
            let message = format!("{} bytes follow the {count} elements of the shape", rest.len());
            return Err(InferenceError::invalid(field, message));
        }
        let found = rest.split_first_chunk::<4>().and_then(|(length, tail)| {
            tail.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
        });
        let Some((bytes, tail)) = found else {
            let message = format!("ends within element {element}; each is a 4-byte length and as many bytes");
            return Err(InferenceError::invalid(field, message));
        };
        strings.push(text(bytes, element, field)?);
        rest = tail;
    }
    counted(strings.len(), count, field)?;
    Ok(strings)
}

fn from_contents<'a>(
    contents: Option<&'a InferTensorContents>,
    element: ElementType,
    count: usize,
    field: &str,
) -> Result<TensorData<'a>, InferenceError> {
    let Some(used) = datatype::contents_field(element) else {
        return Err(without_typed_contents(element, field));
    };
    let Some(contents) = contents else {
        counted(0, count, field)?;
        return from_raw(&[], element, 0, field);
    };
    let sizes = [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ];
    if let Some((other, _)) = sizes.iter().find(|(name, size)| *name != used && *size > 0) {
        let message = format!("{} goes into {used}", datatype::name(element));
        return Err(InferenceError::invalid(format!("{field}.{other}"), message));
    }
    let field = format!("{field}.{used}");
    counted(sizes.iter().map(|(_, size)| size).sum(), count, &field)?;
    Ok(match element {
        ElementType::Bool => TensorData::Bool(Cow::Borrowed(&contents.bool_contents)),
        ElementType::Uint8 => TensorData::Uint8(narrowed(&contents.uint_contents, element, &field)?),
        ElementType::Uint16 => TensorData::Uint16(narrowed(&contents.uint_contents, element, &field)?),
        ElementType::Uint32 => TensorData::Uint32(Cow::Borrowed(&contents.uint_contents)),
        ElementType::Uint64 => TensorData::Uint64(Cow::Borrowed(&contents.uint64_contents)),
        ElementType::Int8 => TensorData::Int8(narrowed(&contents.int_contents, element, &field)?),
        ElementType::Int16 => TensorData::Int16(narrowed(&contents.int_contents, element, &field)?),
        ElementType::Int32 => TensorData::Int32(Cow::Borrowed(&contents.int_contents)),
        ElementType::Int64 => TensorData::Int64(Cow::Borrowed(&contents.int64_contents)),
        ElementType::Float32 => TensorData::Float32(Cow::Borrowed(&contents.fp32_contents)),
        ElementType::Float64 => TensorData::Float64(Cow::Borrowed(&contents.fp64_contents)),
        ElementType::Float16 | ElementType::Bfloat16 => return Err(without_typed_contents(element, &field)),
        ElementType::String => TensorData::String(
            (contents.bytes_contents.iter().enumerate())
                .map(|(element, bytes)| text(bytes, element, &field))
                .collect::<Result<_, _>>()?,
        ),
    })
}

fn without_typed_contents(element: ElementType, field: &str) -> InferenceError {
    let message = format!("{} has no typed contents; send raw_input_contents", datatype::name(element));
    InferenceError::invalid(field, message)
}

fn narrowed<From, To>(
    values: &[From],
    element: ElementType,
    field: &str,
) -> Result<Cow<'static, [To]>, InferenceError>
where
    From: Copy + std::fmt::Display,
    To: Clone + TryFrom<From>,
{
    let narrow = |(index, value): (usize, &From)| {
        To::try_from(*value).map_err(|_| {
            let message = format!("{value} is beyond the range of {}", datatype::name(element));
            InferenceError::invalid(format!("{field}[{index}]"), message)
        })
    };
    values.iter().enumerate().map(narrow).collect::<Result<Vec<To>, _>>().map(Cow::Owned)
}

fn counted(found: usize, wanted: usize, field: &str) -> Result<(), InferenceError> {
    if found == wanted {
        return Ok(());
    }
    Err(InferenceError::invalid(field, format!("{found} elements, but the shape has {wanted}")))
}

/// Bytes as an ONNX string: UTF-8 without NUL, at which ONNX Runtime would cut it.
fn text(bytes: &[u8], element: usize, field: &str) -> Result<String, InferenceError> {
    let refused = |why: &str| InferenceError::invalid(format!("{field}[{element}]"), why);
    if bytes.contains(&0) {
        return Err(refused("contains a NUL, which the model's strings cannot"));
    }
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| refused("is not UTF-8, which the model's strings must be"))
}

#[cfg(test)]
mod tests;
