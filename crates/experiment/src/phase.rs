//! Phases: results of an experiment belong together as long as its definition stays.

use std::fmt;

use crate::hash::wide;
use crate::{Changes, Experiment, Method};

/// A digest of what an experiment is. Results are keyed by experiment and phase.
///
/// It changes with the scheme, the seed, the weights, `when`, the group, the placements, and what a variant is called
/// or changes. It does not with the coverage, the state, the schedule, the listed customers, or what it is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phase(pub u64);

/// Sixteen hexadecimal digits.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl<R> Experiment<R> {
    /// The phase of this definition. Indices enter it by the names that `names` gives them, since an index means
    /// something else once the policy has another placement.
    #[must_use]
    pub fn phase(&self, names: &crate::Names<'_>) -> Phase {
        let mut text = Canonical(Vec::new());
        text.add(&self.id);
        text.add(self.scheme.name());
        text.add(&self.seed);
        text.add(self.when.as_ref().map_or("", |when| when.source.as_str()));
        text.list(&self.placements, |text, index| text.add(names.placement(*index)));
        text.0.push(u8::from(self.group.is_some()));
        if let Some(group) = &self.group {
            text.add(&group.name);
            text.list(&group.range, |text, edge| text.number(*edge));
        }
        text.list(&self.variants, |text, variant| {
            text.add(&variant.id);
            text.number(variant.weight);
            text.changes(&variant.changes, names);
        });
        Phase(wide(&text.0))
    }
}

/// Bytes in which no two definitions look alike: each text with its length, each list with its count.
struct Canonical(Vec<u8>);

impl Canonical {
    fn add(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u64).to_le_bytes());
    }

    fn number(&mut self, number: f64) {
        self.0.extend_from_slice(&number.to_bits().to_le_bytes());
    }

    fn list<T>(&mut self, items: &[T], mut add: impl FnMut(&mut Self, &T)) {
        self.count(items.len());
        for item in items {
            add(self, item);
        }
    }

    fn changes(&mut self, changes: &Changes, names: &crate::Names<'_>) {
        let Changes { models, strategy, count, category_weights, context_weights, exploration } = changes;
        self.list(models, |text, model| {
            text.add(&model.name);
            text.0.extend_from_slice(&model.version.to_le_bytes());
        });
        self.add(match strategy {
            None => "",
            Some(crate::Strategy::Priority) => "priority",
            Some(crate::Strategy::Margin) => "margin",
        });
        self.count(count.unwrap_or(0));
        self.list(category_weights, |text, (index, percent)| {
            text.add(names.category(*index));
            text.number(*percent);
        });
        self.list(context_weights, |text, (index, percent)| {
            text.add(names.context_weight(*index));
            text.number(*percent);
        });
        let (method, number) = match exploration.map(|exploration| exploration.method) {
            None => ("", 0.0),
            Some(Method::Greedy) => ("greedy", 0.0),
            Some(Method::Epsilon { epsilon }) => ("epsilon", epsilon),
            Some(Method::Softmax { temperature }) => ("softmax", temperature),
        };
        self.add(method);
        self.number(number);
    }
}
