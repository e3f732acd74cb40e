//! Requests that fit, each mistake by its field, and arbitrary requests.

use proptest::prelude::*;

use super::*;
use crate::grpc::proto::inference::InferParameter;

const LIMIT: usize = 1 << 20;

const ELEMENTS: [ElementType; 14] = [
    ElementType::Bool,
    ElementType::Uint8,
    ElementType::Uint16,
    ElementType::Uint32,
    ElementType::Uint64,
    ElementType::Int8,
    ElementType::Int16,
    ElementType::Int32,
    ElementType::Int64,
    ElementType::Float16,
    ElementType::Bfloat16,
    ElementType::Float32,
    ElementType::Float64,
    ElementType::String,
];

fn signature(inputs: &[(&str, ElementType, &[i64])]) -> Signature {
    let spec = |(name, element, shape): &(&str, ElementType, &[i64])| TensorSpec {
        name: (*name).to_owned(),
        kind: ValueKind::Tensor(*element),
        shape: shape.to_vec(),
    };
    Signature { inputs: inputs.iter().map(spec).collect(), outputs: Vec::new() }
}

fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    }
}

fn floats(name: &str, shape: &[i64], values: &[f32]) -> InferInputTensor {
    let contents = InferTensorContents { fp32_contents: values.to_vec(), ..InferTensorContents::default() };
    InferInputTensor { contents: Some(contents), ..input(name, "FP32", shape) }
}

fn request(inputs: Vec<InferInputTensor>, raw: Vec<Vec<u8>>) -> ModelInferRequest {
    ModelInferRequest { inputs, raw_input_contents: raw, ..ModelInferRequest::default() }
}

/// The one tensor of a raw request.
fn raw(element: ElementType, shape: &[i64], bytes: &[u8]) -> Result<TensorData<'static>, InferenceError> {
    let signature = signature(&[("x", element, &[-1, -1])]);
    let request = request(vec![input("x", datatype::name(element), shape)], vec![bytes.to_vec()]);
    let tensors = decode(&request, &signature, LIMIT)?;
    Ok(owned(&tensors[0].data))
}

/// The one tensor of a typed request.
fn typed(
    element: ElementType,
    shape: &[i64],
    contents: InferTensorContents,
) -> Result<TensorData<'static>, InferenceError> {
    let signature = signature(&[("x", element, &[-1, -1])]);
    let input = InferInputTensor { contents: Some(contents), ..input("x", datatype::name(element), shape) };
    let request = request(vec![input], vec![]);
    let tensors = decode(&request, &signature, LIMIT)?;
    Ok(owned(&tensors[0].data))
}

fn owned(data: &TensorData<'_>) -> TensorData<'static> {
    match data.clone() {
        TensorData::Bool(values) => TensorData::Bool(values.into_owned().into()),
        TensorData::Uint8(values) => TensorData::Uint8(values.into_owned().into()),
        TensorData::Uint16(values) => TensorData::Uint16(values.into_owned().into()),
        TensorData::Uint32(values) => TensorData::Uint32(values.into_owned().into()),
        TensorData::Uint64(values) => TensorData::Uint64(values.into_owned().into()),
        TensorData::Int8(values) => TensorData::Int8(values.into_owned().into()),
        TensorData::Int16(values) => TensorData::Int16(values.into_owned().into()),
        TensorData::Int32(values) => TensorData::Int32(values.into_owned().into()),
        TensorData::Int64(values) => TensorData::Int64(values.into_owned().into()),
        TensorData::Float16(values) => TensorData::Float16(values.into_owned().into()),
        TensorData::Bfloat16(values) => TensorData::Bfloat16(values.into_owned().into()),
        TensorData::Float32(values) => TensorData::Float32(values.into_owned().into()),
        TensorData::Float64(values) => TensorData::Float64(values.into_owned().into()),
        TensorData::String(values) => TensorData::String(values.into_owned().into()),
    }
}

/// The field that an error names, and its message.
fn refusal<T: std::fmt::Debug>(result: Result<T, InferenceError>) -> (String, String) {
    match result {
        Err(InferenceError::InvalidArgument { field, message }) => (field, message),
        other => panic!("not refused as an invalid argument: {other:?}"),
    }
}

#[test]
fn raw_contents_are_little_endian_elements() {
    assert_eq!(
        raw(ElementType::Bool, &[1, 3], &[0, 1, 2]).unwrap(),
        TensorData::Bool(vec![false, true, true].into())
    );
    assert_eq!(
        raw(ElementType::Int16, &[1, 2], &[1, 0, 254, 255]).unwrap(),
        TensorData::Int16(vec![1, -2].into())
    );
    let half = f16::from_f32(1.5).to_le_bytes();
    assert_eq!(
        raw(ElementType::Float16, &[1, 1], &half).unwrap(),
        TensorData::Float16(vec![f16::from_f32(1.5)].into())
    );
    let double = f64::NEG_INFINITY.to_le_bytes();
    assert_eq!(
        raw(ElementType::Float64, &[1, 1], &double).unwrap(),
        TensorData::Float64(vec![f64::NEG_INFINITY].into())
    );
    let strings = [&[2, 0, 0, 0][..], b"ab", &[0, 0, 0, 0]].concat();
    let expected = TensorData::String(vec!["ab".to_owned(), String::new()].into());
    assert_eq!(raw(ElementType::String, &[2, 1], &strings).unwrap(), expected);
}

#[test]
fn raw_contents_of_the_wrong_length_are_refused() {
    let (field, message) = refusal(raw(ElementType::Float32, &[1, 2], &[0; 7]));
    assert_eq!(field, "raw_input_contents[0]");
    assert_eq!(message, "7 bytes, but the shape needs 2 × 4");
    let cases: [(&[u8], &str); 4] = [
        (&[1, 0, 0], "ends within element 0"),
        (&[9, 0, 0, 0, b'a'], "ends within element 0"),
        (&[0, 0, 0, 0, 0, 0, 0, 0, 0], "1 bytes follow"),
        (&[0, 0, 0, 0], "1 elements, but the shape has 2"),
    ];
    for (bytes, expected) in cases {
        let (_, message) = refusal(raw(ElementType::String, &[1, 2], bytes));
        assert!(message.contains(expected), "{bytes:?}: {message}");
    }
}

#[test]
fn typed_contents_go_into_the_field_of_their_datatype() {
    let contents = InferTensorContents { int_contents: vec![-128, 127], ..InferTensorContents::default() };
    assert_eq!(
        typed(ElementType::Int8, &[1, 2], contents.clone()).unwrap(),
        TensorData::Int8(vec![-128, 127].into())
    );
    let (field, message) = refusal(typed(ElementType::Float32, &[1, 2], contents.clone()));
    assert_eq!(field, "inputs[0].contents.int_contents");
    assert_eq!(message, "FP32 goes into fp32_contents");
    let (field, message) = refusal(typed(ElementType::Int8, &[1, 3], contents));
    assert_eq!(field, "inputs[0].contents.int_contents");
    assert_eq!(message, "2 elements, but the shape has 3");
    let beyond = InferTensorContents { uint_contents: vec![0, 256], ..InferTensorContents::default() };
    let (field, message) = refusal(typed(ElementType::Uint8, &[1, 2], beyond));
    assert_eq!(field, "inputs[0].contents.uint_contents[1]");
    assert_eq!(message, "256 is beyond the range of UINT8");
    let (field, message) = refusal(typed(ElementType::Bfloat16, &[1, 1], InferTensorContents::default()));
    assert_eq!(field, "inputs[0].contents");
    assert_eq!(message, "BF16 has no typed contents; send raw_input_contents");
}

#[test]
fn strings_are_utf8_without_nul() {
    let strings = |bytes: &[u8]| InferTensorContents {
        bytes_contents: vec![b"fine".to_vec(), bytes.to_vec()],
        ..InferTensorContents::default()
    };
    let (field, message) = refusal(typed(ElementType::String, &[2, 1], strings(b"\xff")));
    assert_eq!(field, "inputs[0].contents.bytes_contents[1]");
    assert!(message.contains("UTF-8"));
    let (_, message) = refusal(typed(ElementType::String, &[2, 1], strings(b"a\0b")));
    assert!(message.contains("NUL"));
    assert!(typed(ElementType::String, &[2, 1], strings("é".as_bytes())).is_ok());
}

#[test]
fn an_empty_tensor_needs_no_contents() {
    let signature = signature(&[("x", ElementType::Float32, &[-1, 3])]);
    let empty = request(vec![input("x", "FP32", &[0, 3])], vec![]);
    assert!(decode(&empty, &signature, LIMIT).unwrap()[0].data.is_empty());
    let absent = request(vec![input("x", "FP32", &[1, 3])], vec![]);
    assert_eq!(refusal(decode(&absent, &signature, LIMIT)).0, "inputs[0].contents");
}

#[test]
fn inputs_may_come_in_any_order_but_each_exactly_once() {
    let signature = signature(&[("age", ElementType::Float32, &[-1]), ("fare", ElementType::Float32, &[-1])]);
    let both = request(vec![floats("fare", &[1], &[2.0]), floats("age", &[1], &[1.0])], vec![]);
    let tensors = decode(&both, &signature, LIMIT).unwrap();
    assert_eq!(tensors.iter().map(|tensor| tensor.name.as_ref()).collect::<Vec<_>>(), ["fare", "age"]);
    assert!(matches!(&tensors[0].data, TensorData::Float32(Cow::Borrowed(_))), "numbers are not copied");

    let cases = [
        (vec![floats("age", &[1], &[1.0])], "inputs", "missing `fare`; the model wants FP32 [-1]"),
        (vec![floats("age", &[1], &[1.0]); 2], "inputs[1].name", "input `age` comes twice"),
        (
            vec![floats("fares", &[1], &[1.0])],
            "inputs[0].name",
            "the model has no input `fares`, only age, fare; did you mean `fare`?",
        ),
    ];
    for (inputs, field, message) in cases {
        let refused = refusal(decode(&request(inputs, vec![]), &signature, LIMIT));
        assert_eq!(refused, (field.to_owned(), message.to_owned()));
    }
}

#[test]
fn datatype_and_shape_are_the_models() {
    let signature = signature(&[("x", ElementType::Float32, &[-1, 2])]);
    let cases = [
        (input("x", "FP64", &[1, 2]), "inputs[0].datatype", "is `FP64`, but the model wants FP32 [-1, 2]"),
        (input("x", "float", &[1, 2]), "inputs[0].datatype", "is `float`, but the model wants FP32 [-1, 2]"),
        (input("x", "FP32", &[2]), "inputs[0].shape", "is [2], but the model wants FP32 [-1, 2]"),
        (input("x", "FP32", &[1, 3]), "inputs[0].shape", "is [1, 3], but the model wants FP32 [-1, 2]"),
        (
            input("x", "FP32", &[-1, 2]),
            "inputs[0].shape",
            "[-1, 2] has a negative dimension; the model wants FP32 [-1, 2]",
        ),
        (
            input("x", "FP32", &[i64::MAX, 2]),
            "inputs[0].shape",
            "[9223372036854775807, 2] has more elements than a message can hold (1048576)",
        ),
    ];
    for (input, field, message) in cases {
        let refused = refusal(decode(&request(vec![input], vec![]), &signature, LIMIT));
        assert_eq!(refused, (field.to_owned(), message.to_owned()));
    }
}

#[test]
fn raw_and_typed_contents_do_not_mix() {
    let signature = signature(&[("x", ElementType::Float32, &[-1])]);
    let both = request(vec![floats("x", &[1], &[1.0])], vec![vec![0; 4]]);
    assert_eq!(refusal(decode(&both, &signature, LIMIT)).0, "inputs[0].contents");
    let more = request(vec![input("x", "FP32", &[1])], vec![vec![0; 4]; 2]);
    let refused = refusal(decode(&more, &signature, LIMIT));
    assert_eq!(
        refused,
        ("raw_input_contents".to_owned(), "2 entries for 1 inputs; send one per input".to_owned())
    );
}

#[test]
fn shared_memory_is_refused_by_name() {
    let signature = signature(&[("x", ElementType::Float32, &[-1])]);
    let mut shared = input("x", "FP32", &[1]);
    shared.parameters.insert("shared_memory_region".to_owned(), InferParameter::default());
    let (field, message) = refusal(decode(&request(vec![shared], vec![]), &signature, LIMIT));
    assert_eq!(field, "inputs[0].parameters");
    assert_eq!(message, "shared_memory_region is not supported; send the tensor with the request");
}

#[test]
fn a_message_never_repeats_a_long_name_whole() {
    let signature = signature(&[("x", ElementType::Float32, &[-1])]);
    let long = request(vec![input(&"x".repeat(1 << 20), &"y".repeat(1 << 20), &[1; 1 << 10])], vec![]);
    assert!(refusal(decode(&long, &signature, LIMIT)).1.len() < 1000);
    let long = request(vec![input("x", &"y".repeat(1 << 20), &[1; 1 << 10])], vec![]);
    assert!(refusal(decode(&long, &signature, LIMIT)).1.len() < 1000);
    let long = request(vec![input("x", "FP32", &vec![1; 1 << 16])], vec![]);
    assert!(refusal(decode(&long, &signature, LIMIT)).1.len() < 1000);
}

fn any_dimension() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0_i64..5, 1 => any::<i64>()]
}

fn any_contents() -> impl Strategy<Value = InferTensorContents> {
    let lengths = || 0..4_usize;
    (
        prop::collection::vec(any::<bool>(), lengths()),
        prop::collection::vec(any::<i32>(), lengths()),
        prop::collection::vec(any::<u32>(), lengths()),
        prop::collection::vec(any::<f32>(), lengths()),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), lengths()),
    )
        .prop_map(|(bools, ints, uints, floats, bytes)| InferTensorContents {
            bool_contents: bools,
            int_contents: ints,
            uint_contents: uints,
            fp32_contents: floats,
            bytes_contents: bytes,
            ..InferTensorContents::default()
        })
}

fn any_input() -> impl Strategy<Value = InferInputTensor> {
    (
        prop::sample::select(vec!["x", "y", ""]),
        prop::sample::select(ELEMENTS.map(datatype::name).to_vec()),
        prop::collection::vec(any_dimension(), 0..4),
        prop::option::of(any_contents()),
    )
        .prop_map(|(name, datatype, shape, contents)| InferInputTensor {
            contents,
            ..input(name, datatype, &shape)
        })
}

/// The bytes that a decoded tensor holds in memory, strings with their headers.
fn held(data: &TensorData<'_>) -> usize {
    if let TensorData::String(strings) = data {
        return strings.iter().map(|string| size_of::<String>() + string.capacity()).sum();
    }
    data.len() * datatype::size(data.element_type()).unwrap()
}

proptest! {
    #[test]
    fn arbitrary_raw_bytes_are_decoded_or_refused(
        element in prop::sample::select(ELEMENTS.to_vec()),
        shape in prop::collection::vec(any_dimension(), 2),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(data) = raw(element, &shape, &bytes) {
            prop_assert_eq!(data.element_type(), element);
            prop_assert_eq!(data.len() as i64, shape.iter().product::<i64>());
            // A string of no bytes still took its four bytes of length.
            prop_assert!(held(&data) <= bytes.len() * (1 + size_of::<String>() / 4));
        }
    }

    #[test]
    fn arbitrary_requests_are_decoded_or_refused(
        wanted in prop::collection::vec((prop::sample::select(vec!["x", "y"]), prop::sample::select(ELEMENTS.to_vec())), 0..3),
        inputs in prop::collection::vec(any_input(), 0..3),
        raw in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..16), 0..3),
    ) {
        let specs: Vec<(&str, ElementType, &[i64])> =
            wanted.iter().map(|(name, element)| (*name, *element, &[-1_i64, -1][..])).collect();
        let signature = signature(&specs);
        let request = request(inputs, raw);
        match decode(&request, &signature, LIMIT) {
            Ok(tensors) => {
                for tensor in tensors {
                    prop_assert_eq!(tensor.data.len() as i64, tensor.shape.iter().product::<i64>());
                }
            }
            Err(error) => {
                let is_argument = matches!(error, InferenceError::InvalidArgument { .. });
                prop_assert!(is_argument);
            }
        }
    }

    #[test]
    fn raw_numbers_come_back_as_they_were(values in prop::collection::vec(any::<i64>(), 0..20)) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let data = raw(ElementType::Int64, &[1, values.len() as i64], &bytes).unwrap();
        prop_assert_eq!(data, TensorData::Int64(values.into()));
    }
}
