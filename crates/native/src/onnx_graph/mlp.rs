//! The layers of an MLP: a chain of linear operators with activations between them.

use super::{Graph, linear, unsupported};
use crate::Unsupported;
use crate::ensemble::trees::operators::Attributes;
use crate::linear::Weights;
use crate::mlp::{Activation, Layer};
use crate::proto::NodeProto;

/// The most layers.
const DEEPEST: usize = 64;

/// A layer: its linear operator and the scales between it and the activation, in order.
struct Stage<'g> {
    node: &'g NodeProto,
    scales: Vec<Scale>,
}

/// Multiplies units and then adds to them: by one number, or by one per unit.
struct Scale {
    factors: Vec<f64>,
    added: Vec<f64>,
}

/// The layers before the last one, in order, each with the activation behind it.
pub(super) struct Hidden<'g> {
    stages: Vec<(Stage<'g>, Activation)>,
}

impl<'g> Hidden<'g> {
    /// The chain from other linear operators to `last`; empty if `last` is the first.
    pub(super) fn before(graph: &Graph<'g>, last: &'g NodeProto) -> Result<Self, Unsupported> {
        let mut stages = Vec::new();
        let mut node = last;
        while is_matrix(node)
            && let Some(&behind) = graph.nodes.get(through(graph, first_of(node)))
            && let Some(activation) = activation(behind)
            && let Some(stage) = stage(graph, through(graph, first_of(behind)))
        {
            if stages.len() == DEEPEST {
                return unsupported(last, "too many layers, or they go in circles");
            }
            node = stage.node;
            stages.push((stage, activation));
        }
        stages.reverse();
        Ok(Self { stages })
    }

    /// The operator of the first layer, if there is a hidden one.
    pub(super) fn first(&self) -> Option<&'g NodeProto> {
        self.stages.first().map(|(stage, _)| stage.node)
    }

    /// All layers, including `last`, for `columns` columns: the first, and the others with the activation before each.
    pub(super) fn read(
        self,
        graph: &Graph<'_>,
        last: &'g NodeProto,
        columns: usize,
    ) -> Result<(Layer, Vec<(Activation, Layer)>), Unsupported> {
        let (mut width, mut before) = (columns, None);
        let mut first = None;
        let mut deeper = Vec::with_capacity(self.stages.len());
        let last = (Stage { node: last, scales: Vec::new() }, None);
        let stages = self.stages.into_iter().map(|(stage, activation)| (stage, Some(activation)));
        for (stage, activation) in stages.chain([last]) {
            let weights = linear::read(graph, stage.node, width)?;
            width = weights.targets;
            let layer = layer(&stage, &weights)?;
            match before {
                None => first = Some(layer),
                Some(before) => deeper.push((before, layer)),
            }
            before = activation;
        }
        match first {
            Some(first) => Ok((first, deeper)),
            None => Err(Unsupported::because("it has no layer".to_owned())),
        }
    }
}

/// The number of scores of an MLP per row.
pub(super) fn width(first: &Layer, deeper: &[(Activation, Layer)]) -> usize {
    deeper.last().map_or(first, |(_, layer)| layer).outputs()
}

fn first_of(node: &NodeProto) -> &str {
    node.input.first().map_or("", String::as_str)
}

/// Linear operators of ai.onnx.ml have no layers before them.
fn is_matrix(node: &NodeProto) -> bool {
    linear::is_linear(node) && node.domain != "ai.onnx.ml"
}

/// The input of `name`, past nodes that have no effect at inference.
fn through<'g>(graph: &Graph<'g>, name: &'g str) -> &'g str {
    let mut name = name;
    for _ in 0..DEEPEST {
        match graph.nodes.get(name) {
            Some(&node)
                if matches!(node.op_type.as_str(), "Identity" | "Dropout")
                    && node.output.first().is_some_and(|output| output == name) =>
            {
                name = first_of(node);
            }
            _ => break,
        }
    }
    name
}

fn activation(node: &NodeProto) -> Option<Activation> {
    if !matches!(node.domain.as_str(), "" | "ai.onnx") {
        return None;
    }
    match node.op_type.as_str() {
        "Relu" => Some(Activation::Relu),
        "LeakyRelu" => {
            // The specification's default.
            Some(Activation::LeakyRelu(Attributes(node).float("alpha", 0.01)))
        }
        "Sigmoid" => Some(Activation::Sigmoid),
        "Tanh" => Some(Activation::Tanh),
        _ => None,
    }
}

/// The layer that produces `name`: a matrix product, perhaps with nodes that add or multiply constants.
fn stage<'g>(graph: &Graph<'g>, name: &'g str) -> Option<Stage<'g>> {
    let (mut scales, mut name) = (Vec::new(), name);
    for _ in 0..DEEPEST {
        let node = *graph.nodes.get(through(graph, name))?;
        if is_matrix(node) {
            scales.reverse();
            return Some(Stage { node, scales });
        }
        let scale;
        (scale, name) = scaled(graph, node)?;
        scales.push(scale);
    }
    None
}

/// The scale that a node applies to units, and its input.
fn scaled<'g>(graph: &Graph<'g>, node: &'g NodeProto) -> Option<(Scale, &'g str)> {
    if !matches!(node.domain.as_str(), "" | "ai.onnx") {
        return None;
    }
    if node.op_type == "BatchNormalization" {
        return normalised(graph, node);
    }
    let [left, right] = node.input.as_slice() else { return None };
    let (other, values) = match (graph.constant(left), graph.constant(right)) {
        (None, Some(values)) => (left, values),
        (Some(values), None) if matches!(node.op_type.as_str(), "Add" | "Mul") => (right, values),
        _ => return None,
    };
    let (factors, added) = match node.op_type.as_str() {
        "Add" => (vec![1.0], values),
        "Sub" => (vec![1.0], values.iter().map(|value| -value).collect()),
        "Mul" => (values, vec![0.0]),
        "Div" => (values.iter().map(|value| value.recip()).collect(), vec![0.0]),
        _ => return None,
    };
    Some((Scale { factors, added }, other))
}

/// Batch normalisation with the means and variances of training, scaled and shifted.
fn normalised<'g>(graph: &Graph<'g>, node: &'g NodeProto) -> Option<(Scale, &'g str)> {
    let [source, scale, shift, mean, variance] = node.input.as_slice() else { return None };
    let [scale, shift, mean, variance] = [scale, shift, mean, variance].map(|name| graph.constant(name));
    let (scale, shift, mean, variance) = (scale?, shift?, mean?, variance?);
    // The specification's default.
    let least = f64::from(Attributes(node).float("epsilon", 1e-5));
    let factors: Vec<f64> =
        scale.iter().zip(&variance).map(|(scale, variance)| scale / (variance + least).sqrt()).collect();
    let moved = mean.iter().zip(&factors).map(|(mean, factor)| mean * factor);
    let added = shift.iter().zip(moved).map(|(shift, moved)| shift - moved).collect();
    Some((Scale { factors, added }, source))
}

/// The numbers of a layer, with its scales folded in.
fn layer(stage: &Stage<'_>, weights: &Weights) -> Result<Layer, Unsupported> {
    let targets = weights.targets;
    let one_each = |values: &[f64]| match values {
        [all] => Some(vec![*all; targets]),
        each if each.len() == targets => Some(each.to_vec()),
        _ => None,
    };
    let base = &weights.finish.base;
    let mut bias = one_each(if base.is_empty() { &[0.0] } else { base });
    let mut factors = vec![1.0; targets];
    for scale in &stage.scales {
        bias = match (bias, one_each(&scale.factors), one_each(&scale.added)) {
            (Some(mut bias), Some(own), Some(added)) => {
                factors.iter_mut().zip(&own).for_each(|(factor, own)| *factor *= own);
                bias.iter_mut()
                    .zip(own)
                    .zip(added)
                    .for_each(|((bias, own), added)| *bias = *bias * own + added);
                Some(bias)
            }
            _ => None,
        };
    }
    let Some(bias) = bias else {
        return unsupported(stage.node, "a scale or an offset does not fit its units");
    };
    let bias: Vec<f32> = bias.iter().map(|bias| *bias as f32).collect();
    let coefficients = weights.coefficients.chunks_exact(targets);
    let coefficients: Vec<f32> = coefficients
        .flat_map(|weights| weights.iter().zip(&factors).map(|(weight, factor)| (weight * factor) as f32))
        .collect();
    Ok(Layer::new(&bias, &coefficients))
}
