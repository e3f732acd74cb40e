//! `TreeEnsemble` of ai.onnx.ml 5: conditions and leaves in separate lists.

use super::attributes::{Attributes, index, same_length};
use super::{pause_every, regressor_transform, transform};
use crate::Unsupported;
use crate::ensemble::trees::{Aggregate, Condition, Forest, Mode, Reference, TreeEnsemble, Values};
use crate::finish::{Finish, ScoreKind};
use crate::proto::data_type;

pub(super) fn ensemble(attributes: Attributes<'_>, double: bool) -> Result<TreeEnsemble, Unsupported> {
    let targets = index("n_targets", attributes.int("n_targets", 0))?;
    let function = attributes.int("aggregate_function", 1);
    let functions = [Aggregate::Average, Aggregate::Sum, Aggregate::Min, Aggregate::Max];
    let aggregate = usize::try_from(function).ok().and_then(|function| functions.get(function).copied());
    let aggregate =
        aggregate.ok_or_else(|| Unsupported::because(format!("no function has the number {function}")))?;
    let number = attributes.int("post_transform", 0);
    // ONNX Runtime's order, which differs from the specification.
    let names = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"];
    let name = usize::try_from(number).ok().and_then(|number| names.get(number));
    let name = name.ok_or_else(|| Unsupported::because(format!("no transform has the number {number}")))?;
    let transform = regressor_transform(transform(name)?, targets);
    let forest = forest(attributes, targets, double)?;
    let divisor = if aggregate == Aggregate::Average { forest.roots.len() } else { 1 };
    let finish = Finish { base: Vec::new(), divisor, scores: ScoreKind::PerTarget, transform };
    TreeEnsemble::build(forest, double, targets, aggregate, finish)
}

fn forest(attributes: Attributes<'_>, targets: usize, double: bool) -> Result<Forest, Unsupported> {
    let splits = numbers(attributes, "nodes_splits", double)?;
    let modes = attributes.tensor("nodes_modes", None)?;
    let features = attributes.ints("nodes_featureids");
    let missing = attributes.ints("nodes_missing_value_tracks_true");
    let (holds, fails) = (attributes.ints("nodes_truenodeids"), attributes.ints("nodes_falsenodeids"));
    let hold_leaves = attributes.ints("nodes_trueleafs");
    let fail_leaves = attributes.ints("nodes_falseleafs");
    same_length("nodes_modes", modes.len(), splits.len())?;
    let lists = [
        ("nodes_featureids", &features),
        ("nodes_truenodeids", &holds),
        ("nodes_falsenodeids", &fails),
        ("nodes_trueleafs", &hold_leaves),
        ("nodes_falseleafs", &fail_leaves),
    ];
    for (name, list) in lists {
        same_length(name, list.len(), splits.len())?;
    }
    let reference = |name: &str, id: i64, leaf: i64| {
        let id = index(name, id)? as u32;
        Ok(if leaf == 0 { Reference::Node(id) } else { Reference::Leaf(id) })
    };
    let members = numbers(attributes, "membership_values", double)?;
    // A NaN ends the members of a condition.
    let mut sets = members.split(|value| value.is_nan());
    let mut forest = Forest::default();
    for at in 0..splits.len() {
        pause_every(at);
        let mode = mode(modes[at])
            .ok_or_else(|| Unsupported::because(format!("no mode has the number {}", modes[at])))?;
        let values = if mode == Mode::Member {
            let set = sets.next();
            Values::Set(set.ok_or_else(|| Unsupported::because("a set without members".to_owned()))?.to_vec())
        } else {
            Values::One(splits[at])
        };
        forest.nodes.push(Condition {
            feature: index("nodes_featureids", features[at])? as u32,
            mode,
            values,
            missing: missing.get(at) == Some(&1),
            holds: reference("nodes_truenodeids", holds[at], hold_leaves[at])?,
            fails: reference("nodes_falsenodeids", fails[at], fail_leaves[at])?,
        });
    }
    let ids = attributes.ints("leaf_targetids");
    let weights = numbers(attributes, "leaf_weights", double)?;
    same_length("leaf_targetids", ids.len(), weights.len())?;
    for (id, weight) in ids.iter().zip(weights) {
        let target = index("leaf_targetids", *id)?;
        if target >= targets {
            return Err(Unsupported::because(format!("a weight for target {target} of {targets}")));
        }
        forest.leaves.push(target as u32, weight);
    }
    let roots = attributes.ints("tree_roots").into_iter();
    let root = |root| index("tree_roots", root).map(|root| Reference::Node(root as u32));
    forest.roots = roots.map(root).collect::<Result<_, _>>()?;
    Ok(forest)
}

/// The mode with this number.
fn mode(number: f64) -> Option<Mode> {
    let modes =
        [Mode::AtMost, Mode::Less, Mode::AtLeast, Mode::Greater, Mode::Equal, Mode::NotEqual, Mode::Member];
    (0_u8..).zip(modes).find(|(at, _)| f64::from(*at).to_bits() == number.to_bits()).map(|(_, mode)| mode)
}

/// A tensor of the input's type: ONNX Runtime reads no other.
fn numbers(attributes: Attributes<'_>, name: &str, double: bool) -> Result<Vec<f64>, Unsupported> {
    let wanted = if double { data_type::DOUBLE } else { data_type::FLOAT };
    attributes.tensor(name, Some(wanted))
}
