//! Random linear models, with the nodes that exporters put before and behind them.

use prost::Message;

use super::trees::{Random, attribute, value, written};
use crate::proto::*;
use crate::{InputPart, NativeModel};

const LABELS: [&str; 3] = ["no", "perhaps", "yes"];
const TEXTS: [&str; 3] = ["low", "middle", "high"];

/// A linear model over floats `x`, an integer `count`, a boolean `flag` and a text `band`, with its scores as `y`.
pub struct LinearSample {
    pub floats: usize,
    operator: &'static str,
    targets: usize,
    transform: &'static str,
    logged: bool,
    seed: u64,
}

#[must_use]
pub fn node(
    operator: &str,
    domain: &str,
    input: &[&str],
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: operator.to_owned(),
        domain: domain.to_owned(),
        attribute: written(attribute),
        ..NodeProto::default()
    }
}

#[must_use]
pub fn number(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, 2) }
}

#[must_use]
pub fn floats(name: &str, floats: Vec<f32>) -> AttributeProto {
    AttributeProto { floats, ..attribute(name, 6) }
}

fn texts(name: &str, texts: &[&str]) -> AttributeProto {
    AttributeProto {
        strings: texts.iter().map(|text| text.as_bytes().to_vec()).collect(),
        ..attribute(name, 8)
    }
}

#[must_use]
pub fn constant(name: &str, dims: Vec<i64>, float_data: Vec<f32>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims,
        data_type: data_type::FLOAT,
        float_data,
        ..TensorProto::default()
    }
}

impl LinearSample {
    /// `seed` determines everything.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let operator = random.of(&["LinearClassifier", "LinearRegressor", "Gemm", "MatMul"]);
        let classifier = operator == "LinearClassifier";
        Self {
            floats: 1 + random.below(8),
            operator,
            targets: if classifier { 2 + random.below(2) } else { 1 + random.below(3) },
            transform: if classifier { random.of(&["NONE", "LOGISTIC", "SOFTMAX"]) } else { "NONE" },
            logged: random.below(2) == 0,
            seed,
        }
    }

    #[must_use]
    pub fn parts(&self) -> [InputPart<'static>; 4] {
        let part = |name, columns| InputPart { name, columns };
        [part("x", self.floats), part("count", 1), part("flag", 1), part("band", 1)]
    }

    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut random = Random::new(self.seed ^ 0xFF);
        let float = |random: &mut Random| (random.below(2001) as f32 - 1000.0) / 700.0;
        let mut some = |count: usize| (0..count).map(|_| float(&mut random)).collect::<Vec<f32>>();
        let cast = || vec![number("to", i64::from(data_type::FLOAT))];
        let numbers = self.floats + 2;
        let columns = numbers + TEXTS.len();
        let mut graph = GraphProto { name: "sample".to_owned(), ..GraphProto::default() };
        graph.initializer.push(constant("one", Vec::new(), vec![1.0]));
        if self.logged {
            graph.node.push(node("Relu", "", &["x"], "positive", Vec::new()));
            graph.node.push(node("Add", "", &["positive", "one"], "shifted", Vec::new()));
            graph.node.push(node("Log", "", &["shifted"], "ready", Vec::new()));
        } else {
            graph.node.push(node("Identity", "", &["x"], "ready", Vec::new()));
        }
        let axis = || vec![number("axis", 1)];
        let scale = vec![floats("offset", some(numbers)), floats("scale", some(numbers))];
        let shape = TensorProto {
            name: "shape".to_owned(),
            dims: vec![2],
            data_type: data_type::INT64,
            int64_data: vec![-1, TEXTS.len() as i64],
            ..TensorProto::default()
        };
        graph.initializer.push(shape);
        graph.node.extend([
            node("Cast", "", &["count"], "counted", cast()),
            node("Cast", "", &["flag"], "flagged", cast()),
            node("Concat", "", &["ready", "counted", "flagged"], "joined", axis()),
            node("Scaler", "ai.onnx.ml", &["joined"], "scaled", scale),
            node(
                "OneHotEncoder",
                "ai.onnx.ml",
                &["band"],
                "cube",
                vec![texts("cats_strings", &TEXTS), number("zeros", 1)],
            ),
            node("Reshape", "", &["cube", "shape"], "hot", Vec::new()),
            node("Concat", "", &["scaled", "hot"], "row", axis()),
        ]);
        let targets = self.targets;
        let (weights, base) = (some(columns * targets), some(targets));
        let transform =
            AttributeProto { s: self.transform.as_bytes().to_vec(), ..attribute("post_transform", 3) };
        let ml = vec![floats("coefficients", weights.clone()), floats("intercepts", base.clone()), transform];
        let last = match self.operator {
            "LinearClassifier" => {
                let mut classifier = node(self.operator, "ai.onnx.ml", &["row"], "label", ml);
                classifier.output.push("y".to_owned());
                classifier.attribute.push(texts("classlabels_strings", &LABELS[..targets]).into());
                classifier
            }
            "LinearRegressor" => {
                let mut regressor = node(self.operator, "ai.onnx.ml", &["row"], "y", ml);
                regressor.attribute.push(number("targets", targets as i64).into());
                regressor
            }
            "Gemm" => {
                graph.initializer.push(constant("weights", vec![targets as i64, columns as i64], weights));
                graph.initializer.push(constant("base", vec![targets as i64], base));
                node("Gemm", "", &["row", "weights", "base"], "y", vec![number("transB", 1)])
            }
            _ => {
                graph.initializer.push(constant("weights", vec![columns as i64, targets as i64], weights));
                graph.initializer.push(constant("base", vec![targets as i64], base));
                graph.node.push(node("MatMul", "", &["row", "weights"], "product", Vec::new()));
                node("Add", "", &["product", "base"], "y", Vec::new())
            }
        };
        graph.node.push(last);
        graph.input = vec![
            value("x", data_type::FLOAT, self.floats),
            value("count", data_type::INT64, 1),
            value("flag", data_type::BOOL, 1),
            value("band", data_type::STRING, 1),
        ];
        graph.output = vec![value("y", data_type::FLOAT, targets)];
        let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let opset_import = vec![opset("", 21), opset("ai.onnx.ml", 3)];
        ModelProto { ir_version: 10, graph: Some(graph), opset_import }.encode_to_vec()
    }

    #[must_use]
    pub fn model(&self) -> NativeModel {
        NativeModel::read(&self.bytes(), "y", &self.parts()).unwrap()
    }
}
