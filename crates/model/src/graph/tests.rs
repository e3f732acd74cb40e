//! Which engine serves the sample's models, and that one which disagrees with ONNX Runtime never serves.

use std::path::PathBuf;

use prost::Message;

use super::*;
use crate::onnx::OnnxRuntime;
use crate::{Manifest, Model};
use feature::FeatureSchema;
use native::proto::{AttributeProto, ModelProto};

fn sample(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models").join(file)
}

fn schema() -> FeatureSchema {
    let text = std::fs::read_to_string(sample("features.toml")).unwrap();
    FeatureSchema::parse("features.toml", &text).unwrap()
}

fn load(name: &str) -> Model {
    let cache = crate::GraphCache::new(OnnxRuntime::load().unwrap(), 1);
    Model::load(&sample(&format!("{name}/1")), name, 1, &schema(), &cache).unwrap()
}

#[test]
fn the_models_of_the_sample_are_served_by_the_native_engine() {
    let propensity = load("propensity");
    let Some(Engine::Native(trees)) = propensity.engines().next() else { panic!("{propensity:?}") };
    assert!(trees.trees() >= 100 && trees.memory_bytes() < 4_000_000, "{} bytes", trees.memory_bytes());
    for name in ["affinity", "network"] {
        let model = load(name);
        assert!(model.engines().all(|engine| engine.reason() == "verified"), "{model:?}");
    }
}

/// The sample's gradient boosting, its manifest and plan.
fn propensity() -> (OnnxFile, ScoreOutput, Plan, OnnxModel) {
    let (path, runtime) = (sample("propensity/1/model.onnx"), OnnxRuntime::load().unwrap());
    let text = std::fs::read_to_string(sample("propensity/1/model.toml")).unwrap();
    let manifest = Manifest::parse("model.toml", &text).unwrap();
    let onnx = OnnxModel::load(&runtime, &path, 1).unwrap();
    let output = ScoreOutput::resolve(&manifest, onnx.signature(), "model.toml").unwrap();
    let plan = Plan::resolve(&manifest, &schema(), Some(onnx.signature()), "model.toml").unwrap();
    (OnnxFile::read(path).unwrap(), output, plan, onnx)
}

/// The sample's gradient boosting with one leaf increased by `more`, in another file.
fn another(file: &OnnxFile, more: f32) -> (tempfile::TempDir, OnnxFile) {
    let mut model = ModelProto::decode(file.bytes.clone()).unwrap();
    let nodes = &mut model.graph.as_mut().unwrap().node;
    for bytes in nodes.iter_mut().flat_map(|node| &mut node.attribute) {
        let mut attribute = AttributeProto::decode(bytes.clone()).unwrap();
        if attribute.name == "class_weights" {
            attribute.floats[0] += more;
            *bytes = attribute.into();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mutated = directory.path().join("model.onnx");
    std::fs::write(&mutated, model.encode_to_vec()).unwrap();
    let file = OnnxFile::read(mutated).unwrap();
    (directory, file)
}

#[test]
fn an_engine_that_differs_in_one_leaf_is_caught() {
    let (file, output, plan, onnx) = propensity();
    assert_eq!(choose(&file, &onnx, &output, &plan).reason(), "verified");
    let (_directory, mutated) = another(&file, 0.5);
    let engine = choose(&mutated, &onnx, &output, &plan);
    assert_eq!((engine.name(), engine.reason()), ("onnxruntime", "disagreement"), "{engine:?}");
    let Engine::OnnxRuntime(why) = engine else { unreachable!() };
    assert!(why.to_string().contains("the native engine disagrees: row "), "{why}");
}

#[test]
fn an_engine_is_verified_once_for_the_same_bytes_and_again_for_others() {
    let (file, output, plan, onnx) = propensity();
    let (_directory, mutated) = another(&file, 0.25);
    let other = OnnxModel::of_file(&OnnxRuntime::load().unwrap(), &mutated, 1).unwrap();
    assert_eq!(choose(&file, &onnx, &output, &plan).reason(), "verified");
    // This reference would disagree, but is not run.
    assert_eq!(choose(&file, &other, &output, &plan).reason(), "verified");
    // Other bytes are unknown.
    assert_eq!(choose(&mutated, &onnx, &output, &plan).reason(), "disagreement");
    // The result is stored too: a graph that passed its gates is not run again.
    assert_eq!(choose(&mutated, &other, &output, &plan).reason(), "disagreement");
    let (_directory, third) = another(&file, 0.125);
    let own = OnnxModel::of_file(&OnnxRuntime::load().unwrap(), &third, 1).unwrap();
    assert_eq!(choose(&third, &own, &output, &plan).reason(), "verified");
}
