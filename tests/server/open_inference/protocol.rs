//! What the protocol guarantees for every model: metadata, readiness, every datatype, statuses, and versions that come
//! and go.

use std::collections::BTreeMap;
use std::path::Path;

use proffer::grpc::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proffer::grpc::proto::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use proffer::grpc::proto::inference::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelReadyRequest,
    ServerLiveRequest, ServerMetadataRequest, ServerReadyRequest,
};
use tonic::{Code, Status};

use super::service::{Fixture, MESSAGE_LIMIT};
use super::tiny::{self, ELEMENT_TYPES, FLOAT, Size};
use crate::harness::{Copy, Server};

fn write(models: &Path, version: &str, bytes: &[u8]) {
    let directory = models.join(version);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("model.onnx"), bytes).unwrap();
}

fn floats(name: &str, values: &[f32]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![values.len() as i64],
        contents: Some(InferTensorContents {
            fp32_contents: values.to_vec(),
            ..InferTensorContents::default()
        }),
        ..InferInputTensor::default()
    }
}

fn request(model: &str, inputs: Vec<InferInputTensor>) -> ModelInferRequest {
    ModelInferRequest { model_name: model.to_owned(), inputs, ..ModelInferRequest::default() }
}

async fn infer(server: &mut Fixture, request: ModelInferRequest) -> Result<ModelInferResponse, Status> {
    server.client.model_infer(request).await.map(tonic::Response::into_inner)
}

/// A server with the models `sum` (version 3) and `expand` (version 1).
async fn arithmetic() -> Fixture {
    Fixture::start(|models| {
        write(models, "sum/3", &tiny::sum());
        write(models, "expand/1", &tiny::expand());
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_and_models_describe_themselves() {
    let mut server = arithmetic().await;
    let client = &mut server.client;
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let metadata = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!((metadata.name.as_str(), metadata.version.as_str()), ("proffer", env!("CARGO_PKG_VERSION")));

    let asked = ModelMetadataRequest { name: "sum".to_owned(), version: String::new() };
    let metadata = client.model_metadata(asked).await.unwrap().into_inner();
    assert_eq!((metadata.name.as_str(), metadata.platform.as_str()), ("sum", "onnxruntime_onnx"));
    assert_eq!(metadata.versions, ["3"]);
    let inputs: Vec<_> =
        metadata.inputs.iter().map(|input| (input.name.as_str(), &*input.datatype)).collect();
    assert_eq!(inputs, [("a", "FP32"), ("b", "FP32")]);
    assert_eq!((metadata.outputs[0].name.as_str(), &metadata.outputs[0].shape), ("y", &vec![-1]));

    for (name, version, expected) in
        [("sum", "", true), ("sum", "3", true), ("sum", "2", false), ("summ", "", false)]
    {
        let asked = ModelReadyRequest { name: name.to_owned(), version: version.to_owned() };
        assert_eq!(client.model_ready(asked).await.unwrap().into_inner().ready, expected, "{name} {version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_datatype_passes_through_unchanged() {
    let mut server = Fixture::start(|models| {
        for (element, datatype, _) in ELEMENT_TYPES {
            write(models, &format!("{datatype}/1"), &tiny::identity(element, &[Size::Any, Size::Exactly(3)]));
        }
    })
    .await;
    for (_, datatype, size) in ELEMENT_TYPES {
        // Bit patterns that are neither NaN nor infinite as numbers.
        let bytes: Vec<u8> = match datatype {
            "BYTES" => ["", "é", "card"]
                .iter()
                .flat_map(|text| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat())
                .collect(),
            "BOOL" => vec![1, 0, 1],
            _ => (1..=(3 * size) as u8).collect(),
        };
        let input = InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape: vec![1, 3],
            ..InferInputTensor::default()
        };
        let raw = ModelInferRequest {
            raw_input_contents: vec![bytes.clone()],
            ..request(datatype, vec![input.clone()])
        };
        let answer = infer(&mut server, raw).await.expect(datatype);
        assert_eq!(answer.outputs[0].datatype, datatype);
        assert_eq!(answer.raw_output_contents, [bytes], "{datatype}");

        let Some(contents) = typed_contents(datatype) else { continue };
        let typed = InferInputTensor { contents: Some(contents.clone()), ..input };
        let answer = infer(&mut server, request(datatype, vec![typed])).await.expect(datatype);
        assert_eq!(answer.outputs[0].contents.as_ref(), Some(&contents), "{datatype}");
        assert!(answer.raw_output_contents.is_empty(), "{datatype}");
    }
}

/// Three elements including the ends of the datatype's range, if it has typed contents.
fn typed_contents(datatype: &str) -> Option<InferTensorContents> {
    let mut contents = InferTensorContents::default();
    match datatype {
        "BOOL" => contents.bool_contents = vec![true, false, true],
        "UINT8" => contents.uint_contents = vec![0, 7, u8::MAX.into()],
        "UINT16" => contents.uint_contents = vec![0, 7, u16::MAX.into()],
        "UINT32" => contents.uint_contents = vec![0, 7, u32::MAX],
        "UINT64" => contents.uint64_contents = vec![0, 7, u64::MAX],
        "INT8" => contents.int_contents = vec![i8::MIN.into(), 7, i8::MAX.into()],
        "INT16" => contents.int_contents = vec![i16::MIN.into(), 7, i16::MAX.into()],
        "INT32" => contents.int_contents = vec![i32::MIN, 7, i32::MAX],
        "INT64" => contents.int64_contents = vec![i64::MIN, 7, i64::MAX],
        "FP32" => contents.fp32_contents = vec![f32::NEG_INFINITY, 1.5, f32::MAX],
        "FP64" => contents.fp64_contents = vec![f64::INFINITY, 1.5, f64::MIN],
        "BYTES" => contents.bytes_contents = vec![b"".to_vec(), "é".into(), b"card".to_vec()],
        _ => return None,
    }
    Some(contents)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_names_model_version_and_request() {
    let mut server = arithmetic().await;
    let outputs =
        vec![InferRequestedOutputTensor { name: "y".to_owned(), ..InferRequestedOutputTensor::default() }];
    let asked = ModelInferRequest {
        id: "42".to_owned(),
        outputs,
        ..request("sum", vec![floats("b", &[10.0, 20.0]), floats("a", &[1.0, 2.0])])
    };
    let answer = infer(&mut server, asked).await.unwrap();
    let names = [&*answer.model_name, &*answer.model_version, &*answer.id];
    assert_eq!(names, ["sum", "3", "42"]);
    assert_eq!(answer.outputs[0].contents.as_ref().unwrap().fp32_contents, [11.0, 22.0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_batch_has_an_empty_answer() {
    let mut server = arithmetic().await;
    let answer = infer(&mut server, request("sum", vec![floats("a", &[]), floats("b", &[])])).await.unwrap();
    assert_eq!(answer.outputs[0].shape, [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_requests_get_their_status_and_the_server_goes_on() {
    let mut server = arithmetic().await;
    let valid = || request("sum", vec![floats("a", &[1.0]), floats("b", &[2.0])]);
    let version = |version: &str| ModelInferRequest { model_version: version.to_owned(), ..valid() };
    let cases = [
        (request("summ", vec![]), Code::NotFound, "did you mean `sum`?"),
        (request(&"s".repeat(1 << 10), vec![]), Code::InvalidArgument, "model_name"),
        (version("2"), Code::NotFound, "it has 3"),
        (version("latest"), Code::InvalidArgument, "model_version: `latest` is not a positive integer"),
        (
            ModelInferRequest { id: "x".repeat(1 << 10), ..valid() },
            Code::InvalidArgument,
            "id: must be 1 to 128",
        ),
        (request("sum", vec![floats("a", &[1.0])]), Code::InvalidArgument, "inputs: missing `b`"),
        // Each fits the model's declaration, but not the other.
        (
            request("sum", vec![floats("a", &[1.0; 2]), floats("b", &[1.0; 3])]),
            Code::InvalidArgument,
            "inputs: the model failed",
        ),
        (repeated(MESSAGE_LIMIT as i64), Code::OutOfRange, "a message holds at most"),
    ];
    for (request, code, expected) in cases {
        let status = infer(&mut server, request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(expected), "{status}");
        assert!(infer(&mut server, valid()).await.is_ok());
    }
    assert!(infer(&mut server, repeated(10)).await.is_ok());
}

/// A request for one number, repeated `times` times.
fn repeated(times: i64) -> ModelInferRequest {
    let shape = InferInputTensor {
        name: "shape".to_owned(),
        datatype: "INT64".to_owned(),
        shape: vec![1],
        contents: Some(InferTensorContents { int64_contents: vec![times], ..InferTensorContents::default() }),
        ..InferInputTensor::default()
    };
    request("expand", vec![floats("x", &[1.0]), shape])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_come_and_go_while_the_server_runs() {
    let mut server = Fixture::start(|models| write(models, "card/1", b"half a model")).await;
    let asked = || request("card", vec![floats("x", &[1.0])]);
    let status = infer(&mut server, asked()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().contains("version 1 of model `card` cannot be loaded: this is not an ONNX model"),
        "{status}"
    );

    let model = tiny::identity(FLOAT, &[Size::Any]);
    write(server.models.path(), "card/1", &model);
    write(server.models.path(), "card/2", b"damaged");
    server.repository.refresh(&BTreeMap::new()).unwrap();
    assert_eq!(infer(&mut server, asked()).await.unwrap().model_version, "1");

    write(server.models.path(), "card/2", &model);
    server.repository.refresh(&BTreeMap::new()).unwrap();
    assert_eq!(infer(&mut server, asked()).await.unwrap().model_version, "2");
    let first = ModelInferRequest { model_version: "1".to_owned(), ..asked() };
    let status = infer(&mut server, first).await.unwrap_err();
    assert_eq!(status.message(), "version 1 of model `card` is not loaded; version 2 is");

    server.repository.refresh(&BTreeMap::from([("card".to_owned(), 1)])).unwrap();
    assert_eq!(infer(&mut server, asked()).await.unwrap().model_version, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_without_a_manifest_comes_from_the_workspace_into_the_store() {
    let workspace = Copy::new();
    write(workspace.path(), "echo/1", &tiny::sum());
    write(workspace.path(), "echo/4", &tiny::identity(FLOAT, &[Size::Any]));
    let server = Server::start(workspace.path(), &[]);
    server.wait_until_judged(&["echo".to_owned()]);
    let mut client = GrpcInferenceServiceClient::new(server.channel().await);
    let answer = client.model_infer(request("echo", vec![floats("x", &[2.5])])).await.unwrap().into_inner();
    assert_eq!((answer.model_version.as_str(), answer.outputs[0].name.as_str()), ("4", "y"));
    assert_eq!(answer.outputs[0].contents.as_ref().unwrap().fp32_contents, [2.5]);
}
