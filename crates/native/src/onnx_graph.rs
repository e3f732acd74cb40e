//! Recognises a graph that is a tree ensemble, a linear model or an MLP with the nodes that exporters put around it.
//!
//! The graph is followed backwards from the wanted output. Nodes behind the model become [`After`]; nodes before it
//! become the steps of each feature. Start reading at [`read`].

mod attribute;
mod before;
mod behind;
mod labels;
mod linear;
mod mlp;
pub mod proto;

pub use self::attribute::Attribute;
pub use self::labels::Labels;

use std::borrow::Cow;

use bytes::Bytes;
use hashbrown::HashMap;
use prost::Message;

use self::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::after::After;
use crate::columns::Feature;
use crate::ensemble::trees::{TreeEnsemble, operators};
use crate::linear::Weights;
use crate::mlp::{Activation, Layer};
use crate::probe::Element;
use crate::{InputPart, Unsupported};
use work::priority::yield_if_due;

/// The result of recognising a graph.
#[derive(Debug)]
pub(super) struct Recognised {
    pub(super) core: Core,
    /// The model's inputs, by position.
    pub(super) features: Vec<Feature>,
    /// The values of a row.
    pub(super) elements: Vec<Element>,
    /// For each text in a row, the texts that change scores.
    pub(super) vocabularies: Vec<Vec<String>>,
    pub(super) after: After,
    /// The classes, where the output is a ZipMap.
    pub(super) labels: Option<Labels>,
}

/// The model in the middle of a graph.
#[derive(Debug)]
pub(super) enum Core {
    Trees(TreeEnsemble),
    Linear(Weights),
    Mlp { first: Layer, deeper: Vec<(Activation, Layer)> },
}

impl Core {
    /// The number of scores per row.
    fn width(&self) -> usize {
        match self {
            Self::Trees(ensemble) => ensemble.finish.width(ensemble.targets),
            Self::Linear(weights) => weights.finish.width(weights.targets),
            Self::Mlp { first, deeper } => mlp::width(first, deeper),
        }
    }
}

/// A graph with its parts by name.
struct Graph<'g> {
    nodes: HashMap<&'g str, &'g NodeProto>,
    constants: HashMap<&'g str, Cow<'g, TensorProto>>,
    proto: &'g GraphProto,
}

/// The number of trees of all ensembles in the graph, supported or not; 0 where it cannot be read.
pub(super) fn tree_count(bytes: Bytes) -> usize {
    let Some(graph) = ModelProto::decode(bytes).ok().and_then(|model| model.graph) else { return 0 };
    let of_node = |node: &NodeProto| {
        if let Some(roots) = node.attribute("tree_roots") {
            return roots.ints().len();
        }
        let mut ids = node.attribute("nodes_treeids").map(Attribute::ints).unwrap_or_default();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    };
    let ensembles = graph.node.iter().filter(|node| node.op_type.starts_with("TreeEnsemble"));
    ensembles.map(of_node).fold(0, usize::saturating_add)
}

pub(super) fn read(bytes: Bytes, output: &str, inputs: &[InputPart<'_>]) -> Result<Recognised, Unsupported> {
    let model = ModelProto::decode(bytes)
        .map_err(|error| Unsupported::because(format!("it cannot be read: {error}")))?;
    yield_if_due();
    let proto =
        model.graph.as_ref().ok_or_else(|| Unsupported::because("the file has no graph".to_owned()))?;
    let graph = Graph::new(proto);
    let behind = behind::follow(&graph, output)?;
    let (node, parts, mean) = match &behind.core {
        behind::Core::One(node) => (*node, std::slice::from_ref(node), false),
        behind::Core::Several { node, parts, mean } => (*node, parts.as_slice(), *mean),
    };
    let at = |error| at_node(error, node);
    let source_of = |node: &NodeProto| node.input.first().cloned().unwrap_or_default();
    let hidden = mlp::Hidden::before(&graph, node)?;
    let first = hidden.first();
    let source = first.or(parts.first().copied()).map(source_of).unwrap_or_default();
    if first.is_none() && parts.iter().any(|part| source_of(part) != source) {
        return Err(at(Unsupported::because("it adds ensembles of different columns".to_owned())));
    }
    let is_linear = linear::is_linear(node);
    // Linear operators of ai.onnx.ml convert their input to floats.
    let before = before::follow(&graph, &source, inputs, is_linear && node.domain == "ai.onnx.ml")?;
    let features = before.features;
    let core = if first.is_some() {
        if before.double {
            return Err(at(Unsupported::because("an MLP of doubles".to_owned())));
        }
        let (first, deeper) = hidden.read(&graph, node, features.len())?;
        Core::Mlp { first, deeper }
    } else if is_linear {
        Core::Linear(linear::read(&graph, node, features.len())?)
    } else {
        let read =
            |part: &&NodeProto| operators::read(part, before.double).map_err(|error| at_node(error, part));
        let mut ensembles = parts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let ensemble = match (ensembles.pop(), ensembles.is_empty()) {
            (Some(only), true) => only,
            (Some(last), false) => {
                ensembles.push(last);
                TreeEnsemble::join(ensembles, mean).map_err(at)?
            }
            (None, _) => return unsupported(node, "it has no part"),
        };
        if let Some(view) = ensemble.views.iter().find(|view| view.feature >= features.len()) {
            let why = format!("it looks at feature {}, but there are {}", view.feature, features.len());
            return Err(at(Unsupported::because(why)));
        }
        Core::Trees(ensemble)
    };
    let width = core.width();
    let after = behind.after(width)?;
    let labels = behind.labels;
    if labels.as_ref().is_some_and(|labels| labels.len() != after.width(width)) {
        return Err(at(Unsupported::because("a ZipMap of another number of classes".to_owned())));
    }
    let (elements, vocabularies) = (before.elements, before.vocabularies);
    Ok(Recognised { core, features, elements, vocabularies, after, labels })
}

impl<'g> Graph<'g> {
    fn new(proto: &'g GraphProto) -> Self {
        let mut nodes = HashMap::new();
        let mut constants: HashMap<_, _> =
            proto.initializer.iter().map(|tensor| (tensor.name.as_str(), Cow::Borrowed(tensor))).collect();
        for node in &proto.node {
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                nodes.insert(output.as_str(), node);
                if node.op_type == "Constant"
                    && let Some(tensor) = node.attribute("value").and_then(Attribute::tensor)
                {
                    constants.insert(output.as_str(), Cow::Owned(tensor));
                }
            }
        }
        Self { nodes, constants, proto }
    }

    /// The numbers of a constant.
    fn constant(&self, name: &str) -> Option<Vec<f64>> {
        self.constants.get(name).and_then(|tensor| tensor.numbers())
    }

    /// The integers of a constant or, in older opsets, of an attribute; empty where there is neither.
    fn whole_numbers(&self, node: &NodeProto, input: usize, attribute: &str) -> Vec<i64> {
        if let Some(name) = node.input.get(input).filter(|name| !name.is_empty()) {
            let numbers = self.constant(name).unwrap_or_default();
            return numbers.into_iter().map(|number| number as i64).collect();
        }
        node.attribute(attribute).map(Attribute::ints).unwrap_or_default()
    }
}

/// Adds the node to an error.
fn at_node(error: Unsupported, node: &NodeProto) -> Unsupported {
    let outputs = node.output.join(", ");
    Unsupported { node: format!("{} ({outputs})", node.op_type), ..error }
}

fn unsupported<T>(node: &NodeProto, why: &str) -> Result<T, Unsupported> {
    Err(at_node(Unsupported::because(why.to_owned()), node))
}
