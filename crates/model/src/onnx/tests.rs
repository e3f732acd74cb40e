//! Real models compared with the answers of Python's onnxruntime.

use native::Labels;
use native::samples::reference_models;
use std::path::PathBuf;
use std::sync::Arc;

use half::bf16;
use serde_json::Value;

use super::known::Digest;
use super::*;
use crate::{GraphCache, LoadedGraph};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx").join(name)
}

fn numbers<T>(value: &Value, convert: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(convert).collect()
}

fn tensor<'a>(name: &'a str, recorded: &Value) -> Tensor<'a> {
    let data = &recorded["data"];
    let int = |value: &Value| value.as_i64().unwrap();
    let float = |value: &Value| value.as_f64().unwrap();
    let data = match recorded["dtype"].as_str().unwrap() {
        "float32" => TensorData::Float32(numbers(data, |value| float(value) as f32).into()),
        "float64" => TensorData::Float64(numbers(data, float).into()),
        "uint8" => TensorData::Uint8(numbers(data, |value| int(value) as u8).into()),
        "int8" => TensorData::Int8(numbers(data, |value| int(value) as i8).into()),
        "int16" => TensorData::Int16(numbers(data, |value| int(value) as i16).into()),
        "int32" => TensorData::Int32(numbers(data, |value| int(value) as i32).into()),
        "int64" => TensorData::Int64(numbers(data, int).into()),
        "object" => TensorData::String(numbers(data, |value| value.as_str().unwrap().to_owned()).into()),
        other => panic!("no {other} in the recorded runs so far"),
    };
    Tensor { name: name.into(), shape: numbers(&recorded["shape"], int), data }
}

/// Equal, or for floats within a relative error of 1e-6.
fn agree(found: &[f32], expected: &[f32]) -> bool {
    let close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= 1e-6 * expected.abs().max(1.0);
    found.len() == expected.len() && found.iter().zip(expected).all(close)
}

fn check_output(found: &OutputValue, recorded: &Value) {
    match found {
        OutputValue::Tensor(found) => {
            let expected = tensor(&found.name, recorded);
            assert_eq!(found.shape, expected.shape);
            match (&found.data, &expected.data) {
                (TensorData::Float32(found), TensorData::Float32(expected)) => {
                    assert!(agree(found, expected), "{found:?} for {expected:?}");
                }
                (found, expected) => assert_eq!(found, expected),
            }
        }
        OutputValue::ZipMap { labels, rows, values, .. } => {
            let maps = recorded.as_array().unwrap();
            assert_eq!(*rows, maps.len());
            let labels: Vec<String> = match labels {
                Labels::Int64(labels) => labels.iter().map(i64::to_string).collect(),
                Labels::String(labels) => labels.clone(),
            };
            for (map, values) in maps.iter().zip(values.chunks(labels.len())) {
                let expected: Vec<f32> =
                    labels.iter().map(|label| map[label].as_f64().unwrap() as f32).collect();
                assert!(agree(values, &expected), "{values:?} for {expected:?}");
            }
        }
    }
}

#[test]
fn models_from_public_repositories_answer_as_recorded() {
    let Some(folder) = reference_models() else { return };
    let text = std::fs::read_to_string(folder.join("REFERENCE_RUNS.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let runtime = OnnxRuntime::load().unwrap();
    let worker = &Worker::tokens(1)[0];
    let (mut answered, mut refused) = (0, 0);
    for (path, recorded) in reference["models"].as_object().unwrap() {
        let no_runs = serde_json::Map::new();
        let runs = recorded["runs"].as_object().unwrap_or(&no_runs);
        let model = match OnnxModel::load(&runtime, &folder.join(path), 1) {
            Ok(model) => model,
            Err(error) => {
                let cause = match path.as_str() {
                    "negative/git_lfs_pointer_not_a_model.onnx" => "git lfs pull",
                    "runtime_edge/custom_op_test.onnx" => "`test.customop` is a custom operator",
                    "sklearn/bad_graph_no_outputs.onnx" => "no outputs",
                    _ => panic!("{path}: {error}"),
                };
                assert!(error.to_string().contains(cause), "{path}: {error}");
                refused += 1;
                continue;
            }
        };
        let names: Vec<&str> =
            recorded["ort_outputs"].as_array().unwrap().iter().map(|o| o[0].as_str().unwrap()).collect();
        let mut answers = 0;
        for run in runs.values().filter(|run| run["error"].is_null()) {
            let inputs: Vec<Tensor<'_>> =
                run["inputs"].as_object().unwrap().iter().map(|(name, value)| tensor(name, value)).collect();
            let outputs = model.run(worker, &inputs, Outputs::All).unwrap_or_else(|e| panic!("{path}: {e}"));
            for (output, name) in outputs.iter().zip(&names) {
                check_output(output, &run["outputs"][name]);
            }
            assert_eq!(outputs.len(), names.len(), "{path}");
            // The last output alone is the last of all.
            let last = names.len() - 1;
            let only = model.run(worker, &inputs, Outputs::Only(&[last])).unwrap();
            assert_eq!(only, outputs[last..], "{path}");
            answers += 1;
        }
        answered += usize::from(answers > 0);
    }
    assert_eq!((answered, refused), (17, 3));
}

#[test]
fn a_model_with_bfloat16_inputs_answers() {
    let Some(folder) = reference_models() else { return };
    let path = folder.join("runtime_edge/example_several_inputs_and_outputs.onnx");
    let model = OnnxModel::load(&OnnxRuntime::load().unwrap(), &path, 1).unwrap();
    let inputs: Vec<Tensor<'_>> = model
        .signature()
        .inputs
        .iter()
        .map(|spec| {
            let elements = spec.shape.iter().product::<i64>() as usize;
            let int32 = TensorData::Int32(vec![1; elements].into());
            let float32 = TensorData::Float32(vec![0.5; elements].into());
            let bfloat16 = TensorData::Bfloat16(vec![bf16::from_f32(2.0); elements].into());
            let of_its_type = |data: &TensorData<'_>| spec.kind == ValueKind::Tensor(data.element_type());
            let data = [int32, float32, bfloat16].into_iter().find(of_its_type).unwrap();
            Tensor { name: spec.name.as_str().into(), shape: spec.shape.clone(), data }
        })
        .collect();
    let outputs = model.run(&Worker::tokens(1)[0], &inputs, Outputs::All).unwrap();
    let shapes: Vec<_> = outputs
        .iter()
        .map(|output| match output {
            OutputValue::Tensor(tensor) => tensor.shape.clone(),
            OutputValue::ZipMap { .. } => panic!("both are tensors"),
        })
        .collect();
    assert_eq!(shapes, [vec![10, 10], vec![1, 2, 3, 4, 5]]);
}

#[test]
fn wrong_inputs_are_refused_by_name() {
    let model = OnnxModel::load(&OnnxRuntime::load().unwrap(), &fixture("pair_logit.onnx"), 1).unwrap();
    let workers = Worker::tokens(2);
    let right = Tensor {
        name: "features".into(),
        shape: vec![1, 3],
        data: TensorData::Float32(vec![1.0, 2.0, 3.0].into()),
    };
    let refused = |inputs: &[Tensor<'_>]| {
        let error = model.run(&workers[0], inputs, Outputs::All).unwrap_err();
        assert!(matches!(error, ModelError::Input { .. }), "{error}");
        error.to_string()
    };
    assert!(model.run(&workers[0], std::slice::from_ref(&right), Outputs::All).is_ok());
    assert_eq!(refused(&[]), "input `features`: it is missing");
    assert!(refused(&[right.clone(), right.clone()]).contains("given twice"));
    let unknown = Tensor { name: "feature".into(), ..right.clone() };
    assert!(refused(&[unknown]).contains("no such input, only features"));
    let double = Tensor { data: TensorData::Float64(vec![1.0; 3].into()), ..right.clone() };
    assert!(refused(&[double]).contains("a tensor of float, not a tensor of double"));
    let wide = Tensor { shape: vec![3, 1], ..right.clone() };
    assert!(refused(&[wide]).contains("takes the shape [-1, 3] (-1 = any), not [3, 1]"));
    // A product that wraps around to the number of elements, and a negative dimension.
    for shape in [vec![1 << 32, 1 << 32], vec![-1, -3]] {
        let data = TensorData::Float32(Vec::new().into());
        let message = refused(&[Tensor { shape, data, ..right.clone() }]);
        assert!(message.contains("do not fill the shape"), "{message}");
    }
    let stranger = model.run(&workers[1], std::slice::from_ref(&right), Outputs::All).unwrap_err();
    assert!(matches!(stranger, ModelError::NoSession { worker: 1, sessions: 1 }));
    let beyond = model.run(&workers[0], &[right], Outputs::Only(&[7])).unwrap_err();
    assert!(matches!(beyond, ModelError::Output { .. }));
}

#[test]
fn a_model_is_loaded_once_for_all_holders() {
    let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::copy(fixture("pair_logit.onnx"), &path).unwrap();
    let models: Vec<Arc<LoadedGraph>> = std::thread::scope(|scope| {
        let loads: Vec<_> = (0..4).map(|_| scope.spawn(|| cache.load(&path).unwrap())).collect();
        loads.into_iter().map(|load| load.join().unwrap()).collect()
    });
    assert!(models.iter().all(|model| Arc::ptr_eq(model, &models[0])));
    assert_eq!(models[0].onnx().sessions(), 2);
    // A replaced file is another model, and a removed one cannot be loaded.
    std::fs::copy(fixture("offers_by_column.onnx"), &path).unwrap();
    assert!(!Arc::ptr_eq(&cache.load(&path).unwrap(), &models[0]));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(cache.load(&path), Err(ModelError::Unreadable(_))));
}

#[test]
fn the_session_beside_those_of_the_workers_is_made_when_it_first_runs() {
    let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 2);
    assert!(cache.beside().is_none());
    let cache = cache.with_session_beside();
    let model = cache.load(&fixture("pair_logit.onnx")).unwrap();
    model.onnx().make_first(cache.sessions()).unwrap();
    let has_session = |at: usize| model.onnx().sessions[at].lock().unwrap().is_some();
    assert_eq!([0, 1, 2].map(has_session), [true, true, false]);
    model.onnx().try_out(&cache.beside().unwrap()).unwrap();
    assert!(has_session(2));
}

#[test]
fn a_natively_served_model_has_no_session_until_it_runs() {
    let runtime = OnnxRuntime::load().unwrap();
    let bytes = std::fs::read(fixture("pair_logit.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    // Append an unknown field, so that the bytes differ from the fixture, which other tests may learn.
    std::fs::write(&path, [bytes.as_slice(), &[0x32, 0x01, b'x']].concat()).unwrap();
    let load = || OnnxModel::load(&runtime, &path, 1).unwrap();
    let has_session = |model: &OnnxModel| model.sessions[0].lock().unwrap().is_some();
    let first = load();
    assert!(has_session(&first) && has_session(&load()));
    let digest = Digest::of(&std::fs::read(&path).unwrap());
    let known = |asked| runtime.known().compared(digest, asked);
    assert_eq!(known("its score"), None);
    runtime.known().learn(digest, first.signature(), "its score", Compared::Equal);
    assert_eq!((known("its score"), known("another")), (Some(Compared::Equal), None));
    let again = load();
    assert_eq!(again.signature(), first.signature());
    assert!(!has_session(&again));
    again.make_first(1).unwrap();
    assert!(has_session(&again));
}

#[test]
fn fuzz_onnx_check() {
    let folder = tempfile::tempdir().unwrap();
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/onnx")).unwrap()
    {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            seeds.push(std::fs::read(path).unwrap());
        }
    }
    // The order of directory entries is undefined.
    seeds.sort();
    let words = ["ai.onnx.ml", "location", "../", "_ORT_MEM_ADDR_", "weights.bin"];
    let target = fuzz::Target { name: "onnx_check", seeds, words: &words, inputs: 5_000 };
    target.run(|input| {
        drop(super::file::check(input, folder.path()));
        Ok(())
    });
}
