//! `TreeEnsembleClassifier` and `TreeEnsembleRegressor`: nodes by tree and number, weights in separate lists.

use hashbrown::HashMap;

use super::attributes::{Attributes, index, same_length};
use super::{pause_every, regressor_transform, transform};
use crate::Unsupported;
use crate::ensemble::trees::{
    Aggregate, Condition, Forest, LeafWeights, Mode, Reference, TreeEnsemble, Values,
};
use crate::finish::{Finish, ScoreKind, Transform};

pub(super) fn regressor(attributes: Attributes<'_>, double: bool) -> Result<TreeEnsemble, Unsupported> {
    let targets = index("n_targets", attributes.int("n_targets", 0))?;
    let aggregate = match attributes.string("aggregate_function", "SUM")? {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return Err(Unsupported::because(format!("no function is called {other:?}"))),
    };
    let base = attributes.floats_or_tensor("base_values")?;
    if !base.is_empty() {
        same_length("base_values", base.len(), targets)?;
    }
    let forest = forest(attributes, targets, "target")?;
    let transform = regressor_transform(transform(attributes.string("post_transform", "NONE")?)?, targets);
    let divisor = if aggregate == Aggregate::Average { forest.roots.len() } else { 1 };
    let finish = Finish { base, divisor, scores: ScoreKind::PerTarget, transform };
    TreeEnsemble::build(forest, double, targets, aggregate, finish)
}

pub(super) fn classifier(attributes: Attributes<'_>, double: bool) -> Result<TreeEnsemble, Unsupported> {
    let strings = attributes.strings("classlabels_strings").count();
    let classes = if strings > 0 { strings } else { attributes.ints("classlabels_int64s").len() };
    let transform = transform(attributes.string("post_transform", "NONE")?)?;
    let base = attributes.floats_or_tensor("base_values")?;
    let mut forest = forest(attributes, classes, "class")?;
    let (targets, finish) = if classes == 2 {
        two_classes(&mut forest, base, transform)?
    } else {
        if !base.is_empty() {
            same_length("base_values", base.len(), classes)?;
        }
        (classes, Finish { base, divisor: 1, scores: ScoreKind::PerTarget, transform })
    };
    TreeEnsemble::build(forest, double, targets, Aggregate::Sum, finish)
}

/// The sums and the finish of a classifier of two classes. It may have weights for only one.
fn two_classes(
    forest: &mut Forest,
    mut base: Vec<f64>,
    transform: Transform,
) -> Result<(usize, Finish), Unsupported> {
    let unclear = |why: &str| Err(Unsupported::because(why.to_owned()));
    if base.len() > 2 {
        return unclear("it has more base values than classes");
    }
    let has = |class: u32| {
        let weighted = |leaf: &[(u32, f64)]| leaf.iter().any(|(other, _)| *other == class);
        match forest.leaves.iter().filter(|leaf| weighted(leaf)).count() {
            0 => Some(false),
            some if some == forest.leaves.len() => Some(true),
            _ => None,
        }
    };
    // The score of a class depends on whether the row has any weight for it.
    let (targets, scores) = match (has(0), has(1), base.len()) {
        (_, Some(false), 0 | 1) if transform == Transform::Probit => {
            return unclear("PROBIT of the only score of two classes");
        }
        (_, Some(false), 0 | 1) => {
            let positive = forest.leaves.iter().flatten().all(|(_, weight)| *weight >= 0.0);
            (1, ScoreKind::Complement { positive })
        }
        (_, Some(false), _) | (Some(false), _, 2) => {
            return unclear("two base values for two classes of which one has no weights");
        }
        (Some(true), Some(true), 2) => (2, ScoreKind::Opposite),
        (Some(true), Some(true), _) => (2, ScoreKind::PerTarget),
        (Some(false), Some(true), count) => {
            forest.leaves.all_mut().iter_mut().for_each(|(class, _)| *class = 0);
            base.drain(..count.min(1));
            (1, ScoreKind::Lone { class: 1 })
        }
        _ => return unclear("only some leaves have a weight for one of two classes"),
    };
    if targets == 2 && base.len() == 1 {
        // The only base value belongs to the first class.
        base.push(0.0);
    }
    Ok((targets, Finish { base, divisor: 1, scores, transform }))
}

/// The nodes and weights. `kind` is the prefix of the weights' attribute names.
fn forest(attributes: Attributes<'_>, targets: usize, kind: &str) -> Result<Forest, Unsupported> {
    let (ids, tree_ids) = (attributes.ints("nodes_nodeids"), attributes.ints("nodes_treeids"));
    let features = attributes.ints("nodes_featureids");
    let (holds, fails) = (attributes.ints("nodes_truenodeids"), attributes.ints("nodes_falsenodeids"));
    let missing = attributes.ints("nodes_missing_value_tracks_true");
    let modes = attributes.strings("nodes_modes").map(mode).collect::<Result<Vec<_>, _>>()?;
    let values = attributes.floats_or_tensor("nodes_values")?;
    same_length("nodes_modes", modes.len(), ids.len())?;
    same_length("nodes_values", values.len(), ids.len())?;
    let lists = [
        ("nodes_treeids", &tree_ids),
        ("nodes_featureids", &features),
        ("nodes_truenodeids", &holds),
        ("nodes_falsenodeids", &fails),
    ];
    for (name, list) in lists {
        same_length(name, list.len(), ids.len())?;
    }

    let mut forest = Forest::default();
    let mut references = Vec::with_capacity(ids.len());
    let mut leaf_values = Vec::new();
    for (at, mode) in modes.iter().enumerate() {
        pause_every(at);
        let reference = if mode.is_none() {
            leaf_values.push(values[at]);
            Reference::Leaf(leaf_values.len() as u32 - 1)
        } else {
            Reference::Node((at - leaf_values.len()) as u32)
        };
        references.push(reference);
        // The first node of a tree is its root.
        if at == 0 || tree_ids[at - 1] != tree_ids[at] {
            forest.roots.push(reference);
        }
    }
    let positions = Positions::new(&tree_ids, &ids)?;
    let place = |tree: i64, node: i64| {
        let found = positions.of(tree, node).map(|at| references[at]);
        found.ok_or_else(|| Unsupported::because(format!("tree {tree} has no node {node}")))
    };
    forest.nodes.reserve_exact(ids.len() - leaf_values.len());
    for (at, mode) in modes.iter().enumerate() {
        pause_every(at);
        let Some(mode) = *mode else { continue };
        forest.nodes.push(Condition {
            feature: index("nodes_featureids", features[at])? as u32,
            mode,
            values: Values::One(values[at]),
            missing: missing.get(at) == Some(&1),
            holds: place(tree_ids[at], holds[at])?,
            fails: place(tree_ids[at], fails[at])?,
        });
    }
    forest.leaves = weights(attributes, targets, kind, leaf_values.len(), place)?;
    // For a single target, ONNX Runtime takes the value of a leaf without a weight as its weight.
    if forest.leaves.iter().zip(&leaf_values).any(|(leaf, value)| leaf.is_empty() && *value != 0.0) {
        return Err(Unsupported::because("a leaf has a value but no weight".to_owned()));
    }
    Ok(forest)
}

/// The positions of nodes by tree and number.
enum Positions {
    /// Exporters number trees from 0 in the order of the lists, and the nodes of each from 0. Holds the start of each
    /// tree, and the end, and the position of each node number, by tree.
    Numbered {
        starts: Vec<u32>,
        positions: Vec<u32>,
    },
    Any(HashMap<(i64, i64), u32>),
}

impl Positions {
    /// # Errors
    /// Two nodes of a tree with the same number.
    fn new(trees: &[i64], nodes: &[i64]) -> Result<Self, Unsupported> {
        if let Some(numbered) = Self::numbered(trees, nodes) {
            return Ok(numbered);
        }
        let mut positions = HashMap::with_capacity(nodes.len());
        for (at, (tree, node)) in trees.iter().zip(nodes).enumerate() {
            pause_every(at);
            if positions.insert((*tree, *node), at as u32).is_some() {
                return Err(Unsupported::because(format!("tree {tree} has a second node {node}")));
            }
        }
        Ok(Self::Any(positions))
    }

    fn numbered(trees: &[i64], nodes: &[i64]) -> Option<Self> {
        /// No position.
        const NOWHERE: u32 = u32::MAX;
        let mut starts = vec![0];
        let mut positions = vec![NOWHERE; nodes.len()];
        for (number, tree) in trees.chunk_by(|one, next| one == next).enumerate() {
            pause_every(number);
            let start = *starts.last()?;
            if tree[0] != number as i64 {
                return None;
            }
            let end = start + tree.len() as u32;
            let places = &mut positions[start as usize..end as usize];
            for (at, node) in (start..end).zip(&nodes[start as usize..end as usize]) {
                let place = places.get_mut(usize::try_from(*node).ok()?)?;
                if std::mem::replace(place, at) != NOWHERE {
                    return None;
                }
            }
            starts.push(end);
        }
        Some(Self::Numbered { starts, positions })
    }

    fn of(&self, tree: i64, node: i64) -> Option<usize> {
        match self {
            Self::Numbered { starts, positions } => {
                let (tree, node) = (usize::try_from(tree).ok()?, usize::try_from(node).ok()?);
                let (start, end) = (*starts.get(tree)? as usize, *starts.get(tree + 1)? as usize);
                positions[start..end].get(node).map(|at| *at as usize)
            }
            Self::Any(positions) => positions.get(&(tree, node)).map(|at| *at as usize),
        }
    }
}

/// The mode with this name; `None` for leaves.
fn mode(name: &[u8]) -> Result<Option<Mode>, Unsupported> {
    Ok(Some(match name {
        b"LEAF" => return Ok(None),
        b"BRANCH_LEQ" => Mode::AtMost,
        b"BRANCH_LT" => Mode::Less,
        b"BRANCH_GTE" => Mode::AtLeast,
        b"BRANCH_GT" => Mode::Greater,
        b"BRANCH_EQ" => Mode::Equal,
        b"BRANCH_NEQ" => Mode::NotEqual,
        other => {
            let other = String::from_utf8_lossy(other);
            return Err(Unsupported::because(format!("no mode is called {other:?}")));
        }
    }))
}

fn weights(
    attributes: Attributes<'_>,
    targets: usize,
    kind: &str,
    leaves: usize,
    place: impl Fn(i64, i64) -> Result<Reference, Unsupported>,
) -> Result<LeafWeights, Unsupported> {
    let weights = attributes.floats_or_tensor(&format!("{kind}_weights"))?;
    let names = ["ids", "nodeids", "treeids"].map(|part| format!("{kind}_{part}"));
    let [ids, nodes, trees] = names.each_ref().map(|name| attributes.ints(name));
    for (name, list) in names.iter().zip([&ids, &nodes, &trees]) {
        same_length(name, list.len(), weights.len())?;
    }
    let mut found = Vec::with_capacity(weights.len());
    for (at, weight) in weights.into_iter().enumerate() {
        pause_every(at);
        let Reference::Leaf(leaf) = place(trees[at], nodes[at])? else {
            return Err(Unsupported::because("a weight that is not at a leaf".to_owned()));
        };
        let target = index(&names[0], ids[at])?;
        if target >= targets {
            return Err(Unsupported::because(format!("a weight for target {target} of {targets}")));
        }
        found.push((leaf, target as u32, weight));
    }
    LeafWeights::new(leaves, &found)
}
