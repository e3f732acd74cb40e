//! A classifier as boosting grows it, written as ONNX.

use prost::Message;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// What the attributes of the operator list of nodes.
#[derive(Default)]
struct Nodes {
    ids: Vec<i64>,
    trees: Vec<i64>,
    features: Vec<i64>,
    modes: Vec<Vec<u8>>,
    values: Vec<f32>,
    holds: Vec<i64>,
    fails: Vec<i64>,
}

/// `trees` trees of `leaves` leaves over features between 0 and 1, each leaf-wise: a leaf is split where its box is halved
/// or so. One input `features`, and as outputs `label` and `probabilities`.
pub(crate) fn model(trees: usize, leaves: usize, features: usize, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::seed_from_u64(seed);
    let mut unit = move || f64::from(random.next_u32()) / f64::from(u32::MAX);
    let (mut nodes, mut weights) = (Nodes::default(), Vec::new());
    let (mut leaf_nodes, mut leaf_trees) = (Vec::new(), Vec::new());
    for tree in 0..trees {
        // Of each node: its box, and the split if it has one.
        let mut boxes = vec![vec![(0.0, 1.0); features]];
        let mut splits: Vec<Option<(usize, f64, usize)>> = vec![None];
        let mut open = vec![0];
        for _ in 1..leaves {
            let at = open.swap_remove((unit() * open.len() as f64) as usize % open.len());
            // Some features matter more than others.
            let feature = ((unit() * unit() * features as f64) as usize * 7 + tree) % features;
            let (low, high) = boxes[at][feature];
            let threshold = low + (high - low) * (0.2 + 0.6 * unit());
            splits[at] = Some((feature, threshold, boxes.len()));
            for range in [(low, threshold), (threshold, high)] {
                let mut inside = boxes[at].clone();
                inside[feature] = range;
                open.push(boxes.len());
                boxes.push(inside);
                splits.push(None);
            }
        }
        for (at, split) in splits.iter().enumerate() {
            nodes.ids.push(at as i64);
            nodes.trees.push(tree as i64);
            let (feature, threshold, holds) = split.unwrap_or((0, 0.0, 0));
            nodes.features.push(feature as i64);
            nodes.values.push(threshold as f32);
            nodes.holds.push(holds as i64);
            nodes.fails.push(if split.is_some() { holds as i64 + 1 } else { 0 });
            nodes.modes.push(if split.is_some() { b"BRANCH_LEQ".to_vec() } else { b"LEAF".to_vec() });
            if split.is_none() {
                leaf_nodes.push(at as i64);
                leaf_trees.push(tree as i64);
                weights.push(((unit() - 0.5) * 0.2) as f32);
            }
        }
    }
    let ints = |name: &str, ints: Vec<i64>| Attribute { ints, ..Attribute::new(name, 7) };
    let floats = |name: &str, floats: Vec<f32>| Attribute { floats, ..Attribute::new(name, 6) };
    let classes = vec![0; leaf_nodes.len()];
    let attribute = vec![
        ints("nodes_nodeids", nodes.ids),
        ints("nodes_treeids", nodes.trees),
        ints("nodes_featureids", nodes.features),
        ints("nodes_truenodeids", nodes.holds),
        ints("nodes_falsenodeids", nodes.fails),
        floats("nodes_values", nodes.values),
        Attribute { strings: nodes.modes, ..Attribute::new("nodes_modes", 8) },
        ints("class_ids", classes),
        ints("class_nodeids", leaf_nodes),
        ints("class_treeids", leaf_trees),
        floats("class_weights", weights),
        ints("classlabels_int64s", vec![0, 1]),
        Attribute { s: b"LOGISTIC".to_vec(), ..Attribute::new("post_transform", 3) },
    ];
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let node = Node {
        input: names(&["features"]),
        output: names(&["label", "probabilities"]),
        op_type: "TreeEnsembleClassifier".to_owned(),
        attribute,
        domain: "ai.onnx.ml".to_owned(),
    };
    let graph = Graph {
        node: vec![node],
        name: "grown".to_owned(),
        input: vec![Value::new("features", 1, &[None, Some(features as i64)])],
        output: vec![Value::new("label", 7, &[None]), Value::new("probabilities", 1, &[None, Some(2)])],
    };
    let opset = |domain: &str, version| OperatorSet { domain: domain.to_owned(), version };
    let opsets = vec![opset("", 17), opset("ai.onnx.ml", 3)];
    Model { ir_version: 8, graph: Some(graph), opsets }.encode_to_vec()
}

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opsets: Vec<OperatorSet>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "11")]
    input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "4")]
    s: Vec<u8>,
    #[prost(float, repeated, tag = "7")]
    floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    strings: Vec<Vec<u8>>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

impl Attribute {
    fn new(name: &str, kind: i32) -> Self {
        Self { name: name.to_owned(), kind, ..Self::default() }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

impl Value {
    fn new(name: &str, element: i32, shape: &[Option<i64>]) -> Self {
        let dim = shape.iter().map(|value| Dimension { value: *value }).collect();
        let tensor = TensorType { element, shape: Some(Shape { dim }) };
        Self { name: name.to_owned(), kind: Some(Kind { tensor: Some(tensor) }) }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
}
