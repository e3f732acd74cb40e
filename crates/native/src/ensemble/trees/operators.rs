//! The attributes of the three operators: `TreeEnsembleClassifier` and `TreeEnsembleRegressor` (ai.onnx.ml 1–4) and
//! `TreeEnsemble` (5). Start reading at [`read`].

mod attributes;
mod five;
mod one_to_four;

pub(crate) use attributes::Attributes;

use super::TreeEnsemble;
use crate::Unsupported;
use crate::finish::Transform;
use crate::proto::NodeProto;
use work::priority::yield_if_due;

/// Reads the ensemble of a node; `double` where its input is a tensor of doubles.
///
/// # Errors
/// Another operator, invalid attributes, or attributes that only ONNX Runtime supports.
pub(crate) fn read(node: &NodeProto, double: bool) -> Result<TreeEnsemble, Unsupported> {
    let attributes = Attributes(node);
    match node.op_type.as_str() {
        "TreeEnsembleClassifier" => one_to_four::classifier(attributes, double),
        "TreeEnsembleRegressor" => one_to_four::regressor(attributes, double),
        "TreeEnsemble" => five::ensemble(attributes, double),
        _ => Err(Unsupported::because("it is not a tree ensemble".to_owned())),
    }
}

/// The transform of that name.
pub(crate) fn transform(name: &str) -> Result<Transform, Unsupported> {
    Ok(match name {
        "NONE" => Transform::None,
        "LOGISTIC" => Transform::Logistic,
        "SOFTMAX" => Transform::Softmax,
        "SOFTMAX_ZERO" => Transform::SoftmaxZero,
        "PROBIT" => Transform::Probit,
        other => return Err(Unsupported::because(format!("no transform is called {other:?}"))),
    })
}

/// For a single target, ONNX Runtime applies no transform but PROBIT.
fn regressor_transform(transform: Transform, targets: usize) -> Transform {
    if targets == 1 && transform != Transform::Probit { Transform::None } else { transform }
}

/// A large ensemble has millions of nodes, so reading it must yield.
fn pause_every(at: usize) {
    if at.is_multiple_of(1024) {
        yield_if_due();
    }
}
