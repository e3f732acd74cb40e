//! What the limits of another release know of a recorded decision.
//!
//! A record has what the limits of the release that decided looked at. Where those of the other release ask for more,
//! it is not known, and counts as not having happened; [`Unknown`] says how often that is so.

use std::collections::BTreeMap;
use std::sync::Arc;

use decision::{RecordedHistory, Refusal, ReplayInput};
use event::proto::DecisionRecord;
use history::{Beyond, LimitReason, Place, TotalLimit};
use offer::{Catalog, OfferIndex};

use crate::record::{self, RecordError};
use crate::releases::Loaded;

/// What two releases look at, by placement and channel.
#[derive(Debug, Default)]
pub(super) struct Compared(Vec<AtPlace>);

#[derive(Debug)]
struct AtPlace {
    placement: String,
    channel: String,
    /// What is not known there.
    beyond: Vec<Beyond>,
}

/// By limit of the other release: how many decisions have no record of all that it looks at.
#[derive(Debug, Default)]
pub(super) struct Unknown(pub BTreeMap<String, u64>);

impl Unknown {
    pub(super) fn merge(&mut self, other: Self) {
        for (limit, decisions) in other.0 {
            *self.0.entry(limit).or_default() += decisions;
        }
    }

    /// Of each limit, the greater count of both: the same decisions are counted in both.
    pub(super) fn or_more(&mut self, other: Self) {
        for (limit, decisions) in other.0 {
            let counted = self.0.entry(limit).or_default();
            *counted = decisions.max(*counted);
        }
    }

    /// Counts the limits that the other release has at the place of a decision, for those of its candidates. They are
    /// sorted.
    pub(super) fn add(&mut self, beyond: &[Beyond], candidates: &[OfferIndex]) {
        let matters = |one: &&Beyond| one.offer.is_none_or(|offer| candidates.binary_search(&offer).is_ok());
        for Beyond { limit, .. } in beyond.iter().filter(matters) {
            match self.0.get_mut(limit) {
                Some(decisions) => *decisions += 1,
                None => _ = self.0.insert(limit.clone(), 1),
            }
        }
    }
}

impl Compared {
    /// What the limits of `other` look at beyond those of `base`, where this decision was made.
    pub(super) fn beyond(&mut self, record: &DecisionRecord, base: &Loaded, other: &Loaded) -> &[Beyond] {
        let is_here = |one: &AtPlace| one.placement == record.placement && one.channel == record.channel;
        let known = self.0.iter().position(is_here).unwrap_or_else(|| {
            self.0.push(AtPlace {
                placement: record.placement.clone(),
                channel: record.channel.clone(),
                beyond: beyond(record, base, other),
            });
            self.0.len() - 1
        });
        &self.0[known].beyond
    }
}

fn beyond(record: &DecisionRecord, base: &Loaded, other: &Loaded) -> Vec<Beyond> {
    let catalog = other.snapshot.release.catalog();
    let (Some(here), Some(there)) = (place(record, base), place(record, other)) else { return Vec::new() };
    let mut beyond = other.limits.beyond(catalog, there, &base.limits, here);
    let offers = catalog.library.indexed().map(|(index, _)| index);
    let totals = other.limits.totals_of(catalog, offers).filter(|(limit, one)| {
        let is_known = |offer| {
            other.limits.shares_total(offer, *limit, &base.limits)
                && was_candidate(record, base, catalog, offer)
        };
        !one.offer.is_some_and(is_known)
    });
    beyond.extend(totals.map(|(_, one)| one));
    beyond
}

/// Where a decision was made, as a release has it.
fn place(record: &DecisionRecord, of: &Loaded) -> Option<Place> {
    let policy = &of.snapshot.release.catalog().policy;
    let index = policy.find_placement(&record.placement)?;
    let first = || policy.placement(index).channels.first().map(String::as_str);
    let channel = Some(record.channel.as_str()).filter(|channel| !channel.is_empty()).or_else(first);
    Some(of.limits.place(index, channel.unwrap_or_default()))
}

/// Whether the release that decided shows the offer at the placement: a record has the totals of candidates.
fn was_candidate(record: &DecisionRecord, base: &Loaded, catalog: &Catalog, offer: OfferIndex) -> bool {
    let theirs = base.snapshot.release.catalog();
    let find = || {
        let placement = theirs.policy.placement(theirs.policy.find_placement(&record.placement)?);
        let offer = theirs.library.find(&catalog.library.get(offer).id)?;
        placement.candidates.binary_search_by_key(&offer, |candidate| candidate.offer).ok()
    };
    find().is_some()
}

/// Gives `input`, which was read for `base`, what the limits of `other` can know.
pub(super) fn resolve(
    input: &mut ReplayInput,
    record: &DecisionRecord,
    base: &Loaded,
    other: &Loaded,
) -> Result<(), RecordError> {
    let Some(history) = input.values.history.take() else { return Ok(()) };
    let is_known = |offer, limit| other.limits.shares_total(offer, limit, &base.limits);
    let view = record::view(record, &other.limits, input.now, is_known)?;
    let carried = history.refusals.into_iter().filter_map(|refusal| carried_over(refusal, base, other));
    let mut refusals: Vec<Refusal> = carried.collect();
    refusals.extend(of_fallbacks(&refusals, record, other));
    input.values.history = Some(RecordedHistory {
        limits: Arc::clone(&other.limits),
        view: Arc::new(view),
        refusals,
        undurable: history.undurable,
    });
    Ok(())
}

/// What would be refused as a fallback: offers that a limit refused that fallbacks pass, too. One that was shown after
/// all had room again.
fn of_fallbacks(refusals: &[Refusal], record: &DecisionRecord, other: &Loaded) -> Vec<Refusal> {
    let library = &other.snapshot.release.catalog().library;
    let is_refused = |refusal: &&Refusal| {
        let limit = refusal.reason.limit();
        let was_shown = record.offers.iter().any(|one| *one.offer_id == *library.get(refusal.offer).id);
        refusal.round.is_some()
            && matches!(limit, Some(LimitReason::Suppressed | LimitReason::ContactLimit))
            && !was_shown
    };
    let refused = refusals.iter().filter(is_refused);
    refused.map(|refusal| Refusal { round: None, ..refusal.clone() }).collect()
}

/// A refusal as the other release has it; `None` if it does not have that limit.
fn carried_over(refusal: Refusal, base: &Loaded, other: &Loaded) -> Option<Refusal> {
    let (theirs, ours) = (base.snapshot.release.catalog(), other.snapshot.release.catalog());
    let offer = ours.library.find(&theirs.library.get(refusal.offer).id)?;
    let policy = &ours.policy;
    let has_limit = match refusal.reason.limit()? {
        LimitReason::CapTotal => other.limits.shares_total(offer, TotalLimit::Cap, &base.limits),
        LimitReason::Budget => other.limits.shares_total(offer, TotalLimit::Budget, &base.limits),
        LimitReason::CapCustomer => ours.library.get(offer).cap_customer.is_some(),
        LimitReason::Suppressed => policy.suppressions.iter().any(|rule| rule.id == refusal.limit),
        LimitReason::ContactLimit => policy.contact_limits.iter().any(|limit| limit.id == refusal.limit),
    };
    has_limit.then_some(Refusal { offer, ..refusal })
}
