//! Two releases compared: what was decided twice, what came of it, and what the comparison leaves out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use release::Snapshot;
use serde::{Serialize, Serializer};

use super::effect::Effect;

/// How many failures are kept with their reasons.
const KEPT: usize = 100;

/// A snapshot, and what people call its release: `release 8`, or `release 7 with policy.toml`.
#[derive(Debug, Clone)]
pub struct Named {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// The name.
    pub name: String,
}

/// How a comparison is computed.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many threads decide; 0: one per core.
    pub threads: usize,
    /// How many sessions each model of the releases has. With fewer than threads, threads take turns in ONNX Runtime.
    pub sessions: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: 0, sessions: 1 }
    }
}

/// What another release would change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What was decided twice.
    pub subject: Subject,
    /// What changes.
    pub effect: Effect,
    /// What is not in `effect`.
    pub excluded: Excluded,
    /// What a reader must know, a sentence each.
    pub assumptions: Vec<String>,
}

/// What was decided twice. As JSON, `kind` is `records` or `customers`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// Recorded requests: as they were answered, or by a release; and again.
    Records(Records),
    /// All customers of the store, with two releases.
    Customers(Customers),
}

/// Recorded requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Records {
    /// The name of the release that is compared with; `None`: what was answered.
    pub before: Option<String>,
    /// The name of the other release.
    pub after: String,
    /// Its number; 0 if it has none.
    pub release: u64,
    /// By release: how many records name it as the one that decided.
    pub releases: BTreeMap<u64, u64>,
    /// All records, those of `excluded` included.
    pub records: u64,
    /// When the first of them was decided, as RFC 3339.
    pub first: Option<String>,
    /// When the last of them was decided, as RFC 3339.
    pub last: Option<String>,
    /// By limit of the other release: how many decisions have no record of all that it looks at.
    pub not_known: BTreeMap<String, u64>,
}

/// Customers of the store.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Customers {
    /// The name of the release that is compared with.
    pub before: String,
    /// Its number; 0 if it has none.
    pub base: u64,
    /// The name of the other release.
    pub after: String,
    /// Its number; 0 if it has none.
    pub release: u64,
    /// The moment of all decisions, as RFC 3339.
    pub as_of: String,
    /// The placements, in the order of their ids.
    pub placements: Vec<String>,
    /// All customers.
    pub customers: u64,
    /// Customers who get another first offer at one placement at least.
    pub first_changes: u64,
    /// Customers who get other offers, or another order of them, at one placement at least.
    pub slate_changes: u64,
}

/// What was not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// Recorded results with an error: nothing was decided.
    pub without_decision: u64,
    /// Decisions at placements that the other release does not have, by placement.
    pub gone_placements: BTreeMap<String, u64>,
    /// Decisions at placements that only the other release has, by placement.
    pub new_placements: BTreeMap<String, u64>,
    /// Records that cannot be read, and decisions that fail.
    pub failed: u64,
    /// The first hundred of these, by their id.
    #[serde(serialize_with = "listed")]
    pub failures: BTreeSet<Failure>,
}

/// What could not be compared, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Failure {
    /// The id of the decision or of the customer.
    pub id: String,
    /// Why.
    pub reason: String,
}

impl Excluded {
    /// Counts a failure. The first by id are kept, so that they do not depend on threads.
    pub(crate) fn fail(&mut self, id: &str, reason: String) {
        self.failed += 1;
        self.keep(Failure { id: id.to_owned(), reason });
    }

    fn keep(&mut self, failure: Failure) {
        self.failures.insert(failure);
        if self.failures.len() > KEPT {
            self.failures.pop_last();
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.without_decision += other.without_decision;
        self.failed += other.failed;
        other.failures.into_iter().for_each(|failure| self.keep(failure));
        for (ours, others) in [
            (&mut self.gone_placements, other.gone_placements),
            (&mut self.new_placements, other.new_placements),
        ] {
            for (placement, decisions) in others {
                *ours.entry(placement).or_default() += decisions;
            }
        }
    }

    /// How many decisions were not compared.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        let at = |placements: &BTreeMap<String, u64>| placements.values().sum::<u64>();
        self.without_decision + self.failed + at(&self.gone_placements) + at(&self.new_placements)
    }
}

fn listed<S: Serializer>(failures: &BTreeSet<Failure>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(failures)
}

/// A moment as reports and JSON show it.
pub(crate) fn shown(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// What holds for both kinds of comparison.
const OF_BOTH: [&str; 2] = [
    "Exploration is off: the best offers are shown.",
    "Expected value is propensity × value, summed over the offers shown; margin subtracts the cost. Both are money, \
     in the unit of `value` and `cost` of the offers. Each side uses the propensities of its own models, so other \
     models change the sums even where the offers stay the same. Fallbacks have no propensity and add nothing.",
];

impl Records {
    /// Who decides again, before a verb: `release 5 reads`, `release 4 and release 5 read`.
    fn read_by(&self, one: &str, both: &str) -> String {
        let after = &self.after;
        match &self.before {
            None => format!("{after} {one}"),
            Some(before) => format!("{before} and {after} {both}"),
        }
    }
}

impl Subject {
    pub(crate) fn assumptions(&self) -> Vec<String> {
        let mut sentences: Vec<String> = OF_BOTH.map(str::to_owned).into();
        match self {
            Self::Records(records) => sentences.extend([
                match &records.before {
                    None => "“Before” is what was answered, as it was recorded. “After” is the same request, decided \
                             again at the time for which it asked."
                        .to_owned(),
                    Some(before) => format!(
                        "Each recorded request is decided twice at the time for which it asked: “before” by {before}, \
                         “after” by {}. What was answered then does not count.",
                        records.after
                    ),
                },
                format!(
                    "Features have their recorded values, by name. What {} and the records lack is missing; its \
                     defaults apply.",
                    records.read_by("reads", "read")
                ),
                format!(
                    "Limits of {} at the history that was recorded with each decision. What other offers would have \
                     led to since is not in it. What the records do not say counts as not having happened.",
                    records.read_by("look", "look")
                ),
                "A total cap or a budget refuses what it refused then. Nothing is reserved, and other decisions use \
                 up nothing."
                    .to_owned(),
                "Segments are those before the change.".to_owned(),
            ]),
            Self::Customers(customers) => sentences.extend([
                format!("Everything is decided as of {}.", customers.as_of),
                "Customers are decided in the order of their ids, each at every placement in the order of the \
                 placements' ids, with the features and consents that the store has."
                    .to_owned(),
                format!(
                    "Limits look at what was recorded by {}, which each release has a copy of. What a customer is \
                     shown counts for their next placement, and for total caps and budgets, which the customers after \
                     them find used.",
                    customers.as_of
                ),
                "Nothing is reserved or recorded where customers are served.".to_owned(),
                "There is no context: its features have their defaults. Each placement has its first channel and its \
                 usual number of offers."
                    .to_owned(),
                "Segments are those before the change.".to_owned(),
            ]),
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failures_that_are_kept_do_not_depend_on_the_order() {
        let excluded = |ids: &mut dyn Iterator<Item = usize>| {
            let mut excluded = Excluded::default();
            ids.for_each(|id| excluded.fail(&format!("{id:04}"), "no".to_owned()));
            excluded
        };
        let whole = excluded(&mut (0..1000));
        assert_eq!((whole.failed, whole.failures.len()), (1000, KEPT));
        assert_eq!(whole.failures.last().map(|last| last.id.as_str()), Some("0099"));
        let mut merged = excluded(&mut (0..1000).rev().step_by(2));
        merged.merge(excluded(&mut (0..1000).step_by(2)));
        assert_eq!(merged, whole);
    }

    #[test]
    fn what_is_not_compared_adds_up() {
        let mut excluded = Excluded { without_decision: 1, ..Excluded::default() };
        excluded.gone_placements.insert("home".to_owned(), 2);
        let mut other = Excluded::default();
        other.gone_placements.insert("home".to_owned(), 4);
        other.new_placements.insert("letter".to_owned(), 8);
        other.fail("x", "no".to_owned());
        excluded.merge(other);
        assert_eq!(excluded.decisions(), 16);
    }
}
