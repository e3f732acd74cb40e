//! Which outputs are answered, and in which form.

use proptest::prelude::*;

use super::*;
use crate::grpc::proto::inference::model_infer_request::InferInputTensor;
use model::onnx::{ElementType, LabelKind, Tensor};

const LIMIT: usize = 1 << 20;

fn signature() -> Signature {
    let spec = |name: &str, kind| TensorSpec { name: name.to_owned(), kind, shape: vec![-1] };
    Signature {
        inputs: Vec::new(),
        outputs: vec![
            spec("label", ValueKind::Tensor(ElementType::Int64)),
            spec("probabilities", ValueKind::ZipMap { labels: LabelKind::String }),
            spec("half", ValueKind::Tensor(ElementType::Float16)),
            spec("table", ValueKind::Unsupported("a map".to_owned())),
        ],
    }
}

fn request(outputs: &[&str]) -> ModelInferRequest {
    let output = |name: &&str| InferRequestedOutputTensor {
        name: (*name).to_owned(),
        ..InferRequestedOutputTensor::default()
    };
    ModelInferRequest { outputs: outputs.iter().map(output).collect(), ..ModelInferRequest::default() }
}

fn tensor(shape: &[i64], data: TensorData<'static>) -> OutputValue {
    OutputValue::Tensor(Tensor { name: "y".into(), shape: shape.to_vec(), data })
}

fn asking(key: &str) -> (String, InferParameter) {
    (key.to_owned(), InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) })
}

#[test]
fn outputs_are_answered_as_they_are_asked_for() {
    let wanted = |outputs: &[&str]| Wanted::of(&request(outputs), &signature()).unwrap().outputs;
    assert_eq!(wanted(&[]), [0, 1, 2], "what the protocol cannot carry is left out");
    assert_eq!(wanted(&["probabilities", "label"]), [1, 0]);
}

#[test]
fn an_output_that_cannot_be_answered_is_named() {
    let cases = [
        (&["label", "probability"][..], "outputs[1].name: the model has no output `probability`"),
        (&["labels"], "did you mean `label`?"),
        (&["label", "label"], "outputs[1].name: output `label` comes twice"),
        (&["table"], "outputs[0].name: `table` is a map, which the protocol cannot carry"),
    ];
    for (outputs, expected) in cases {
        let message = Wanted::of(&request(outputs), &signature()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let mut classification = request(&["label"]);
    classification.outputs[0].parameters.insert("classification".to_owned(), InferParameter::default());
    let message = Wanted::of(&classification, &signature()).unwrap_err().to_string();
    assert_eq!(message, "outputs[0].parameters: classification is not supported");
}

#[test]
fn an_answer_is_typed_where_the_inputs_are_unless_it_must_not() {
    let form = |request: &ModelInferRequest| Wanted::of(request, &signature()).unwrap().form;
    let sent_typed = |outputs: &[&str]| {
        let contents = Some(InferTensorContents::default());
        let input = InferInputTensor { contents, ..InferInputTensor::default() };
        ModelInferRequest { inputs: vec![input], ..request(outputs) }
    };
    let typed = sent_typed(&["label"]);
    assert_eq!(form(&typed), Form::Typed);
    assert_eq!(form(&sent_typed(&["label", "half"])), Form::Raw);
    assert_eq!(form(&request(&["label"])), Form::Raw, "inputs that are raw, or none");
    let mut asks = typed.clone();
    asks.parameters.extend([asking("binary_data_output")]);
    assert_eq!(form(&asks), Form::Raw);
    let mut asks = typed;
    asks.outputs[0].parameters.extend([asking("binary_data")]);
    assert_eq!(form(&asks), Form::Raw);
}

#[test]
fn a_zip_map_is_a_tensor_with_its_labels() {
    let zip_map = |labels| OutputValue::ZipMap {
        name: "probabilities".to_owned(),
        labels,
        rows: 1,
        values: vec![0.25, 0.75],
    };
    let labels = |value| {
        let response = encode(vec![value], Form::Typed, LIMIT).unwrap();
        let output = &response.outputs[0];
        assert_eq!((output.datatype.as_str(), output.shape.as_slice()), ("FP32", &[1, 2][..]));
        assert_eq!(output.contents.as_ref().unwrap().fp32_contents, [0.25, 0.75]);
        output.parameters["labels"].parameter_choice.clone().unwrap()
    };
    let ints = labels(zip_map(Labels::Int64(vec![0, 1])));
    assert_eq!(ints, ParameterChoice::StringParam("[0,1]".to_owned()));
    let strings = labels(zip_map(Labels::String(vec!["yes, please".to_owned(), "\"no\"".to_owned()])));
    assert_eq!(strings, ParameterChoice::StringParam(r#"["yes, please","\"no\""]"#.to_owned()));
}

#[test]
fn raw_strings_bring_their_length() {
    let strings = TensorData::String(vec!["ab".to_owned(), String::new()].into());
    let response = encode(vec![tensor(&[2], strings)], Form::Raw, LIMIT).unwrap();
    assert_eq!(response.raw_output_contents, [[&[2, 0, 0, 0][..], b"ab", &[0, 0, 0, 0]].concat()]);
    assert_eq!(response.outputs[0].contents, None);
}

#[test]
fn an_answer_larger_than_a_message_is_refused() {
    let large = || tensor(&[100], TensorData::Float32(vec![1.0; 100].into()));
    assert!(encode(vec![large()], Form::Raw, 450).is_ok());
    for form in [Form::Raw, Form::Typed] {
        let error = encode(vec![large()], form, 399).unwrap_err();
        assert!(matches!(error, InferenceError::AnswerTooLarge { limit: 399, .. }), "{error}");
    }
    let negative = tensor(&[100], TensorData::Int8(vec![-1; 100].into()));
    let error = encode(vec![negative], Form::Typed, 999).unwrap_err();
    assert!(matches!(error, InferenceError::AnswerTooLarge { .. }), "ten bytes each on the wire: {error}");
}

proptest! {
    #[test]
    fn both_forms_carry_the_same_numbers(values in prop::collection::vec(any::<i16>(), 0..50)) {
        let value = || tensor(&[values.len() as i64], TensorData::Int16(values.clone().into()));
        let raw = encode(vec![value()], Form::Raw, LIMIT).unwrap();
        let typed = encode(vec![value()], Form::Typed, LIMIT).unwrap();
        let from_raw: Vec<i16> =
            raw.raw_output_contents[0].as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
        let from_typed: Vec<i16> =
            typed.outputs[0].contents.as_ref().unwrap().int_contents.iter().map(|value| *value as i16).collect();
        prop_assert_eq!(&from_raw, &values);
        prop_assert_eq!(&from_typed, &values);
    }
}
