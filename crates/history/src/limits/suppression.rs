//! Suppressions: which pauses a customer's outcomes began that still last.

use std::borrow::Cow;

use offer::{OfferIndex, Policy, SuppressionScope};
use smallvec::SmallVec;

use super::{Limits, OfferSet, Terms};
use crate::entry::Entry;
use crate::moment::{self, Millis};
use crate::names::Names;

/// Every suppression of a release.
#[derive(Debug)]
pub(super) struct Suppressions {
    rules: Vec<Rule>,
    /// The rules that count each type, by position; those of types that could not be kept apart are all.
    by_type: Vec<SmallVec<[usize; 2]>>,
    /// The offers of each category.
    categories: Vec<OfferSet>,
    every: OfferSet,
    longest: Millis,
}

#[derive(Debug)]
struct Rule {
    id: String,
    times: usize,
    within: Millis,
    pause: Millis,
    scope: SuppressionScope,
}

/// What is withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Offer(OfferIndex),
    Category(usize),
    All,
}

/// A pause that lasts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    /// The position of its suppression.
    pub rule: usize,
    target: Target,
    /// The first moment behind it.
    pub frees: Millis,
}

/// An outcome that a rule counts.
#[derive(Debug, Clone, Copy)]
struct Counts {
    rule: usize,
    target: Target,
    at: Millis,
    /// Stands for as many outcomes as the rule needs.
    saturated: bool,
}

impl Suppressions {
    pub(super) fn new(policy: &Policy, offers: &[Terms], names: &Names) -> Self {
        let rules = policy.suppressions.iter().map(|rule| Rule {
            id: rule.id.clone(),
            times: rule.times as usize,
            within: moment::length(rule.within),
            pause: moment::length(rule.pause),
            scope: rule.scope,
        });
        let mut by_type = vec![SmallVec::new(); usize::from(names.types.other()) + 1];
        for (place, rule) in policy.suppressions.iter().enumerate() {
            by_type[usize::from(names.types.intern(&rule.outcome))].push(place);
            by_type[usize::from(names.types.other())].push(place);
        }
        let mut categories = vec![OfferSet::default(); policy.categories.len()];
        for (index, terms) in offers.iter().enumerate() {
            categories[terms.category].insert(OfferIndex::new(index));
        }
        let longest = policy.suppressions.iter().map(|rule| moment::length(rule.longest())).max();
        let every = OfferSet::first(offers.len());
        Self { rules: rules.collect(), by_type, categories, every, longest: longest.unwrap_or(0) }
    }

    pub(super) fn longest(&self) -> Millis {
        self.longest
    }

    pub(super) fn id(&self, rule: usize) -> &str {
        &self.rules[rule].id
    }

    /// Whether a pause withholds an offer.
    pub(super) fn covers(&self, pause: &Pause, offer: OfferIndex) -> bool {
        match pause.target {
            Target::Offer(of) => of == offer,
            Target::Category(category) => self.categories[category].contains(offer),
            Target::All => true,
        }
    }

    /// The offers that a pause withholds.
    pub(super) fn offers(&self, pause: &Pause) -> Cow<'_, OfferSet> {
        match pause.target {
            Target::Offer(offer) => Cow::Owned(OfferSet::from_iter([offer])),
            Target::Category(category) => Cow::Borrowed(&self.categories[category]),
            Target::All => Cow::Borrowed(&self.every),
        }
    }

    /// Whether there is a rule that counts a type.
    pub(super) fn count(&self, event_type: u16) -> bool {
        !self.by_type[usize::from(event_type)].is_empty()
    }

    /// The pauses that last at `now`, in the order of their rules. `entries` are sorted by moment, and there was an
    /// overview of them.
    pub(super) fn pauses(&self, limits: &Limits, entries: &[Entry], now: Millis) -> SmallVec<[Pause; 2]> {
        let meanings = limits.meanings.reader();
        let mut counts: SmallVec<[Counts; 4]> = SmallVec::new();
        for entry in entries.iter().rev().take_while(|entry| entry.at() > now - self.longest) {
            if !meanings.get(entry.code()).suppresses() {
                continue;
            }
            let key = limits.names.key(entry.code());
            for rule in &self.by_type[usize::from(key.event_type)] {
                let Some(target) = self.target(*rule, limits, key.offer) else { continue };
                counts.push(Counts { rule: *rule, target, at: entry.at(), saturated: key.saturated });
            }
        }
        // The sort is stable: the youngest stays first.
        counts.sort_by_key(|one| (one.rule, one.target));
        let same = |left: &Counts, right: &Counts| (left.rule, left.target) == (right.rule, right.target);
        let pauses = counts.chunk_by(same).filter_map(|outcomes| self.pause(outcomes));
        pauses.filter(|pause| now < pause.frees).collect()
    }

    /// The last pause that these outcomes began, the youngest first.
    fn pause(&self, outcomes: &[Counts]) -> Option<Pause> {
        let Counts { rule, target, .. } = *outcomes.first()?;
        let Rule { times, within, pause, .. } = self.rules[rule];
        let begins = |(place, outcome): (usize, &Counts)| {
            let together = outcomes[place..].iter().take_while(|older| outcome.at - older.at < within);
            let mut number = 0;
            together.take(times).any(|older| {
                number += 1;
                number == times || older.saturated
            })
        };
        let place = outcomes.iter().enumerate().position(begins)?;
        Some(Pause { rule, target, frees: outcomes[place].at + pause })
    }

    /// What a rule withholds after outcomes of the offer at a position; `None` where the release no longer has it.
    fn target(&self, rule: usize, limits: &Limits, position: u16) -> Option<Target> {
        let scope = self.rules[rule].scope;
        if scope == SuppressionScope::All || position == limits.names.offers.other() {
            return Some(Target::All);
        }
        let offer = limits.index(position)?;
        Some(match scope {
            SuppressionScope::Category => Target::Category(limits.offers[offer.get()].category),
            SuppressionScope::Offer | SuppressionScope::All => Target::Offer(offer),
        })
    }
}
