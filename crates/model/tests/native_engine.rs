//! The native engine compared with ONNX Runtime: every model of the data folder and of a folder that
//! `tests/golden/trees.py` filled, and random ensembles.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what is not expected stops the test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use native::samples::{LinearSample, MlpSample, Sample, reference_models};
use native::{Disagreement, InputPart, NativeModel, PROBES};
use proffer_model::ModelError;
use proffer_model::onnx::{
    ElementType, OnnxModel, OnnxRuntime, OutputValue, Outputs, Tensor, TensorData, ValueKind,
};
use work::Worker;

/// Probe rows as the tensors of a graph. Texts are given by their positions in the vocabulary of `trees`.
fn tensors<'r>(
    model: &OnnxModel,
    trees: Option<&NativeModel>,
    parts: &[InputPart<'r>],
    rows: &[f64],
) -> Vec<Tensor<'r>> {
    let text = |place: usize, value: f64| {
        let mut known = trees.and_then(|trees| trees.vocabulary(place)).into_iter().flatten();
        known
            .find(|(_, at)| value >= 0.0 && **at == value as usize)
            .map_or("strange".to_owned(), |(text, _)| text.clone())
    };
    let width: usize = parts.iter().map(|part| part.columns).sum();
    let mut first = 0;
    let mut found = Vec::new();
    for part in parts {
        let spec = model.signature().inputs.iter().find(|spec| spec.name == part.name).unwrap();
        let ValueKind::Tensor(element) = spec.kind else { panic!("{spec:?}") };
        let values =
            rows.chunks_exact(width).flat_map(|row| row[first..first + part.columns].iter().copied());
        let data = match element {
            ElementType::Float64 => TensorData::Float64(values.collect()),
            ElementType::Int64 => TensorData::Int64(values.map(|value| value as i64).collect()),
            ElementType::Int32 => TensorData::Int32(values.map(|value| value as i32).collect()),
            ElementType::Float32 => TensorData::Float32(values.map(|value| value as f32).collect()),
            ElementType::Bool => TensorData::Bool(values.map(|value| value != 0.0).collect()),
            ElementType::String => TensorData::String(values.map(|value| text(first, value)).collect()),
            other => panic!("no probes for {other}"),
        };
        let shape = vec![(rows.len() / width) as i64, part.columns as i64];
        found.push(Tensor { name: part.name.into(), shape, data });
        first += part.columns;
    }
    found
}

/// ONNX Runtime's values of an output.
fn reference(
    model: &OnnxModel,
    parts: &[InputPart<'_>],
    output: usize,
    rows: &[f64],
) -> Result<Vec<f32>, ModelError> {
    reference_with(model, None, parts, output, rows)
}

fn reference_with(
    model: &OnnxModel,
    trees: Option<&NativeModel>,
    parts: &[InputPart<'_>],
    output: usize,
    rows: &[f64],
) -> Result<Vec<f32>, ModelError> {
    let worker = &Worker::tokens(1)[0];
    let batch = model.signature().inputs[0].shape[0];
    let width: usize = parts.iter().map(|part| part.columns).sum();
    // Some graphs take one row at a time.
    let block = if batch > 0 { batch as usize } else { 1 << 20 };
    let mut found = Vec::new();
    for rows in rows.chunks(block * width) {
        let mut values = model.run(worker, &tensors(model, trees, parts, rows), Outputs::Only(&[output]))?;
        found.extend(match values.pop().unwrap() {
            OutputValue::ZipMap { values, .. } => values,
            OutputValue::Tensor(tensor) => match tensor.data {
                TensorData::Float32(values) => values.into_owned(),
                TensorData::Float64(values) => values.iter().map(|value| *value as f32).collect(),
                other => panic!("{other:?}"),
            },
        });
    }
    Ok(found)
}

/// Reads the first output that can be a score and compares it with ONNX Runtime on many rows.
fn check(path: &Path, probes: usize) -> Result<NativeModel, String> {
    let bytes = std::fs::read(path).unwrap();
    let onnx = OnnxModel::load(&OnnxRuntime::load().unwrap(), path, 1).map_err(|error| error.to_string())?;
    let signature = onnx.signature().clone();
    let parts: Vec<InputPart<'_>> = signature
        .inputs
        .iter()
        .map(|spec| {
            let columns = spec.shape.get(1).copied().unwrap_or(1);
            InputPart { name: &spec.name, columns: if columns > 0 { columns as usize } else { 32 } }
        })
        .collect();
    let scores = signature.outputs.iter().position(|spec| {
        matches!(
            spec.kind,
            ValueKind::ZipMap { .. } | ValueKind::Tensor(ElementType::Float32 | ElementType::Float64)
        )
    });
    let output = scores.ok_or("no scores")?;
    let model =
        NativeModel::read(&bytes, &signature.outputs[output].name, &parts).map_err(|e| e.to_string())?;
    for missing in [false, true] {
        let rows = model.probe_rows(probes, missing, 7);
        model
            .verify(&rows, |rows| reference_with(&onnx, Some(&model), &parts, output, rows))
            .unwrap_or_else(|error: Disagreement| panic!("{}: {error}", path.display()));
    }
    Ok(model)
}

/// Every `.onnx` below a folder.
fn models_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(models_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "onnx") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn models_from_public_repositories_answer_as_onnx_runtime_does() {
    let Some(folder) = reference_models() else { return };
    let recognised = models_below(&folder).into_iter().filter(|path| match check(path, PROBES) {
        Ok(_) => true,
        Err(why) => {
            eprintln!("{}: {why}", path.display());
            false
        }
    });
    let names: Vec<String> =
        recognised.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let expected = [
        "card_fraud_mlp_5f_a",
        "dt_binary_string_labels_fixed1",
        "lightgbm_pipeline_zipmap_opset9",
        "logreg_iris_dynamic_zipmap",
        "logreg_iris_fixed_batch1_opset7",
        "rf_voting_opset18_10trees",
        "sgd_binary_opset13_zipmap",
        "titanic_multi_input_strings_zipmap",
        "treecl1_opset17_no_feature_dim",
        "xgb_regressor_iris4f",
    ];
    assert_eq!(names, expected);
}

#[test]
fn trained_models_answer_as_onnx_runtime_does() {
    let Some(folder) = std::env::var_os("PROFFER_TEST_TREES").map(PathBuf::from) else {
        return eprintln!("skipped: point PROFFER_TEST_TREES at a folder that tests/golden/trees.py filled");
    };
    let (mut recognised, mut left) = (0, Vec::new());
    for path in models_below(&folder) {
        match check(&path, PROBES) {
            Ok(model) => {
                recognised += 1;
                let kib = model.memory_bytes() / 1024;
                eprintln!("{}: {} trees, {kib} KiB", path.display(), model.trees());
            }
            Err(why) => left.push(format!("{}: {why}", path.display())),
        }
    }
    eprintln!("{recognised} recognised; left to ONNX Runtime: {left:#?}");
    assert!(recognised >= 20, "{left:#?}");
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn random_linear_models_answer_as_onnx_runtime_does() {
    for seed in 0..100 {
        let sample = LinearSample::of(seed);
        verify(seed, &sample.bytes(), &sample.model(), &sample.parts());
    }
}

#[test]
fn random_mlps_answer_as_onnx_runtime_does() {
    for seed in 0..100 {
        let sample = MlpSample::of(seed);
        verify(seed, &sample.bytes(), &sample.model(), &sample.parts());
    }
}

/// Compares a model over several inputs, with scores `y`, with ONNX Runtime on probe rows.
fn verify(seed: u64, bytes: &[u8], model: &NativeModel, parts: &[InputPart<'_>]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    let onnx = OnnxModel::load(&OnnxRuntime::load().unwrap(), &path, 1).unwrap();
    let output = onnx.signature().outputs.iter().position(|spec| spec.name == "y").unwrap();
    let rows = model.probe_rows(PROBES / 4, true, seed);
    let verified = model.verify(&rows, |rows| reference_with(&onnx, Some(model), parts, output, rows));
    verified.unwrap_or_else(|error| panic!("{seed}: {error}"));
}

#[test]
fn a_damaged_table_is_caught() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let ensemble = Sample::of(3);
    std::fs::write(&path, ensemble.bytes()).unwrap();
    let onnx = OnnxModel::load(&OnnxRuntime::load().unwrap(), &path, 1).unwrap();
    let parts = [InputPart { name: "x", columns: ensemble.features }];
    let sound = Arc::new(NativeModel::read(&ensemble.bytes(), "y", &parts).unwrap());
    let rows = sound.probe_rows(PROBES, true, 1);
    sound.verify(&rows, |rows| reference(&onnx, &parts, 0, rows)).unwrap();
    // The same model with one leaf increased.
    let damaged = NativeModel::read(&ensemble.with_another_leaf().bytes(), "y", &parts).unwrap();
    let error = damaged.verify(&rows, |rows| reference(&onnx, &parts, 0, rows)).unwrap_err();
    assert!(matches!(error, Disagreement::Score { .. }), "{error}");
    let error = sound.verify(&rows, |_| Err::<Vec<f32>, _>("it is gone")).unwrap_err();
    assert_eq!(error, Disagreement::NoReference("it is gone".to_owned()));
    let error = sound.verify(&rows, |_| Ok::<_, ModelError>(vec![0.0])).unwrap_err();
    assert!(matches!(error, Disagreement::Count { found: 1, .. }), "{error}");
}

#[test]
fn random_ensembles_answer_as_onnx_runtime_does() {
    let runtime = OnnxRuntime::load().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let (mut checked, mut wrong) = (0, Vec::new());
    let (mut left, mut refused) = (BTreeMap::new(), BTreeMap::new());
    let samples: u64 = std::env::var("PROFFER_TEST_SAMPLES").map_or(400, |count| count.parse().unwrap());
    for seed in 0..samples {
        let sample = Sample::of(seed);
        std::fs::write(&path, sample.bytes()).unwrap();
        let parts = [InputPart { name: "x", columns: sample.features }];
        let onnx = OnnxModel::load(&runtime, &path, 1);
        let model = match NativeModel::read(&sample.bytes(), "y", &parts) {
            Ok(model) => model,
            Err(why) => {
                *left.entry(why.why).or_insert(0) += 1;
                continue;
            }
        };
        let onnx = match onnx {
            Ok(onnx) => onnx,
            Err(error) => {
                let error = error.to_string();
                *refused.entry(error.rsplit(") ").next().unwrap_or_default().to_owned()).or_insert(0) += 1;
                continue;
            }
        };
        let output = onnx.signature().outputs.iter().position(|spec| spec.name == "y").unwrap();
        let mut rows = model.probe_rows(PROBES / 4, true, seed);
        rows.extend(sample.rows(PROBES / 4, seed));
        if let Err(error) = model.verify(&rows, |rows| reference(&onnx, &parts, output, rows)) {
            // The approximation loses digits where a probability is close to a half.
            if let Disagreement::Score { found, reference, .. } = error
                && sample.transform == "PROBIT"
                && (found - reference).abs() < 1e-3
            {
                continue;
            }
            let Sample { kind, double, targets, aggregate, transform, base, trees, .. } = &sample;
            let trees = trees.len();
            wrong.push(format!(
                "{seed}: {error}: {kind:?} {aggregate} {transform}, {targets} targets, {trees} trees, double {double}, base {base:?}"
            ));
            continue;
        }
        checked += 1;
    }
    eprintln!("{checked} checked; left to ONNX Runtime: {left:?}; refused by it: {refused:?}");
    assert!(wrong.is_empty(), "{} disagree: {wrong:#?}", wrong.len());
    assert!(checked > samples * 3 / 4, "{left:?}");
}
