//! What stands behind the trees or the linear model.

use super::{Graph, linear, unsupported};
use crate::model::onnx::Labels;
use crate::model::onnx::proto::{NodeProto, data_type};
use crate::model::trees::Unsupported;
use crate::model::trees::after::{Act, After};
use crate::model::trees::ensemble::operators::Attributes;

/// The model in the middle and what follows it up to an output.
pub(super) struct Behind<'g> {
    /// The node that is the ensemble or linear.
    pub(super) node: &'g NodeProto,
    pub(super) labels: Option<Labels>,
    /// The last first.
    steps: Vec<(&'g NodeProto, Vec<Act>)>,
}

pub(super) fn follow<'g>(graph: &Graph<'g>, output: &str) -> Result<Behind<'g>, Unsupported> {
    let (mut name, mut labels, mut steps) = (output, None, Vec::new());
    // More steps than nodes would go in circles.
    for _ in 0..=graph.proto.node.len() {
        let Some(&node) = graph.nodes.get(name) else {
            return Err(Unsupported::because(format!("nothing gives `{name}`")));
        };
        let first = node.input.first().map_or("", String::as_str);
        let attributes = Attributes(node);
        let mut step = |acts: Vec<Act>| steps.push((node, acts));
        name = match (node.domain.as_str(), node.op_type.as_str()) {
            ("ai.onnx.ml", "TreeEnsembleClassifier" | "LinearClassifier") => {
                if node.output.get(1).is_some_and(|scores| scores == name) {
                    return Ok(Behind { node, labels, steps });
                }
                return unsupported(node, "its label is no score");
            }
            _ if linear::is_linear(node) => return Ok(Behind { node, labels, steps }),
            ("ai.onnx.ml", "TreeEnsembleRegressor" | "TreeEnsemble") => {
                return Ok(Behind { node, labels, steps });
            }
            ("ai.onnx.ml", "ZipMap") if name == output => {
                labels = Some(zip_map(attributes)?);
                first
            }
            ("ai.onnx.ml", "Normalizer") => {
                step(vec![match attributes.string("norm", "MAX")? {
                    "MAX" => Act::Max,
                    "L1" => Act::L1,
                    "L2" => Act::L2,
                    _ => return unsupported(node, "an unknown norm"),
                }]);
                first
            }
            ("ai.onnx.ml", "ArrayFeatureExtractor") => {
                step(vec![columns(graph, node)?]);
                first
            }
            ("" | "ai.onnx", operator) => match operator {
                "Identity" => first,
                "Cast" => match attributes.int("to", 0) as i32 {
                    data_type::FLOAT | data_type::DOUBLE => first,
                    _ => return unsupported(node, "a cast of scores to something else than numbers"),
                },
                "Sigmoid" => {
                    step(vec![Act::Sigmoid]);
                    first
                }
                "Softmax" if matches!(attributes.int("axis", -1), -1 | 1) => {
                    step(vec![Act::Softmax]);
                    first
                }
                "Gather" if attributes.int("axis", 0) == 1 => {
                    step(vec![columns(graph, node)?]);
                    first
                }
                "Reshape" => match graph.whole_numbers(node, 1, "shape").as_slice() {
                    // The rows stay rows; how many columns there are is found out with the trees.
                    [-1 | 0, _] => first,
                    _ => return unsupported(node, "another shape than rows × columns"),
                },
                "Flatten" if attributes.int("axis", 1) == 1 => first,
                "Add" | "Sub" | "Mul" | "Div" => {
                    let (acts, other) = arithmetic(graph, node)?;
                    step(acts);
                    other
                }
                _ => {
                    return unsupported(node, "an operator that is not known behind trees or a linear model");
                }
            },
            _ => return unsupported(node, "an operator that is not known behind trees or a linear model"),
        };
    }
    Err(Unsupported::because("the graph goes in circles".to_owned()))
}

impl Behind<'_> {
    /// The steps in their order, for trees that give `width` scores.
    pub(super) fn after(&self, width: usize) -> Result<After, Unsupported> {
        let (mut now, mut after) = (width, After::default());
        for (node, acts) in self.steps.iter().rev() {
            for act in acts {
                if let Act::AddEach(others) = act
                    && others.len() != now
                {
                    return unsupported(node, "not a constant for each score");
                }
                if let Act::Columns(columns) = act {
                    if columns.is_empty()
                        || columns.len() > now
                        || columns.iter().any(|column| *column >= now)
                    {
                        return unsupported(node, "columns that are not there");
                    }
                    now = columns.len();
                }
                // As LightGBM's converter writes it.
                if *act != Act::Multiply(1.0) {
                    after.steps.push(act.clone());
                }
            }
        }
        Ok(after)
    }
}

/// Scores and a constant: one for all or, where it is added, one each.
fn arithmetic<'g>(graph: &Graph<'g>, node: &'g NodeProto) -> Result<(Vec<Act>, &'g str), Unsupported> {
    let [left, right] = node.input.as_slice() else { return unsupported(node, "not two inputs") };
    let (value, other, constant_first) = match (graph.constant(left), graph.constant(right)) {
        (None, Some(value)) => (value, left, false),
        (Some(value), None) => (value, right, true),
        _ => return unsupported(node, "neither input alone is a constant"),
    };
    let [value] = value[..] else {
        if node.op_type == "Add" {
            return Ok((vec![Act::AddEach(value.iter().map(|value| *value as f32).collect())], other));
        }
        return unsupported(node, "a constant of several numbers");
    };
    let value = value as f32;
    let act = match (node.op_type.as_str(), constant_first) {
        ("Add", _) => Act::Add(value),
        ("Sub", false) => Act::Add(-value),
        ("Sub", true) => Act::From(value),
        ("Mul", _) => Act::Multiply(value),
        ("Div", false) => Act::Divide(value),
        _ => return unsupported(node, "a constant divided by scores"),
    };
    Ok((vec![act], other))
}

fn columns(graph: &Graph<'_>, node: &NodeProto) -> Result<Act, Unsupported> {
    let columns = graph.whole_numbers(node, 1, "");
    let places: Vec<usize> = columns.iter().filter_map(|column| usize::try_from(*column).ok()).collect();
    if places.len() != columns.len() || places.is_empty() {
        return unsupported(node, "columns that are not known");
    }
    Ok(Act::Columns(places))
}

fn zip_map(attributes: Attributes<'_>) -> Result<Labels, Unsupported> {
    let texts = attributes.strings("classlabels_strings");
    if texts.is_empty() {
        return Ok(Labels::Int64(attributes.ints("classlabels_int64s").to_vec()));
    }
    let texts: Result<Vec<String>, _> = texts.iter().map(|text| String::from_utf8(text.clone())).collect();
    texts.map(Labels::String).map_err(|_| Unsupported::because("a label is no text".to_owned()))
}
