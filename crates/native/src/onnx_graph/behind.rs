//! The nodes behind the trees or the linear model.

use super::{Graph, linear, unsupported};
use crate::Labels;
use crate::Unsupported;
use crate::after::{After, ScoreStep};
use crate::ensemble::trees::operators::Attributes;
use crate::proto::{NodeProto, data_type};

/// The most nodes in a chain behind the model.
const DEEPEST: usize = 64;

/// The model in the middle and the steps up to an output.
pub(super) struct Behind<'g> {
    pub(super) core: Core<'g>,
    pub(super) labels: Option<Labels>,
    /// In order, each with its node.
    steps: Vec<(&'g NodeProto, ScoreStep)>,
}

/// The nodes of the model.
#[derive(PartialEq)]
pub(super) enum Core<'g> {
    /// An ensemble or a linear model.
    One(&'g NodeProto),
    /// Ensembles whose sum or mean this node takes.
    Several { node: &'g NodeProto, parts: Vec<&'g NodeProto>, mean: bool },
}

pub(super) fn follow<'g>(graph: &Graph<'g>, output: &str) -> Result<Behind<'g>, Unsupported> {
    let Some(&node) = graph.nodes.get(output) else {
        return Err(Unsupported::because(format!("no node gives `{output}`")));
    };
    if (node.domain.as_str(), node.op_type.as_str()) == ("ai.onnx.ml", "ZipMap") {
        let labels = Some(zip_map(Attributes(node))?);
        return Ok(Behind { labels, ..chain(graph, first_of(node), 0)? });
    }
    chain(graph, output, 0)
}

fn first_of(node: &NodeProto) -> &str {
    node.input.first().map_or("", String::as_str)
}

/// The chain from the model to `name`.
fn chain<'g>(graph: &Graph<'g>, name: &str, depth: usize) -> Result<Behind<'g>, Unsupported> {
    let Some(&node) = graph.nodes.get(name) else {
        return Err(Unsupported::because(format!("no node gives `{name}`")));
    };
    if depth == DEEPEST {
        return unsupported(node, "too much stands behind the model, or it goes in circles");
    }
    if let Some(core) = core(graph, node, name)? {
        return Ok(Behind { core, labels: None, steps: Vec::new() });
    }
    let attributes = Attributes(node);
    let (act, before) = match (node.domain.as_str(), node.op_type.as_str()) {
        ("ai.onnx.ml", "Normalizer") => {
            let norm = match attributes.string("norm", "MAX")? {
                "MAX" => ScoreStep::Max,
                "L1" => ScoreStep::L1,
                "L2" => ScoreStep::L2,
                _ => return unsupported(node, "an unknown norm"),
            };
            (Some(norm), first_of(node))
        }
        ("ai.onnx.ml", "ArrayFeatureExtractor") => (Some(columns(graph, node)?), first_of(node)),
        ("" | "ai.onnx", operator) => match operator {
            "Identity" => (None, first_of(node)),
            "Cast" => match attributes.int("to", 0) as i32 {
                data_type::FLOAT | data_type::DOUBLE => (None, first_of(node)),
                _ => return unsupported(node, "a cast of scores to something else than numbers"),
            },
            "Sigmoid" => (Some(ScoreStep::Sigmoid), first_of(node)),
            "Softmax" if matches!(attributes.int("axis", -1), -1 | 1) => {
                (Some(ScoreStep::Softmax), first_of(node))
            }
            "Gather" if attributes.int("axis", 0) == 1 => (Some(columns(graph, node)?), first_of(node)),
            "Reshape" => match graph.whole_numbers(node, 1, "shape").as_slice() {
                // Rows stay rows. The number of columns follows from the model.
                [-1 | 0, _] => (None, first_of(node)),
                _ => return unsupported(node, "another shape than rows × columns"),
            },
            "Flatten" if attributes.int("axis", 1) == 1 => (None, first_of(node)),
            "Concat" if matches!(attributes.int("axis", 0), 1 | -1) => {
                return side_by_side(graph, node, depth);
            }
            "Add" | "Sub" | "Mul" | "Div" => {
                let (act, other) = arithmetic(graph, node)?;
                (Some(act), other)
            }
            _ => return unsupported(node, "an operator that is not known behind trees or a linear model"),
        },
        _ => return unsupported(node, "an operator that is not known behind trees or a linear model"),
    };
    let mut behind = chain(graph, before, depth + 1)?;
    behind.steps.extend(act.map(|act| (node, act)));
    Ok(behind)
}

/// The core that `node` is, if it is a model or a sum of models; `name` is the wanted output.
fn core<'g>(graph: &Graph<'g>, node: &'g NodeProto, name: &str) -> Result<Option<Core<'g>>, Unsupported> {
    if linear::is_linear(node) || is_ensemble(node) {
        let classifies = matches!(node.op_type.as_str(), "TreeEnsembleClassifier" | "LinearClassifier");
        if classifies && node.output.get(1).is_none_or(|scores| scores != name) {
            return unsupported(node, "its label is no score");
        }
        return Ok(Some(Core::One(node)));
    }
    if !matches!(node.domain.as_str(), "" | "ai.onnx") {
        return Ok(None);
    }
    let (inputs, mean) = match node.op_type.as_str() {
        "Sum" | "Mean" => (&node.input, node.op_type == "Mean"),
        "Add" if node.input.iter().all(|input| graph.constant(input).is_none()) => (&node.input, false),
        "ReduceMean"
            if graph.whole_numbers(node, 1, "axes") == [0] && Attributes(node).int("keepdims", 1) == 0 =>
        {
            match graph.nodes.get(first_of(node)) {
                Some(all) if all.op_type == "Concat" && Attributes(all).int("axis", 1) == 0 => {
                    (&all.input, true)
                }
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    let parts: Option<Vec<&NodeProto>> = inputs.iter().map(|input| ensemble(graph, input)).collect();
    match parts {
        Some(parts) if !parts.is_empty() => Ok(Some(Core::Several { node, parts, mean })),
        _ => unsupported(node, "it adds something other than tree ensembles"),
    }
}

fn is_ensemble(node: &NodeProto) -> bool {
    node.domain == "ai.onnx.ml"
        && matches!(
            node.op_type.as_str(),
            "TreeEnsembleClassifier" | "TreeEnsembleRegressor" | "TreeEnsemble"
        )
}

/// The ensemble that produces `name`, perhaps through a cast or reshape.
fn ensemble<'g>(graph: &Graph<'g>, name: &str) -> Option<&'g NodeProto> {
    let mut name = name;
    for _ in 0..DEEPEST {
        let node = *graph.nodes.get(name)?;
        if is_ensemble(node) {
            let scores = node.output.get(usize::from(node.op_type == "TreeEnsembleClassifier"));
            return scores.is_some_and(|scores| scores == name).then_some(node);
        }
        name = match node.op_type.as_str() {
            "Identity" | "Cast" => first_of(node),
            "Reshape" if matches!(graph.whole_numbers(node, 1, "shape")[..], [1, -1, _]) => first_of(node),
            _ => return None,
        };
    }
    None
}

/// Joined results of several steps on the scores of one model.
fn side_by_side<'g>(graph: &Graph<'g>, node: &'g NodeProto, depth: usize) -> Result<Behind<'g>, Unsupported> {
    let mut ways = Vec::with_capacity(node.input.len());
    let mut all: Option<Behind<'g>> = None;
    for input in &node.input {
        let mut behind = chain(graph, input, depth + 1)?;
        ways.push(behind.steps.drain(..).map(|(_, act)| act).collect());
        if all.as_ref().is_some_and(|all| all.core != behind.core) {
            return unsupported(node, "scores of several models are joined");
        }
        all = Some(behind);
    }
    match all {
        Some(mut behind) => {
            behind.steps.push((node, ScoreStep::Join(ways)));
            Ok(behind)
        }
        None => unsupported(node, "nothing to join"),
    }
}

impl Behind<'_> {
    /// The steps in order, for a model with `width` scores.
    pub(super) fn after(&self, width: usize) -> Result<After, Unsupported> {
        let (mut now, mut after) = (width, After::default());
        for (node, act) in &self.steps {
            now = match act.width(now) {
                Ok(width) => width,
                Err(why) => return unsupported(node, why),
            };
            // LightGBM's converter writes such a step.
            if *act != ScoreStep::Multiply(1.0) {
                after.steps.push(act.clone());
            }
        }
        Ok(after)
    }
}

/// Scores and a constant: one for all or, for an addition, one each.
fn arithmetic<'g>(graph: &Graph<'g>, node: &'g NodeProto) -> Result<(ScoreStep, &'g str), Unsupported> {
    let [left, right] = node.input.as_slice() else { return unsupported(node, "not two inputs") };
    let (value, other, constant_first) = match (graph.constant(left), graph.constant(right)) {
        (None, Some(value)) => (value, left, false),
        (Some(value), None) => (value, right, true),
        _ => return unsupported(node, "neither input alone is a constant"),
    };
    let [value] = value[..] else {
        if node.op_type == "Add" {
            return Ok((ScoreStep::AddEach(value.iter().map(|value| *value as f32).collect()), other));
        }
        return unsupported(node, "a constant of several numbers");
    };
    let value = value as f32;
    let act = match (node.op_type.as_str(), constant_first) {
        ("Add", _) => ScoreStep::Add(value),
        ("Sub", false) => ScoreStep::Add(-value),
        ("Sub", true) => ScoreStep::From(value),
        ("Mul", _) => ScoreStep::Multiply(value),
        ("Div", false) => ScoreStep::Divide(value),
        _ => return unsupported(node, "a constant divided by scores"),
    };
    Ok((act, other))
}

fn columns(graph: &Graph<'_>, node: &NodeProto) -> Result<ScoreStep, Unsupported> {
    let columns = graph.whole_numbers(node, 1, "");
    let places: Vec<usize> = columns.iter().filter_map(|column| usize::try_from(*column).ok()).collect();
    if places.len() != columns.len() || places.is_empty() {
        return unsupported(node, "columns that are not known");
    }
    Ok(ScoreStep::Columns(places))
}

fn zip_map(attributes: Attributes<'_>) -> Result<Labels, Unsupported> {
    let texts = attributes.strings("classlabels_strings").map(|text| str::from_utf8(text).map(str::to_owned));
    match texts.collect::<Result<Vec<String>, _>>() {
        Ok(texts) if texts.is_empty() => Ok(Labels::Int64(attributes.ints("classlabels_int64s"))),
        Ok(texts) => Ok(Labels::String(texts)),
        Err(_) => Err(Unsupported::because("a label is not a text".to_owned())),
    }
}
