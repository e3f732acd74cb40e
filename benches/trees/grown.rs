//! A tree ensemble like those of boosting, as ONNX.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use crate::onnx::{Attribute, Graph, Node, Value, names, serialised};

/// The attributes of nodes in the operator.
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

/// `trees` trees of `leaves` leaves over features between 0 and 1, grown leaf-wise: each split roughly halves the box
/// of a leaf. There is one input, `features`, and the outputs `label` and `probabilities`.
pub(crate) fn model(trees: usize, leaves: usize, features: usize, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::seed_from_u64(seed);
    let mut unit = move || f64::from(random.next_u32()) / f64::from(u32::MAX);
    let (mut nodes, mut weights) = (Nodes::default(), Vec::new());
    let (mut leaf_nodes, mut leaf_trees) = (Vec::new(), Vec::new());
    for tree in 0..trees {
        // For each node: its box, and its split, if any.
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
        ..Graph::default()
    };
    serialised(graph)
}
