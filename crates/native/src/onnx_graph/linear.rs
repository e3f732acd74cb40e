//! The operators that are linear models: `LinearClassifier`, `LinearRegressor`, `Gemm`, `MatMul`.

use super::{Graph, unsupported};
use crate::Unsupported;
use crate::ensemble::trees::operators::{Attributes, transform};
use crate::finish::{Finish, Transform};
use crate::linear::Weights;
use crate::proto::{NodeProto, TensorProto};

/// Whether the operator is one of these.
pub(super) fn is_linear(node: &NodeProto) -> bool {
    match node.domain.as_str() {
        "ai.onnx.ml" => matches!(node.op_type.as_str(), "LinearClassifier" | "LinearRegressor"),
        "" | "ai.onnx" => matches!(node.op_type.as_str(), "Gemm" | "MatMul"),
        _ => false,
    }
}

/// Reads the weights of a linear operator that takes `columns` columns.
pub(super) fn read(graph: &Graph<'_>, node: &NodeProto, columns: usize) -> Result<Weights, Unsupported> {
    match node.op_type.as_str() {
        "LinearClassifier" => classifier(node, columns),
        "LinearRegressor" => regressor(node, columns),
        "Gemm" => gemm(graph, node, columns),
        _ => {
            let Some(matrix) = node.input.get(1).and_then(|name| graph.constants.get(name.as_str())) else {
                return unsupported(node, "its second factor is no constant");
            };
            matrix_of(node, matrix, columns, false, Vec::new())
        }
    }
}

/// With two classes and weights for only one, the other's score is left to ONNX Runtime.
fn classifier(node: &NodeProto, columns: usize) -> Result<Weights, Unsupported> {
    let attributes = Attributes(node);
    let (texts, numbers) = (attributes.strings("classlabels_strings"), attributes.ints("classlabels_ints"));
    let classes = texts.count().max(numbers.len());
    let base = widened(&attributes.floats("intercepts"));
    let transform = transform(attributes.string("post_transform", "NONE")?)?;
    if classes < 2 || base.len() != classes {
        return unsupported(node, "it has not an intercept for each class");
    }
    by_column(node, &attributes.floats("coefficients"), columns, Finish::per_target(base, transform), classes)
}

fn regressor(node: &NodeProto, columns: usize) -> Result<Weights, Unsupported> {
    let attributes = Attributes(node);
    let targets = attributes.int("targets", 1);
    let base = widened(&attributes.floats("intercepts"));
    let transform = transform(attributes.string("post_transform", "NONE")?)?;
    let Some(targets) = usize::try_from(targets).ok().filter(|targets| (1..=1 << 16).contains(targets))
    else {
        return unsupported(node, "its targets cannot be so many");
    };
    if transform != Transform::None || !(base.is_empty() || base.len() == targets) {
        return unsupported(node, "it has a transform, or not an intercept for each target");
    }
    by_column(node, &attributes.floats("coefficients"), columns, Finish::per_target(base, transform), targets)
}

fn gemm(graph: &Graph<'_>, node: &NodeProto, columns: usize) -> Result<Weights, Unsupported> {
    let attributes = Attributes(node);
    let scales = |name: &str| attributes.float(name, 1.0).to_bits() != 1.0_f32.to_bits();
    if scales("alpha") || scales("beta") || attributes.int("transA", 0) != 0 {
        return unsupported(node, "it scales or transposes its input");
    }
    let constant = |at: usize| node.input.get(at).map(|name| graph.constants.get(name.as_str()));
    let Some(Some(matrix)) = constant(1) else { return unsupported(node, "its matrix is no constant") };
    let base = match node.input.get(2).map(String::as_str) {
        None | Some("") => Vec::new(),
        Some(name) => match graph.constant(name) {
            Some(base) => base,
            None => return unsupported(node, "what it adds is no constant"),
        },
    };
    matrix_of(node, matrix, columns, attributes.int("transB", 0) != 0, base)
}

/// A two-dimensional constant, columns × targets or transposed.
fn matrix_of(
    node: &NodeProto,
    matrix: &TensorProto,
    columns: usize,
    transposed: bool,
    base: Vec<f64>,
) -> Result<Weights, Unsupported> {
    let (Some(values), &[rows, width]) = (matrix.numbers(), matrix.dims.as_slice()) else {
        return unsupported(node, "its matrix has another shape than columns × targets");
    };
    let (own, targets) = if transposed { (width, rows) } else { (rows, width) };
    let targets = usize::try_from(targets).unwrap_or(0);
    if own != columns as i64 || targets == 0 || !(base.is_empty() || base.len() == 1 || base.len() == targets)
    {
        return unsupported(node, "its matrix does not fit what it takes or what it adds");
    }
    let coefficients = if transposed { turned(&values, columns) } else { values };
    Ok(Weights { targets, coefficients, finish: Finish::per_target(base, Transform::None) })
}

/// Coefficients in the layout of the ai.onnx.ml operators: targets × columns.
fn by_column(
    node: &NodeProto,
    coefficients: &[f32],
    columns: usize,
    finish: Finish,
    targets: usize,
) -> Result<Weights, Unsupported> {
    if columns == 0 || coefficients.len() != targets * columns {
        return unsupported(node, "it has not a coefficient for each column and score");
    }
    Ok(Weights { targets, coefficients: turned(&widened(coefficients), columns), finish })
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Transposes rows of `width` values.
fn turned(values: &[f64], width: usize) -> Vec<f64> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width).copied()).collect()
}
