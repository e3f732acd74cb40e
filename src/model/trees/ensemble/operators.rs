//! The attributes of the three operators: `TreeEnsembleClassifier` and `TreeEnsembleRegressor` (ai.onnx.ml 1–4) and
//! `TreeEnsemble` (5). Start reading at [`read`].

mod attributes;
mod five;
mod one_to_four;

pub(in crate::model::trees) use attributes::Attributes;

use super::Ensemble;
use crate::model::onnx::proto::NodeProto;
use crate::model::trees::Unsupported;
use crate::model::trees::finish::Transform;
use crate::priority::pause;

/// Reads the ensemble of a node; `double` where its input is a tensor of doubles.
///
/// # Errors
/// Another operator, or attributes that make no ensemble, or that mean something only ONNX Runtime knows.
pub(in crate::model::trees) fn read(node: &NodeProto, double: bool) -> Result<Ensemble, Unsupported> {
    let attributes = Attributes(node);
    match node.op_type.as_str() {
        "TreeEnsembleClassifier" => one_to_four::classifier(attributes, double),
        "TreeEnsembleRegressor" => one_to_four::regressor(attributes, double),
        "TreeEnsemble" => five::ensemble(attributes, double),
        _ => Err(Unsupported::because("it is no ensemble of trees".to_owned())),
    }
}

/// The transform of that name.
pub(in crate::model::trees) fn transform(name: &str) -> Result<Transform, Unsupported> {
    Ok(match name {
        "NONE" => Transform::None,
        "LOGISTIC" => Transform::Logistic,
        "SOFTMAX" => Transform::Softmax,
        "SOFTMAX_ZERO" => Transform::SoftmaxZero,
        "PROBIT" => Transform::Probit,
        other => return Err(Unsupported::because(format!("no transform is called {other:?}"))),
    })
}

/// Of a single target ONNX Runtime transforms nothing but by PROBIT.
fn regressor_transform(transform: Transform, targets: usize) -> Transform {
    if targets == 1 && transform != Transform::Probit { Transform::None } else { transform }
}

/// A large ensemble has millions of nodes, and reading it must give way.
fn pause_every(at: usize) {
    if at.is_multiple_of(1024) {
        pause();
    }
}
