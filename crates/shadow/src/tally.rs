//! Counting comparisons: bounded memory, and parts that merge.
//!
//! Comparisons are counted by shadow, placement and segment; sums over placements and segments are made when a report
//! is. Where there is more than there is room for, the smallest keys are kept, so that what is kept does not depend on
//! the order. Counts, quantiles and distributions do not either; means differ in their last bits.

mod cell;
mod cells;
mod examples;
mod smallest;

use std::collections::BTreeMap;

use cell::{Agreement, Scratch};
pub(crate) use cell::{Cell, RBO_P, ValueMoments};
use cells::Cells;
pub(crate) use examples::{Examples, KeptExample, KeptOffer};
pub(crate) use smallest::Smallest;

use crate::{Comparison, ModelVersion};

/// The shadows that a tally has: twice what a policy may have.
pub(crate) const SHADOWS: usize = 16;

/// The reasons for failing that are counted apart.
const REASONS: usize = 20;

/// The characters of a reason that count.
const REASON_LETTERS: usize = 200;

/// The releases that are counted apart.
const RELEASES: usize = 100;

/// The pairs of models that are counted apart.
const MODELS: usize = 20;

/// What comparisons add up to.
///
/// Takes at most 100 kB for each shadow, placement and segment, 256 of them for a shadow, and typically a third of that.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub(crate) shadows: BTreeMap<String, ShadowTally>,
    /// Comparisons with shadows that there was no room for.
    pub(crate) left_out: u64,
    scratch: Scratch,
}

/// The models of the champion, and those of the shadow.
pub(crate) type Models = (Vec<ModelVersion>, Vec<ModelVersion>);

/// What the comparisons with a shadow add up to.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShadowTally {
    pub cells: Cells,
    /// The first and the last time of a decision.
    pub span: Option<(i64, i64)>,
    pub releases: Smallest<u64, RELEASES>,
    pub models: Smallest<Models, MODELS>,
    pub reasons: Smallest<String, REASONS>,
    pub examples: Examples,
    /// Decisions that were not compared for want of time, where that is known.
    pub shed: Option<u64>,
    comparisons: u64,
}

impl Tally {
    /// Counts a comparison. Allocates only for what is new: a placement, a bucket, an example.
    pub fn add(&mut self, comparison: &Comparison) {
        let scratch = &mut self.scratch;
        if let Some(tally) = self.shadows.get_mut(&comparison.shadow) {
            tally.add(comparison, scratch);
            return;
        }
        let mut tally = ShadowTally::default();
        tally.add(comparison, scratch);
        self.insert(comparison.shadow.clone(), tally);
    }

    /// Says that decisions were not compared with a shadow, since there was no time.
    pub fn shed(&mut self, shadow: &str, decisions: u64) {
        match self.shadows.get_mut(shadow) {
            Some(tally) => *tally.shed.get_or_insert(0) += decisions,
            None => self
                .insert(shadow.to_owned(), ShadowTally { shed: Some(decisions), ..ShadowTally::default() }),
        }
    }

    /// Adds the comparisons of another.
    pub fn merge(&mut self, other: &Self) {
        self.left_out += other.left_out;
        for (shadow, tally) in &other.shadows {
            match self.shadows.get_mut(shadow) {
                Some(known) => known.merge(tally),
                None => self.insert(shadow.clone(), tally.clone()),
            }
        }
    }

    /// Forgets the examples, each of which is about a person. What is counted stays.
    pub fn forget_examples(&mut self) {
        self.shadows.values_mut().for_each(|tally| tally.examples.clear());
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shadows.is_empty()
    }

    fn insert(&mut self, shadow: String, tally: ShadowTally) {
        self.shadows.insert(shadow, tally);
        if self.shadows.len() > SHADOWS
            && let Some((_, last)) = self.shadows.pop_last()
        {
            self.left_out += last.comparisons;
        }
    }
}

impl ShadowTally {
    fn add(&mut self, comparison: &Comparison, scratch: &mut Scratch) {
        let Comparison { placement, segment, decided_at: at, champion_models, shadow_models, .. } =
            comparison;
        self.comparisons += 1;
        self.widen((*at, *at));
        self.releases.add(1, |known| known.cmp(&comparison.release), || comparison.release);
        self.models.add(
            1,
            |(champion, shadow)| champion.cmp(champion_models).then_with(|| shadow.cmp(shadow_models)),
            || (champion_models.clone(), shadow_models.clone()),
        );
        let cell = self.cells.at(placement, *segment);
        match &comparison.result {
            Ok(compared) => {
                let Agreement { rbo, tau_b } = cell.add(compared, scratch);
                if let Some(rbo) = rbo {
                    self.examples.add(rbo, tau_b, comparison, compared);
                }
            }
            Err(reason) => {
                cell.fail();
                let reason = cut(reason);
                self.reasons.add(1, |known| known.as_str().cmp(reason), || reason.to_owned());
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.comparisons += other.comparisons;
        if let Some(span) = other.span {
            self.widen(span);
        }
        self.releases.merge(&other.releases);
        self.models.merge(&other.models);
        self.reasons.merge(&other.reasons);
        self.cells.merge(&other.cells);
        self.examples.merge(&other.examples);
        if let Some(shed) = other.shed {
            *self.shed.get_or_insert(0) += shed;
        }
    }

    fn widen(&mut self, (first, last): (i64, i64)) {
        let (known_first, known_last) = self.span.unwrap_or((first, last));
        self.span = Some((known_first.min(first), known_last.max(last)));
    }
}

/// The first letters of a reason.
fn cut(reason: &str) -> &str {
    reason.char_indices().nth(REASON_LETTERS).map_or(reason, |(end, _)| &reason[..end])
}

#[cfg(test)]
mod tests;
