//! The nodes before the trees or the linear model.

use std::cell::RefCell;

use super::{Graph, unsupported};
use crate::columns::{Feature, Step};
use crate::ensemble::trees::operators::Attributes;
use crate::probe::Element;
use crate::proto::{NodeProto, TypeProto, data_type};
use crate::{InputPart, Unsupported};

/// The most nodes in a chain before the model.
const DEEPEST: usize = 64;

/// The input of the model.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) features: Vec<Feature>,
    /// Whether it is a tensor of doubles.
    pub(super) double: bool,
    /// The values of a row.
    pub(super) elements: Vec<Element>,
    /// For each text among them, the texts that change scores.
    pub(super) vocabularies: Vec<Vec<String>>,
}

/// A tensor before the model.
#[derive(Debug)]
struct Tensor {
    features: Vec<Feature>,
    element: Element,
    /// Whether its shape is rows × 1 × columns.
    cube: bool,
}

/// `floats`: whether the model rounds its input to floats.
pub(super) fn follow(
    graph: &Graph<'_>,
    name: &str,
    inputs: &[InputPart<'_>],
    floats: bool,
) -> Result<Before, Unsupported> {
    let mut elements = Vec::new();
    let mut parts = Vec::new();
    for part in inputs {
        let element = declared(graph, part)?;
        parts.push((part.name, elements.len(), part.columns, element));
        elements.extend(std::iter::repeat_n(element, part.columns));
    }
    let known = |name: &str| parts.iter().any(|(part, ..)| *part == name);
    let free = |name: &str| !graph.constants.contains_key(name);
    if let Some(other) = graph.proto.input.iter().find(|input| free(&input.name) && !known(&input.name)) {
        return Err(Unsupported::because(format!("it takes `{}`, which is not part of a row", other.name)));
    }
    let follower =
        Follower { graph, parts: &parts, vocabularies: RefCell::new(vec![Vec::new(); elements.len()]) };
    let mut tensor = follower.tensor(name, 0)?;
    if tensor.cube {
        return Err(Unsupported::because(format!("`{name}` has another shape than rows × columns")));
    }
    match tensor.element {
        Element::Float => {}
        Element::Double if !floats => {}
        // ONNX Runtime compares integers with thresholds as floats.
        Element::Int | Element::Double => {
            tensor.push(Step::Round);
            tensor.element = Element::Float;
        }
        Element::Bool | Element::Text => {
            return Err(Unsupported::because(format!("`{name}` is not a tensor of numbers")));
        }
    }
    let double = tensor.element == Element::Double;
    let vocabularies = follower.vocabularies.into_inner();
    Ok(Before { features: tensor.features, double, elements, vocabularies })
}

struct Follower<'f, 'g> {
    graph: &'f Graph<'g>,
    /// Name, first position in the row, columns, element.
    parts: &'f [(&'f str, usize, usize, Element)],
    /// The texts compared so far, by position in the row.
    vocabularies: RefCell<Vec<Vec<String>>>,
}

impl Follower<'_, '_> {
    fn tensor(&self, name: &str, depth: usize) -> Result<Tensor, Unsupported> {
        if let Some((_, first, columns, element)) = self.parts.iter().find(|(part, ..)| *part == name) {
            let features = (*first..first + columns).map(|input| Feature { input, steps: Vec::new() });
            return Ok(Tensor { features: features.collect(), element: *element, cube: false });
        }
        let Some(&node) = self.graph.nodes.get(name) else {
            return Err(Unsupported::because(format!("no node gives `{name}`")));
        };
        if depth == DEEPEST {
            return unsupported(node, "too much stands before the model");
        }
        let attributes = Attributes(node);
        let first = || self.tensor(node.input.first().map_or("", String::as_str), depth + 1);
        match (node.domain.as_str(), node.op_type.as_str()) {
            ("" | "ai.onnx", "Identity") => first(),
            ("" | "ai.onnx", "Cast") => cast(first()?, node),
            ("" | "ai.onnx", "Relu") => each_number(first()?, node, Step::Positive),
            ("" | "ai.onnx", "Log") => each_number(first()?, node, Step::Log),
            ("" | "ai.onnx", "Concat") if matches!(attributes.int("axis", 0), 1 | 2 | -1) => {
                let parts = node.input.iter().map(|name| self.tensor(name, depth + 1));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                let Some((element, cube)) = parts.first().map(|part| (part.element, part.cube)) else {
                    return unsupported(node, "nothing to join");
                };
                if parts.iter().any(|part| (part.element, part.cube) != (element, cube)) {
                    return unsupported(node, "tensors of several types or shapes are joined");
                }
                let last = if cube { 2 } else { 1 };
                if !matches!(attributes.int("axis", 0), axis if axis == last || axis == -1) {
                    return unsupported(node, "rows are joined");
                }
                let features = parts.into_iter().flat_map(|part| part.features).collect();
                Ok(Tensor { features, element, cube })
            }
            ("" | "ai.onnx", "Reshape") => {
                let tensor = first()?;
                match self.graph.whole_numbers(node, 1, "shape").as_slice() {
                    [-1, columns] if *columns == tensor.features.len() as i64 => {
                        Ok(Tensor { cube: false, ..tensor })
                    }
                    _ => unsupported(node, "another shape than rows × columns"),
                }
            }
            ("" | "ai.onnx", "Add" | "Sub" | "Mul" | "Div") => self.arithmetic(node, depth),
            ("" | "ai.onnx", "Gather") if attributes.int("axis", 0) == 1 => self.columns(&first()?, node),
            ("ai.onnx.ml", "ArrayFeatureExtractor") => self.columns(&first()?, node),
            ("ai.onnx.ml", "FeatureVectorizer") => {
                let parts = node.input.iter().map(|name| self.tensor(name, depth + 1));
                let mut features = Vec::new();
                for part in parts {
                    let mut part = part?;
                    part.push(Step::Round);
                    features.extend(part.features);
                }
                Ok(Tensor { features, element: Element::Float, cube: false })
            }
            ("ai.onnx.ml", "OneHotEncoder") => self.one_hot(&first()?, node),
            ("ai.onnx.ml", "Scaler") => scaler(first()?, node),
            ("ai.onnx.ml", "Imputer") => imputer(first()?, node),
            _ => unsupported(node, "an operator that is not known before trees or a linear model"),
        }
    }

    fn columns(&self, tensor: &Tensor, node: &NodeProto) -> Result<Tensor, Unsupported> {
        let wanted = self.graph.whole_numbers(node, 1, "");
        let features: Option<Vec<Feature>> = wanted
            .iter()
            .map(|column| {
                usize::try_from(*column).ok().and_then(|column| tensor.features.get(column).cloned())
            })
            .collect();
        match features {
            Some(features) if !features.is_empty() => {
                Ok(Tensor { features, element: tensor.element, cube: tensor.cube })
            }
            _ => unsupported(node, "columns that are not there"),
        }
    }

    /// A column per category of the only column: 1 where the value is that category, else 0.
    fn one_hot(&self, tensor: &Tensor, node: &NodeProto) -> Result<Tensor, Unsupported> {
        let attributes = Attributes(node);
        let (texts, numbers) = (attributes.strings("cats_strings"), attributes.ints("cats_int64s"));
        let [feature] = tensor.features.as_slice() else {
            return unsupported(node, "several columns at once");
        };
        if attributes.int("zeros", 1) == 0 {
            return unsupported(node, "an unknown category is an error");
        }
        let categories: Vec<f64> = match tensor.element {
            Element::Text if feature.steps.is_empty() => {
                let mut vocabularies = self.vocabularies.borrow_mut();
                let known = &mut vocabularies[feature.input];
                let texts = texts.map(|text| {
                    let text = std::str::from_utf8(text).ok()?;
                    let at = known.iter().position(|known| known == text);
                    Some(at.unwrap_or_else(|| {
                        known.push(text.to_owned());
                        known.len() - 1
                    }) as f64)
                });
                match texts.collect() {
                    Some(places) => places,
                    None => return unsupported(node, "a category is not a text"),
                }
            }
            Element::Int => numbers.iter().map(|number| *number as f64).collect(),
            Element::Text | Element::Float | Element::Double | Element::Bool => {
                return unsupported(node, "neither texts as they are nor whole numbers");
            }
        };
        if categories.is_empty() {
            return unsupported(node, "no categories of the type of its input");
        }
        let features = categories.iter().map(|category| {
            let mut feature = feature.clone();
            feature.steps.push(Step::Is(*category));
            feature
        });
        Ok(Tensor { features: features.collect(), element: Element::Float, cube: true })
    }

    /// A tensor and a constant, which is one number or one per column.
    fn arithmetic(&self, node: &NodeProto, depth: usize) -> Result<Tensor, Unsupported> {
        let [left, right] = node.input.as_slice() else { return unsupported(node, "not two inputs") };
        let (name, values) = match (self.graph.constant(left), self.graph.constant(right)) {
            (None, Some(values)) => (left, values),
            (Some(values), None) if matches!(node.op_type.as_str(), "Add" | "Mul") => (right, values),
            _ => return unsupported(node, "not a tensor and a constant behind it"),
        };
        let mut tensor = self.tensor(name, depth + 1)?;
        let step: fn(f64) -> Step = match node.op_type.as_str() {
            "Add" => Step::Add,
            "Sub" => Step::Subtract,
            "Mul" => Step::Multiply,
            _ => Step::Divide,
        };
        if !matches!(tensor.element, Element::Float | Element::Double) || !tensor.each(&values, step) {
            return unsupported(node, "a constant of another kind than the tensor");
        }
        tensor.rounded();
        Ok(tensor)
    }
}

impl Tensor {
    /// Adds the same step to every column.
    fn push(&mut self, step: Step) {
        self.features.iter_mut().for_each(|feature| feature.steps.push(step));
    }

    /// Adds a step to each column, from one number for all or one each. Returns whether the numbers fit.
    fn each(&mut self, values: &[f64], step: impl Fn(f64) -> Step) -> bool {
        if let [value] = *values {
            self.push(step(value));
            return true;
        }
        if values.len() != self.features.len() {
            return false;
        }
        self.features.iter_mut().zip(values).for_each(|(feature, value)| feature.steps.push(step(*value)));
        true
    }

    /// Rounds the result to floats, as a float tensor holds it.
    fn rounded(&mut self) {
        if self.element == Element::Float {
            self.push(Step::Round);
        }
    }
}

/// Adds the same step to every float or double column.
fn each_number(mut tensor: Tensor, node: &NodeProto, step: Step) -> Result<Tensor, Unsupported> {
    if !matches!(tensor.element, Element::Float | Element::Double) {
        return unsupported(node, "its input is neither floats nor doubles");
    }
    tensor.push(step);
    tensor.rounded();
    Ok(tensor)
}

fn cast(mut tensor: Tensor, node: &NodeProto) -> Result<Tensor, Unsupported> {
    tensor.element = match (Attributes(node).int("to", 0) as i32, tensor.element) {
        (_, Element::Text) => return unsupported(node, "a cast of texts"),
        (data_type::FLOAT, Element::Float | Element::Bool) => Element::Float,
        (data_type::FLOAT, _) => {
            tensor.push(Step::Round);
            Element::Float
        }
        (data_type::DOUBLE, _) => Element::Double,
        _ => return unsupported(node, "a cast to something else than floats or doubles"),
    };
    Ok(tensor)
}

fn scaler(mut tensor: Tensor, node: &NodeProto) -> Result<Tensor, Unsupported> {
    let attributes = Attributes(node);
    let numbers = |name: &str| attributes.floats(name).into_iter().map(f64::from).collect::<Vec<f64>>();
    if matches!(tensor.element, Element::Text | Element::Bool) {
        return unsupported(node, "its input is no number");
    }
    // The output is floats for any input.
    tensor.push(Step::Round);
    tensor.element = Element::Float;
    let fits = tensor.each(&numbers("offset"), Step::Subtract);
    tensor.rounded();
    let fits = tensor.each(&numbers("scale"), Step::Multiply) && fits;
    tensor.rounded();
    if fits { Ok(tensor) } else { unsupported(node, "not an offset and a scale per column") }
}

fn imputer(mut tensor: Tensor, node: &NodeProto) -> Result<Tensor, Unsupported> {
    let attributes = Attributes(node);
    let by: Vec<f64> = attributes.floats("imputed_value_floats").into_iter().map(f64::from).collect();
    let of = f64::from(attributes.float("replaced_value_float", 0.0));
    if !matches!(tensor.element, Element::Float | Element::Double) {
        return unsupported(node, "something else than floats or doubles is imputed");
    }
    let step = |by: f64| if of.is_nan() { Step::Missing(by) } else { Step::Instead { of, by } };
    if tensor.each(&by, step) { Ok(tensor) } else { unsupported(node, "not a value per column") }
}

/// The element type of a graph input, if it can be this part of a row.
fn declared(graph: &Graph<'_>, part: &InputPart<'_>) -> Result<Element, Unsupported> {
    let refuse = |why: &str| Err(Unsupported::because(format!("the input `{}` {why}", part.name)));
    let Some(input) = graph.proto.input.iter().find(|input| input.name == part.name) else {
        return refuse("does not exist");
    };
    let Some(TypeProto { tensor: Some(tensor) }) = &input.kind else { return refuse("is not a tensor") };
    let element = match tensor.elem_type {
        data_type::FLOAT => Element::Float,
        data_type::DOUBLE => Element::Double,
        data_type::INT64 | data_type::INT32 => Element::Int,
        data_type::BOOL => Element::Bool,
        data_type::STRING => Element::Text,
        _ => return refuse("is not a tensor of floats, doubles, integers, booleans or texts"),
    };
    let shape = tensor.shape.as_ref().map_or(&[][..], |shape| shape.dim.as_slice());
    match shape {
        [_, columns] => match columns.dim_value.filter(|columns| *columns > 0) {
            Some(columns) if columns != part.columns as i64 => refuse("has another number of columns"),
            _ => Ok(element),
        },
        _ => refuse("has another shape than rows × columns"),
    }
}
