//! Invalid ensembles, each with the reason.

use prost::Message;

use crate::proto::{AttributeProto, ModelProto};
use crate::samples::trees::{Kind, Node, Sample, ints};
use crate::{InputPart, NativeModel, Unsupported};

fn leaf(value: f64) -> Node {
    Node::Leaf(vec![(0, value)])
}

fn branch(holds: usize, fails: usize) -> Node {
    Node::Branch { feature: 0, mode: 0, value: 0.5, set: Vec::new(), missing: false, holds, fails }
}

fn regressor(nodes: Vec<Node>) -> Sample {
    Sample {
        kind: Kind::Regressor,
        features: 1,
        double: false,
        targets: 1,
        aggregate: "SUM",
        transform: "NONE",
        base: Vec::new(),
        trees: vec![nodes],
    }
}

fn read(bytes: &[u8]) -> Result<NativeModel, Unsupported> {
    NativeModel::read(bytes, "y", &[InputPart { name: "x", columns: 1 }])
}

/// Why a sample is refused.
fn why(sample: &Sample) -> String {
    read(&sample.bytes()).unwrap_err().why
}

/// A stump with one attribute replaced.
fn why_with(attribute: AttributeProto) -> String {
    let stump = regressor(vec![branch(1, 2), leaf(1.0), leaf(2.0)]);
    let mut model = ModelProto::decode(stump.bytes().as_slice()).unwrap();
    let attributes = &mut model.graph.as_mut().unwrap().node[0].attribute;
    attributes.retain(|other| AttributeProto::decode(other.clone()).unwrap().name != attribute.name);
    attributes.push(attribute.into());
    read(&model.encode_to_vec()).unwrap_err().why
}

#[test]
fn invalid_trees_are_refused_with_the_reason() {
    assert!(why(&regressor(vec![branch(0, 1), leaf(1.0)])).contains("below itself"));
    assert!(why(&regressor(vec![branch(1, 2), branch(0, 2), leaf(1.0)])).contains("below itself"));
    assert!(why(&regressor(vec![branch(1, 7), leaf(1.0)])).contains("tree 0 has no node 7"));
    let two_roots = vec![branch(1, 2), leaf(1.0), leaf(2.0), branch(1, 2)];
    assert!(why(&regressor(two_roots)).contains("no root leads to the node"));
    // Each level refers to the next twice: 2^40 leaves if all were copied.
    let mut shared: Vec<Node> = (0..40).map(|at| branch(at + 1, at + 1)).collect();
    shared.push(leaf(1.0));
    assert!(why(&regressor(shared)).contains("shared too often"));
}

#[test]
fn damaged_attributes_are_refused_with_the_reason() {
    assert!(why_with(ints("nodes_featureids", vec![0, 0])).contains("2 entries, not 3"));
    assert!(why_with(ints("nodes_featureids", vec![-1, 0, 0])).contains("`nodes_featureids` has -1"));
    assert!(why_with(ints("nodes_featureids", vec![1 << 40, 0, 0])).contains("`nodes_featureids` has"));
    assert!(
        why_with(ints("nodes_featureids", vec![3, 0, 0])).contains("looks at feature 3, but there are 1")
    );
    assert!(why_with(ints("nodes_nodeids", vec![0, 1, 1])).contains("a second node 1"));
    assert!(why_with(ints("target_ids", vec![0, 5])).contains("target 5 of 1"));
    assert!(why_with(ints("target_nodeids", vec![0, 2])).contains("not at a leaf"));
    assert!(why_with(ints("target_nodeids", vec![1, 1])).contains("two weights for one target"));
}

#[test]
fn a_tree_may_be_deeper_than_the_stack() {
    let depth = 100_000;
    let mut nodes: Vec<Node> = (0..depth).map(|at| branch(depth + 1 + at, at + 1)).collect();
    nodes.extend((0..=depth).map(|at| leaf(at as f64)));
    let model = read(&regressor(nodes).bytes()).unwrap();
    let mut out = [0.0; 2];
    model.score(&[0.0_f32, 1.0], &mut crate::Scratch::default(), &mut out);
    assert_eq!(out.map(f32::to_bits), [1.0, 0.0].map(f32::to_bits));
}

#[test]
fn sets_that_share_a_branch_become_one_condition() {
    let equal = |value: f64, fails: usize| Node::Branch {
        feature: 0,
        mode: 4,
        value,
        set: Vec::new(),
        missing: value > 2.0,
        holds: 4,
        fails,
    };
    let nodes = vec![equal(1.0, 1), equal(2.0, 2), equal(3.0, 3), leaf(-1.0), leaf(1.0)];
    let model = read(&regressor(nodes).bytes()).unwrap();
    let rows = [1.0, 2.0, 3.0, 1.5, f32::NAN, -0.0];
    let mut out = [0.0; 6];
    model.score(&rows, &mut crate::Scratch::default(), &mut out);
    assert_eq!(out.map(f32::to_bits), [1.0, 1.0, 1.0, -1.0, 1.0, -1.0].map(f32::to_bits));
}
