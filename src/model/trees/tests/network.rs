//! Random perceptrons: that splitting them and other instruction sets change no bit, and what they are not.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;

use super::linear::{constant, node, number};
use super::sample::{Random, attribute, value};
use super::{Meeting, scores, with_machine};
use crate::model::onnx::proto::*;
use crate::model::trees::machine::Machine;
use crate::model::trees::{InputPart, Side, TreeModel};

/// Layers over floats `x` and a whole number `count`, scaled, with their scores as `y`.
pub(in crate::model::trees) struct NetworkSample {
    floats: usize,
    /// Sums of each layer.
    layers: Vec<usize>,
    seed: u64,
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, 1) }
}

impl NetworkSample {
    /// `seed` decides everything.
    pub(in crate::model::trees) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let deep = 1 + random.below(3);
        let mut layers: Vec<usize> = (0..deep).map(|_| random.of(&[1, 3, 15, 16, 17, 40])).collect();
        layers.push(random.of(&[1, 1, 2, 18]));
        Self { floats: 1 + random.below(24), layers, seed }
    }

    pub(in crate::model::trees) fn parts(&self) -> [InputPart<'static>; 2] {
        [InputPart { name: "x", columns: self.floats }, InputPart { name: "count", columns: 1 }]
    }

    pub(in crate::model::trees) fn bytes(&self) -> Vec<u8> {
        self.proto().encode_to_vec()
    }

    fn proto(&self) -> ModelProto {
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

    pub(in crate::model::trees) fn model(&self) -> TreeModel {
        TreeModel::read(&self.bytes(), "y", &self.parts()).unwrap()
    }
}

proptest! {
    #[test]
    fn a_network_has_the_same_bits_for_every_split_and_machine(seed: u64, offers in 1..150_usize) {
        let sample = NetworkSample::of(seed);
        let mut random = Random::new(seed ^ 2);
        let width = sample.model().row_width();
        let kinds = random.of(&[&[Side::Customer, Side::Offer][..], &[Side::Customer, Side::Offer, Side::Pair]]);
        let sides: Vec<Side> = (0..width).map(|_| random.of(kinds)).collect();
        let plain = sample.model().grouped(&sides);
        let customer = plain.probe_rows(1, true, seed ^ 3);
        let (offer_rows, pair_rows) = (plain.probe_rows(offers, true, seed ^ 4), plain.probe_rows(offers, true, seed ^ 5));
        let wanted: Vec<usize> = (0..=random.below(2 * offers)).map(|_| random.below(offers)).collect();
        let meeting = Meeting::of(&sides, customer, offer_rows, &pair_rows, wanted);
        let whole = &meeting.whole;
        let expected = scores(&plain, whole);
        for machine in Machine::all() {
            let model = Arc::new(with_machine(sample.model(), machine).grouped(&sides));
            prop_assert_eq!(&scores(&model, whole), &expected, "{:?}", machine);
            let alone: Vec<u32> = whole.chunks_exact(width).flat_map(|row| scores(&model, row)).collect();
            prop_assert_eq!(&alone, &expected, "one by one, {:?}", machine);
            prop_assert_eq!(&meeting.factorised(&model), &expected, "{:?} {:?}", machine, sides);
        }
    }

    #[test]
    fn no_damage_to_a_network_makes_reading_panic(seed in 0..64_u64, at in any::<prop::sample::Index>(), byte: u8) {
        let sample = NetworkSample::of(seed);
        let mut bytes = sample.bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(model) = TreeModel::read(&bytes, "y", &sample.parts()) {
            scores(&model, &model.probe_rows(3, true, seed));
        }
    }
}

/// The error of a sample after a change to its graph.
fn refused(change: impl FnOnce(&mut GraphProto)) -> String {
    let sample = NetworkSample { floats: 4, layers: vec![3, 1], seed: 1 };
    let mut proto = sample.proto();
    change(proto.graph.as_mut().unwrap());
    TreeModel::read(&proto.encode_to_vec(), "y", &sample.parts()).unwrap_err().to_string()
}

#[test]
fn what_makes_no_network_is_named() {
    let strange = refused(|graph| {
        let activation = graph.node.iter_mut().find(|node| node.output == ["active0"]).unwrap();
        activation.op_type = "Erf".to_owned();
    });
    assert!(strange.contains("Erf"), "{strange}");
    let narrow = refused(|graph| {
        let weights = graph.initializer.iter_mut().find(|tensor| tensor.name == "weights1").unwrap();
        weights.dims = vec![2, 1];
        weights.float_data.truncate(2);
    });
    assert!(narrow.contains("its matrix does not fit"), "{narrow}");
    let circle = refused(|graph| {
        let first = graph.node.iter_mut().find(|node| node.input.iter().any(|input| input == "row")).unwrap();
        first
            .input
            .iter_mut()
            .filter(|input| *input == "row")
            .for_each(|input| *input = "active0".to_owned());
    });
    assert!(circle.contains("circles"), "{circle}");
}
