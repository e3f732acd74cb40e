//! An MLP with random weights, as ONNX in the form that `PyTorch` exports.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use crate::onnx::{Attribute, Graph, Node, Tensor, Value, names, serialised};

/// An MLP with these numbers of units per layer, with `Relu` between layers and `Sigmoid` at the end. There is one
/// input, `features`, and one output, `score`.
pub(crate) fn model(features: usize, layers: &[usize], seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::seed_from_u64(seed);
    let mut graph = Graph {
        name: "layered".to_owned(),
        input: vec![Value::new("features", 1, &[None, Some(features as i64)])],
        output: vec![Value::new("score", 1, &[None, layers.last().map(|units| *units as i64)])],
        ..Graph::default()
    };
    let (mut width, mut now) = (features, "features".to_owned());
    for (at, &units) in layers.iter().enumerate() {
        let [weights, bias, sum, active] =
            ["weights", "bias", "sum", "active"].map(|name| format!("{name}{at}"));
        let last = at + 1 == layers.len();
        let active = if last { "score".to_owned() } else { active };
        // The range of He et al. (2015), which preserves the variance of activations.
        let size = (6.0 / width as f32).sqrt();
        let mut tensor = |name: &str, dims: &[usize]| Tensor {
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            element: 1,
            floats: (0..dims.iter().product())
                .map(|_| (random.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) * size)
                .collect(),
            name: name.to_owned(),
        };
        graph.initializer.extend([tensor(&weights, &[units, width]), tensor(&bias, &[units])]);
        graph.node.extend([
            Node {
                input: names(&[&now, &weights, &bias]),
                output: names(&[&sum]),
                op_type: "Gemm".to_owned(),
                attribute: vec![Attribute { i: 1, ..Attribute::new("transB", 2) }],
                ..Node::default()
            },
            Node {
                input: names(&[&sum]),
                output: names(&[&active]),
                op_type: if last { "Sigmoid" } else { "Relu" }.to_owned(),
                ..Node::default()
            },
        ]);
        (width, now) = (units, active);
    }
    serialised(graph)
}
