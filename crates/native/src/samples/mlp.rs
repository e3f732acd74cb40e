//! Random MLPs, with the nodes that exporters put between their layers.

use prost::Message;

use super::linear::{constant, node, number};
use super::trees::{Random, attribute, value};
use crate::proto::*;
use crate::{InputPart, NativeModel};

/// Layers over floats `x` and a scaled integer `count`, with their scores as `y`.
pub struct MlpSample {
    /// The number of floats in `x`.
    pub floats: usize,
    /// The units of each layer.
    pub layers: Vec<usize>,
    /// Determines the weights.
    pub seed: u64,
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, 1) }
}

impl MlpSample {
    /// `seed` determines everything.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let deep = 1 + random.below(3);
        let mut layers: Vec<usize> = (0..deep).map(|_| random.of(&[1, 3, 15, 16, 17, 40])).collect();
        layers.push(random.of(&[1, 1, 2, 18]));
        Self { floats: 1 + random.below(24), layers, seed }
    }

    #[must_use]
    pub fn parts(&self) -> [InputPart<'static>; 2] {
        [InputPart { name: "x", columns: self.floats }, InputPart { name: "count", columns: 1 }]
    }

    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.proto().encode_to_vec()
    }

    /// The graph.
    pub fn proto(&self) -> ModelProto {
        let mut random = Random::new(self.seed ^ 0xFF);
        let columns = self.floats + 1;
        let mut graph = GraphProto { name: "sample".to_owned(), ..GraphProto::default() };
        let some = |random: &mut Random, count: usize, size: f32| -> Vec<f32> {
            (0..count).map(|_| (random.below(2001) as f32 - 1000.0) / 1000.0 * size).collect()
        };
        graph.initializer.push(constant("mean", vec![columns as i64], some(&mut random, columns, 1.0)));
        graph.node.extend([
            node("Cast", "", &["count"], "counted", vec![number("to", i64::from(data_type::FLOAT))]),
            node("Concat", "", &["x", "counted"], "joined", vec![number("axis", 1)]),
            node("Sub", "", &["joined", "mean"], "row", Vec::new()),
        ]);
        let (mut width, mut now) = (columns, "row".to_owned());
        for (at, &sums) in self.layers.iter().enumerate() {
            let last = at + 1 == self.layers.len();
            let [weights, bias, product, sum, active] =
                ["weights", "bias", "product", "sum", "active"].map(|name| format!("{name}{at}"));
            let values = some(&mut random, width * sums, (3.0 / width as f32).sqrt());
            graph.initializer.push(constant(&bias, vec![sums as i64], some(&mut random, sums, 1.0)));
            let sum = if last { "scores".to_owned() } else { sum };
            let (rows, columns) = (width as i64, sums as i64);
            match random.below(3) {
                0 => {
                    graph.initializer.push(constant(&weights, vec![columns, rows], values));
                    let turned = vec![number("transB", 1)];
                    graph.node.push(node("Gemm", "", &[&now, &weights, &bias], &sum, turned));
                }
                1 => {
                    graph.initializer.push(constant(&weights, vec![rows, columns], values));
                    graph.node.push(node("Gemm", "", &[&now, &weights, &bias], &sum, Vec::new()));
                }
                _ => {
                    graph.initializer.push(constant(&weights, vec![rows, columns], values));
                    graph.node.push(node("MatMul", "", &[&now, &weights], &product, Vec::new()));
                    let order = random.of(&[[&product, &bias], [&bias, &product]]).map(String::as_str);
                    graph.node.push(node("Add", "", &order, &sum, Vec::new()));
                }
            }
            if !last {
                let [scale, shift, scaled, normal] =
                    ["scale", "shift", "scaled", "normal"].map(|name| format!("{name}{at}"));
                // Batch normalisation as Keras or as PyTorch exports it, or none.
                let each = vec![sums as i64];
                let sum = match random.below(4) {
                    0 => {
                        graph.initializer.push(constant(&scale, each.clone(), some(&mut random, sums, 1.0)));
                        graph.initializer.push(constant(&shift, each, some(&mut random, sums, 1.0)));
                        graph.node.push(node("Mul", "", &[&sum, &scale], &scaled, Vec::new()));
                        let shifts = random.of(&["Add", "Sub"]);
                        graph.node.push(node(shifts, "", &[&scaled, &shift], &normal, Vec::new()));
                        normal
                    }
                    1 => {
                        let names = ["scale", "shift", "mean", "variance"].map(|name| format!("{name}{at}"));
                        for name in &names {
                            let values = some(&mut random, sums, 1.0);
                            let positive = name.starts_with("variance");
                            let values =
                                values.iter().map(|value| if positive { value.abs() + 0.25 } else { *value });
                            graph.initializer.push(constant(name, each.clone(), values.collect()));
                        }
                        let [scale, shift, mean, variance] = &names;
                        let inputs = [&sum, scale, shift, mean, variance].map(String::as_str);
                        graph.node.push(node("BatchNormalization", "", &inputs, &normal, Vec::new()));
                        normal
                    }
                    _ => sum,
                };
                let (operator, slope) = match random.below(5) {
                    0 | 1 => ("Relu", None),
                    2 => ("LeakyRelu", Some(float("alpha", 0.125))),
                    3 => ("Sigmoid", None),
                    _ => ("Tanh", None),
                };
                graph.node.push(node(operator, "", &[&sum], &active, slope.into_iter().collect()));
            }
            (width, now) = (sums, active);
        }
        let last = if random.below(2) == 0 { "Sigmoid" } else { "Identity" };
        graph.node.push(node(last, "", &["scores"], "y", Vec::new()));
        graph.input = vec![value("x", data_type::FLOAT, self.floats), value("count", data_type::INT64, 1)];
        graph.output = vec![value("y", data_type::FLOAT, width)];
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 21 }];
        ModelProto { ir_version: 10, graph: Some(graph), opset_import }
    }

    #[must_use]
    pub fn model(&self) -> NativeModel {
        NativeModel::read(&self.bytes(), "y", &self.parts()).unwrap()
    }
}
