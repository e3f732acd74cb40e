//! Nodes around the trees.

use prost::Message;

use crate::Labels;
use crate::proto::*;
use crate::samples::trees::{Kind, Node, Sample, attribute, ints, value, written};
use crate::{InputPart, NativeModel, Scratch, Unsupported};

/// A stump that gives 1 where the first feature is at most 0.5, else 2, with nodes around it.
fn graph(around: Vec<NodeProto>) -> GraphProto {
    let leaf = |value| Node::Leaf(vec![(0, value)]);
    let root =
        Node::Branch { feature: 0, mode: 0, value: 0.5, set: Vec::new(), missing: false, holds: 1, fails: 2 };
    let sample = Sample {
        kind: Kind::Regressor,
        features: 2,
        double: false,
        targets: 1,
        aggregate: "SUM",
        transform: "NONE",
        base: Vec::new(),
        trees: vec![vec![root, leaf(1.0), leaf(2.0)]],
    };
    let mut graph = ModelProto::decode(sample.bytes().as_slice()).unwrap().graph.unwrap();
    graph.node.extend(around);
    graph
}

fn node(operator: &str, input: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    let ml = ["Scaler", "Imputer", "Normalizer", "ZipMap", "ArrayFeatureExtractor"].contains(&operator);
    NodeProto {
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: operator.to_owned(),
        domain: if ml { "ai.onnx.ml" } else { "" }.to_owned(),
        attribute: written(attribute),
        ..NodeProto::default()
    }
}

fn floats(name: &str, floats: Vec<f32>) -> AttributeProto {
    AttributeProto { floats, ..attribute(name, 6) }
}

fn read(graph: GraphProto, output: &str, inputs: &[InputPart<'_>]) -> Result<NativeModel, Unsupported> {
    let model = ModelProto { ir_version: 8, graph: Some(graph), opset_import: Vec::new() };
    NativeModel::read(&model.encode_to_vec(), output, inputs)
}

fn scores(model: &NativeModel, rows: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() / model.row_width() * model.width()];
    model.score(rows, &mut Scratch::default(), &mut out);
    out
}

const X: InputPart<'_> = InputPart { name: "x", columns: 2 };

#[test]
fn arithmetic_and_a_zip_map_behind_the_trees_are_done() {
    let labels = ints("classlabels_int64s", vec![7]);
    let mut graph = graph(vec![
        node("Mul", &["y", "three"], "y3", Vec::new()),
        node("Sub", &["three", "y3"], "rest", Vec::new()),
        node("ZipMap", &["rest"], "map", vec![labels]),
    ]);
    graph.initializer.push(TensorProto {
        data_type: data_type::FLOAT,
        float_data: vec![3.0],
        name: "three".to_owned(),
        ..TensorProto::default()
    });
    let model = read(graph, "map", &[X]).unwrap();
    assert_eq!(model.labels(), Some(&Labels::Int64(vec![7])));
    assert_eq!(scores(&model, &[0.5, 0.0, 0.6, 0.0]), [0.0, -3.0]);
    assert!(model.only(1).is_none());
}

#[test]
fn an_imputer_and_a_scaler_before_the_trees_are_done() {
    let mut graph = graph(vec![
        node(
            "Imputer",
            &["raw"],
            "whole",
            vec![
                floats("imputed_value_floats", vec![9.0, 9.0]),
                AttributeProto { f: f32::NAN, ..attribute("replaced_value_float", 1) },
            ],
        ),
        node(
            "Scaler",
            &["whole"],
            "x",
            vec![floats("offset", vec![1.0, 0.0]), floats("scale", vec![0.25, 1.0])],
        ),
    ]);
    graph.input = vec![value("raw", data_type::FLOAT, 2)];
    let model = read(graph, "y", &[InputPart { name: "raw", columns: 2 }]).unwrap();
    // (3 - 1) × 0.25 is the threshold; a missing value counts as 9.
    assert_eq!(scores(&model, &[3.0, 0.0, 3.5, 0.0, f32::NAN, 0.0]), [1.0, 2.0, 2.0]);
}

#[test]
fn an_input_per_feature_is_joined_in_the_order_of_the_row() {
    let concat = AttributeProto { i: 1, ..attribute("axis", 2) };
    let cast = AttributeProto { i: i64::from(data_type::FLOAT), ..attribute("to", 2) };
    let mut graph = graph(vec![
        node("Cast", &["count"], "number", vec![cast]),
        node("Concat", &["number", "other"], "x", vec![concat]),
    ]);
    graph.input = vec![value("other", data_type::FLOAT, 1), value("count", data_type::INT64, 1)];
    let parts = ["other", "count"].map(|name| InputPart { name, columns: 1 });
    let model = read(graph, "y", &parts).unwrap();
    assert_eq!(scores(&model, &[9.0, 0.0, 0.0, 1.0]), [1.0, 2.0]);
}

#[test]
fn unrecognised_graphs_are_refused_with_the_reason() {
    let refused = |graph: GraphProto, output: &str, inputs: &[InputPart<'_>]| {
        read(graph, output, inputs).unwrap_err().to_string()
    };
    let strange = graph(vec![node("Magic", &["y"], "z", Vec::new())]);
    assert_eq!(
        refused(strange, "z", &[X]),
        "Magic (z): an operator that is not known behind trees or a linear model"
    );
    assert!(refused(graph(Vec::new()), "nowhere", &[X]).contains("no node gives `nowhere`"));
    assert!(refused(graph(Vec::new()), "y", &[]).contains("`x`, which is not part of a row"));
    let narrow = [InputPart { name: "x", columns: 1 }];
    assert!(refused(graph(Vec::new()), "y", &narrow).contains("another number of columns"));
    let circle =
        graph(vec![node("Identity", &["b"], "a", Vec::new()), node("Identity", &["a"], "b", Vec::new())]);
    assert!(refused(circle, "a", &[X]).contains("circles"));
    let mut text = graph(Vec::new());
    text.input = vec![value("x", 8, 2)];
    assert!(refused(text, "y", &[X]).contains("`x` is not a tensor of numbers"));
}
