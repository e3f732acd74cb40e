//! Every recorded model answers as recorded, or is rejected for its own reason.

use proffer::grpc::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proffer::grpc::proto::inference::infer_parameter::ParameterChoice;
use proffer::grpc::proto::inference::model_infer_request::InferInputTensor;
use proffer::grpc::proto::inference::model_infer_response::InferOutputTensor;
use proffer::grpc::proto::inference::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, ModelReadyRequest,
};
use serde_json::{Map, Value};
use tonic::Code;

use super::recordings::{self, served_name};

/// The largest difference from a recorded number, relative above 1: other kernels may add in another order.
const TOLERANCE: f64 = 1e-5;

/// Models that cannot run, and part of the error.
const REJECTED: [(&str, &str); 3] = [
    ("negative/git_lfs_pointer_not_a_model.onnx", "Git LFS pointer"),
    ("runtime_edge/custom_op_test.onnx", "custom operator"),
    ("sklearn/bad_graph_no_outputs.onnx", "no outputs"),
];

/// The model whose inputs the recording could not build.
const BFLOAT16: &str = "runtime_edge/example_several_inputs_and_outputs.onnx";

#[derive(Clone, Copy)]
enum Form {
    Raw,
    Typed,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_models_answer_as_recorded_or_are_rejected_with_a_reason() {
    let Some(folder) = recordings::folder() else { return };
    let reference = recordings::reference(&folder);
    let models = reference.as_object().unwrap();
    let mut client = GrpcInferenceServiceClient::new(recordings::server(&folder).channel().await);

    let mut answered = 0;
    for (file, model) in models {
        let runs = model["runs"].as_object().into_iter().flatten();
        let recorded: Vec<_> = runs.filter(|(_, run)| run.get("error").is_none()).collect();
        for (run, expected) in &recorded {
            for form in [Form::Raw, Form::Typed] {
                let request = request(file, model, expected, form);
                let context =
                    format!("{file} {run} {}", if matches!(form, Form::Raw) { "raw" } else { "typed" });
                let response = client.model_infer(request).await.expect(&context).into_inner();
                check(&context, &response, expected["outputs"].as_object().unwrap());
            }
        }
        answered += usize::from(!recorded.is_empty());
    }
    assert_eq!(answered, 17);

    for (file, reason) in REJECTED {
        let name = served_name(file);
        let request = ModelInferRequest { model_name: name.clone(), ..ModelInferRequest::default() };
        let status = client.model_infer(request).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{file}: {status}");
        assert!(status.message().contains(reason), "{file}: {status}");
        let ready = ModelReadyRequest { name, version: String::new() };
        assert!(!client.model_ready(ready).await.unwrap().into_inner().ready, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_with_bfloat16_inputs_answers() {
    let Some(folder) = recordings::folder() else { return };
    let mut client = GrpcInferenceServiceClient::new(recordings::server(&folder).channel().await);
    let input = |name: &str, datatype: &str, shape: &[i64]| InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    };
    let request = ModelInferRequest {
        model_name: served_name(BFLOAT16),
        inputs: vec![
            input("input 1", "INT32", &[2, 5, 2, 5]),
            input("input 2", "FP32", &[2, 3, 20]),
            input("input 3", "BF16", &[9]),
        ],
        raw_input_contents: vec![vec![0; 100 * 4], vec![0; 120 * 4], [0x80, 0x3f].repeat(9)],
        ..ModelInferRequest::default()
    };
    let response = client.model_infer(request).await.unwrap().into_inner();
    let shapes: Vec<_> =
        response.outputs.iter().map(|output| (output.datatype.as_str(), output.shape.clone())).collect();
    assert_eq!(shapes, [("INT64", vec![10, 10]), ("FP64", vec![1, 2, 3, 4, 5])]);
    assert_eq!(response.raw_output_contents.iter().map(Vec::len).collect::<Vec<_>>(), [100 * 8, 120 * 8]);
}

/// The recorded inputs, in the order of the model.
fn request(file: &str, model: &Value, run: &Value, form: Form) -> ModelInferRequest {
    let mut request = ModelInferRequest {
        model_name: served_name(file),
        model_version: "1".to_owned(),
        id: file.to_owned(),
        ..ModelInferRequest::default()
    };
    for input in model["ort_inputs"].as_array().unwrap() {
        let name = input[0].as_str().unwrap();
        let tensor = &run["inputs"][name];
        let (datatype, data) = (datatype(&tensor["dtype"]), tensor["data"].as_array().unwrap());
        let contents = match form {
            Form::Raw => {
                request.raw_input_contents.push(raw(datatype, data));
                None
            }
            Form::Typed => Some(typed(datatype, data)),
        };
        request.inputs.push(InferInputTensor {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: shape(tensor),
            contents,
            ..InferInputTensor::default()
        });
    }
    request
}

fn datatype(dtype: &Value) -> &'static str {
    match dtype.as_str().unwrap() {
        "float32" => "FP32",
        "float64" => "FP64",
        "int8" => "INT8",
        "int16" => "INT16",
        "int32" => "INT32",
        "int64" => "INT64",
        "uint8" => "UINT8",
        "object" => "BYTES",
        other => panic!("unknown type in a recording: {other}"),
    }
}

fn shape(tensor: &Value) -> Vec<i64> {
    tensor["shape"].as_array().unwrap().iter().map(|dimension| dimension.as_i64().unwrap()).collect()
}

fn floats(data: &[Value]) -> impl Iterator<Item = f64> {
    data.iter().map(|value| value.as_f64().unwrap())
}

fn ints(data: &[Value]) -> impl Iterator<Item = i64> {
    data.iter().map(|value| value.as_i64().unwrap())
}

fn strings(data: &[Value]) -> impl Iterator<Item = Vec<u8>> {
    data.iter().map(|value| value.as_str().unwrap().as_bytes().to_vec())
}

fn raw(datatype: &str, data: &[Value]) -> Vec<u8> {
    match datatype {
        "FP32" => floats(data).flat_map(|value| (value as f32).to_le_bytes()).collect(),
        "FP64" => floats(data).flat_map(f64::to_le_bytes).collect(),
        "INT32" => ints(data).flat_map(|value| (value as i32).to_le_bytes()).collect(),
        "UINT8" => ints(data).map(|value| value as u8).collect(),
        "BYTES" => strings(data)
            .flat_map(|bytes| [(bytes.len() as u32).to_le_bytes().to_vec(), bytes].concat())
            .collect(),
        other => panic!("no recorded input is {other}"),
    }
}

fn typed(datatype: &str, data: &[Value]) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match datatype {
        "FP32" => contents.fp32_contents = floats(data).map(|value| value as f32).collect(),
        "FP64" => contents.fp64_contents = floats(data).collect(),
        "INT32" => contents.int_contents = ints(data).map(|value| value as i32).collect(),
        "UINT8" => contents.uint_contents = ints(data).map(|value| value as u32).collect(),
        "BYTES" => contents.bytes_contents = strings(data).collect(),
        other => panic!("no recorded input is {other}"),
    }
    contents
}

/// The elements of an answer's tensor.
#[derive(Debug)]
enum Elements {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

fn check(context: &str, response: &ModelInferResponse, expected: &Map<String, Value>) {
    assert_eq!(response.model_version, "1", "{context}");
    assert!(context.starts_with(&response.id), "{context}: id {}", response.id);
    assert_eq!(response.outputs.len(), expected.len(), "{context}");
    for (index, output) in response.outputs.iter().enumerate() {
        let elements = elements(output, response.raw_output_contents.get(index));
        let expected = &expected[&output.name];
        let context = format!("{context} {}", output.name);
        if let Some(rows) = expected.as_array() {
            check_zip_map(&context, output, &elements, rows);
            continue;
        }
        assert_eq!(output.datatype, datatype(&expected["dtype"]), "{context}");
        assert_eq!(output.shape, shape(expected), "{context}");
        let data = expected["data"].as_array().unwrap();
        match &elements {
            Elements::Numbers(numbers) => check_numbers(&context, numbers, &floats(data).collect::<Vec<_>>()),
            Elements::Texts(texts) => {
                assert!(texts.iter().eq(data.iter().map(|value| value.as_str().unwrap())), "{context}");
            }
        }
    }
}

fn check_zip_map(context: &str, output: &InferOutputTensor, elements: &Elements, rows: &[Value]) {
    let Some(ParameterChoice::StringParam(labels)) = &output.parameters["labels"].parameter_choice else {
        panic!("{context}: no labels");
    };
    let labels: Vec<Value> = serde_json::from_str(labels).unwrap();
    assert_eq!(output.datatype, "FP32", "{context}");
    assert_eq!(output.shape, [rows.len() as i64, labels.len() as i64], "{context}");
    let Elements::Numbers(numbers) = elements else { panic!("{context}: not numbers") };
    let expected: Vec<f64> = rows
        .iter()
        .flat_map(|row| {
            let row = row.as_object().unwrap();
            assert_eq!(row.len(), labels.len(), "{context}");
            // In the recording every label is a key of an object, and so a string.
            labels.iter().map(|label| {
                let key = label.as_str().map_or_else(|| label.to_string(), str::to_owned);
                row[&key].as_f64().unwrap()
            })
        })
        .collect();
    check_numbers(context, numbers, &expected);
}

fn check_numbers(context: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{context}");
    for (found, expected) in found.iter().zip(expected) {
        let difference = (found - expected).abs();
        assert!(difference <= TOLERANCE * expected.abs().max(1.0), "{context}: {found} is not {expected}");
    }
}

fn elements(output: &InferOutputTensor, raw: Option<&Vec<u8>>) -> Elements {
    match (raw, &output.contents) {
        (Some(raw), None) => from_raw(&output.datatype, raw),
        (None, Some(contents)) => from_contents(&output.datatype, contents),
        other => panic!("an answer is either raw or typed: {other:?}"),
    }
}

fn from_raw(datatype: &str, raw: &[u8]) -> Elements {
    fn numbers<const SIZE: usize>(raw: &[u8], read: impl Fn([u8; SIZE]) -> f64) -> Elements {
        let (elements, rest) = raw.as_chunks::<SIZE>();
        assert!(rest.is_empty());
        Elements::Numbers(elements.iter().map(|bytes| read(*bytes)).collect())
    }
    match datatype {
        "FP32" => numbers(raw, |bytes| f64::from(f32::from_le_bytes(bytes))),
        "INT8" => numbers(raw, |bytes| f64::from(i8::from_le_bytes(bytes))),
        "INT16" => numbers(raw, |bytes| f64::from(i16::from_le_bytes(bytes))),
        "INT32" => numbers(raw, |bytes| f64::from(i32::from_le_bytes(bytes))),
        "INT64" => numbers(raw, |bytes| i64::from_le_bytes(bytes) as f64),
        "BYTES" => {
            let (mut texts, mut rest) = (Vec::new(), raw);
            while let Some((length, tail)) = rest.split_first_chunk::<4>() {
                let (text, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
                texts.push(String::from_utf8(text.to_vec()).unwrap());
                rest = tail;
            }
            Elements::Texts(texts)
        }
        other => panic!("no recorded output is {other}"),
    }
}

fn from_contents(datatype: &str, contents: &InferTensorContents) -> Elements {
    Elements::Numbers(match datatype {
        "FP32" => contents.fp32_contents.iter().map(|value| f64::from(*value)).collect(),
        "INT8" | "INT16" | "INT32" => contents.int_contents.iter().map(|value| f64::from(*value)).collect(),
        "INT64" => contents.int64_contents.iter().map(|value| *value as f64).collect(),
        "BYTES" => {
            let texts = contents.bytes_contents.iter();
            return Elements::Texts(texts.map(|bytes| String::from_utf8(bytes.clone()).unwrap()).collect());
        }
        other => panic!("no recorded output is {other}"),
    })
}
