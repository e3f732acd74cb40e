//! Random ensembles: a plain evaluator that follows the specification, and a writer of ONNX.

use bytes::Bytes;
use prost::Message;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use crate::proto::*;

pub const MODES: [&str; 6] =
    ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];

/// The mode of `TreeEnsemble` that tests set membership.
const MEMBER: usize = 6;

#[derive(Debug, Clone)]
pub enum Node {
    Leaf(Vec<(usize, f64)>),
    Branch {
        feature: usize,
        mode: usize,
        value: f64,
        set: Vec<f64>,
        missing: bool,
        holds: usize,
        fails: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Classifier,
    Regressor,
    Five,
}

/// An ensemble over the input `x`, with the scores as `y`.
#[derive(Debug, Clone)]
pub struct Sample {
    pub kind: Kind,
    pub features: usize,
    pub double: bool,
    pub targets: usize,
    pub aggregate: &'static str,
    pub transform: &'static str,
    pub base: Vec<f64>,
    /// The root is the first node of each.
    pub trees: Vec<Vec<Node>>,
}

pub struct Random(SplitMix64);

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::seed_from_u64(seed))
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end as u64) as usize
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// One of few distinct numbers, so that rows hit thresholds. Some are special.
    pub fn number(&mut self) -> f64 {
        let strange = [0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38, f64::INFINITY, f64::NEG_INFINITY, 1.0, 2.0];
        let value = if self.below(4) == 0 { self.of(&strange) } else { self.below(41) as f64 / 8.0 - 2.5 };
        f64::from(value as f32)
    }

    fn weight(&mut self) -> f64 {
        f64::from((self.below(2001) as f32 - 1000.0) / 700.0)
    }
}

impl Sample {
    /// `seed` determines everything.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let kind = random.of(&[Kind::Classifier, Kind::Regressor, Kind::Five]);
        let targets =
            if kind == Kind::Classifier { random.of(&[2, 2, 3, 5]) } else { random.of(&[1, 1, 2, 3]) };
        let mut sample = Self {
            kind,
            features: 1 + random.below(6),
            double: random.below(4) == 0,
            targets,
            aggregate: "SUM",
            transform: random.of(&["NONE", "NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]),
            base: Vec::new(),
            trees: Vec::new(),
        };
        if kind != Kind::Classifier {
            sample.aggregate = random.of(&["SUM", "SUM", "AVERAGE", "MIN", "MAX"]);
        }
        if kind == Kind::Five && sample.targets > 1 {
            sample.aggregate = "SUM";
        }
        let base = match (kind, targets) {
            (Kind::Five, _) => 0,
            (Kind::Classifier, 2) => random.below(3),
            _ => random.of(&[0, targets]),
        };
        sample.base = (0..base).map(|_| random.weight()).collect();
        // The classes or targets with weights: one in some binary classifiers, else all.
        let used: Vec<usize> = match (kind, targets) {
            (Kind::Classifier, 2) => random.of(&[&[0][..], &[0], &[1], &[0, 1]]).to_vec(),
            _ => (0..targets).collect(),
        };
        let positive = random.below(3) == 0;
        // ONNX Runtime walks trees of one mode differently from mixed ones.
        let modes: &[usize] =
            random.of(&[&[0][..], &[1], &[2], &[3], &[0, 4], &[0, 1, 2, 3, 4, 5], &[0, MEMBER]]);
        let most = random.of(&[1, 4, 31, 32, 33, 60, 100, 200, 300]);
        for _ in 0..=random.below(24) {
            let leaves = 1 + random.below(most);
            sample.trees.push(sample.tree(&mut random, leaves, modes, &used, positive));
        }
        sample
    }

    fn tree(
        &self,
        random: &mut Random,
        leaves: usize,
        modes: &[usize],
        used: &[usize],
        positive: bool,
    ) -> Vec<Node> {
        let weights = |random: &mut Random| {
            let weight = |random: &mut Random| {
                let weight = random.weight();
                if positive { weight.abs() / 8.0 } else { weight }
            };
            if self.kind == Kind::Five {
                return vec![(random.of(used), weight(random))];
            }
            used.iter().map(|target| (*target, weight(random))).collect()
        };
        let mut nodes = vec![Node::Leaf(weights(random))];
        let mut open = vec![0];
        for _ in 1..leaves {
            let at = open.swap_remove(random.below(open.len()));
            let (holds, fails) = (nodes.len(), nodes.len() + 1);
            let mut mode = random.of(modes);
            if mode == MEMBER && self.kind != Kind::Five {
                mode = 4;
            }
            // Integers from 1. For others, ONNX Runtime loads no set or a different one, which the check at load
            // catches.
            let set = if mode == MEMBER {
                (0..=random.below(4)).map(|_| random.below(7) as f64 + 1.0).collect()
            } else {
                Vec::new()
            };
            let (feature, missing) = (random.below(self.features), random.below(2) == 0);
            nodes[at] = Node::Branch { feature, mode, value: random.number(), set, missing, holds, fails };
            for _ in 0..2 {
                open.push(nodes.len());
                nodes.push(Node::Leaf(weights(random)));
            }
        }
        nodes
    }

    /// Increases the first leaf of the first tree.
    #[must_use]
    pub fn with_another_leaf(&self) -> Self {
        let mut other = self.clone();
        for node in other.trees.iter_mut().flatten() {
            if let Node::Leaf(weights) = node {
                for (_, weight) in weights.iter_mut() {
                    *weight += 0.25;
                }
                break;
            }
        }
        other
    }

    /// Rows of values that hit thresholds.
    #[must_use]
    pub fn rows(&self, count: usize, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..count * self.features)
            .map(|_| if random.below(6) == 0 { f64::NAN } else { random.number() })
            .collect()
    }

    /// The sums of a row, target by target, in the precision of the operator.
    #[must_use]
    pub fn sums(&self, row: &[f64]) -> Vec<f64> {
        let mut sums: Vec<Option<f64>> = vec![None; self.targets];
        for tree in &self.trees {
            for (target, value) in reached(tree, 0, row) {
                let sum = &mut sums[*target];
                *sum = Some(match (*sum, self.aggregate) {
                    (None, _) => *value,
                    (Some(sum), "MIN") => sum.min(*value),
                    (Some(sum), "MAX") => sum.max(*value),
                    (Some(sum), _) if self.double => sum + value,
                    (Some(sum), _) => f64::from(sum as f32 + *value as f32),
                });
            }
        }
        sums.into_iter().map(|sum| sum.unwrap_or(0.0)).collect()
    }

    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let element = if self.double { data_type::DOUBLE } else { data_type::FLOAT };
        let (name, outputs, version) = match self.kind {
            Kind::Classifier => ("TreeEnsembleClassifier", vec!["label".to_owned(), "y".to_owned()], 3),
            Kind::Regressor => ("TreeEnsembleRegressor", vec!["y".to_owned()], 3),
            Kind::Five => ("TreeEnsemble", vec!["y".to_owned()], 5),
        };
        let node = NodeProto {
            input: vec!["x".to_owned()],
            output: outputs,
            op_type: name.to_owned(),
            domain: "ai.onnx.ml".to_owned(),
            attribute: written(if self.kind == Kind::Five {
                self.five(element)
            } else {
                self.three(element)
            }),
            ..NodeProto::default()
        };
        let output = if self.kind == Kind::Five { element } else { data_type::FLOAT };
        let graph = GraphProto {
            node: vec![node],
            name: "sample".to_owned(),
            input: vec![value("x", element, self.features)],
            output: vec![value("y", output, self.targets)],
            ..GraphProto::default()
        };
        let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let opset_import = vec![opset("", 21), opset("ai.onnx.ml", version)];
        ModelProto { ir_version: 10, graph: Some(graph), opset_import }.encode_to_vec()
    }

    fn three(&self, element: i32) -> Vec<AttributeProto> {
        let mut lists: [Vec<i64>; 6] = Default::default();
        let (mut modes, mut values) = (Vec::new(), Vec::new());
        let mut weights: ([Vec<i64>; 3], Vec<f64>) = Default::default();
        for (tree, nodes) in self.trees.iter().enumerate() {
            for (at, node) in nodes.iter().enumerate() {
                let entry = match node {
                    Node::Leaf(leaf) => {
                        for (target, weight) in leaf {
                            let ids = [*target as i64, at as i64, tree as i64];
                            weights.0.iter_mut().zip(ids).for_each(|(list, id)| list.push(id));
                            weights.1.push(*weight);
                        }
                        modes.push(b"LEAF".to_vec());
                        values.push(0.0);
                        [at as i64, tree as i64, 0, 0, 0, 0]
                    }
                    Node::Branch { feature, mode, value, missing, holds, fails, .. } => {
                        modes.push(MODES[*mode].as_bytes().to_vec());
                        values.push(*value);
                        let missing = i64::from(*missing);
                        [at as i64, tree as i64, *feature as i64, *holds as i64, *fails as i64, missing]
                    }
                };
                lists.iter_mut().zip(entry).for_each(|(list, value)| list.push(value));
            }
        }
        let names =
            ["nodeids", "treeids", "featureids", "truenodeids", "falsenodeids", "missing_value_tracks_true"];
        let kind = if self.kind == Kind::Classifier { "class" } else { "target" };
        let mut all: Vec<AttributeProto> =
            names.iter().zip(lists).map(|(name, list)| ints(&format!("nodes_{name}"), list)).collect();
        all.push(AttributeProto { strings: modes, ..attribute("nodes_modes", 8) });
        for (name, list) in ["ids", "nodeids", "treeids"].iter().zip(weights.0) {
            all.push(ints(&format!("{kind}_{name}"), list));
        }
        let weight_name = format!("{kind}_weights");
        for (name, numbers) in
            [("nodes_values", values), (&weight_name, weights.1), ("base_values", self.base.clone())]
        {
            if numbers.is_empty() {
                continue;
            }
            all.push(if self.double {
                tensor(&format!("{name}_as_tensor"), element, &numbers)
            } else {
                let floats = numbers.iter().map(|number| *number as f32).collect();
                AttributeProto { floats, ..attribute(name, 6) }
            });
        }
        all.push(text("post_transform", self.transform));
        if self.kind == Kind::Classifier {
            all.push(ints("classlabels_int64s", (0..self.targets as i64).collect()));
        } else {
            all.push(AttributeProto { i: self.targets as i64, ..attribute("n_targets", 2) });
            all.push(text("aggregate_function", self.aggregate));
        }
        all
    }

    fn five(&self, element: i32) -> Vec<AttributeProto> {
        let mut lists: [Vec<i64>; 6] = Default::default();
        let (mut modes, mut splits, mut members) = (Vec::new(), Vec::new(), Vec::new());
        let (mut targets, mut weights, mut roots) = (Vec::new(), Vec::new(), Vec::new());
        for nodes in &self.trees {
            // A single leaf is a condition that leads to it either way.
            let alone = matches!(nodes[0], Node::Leaf(_));
            let first = modes.len();
            roots.push(first as i64);
            let mut places = Vec::new();
            let (mut branches, mut leaves) = (first, targets.len());
            for node in nodes {
                let leaf = matches!(node, Node::Leaf(_));
                places.push((i64::from(leaf), if leaf { leaves } else { branches } as i64));
                *if leaf { &mut leaves } else { &mut branches } += 1;
            }
            for node in nodes {
                match node {
                    Node::Leaf(leaf) => {
                        targets.push(leaf[0].0 as i64);
                        weights.push(leaf[0].1);
                        if alone {
                            let entry = [0, places[0].1, places[0].1, 1, 1, 0];
                            lists.iter_mut().zip(entry).for_each(|(list, value)| list.push(value));
                            modes.push(0);
                            splits.push(0.0);
                        }
                    }
                    Node::Branch { feature, mode, value, set, missing, holds, fails } => {
                        let ((hold_leaf, holds), (fail_leaf, fails)) = (places[*holds], places[*fails]);
                        let entry =
                            [*feature as i64, holds, fails, hold_leaf, fail_leaf, i64::from(*missing)];
                        lists.iter_mut().zip(entry).for_each(|(list, value)| list.push(value));
                        modes.push(*mode as u8);
                        splits.push(*value);
                        if *mode == MEMBER {
                            members.extend(set);
                            members.push(f64::NAN);
                        }
                    }
                }
            }
        }
        let names = [
            "featureids",
            "truenodeids",
            "falsenodeids",
            "trueleafs",
            "falseleafs",
            "missing_value_tracks_true",
        ];
        let mut all: Vec<AttributeProto> =
            names.iter().zip(lists).map(|(name, list)| ints(&format!("nodes_{name}"), list)).collect();
        let t = TensorProto {
            dims: vec![modes.len() as i64],
            data_type: data_type::UINT8,
            raw_data: modes.into(),
            ..TensorProto::default()
        };
        all.push(AttributeProto { t: Some(t), ..attribute("nodes_modes", 4) });
        all.push(tensor("nodes_splits", element, &splits));
        all.push(tensor("leaf_weights", element, &weights));
        if !members.is_empty() {
            all.push(tensor("membership_values", element, &members));
        }
        all.push(ints("leaf_targetids", targets));
        all.push(ints("tree_roots", roots));
        let number = |name: &str, names: &[&str], wanted: &str| {
            let i = names.iter().position(|name| *name == wanted).unwrap() as i64;
            AttributeProto { i, ..attribute(name, 2) }
        };
        all.push(number("aggregate_function", &["AVERAGE", "SUM", "MIN", "MAX"], self.aggregate));
        let transforms = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"];
        all.push(number("post_transform", &transforms, self.transform));
        all.push(AttributeProto { i: self.targets as i64, ..attribute("n_targets", 2) });
        all
    }
}

/// The leaf of a row.
#[expect(clippy::float_cmp, reason = "as the operator compares")]
fn reached<'t>(tree: &'t [Node], at: usize, row: &[f64]) -> &'t [(usize, f64)] {
    match &tree[at] {
        Node::Leaf(weights) => weights,
        Node::Branch { feature, mode, value, set, missing, holds, fails } => {
            let x = row[*feature];
            let holds_for = match mode {
                0 => x <= *value,
                1 => x < *value,
                2 => x >= *value,
                3 => x > *value,
                4 => x == *value,
                5 => x != *value,
                _ => set.contains(&x),
            };
            let next = if holds_for || (x.is_nan() && *missing) { *holds } else { *fails };
            reached(tree, next, row)
        }
    }
}

#[must_use]
pub fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), kind, ..AttributeProto::default() }
}

/// Attributes as a node has them.
pub fn written(attributes: Vec<AttributeProto>) -> Vec<Bytes> {
    attributes.into_iter().map(Bytes::from).collect()
}

#[must_use]
pub fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { ints, ..attribute(name, 7) }
}

fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto { s: text.as_bytes().to_vec(), ..attribute(name, 3) }
}

fn tensor(name: &str, element: i32, numbers: &[f64]) -> AttributeProto {
    let mut tensor =
        TensorProto { dims: vec![numbers.len() as i64], data_type: element, ..TensorProto::default() };
    if element == data_type::DOUBLE {
        tensor.double_data = numbers.to_vec();
    } else {
        tensor.float_data = numbers.iter().map(|number| *number as f32).collect();
    }
    AttributeProto { t: Some(tensor), ..attribute(name, 4) }
}

#[must_use]
pub fn value(name: &str, element: i32, columns: usize) -> ValueInfoProto {
    let dim = vec![DimensionProto { dim_value: None }, DimensionProto { dim_value: Some(columns as i64) }];
    let tensor = TensorTypeProto { elem_type: element, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.to_owned(), kind: Some(TypeProto { tensor: Some(tensor) }) }
}
