//! Builds trees with numbered leaves from conditions that refer to each other.

use super::{
    Child, Condition, Forest, Mode, Reference, Split, Tree, TreeEnsemble, Values, View, ViewKind, Views,
};
use crate::Unsupported;
use work::priority::yield_if_due;

/// The most that a tree may grow by copies. Branches may share nodes, as in LightGBM's sets, and each use becomes a
/// copy.
const GROWTH: usize = 4;

/// The most conditions and leaves of an ensemble: far more than training produces, far less than memory.
const MAX_NODES: usize = 1 << 24;

pub(crate) fn trees(forest: &Forest, double: bool, views: &mut Views) -> Result<Vec<Tree>, Unsupported> {
    let mut builder = Builder {
        forest,
        double,
        views,
        visited: vec![false; forest.nodes.len()],
        on_path: vec![false; forest.nodes.len()],
        left: forest.nodes.len().saturating_add(forest.leaves.len()).saturating_mul(GROWTH).min(MAX_NODES),
        splits: Vec::new(),
        leaves: Vec::new(),
        steps: Vec::new(),
    };
    let trees = forest
        .roots
        .iter()
        .map(|root| {
            yield_if_due();
            builder.tree(*root)
        })
        .collect::<Result<_, _>>()?;
    match builder.visited.iter().position(|visited| !visited) {
        Some(node) => Err(Unsupported::because(format!("no root leads to the node at position {node}"))),
        None => Ok(trees),
    }
}

struct Builder<'f> {
    forest: &'f Forest,
    double: bool,
    views: &'f mut Views,
    visited: Vec<bool>,
    /// Whether each condition is above the current one.
    on_path: Vec<bool>,
    /// The nodes that may still be added.
    left: usize,
    /// The conditions of the current tree.
    splits: Vec<Split>,
    leaves: Vec<u32>,
    steps: Vec<Step>,
}

/// The remaining work, last first. Depth costs memory here, not stack.
enum Step {
    Enter { at: Reference, parent: Option<(usize, bool)> },
    Middle { split: usize },
    Leave { node: usize },
}

/// A condition in canonical form: it holds where the key of a column is at most a cut.
struct Canonical {
    column: u32,
    cut: i64,
    holds: Reference,
    fails: Reference,
}

impl Builder<'_> {
    fn tree(&mut self, root: Reference) -> Result<Tree, Unsupported> {
        let mut top = Child::Leaf(0);
        self.splits.clear();
        self.leaves.clear();
        self.steps.push(Step::Enter { at: root, parent: None });
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Middle { split } => self.splits[split].middle = self.leaves.len() as u32,
                Step::Leave { node } => self.on_path[node] = false,
                Step::Enter { at, parent } => {
                    self.left = self.left.checked_sub(1).ok_or_else(|| {
                        Unsupported::because("too many nodes, or shared too often".to_owned())
                    })?;
                    let child = match at {
                        Reference::Leaf(leaf) => {
                            if leaf as usize >= self.forest.leaves.len() {
                                return Err(missing("leaf", leaf));
                            }
                            self.leaves.push(leaf);
                            Child::Leaf(self.leaves.len() as u32 - 1)
                        }
                        Reference::Node(node) => {
                            let found = self.condition(node)?;
                            let (split, first) = (self.splits.len(), self.leaves.len() as u32);
                            let (holds, fails) = (Child::Leaf(0), Child::Leaf(0));
                            let (column, cut) = (found.column, found.cut);
                            self.splits.push(Split { column, cut, holds, fails, first, middle: first });
                            self.steps.push(Step::Leave { node: node as usize });
                            let side = |at, holds| Step::Enter { at, parent: Some((split, holds)) };
                            self.steps.push(side(found.fails, false));
                            self.steps.push(Step::Middle { split });
                            self.steps.push(side(found.holds, true));
                            Child::Split(split as u32)
                        }
                    };
                    match parent {
                        None => top = child,
                        Some((split, true)) => self.splits[split].holds = child,
                        Some((split, false)) => self.splits[split].fails = child,
                    }
                }
            }
        }
        Ok(Tree { root: top, splits: self.splits.clone(), leaves: self.leaves.clone() })
    }

    /// The condition at `node` in canonical form.
    fn condition(&mut self, position: u32) -> Result<Canonical, Unsupported> {
        let node = position as usize;
        let first = self.forest.nodes.get(node).ok_or_else(|| missing("node", position))?;
        if std::mem::replace(&mut self.on_path[node], true) {
            return Err(Unsupported::because(format!("the node at position {node} is below itself")));
        }
        self.visited[node] = true;
        let &Condition { feature, mode, ref values, missing, holds, fails } = first;
        let feature = feature as usize;
        // The threshold; sets have none.
        let (cut, comparable) = match values {
            Values::One(value) => (TreeEnsemble::key(self.double, *value), !value.is_nan()),
            Values::Set(_) => (0, true),
        };
        // No value compares with a threshold that is NaN.
        let (never, always) = if self.double { (i64::MIN, i64::MAX - 1) } else { (NEVER, ALWAYS) };
        let ordered = |low: bool, cut: i64| {
            let kind = if low { ViewKind::MissingLow } else { ViewKind::MissingHigh };
            (View { feature, kind }, cut)
        };
        let ((view, cut), holds, fails) = match mode {
            Mode::AtMost => (ordered(missing, if comparable { cut } else { never }), holds, fails),
            Mode::Less => (ordered(missing, if comparable { cut - 1 } else { never }), holds, fails),
            Mode::AtLeast => (ordered(!missing, if comparable { cut - 1 } else { always }), fails, holds),
            Mode::Greater => (ordered(!missing, if comparable { cut } else { always }), fails, holds),
            Mode::NotEqual => {
                // A missing value differs from every number.
                let keys = self.keys(values);
                let kind = ViewKind::Members { keys, missing: false };
                ((View { feature, kind }, 0), fails, holds)
            }
            Mode::Equal | Mode::Member => {
                let (keys, missing, fails) = self.members(node);
                ((View { feature, kind: ViewKind::Members { keys, missing } }, 0), holds, fails)
            }
        };
        Ok(Canonical { column: self.views.column(view), cut, holds, fails })
    }

    /// The set that a chain of equalities with one common target represents, as LightGBM writes categories. Returns the
    /// keys, whether a missing value is a member, and where the chain ends.
    fn members(&mut self, node: usize) -> (Vec<i64>, bool, Reference) {
        let forest = self.forest;
        let head = &forest.nodes[node];
        let (mut keys, mut missing, mut end) = (self.keys(&head.values), head.missing, head.fails);
        let mut length = 1;
        while let Reference::Node(next) = end
            && let Some(condition) = forest.nodes.get(next as usize)
            && matches!(condition.mode, Mode::Equal | Mode::Member)
            && (condition.feature, condition.holds) == (head.feature, head.holds)
            && length < forest.nodes.len()
        {
            keys.extend(self.keys(&condition.values));
            missing |= condition.missing;
            end = condition.fails;
            self.visited[next as usize] = true;
            length += 1;
        }
        keys.sort_unstable();
        keys.dedup();
        (keys, missing, end)
    }

    fn keys(&self, values: &Values) -> Vec<i64> {
        let values = match values {
            Values::One(value) => std::slice::from_ref(value),
            Values::Set(values) => values,
        };
        // Nothing equals NaN.
        let numbers = values.iter().filter(|value| !value.is_nan());
        let mut keys: Vec<i64> = numbers.map(|value| TreeEnsemble::key(self.double, *value)).collect();
        keys.sort_unstable();
        keys
    }
}

/// A float cut that no number is below.
const NEVER: i64 = i32::MIN as i64;

/// A float cut that every number is below, but not a missing value that is placed highest.
const ALWAYS: i64 = i32::MAX as i64 - 1;

fn missing(what: &str, at: u32) -> Unsupported {
    Unsupported::because(format!("there is no {what} at position {at}"))
}
