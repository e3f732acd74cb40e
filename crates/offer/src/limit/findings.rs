//! Limits of a valid catalog that are probable mistakes: they withhold an offer from everyone, or limit nothing.

use super::{Budget, ContactLimit, Spending};
use crate::{Catalog, Offer, OfferIndex, PlacementIndex};
use document::suggestion;

/// A probable mistake in a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitFinding {
    /// Where the limit is.
    pub place: LimitPlace,
    /// The key there.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// Where a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitPlace {
    /// The offer with this index.
    Offer(OfferIndex),
    /// The contact limit with this index.
    ContactLimit(usize),
}

impl Catalog {
    /// Checks every limit for offers that are never shown, and for limits that limit nothing.
    #[must_use]
    pub fn limit_findings(&self) -> Vec<LimitFinding> {
        let mut findings = Vec::new();
        for (index, offer) in self.library.indexed() {
            let found = of_offer(offer).into_iter();
            findings.extend(found.map(|(key, message)| LimitFinding {
                place: LimitPlace::Offer(index),
                key,
                message,
            }));
        }
        for (index, limit) in self.policy.contact_limits.iter().enumerate() {
            let found = self.of_contact_limit(limit).into_iter();
            findings.extend(found.map(|(key, message)| LimitFinding {
                place: LimitPlace::ContactLimit(index),
                key,
                message,
            }));
        }
        findings
    }

    fn of_contact_limit(&self, limit: &ContactLimit) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if limit.limit == 0 {
            found.push(("limit", "`limit` is 0: no offer that it holds for is ever shown".to_owned()));
        }
        let placements = self.policy.placements.iter().enumerate().filter(|(index, _)| {
            limit.placements.is_empty() || limit.placements.contains(&PlacementIndex::new(*index))
        });
        let placements: Vec<_> = placements.map(|(_, placement)| placement).collect();
        let known = || placements.iter().flat_map(|placement| &placement.channels).map(String::as_str);
        let unknown = limit.channels.iter().filter(|channel| !known().any(|known| known == **channel));
        let unknown: Vec<&String> = unknown.collect();
        for channel in &unknown {
            let of = if limit.placements.is_empty() { "no placement" } else { "none of its placements" };
            let hint = suggestion(channel, known());
            found.push(("channels", format!("`channels`: {of} has the channel `{channel}`{hint}")));
        }
        let open = |channels: &[String], offer: OfferIndex| {
            let offered = &self.library.get(offer).channels;
            channels.iter().any(|channel| {
                (limit.channels.is_empty() || limit.channels.contains(channel))
                    && (offered.is_empty() || offered.contains(channel))
            })
        };
        let holds = placements.iter().any(|placement| {
            let shown = placement.candidates.iter().map(|candidate| candidate.offer);
            shown.chain(placement.fallback).any(|offer| {
                let targets = limit.offers.as_ref();
                targets.is_none_or(|targets| targets.binary_search(&offer).is_ok())
                    && open(&placement.channels, offer)
            })
        });
        // An unknown channel is reported already.
        if !holds && unknown.is_empty() {
            found.push(("id", "it limits nothing: none of its offers is shown where it holds".to_owned()));
        }
        found
    }
}

fn of_offer(offer: &Offer) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let never = |key: &str| format!("`{key}` has the limit 0: the offer is never shown");
    if offer.cap_customer.as_ref().is_some_and(|cap| cap.limit == 0) {
        found.push(("cap_customer", never("cap_customer")));
    }
    if offer.cap_total.as_ref().is_some_and(|cap| cap.limit == 0) {
        found.push(("cap_total", never("cap_total")));
    }
    if let Some(Budget { amount, spends, .. }) = offer.budget {
        let (key, each) = match spends {
            Spending::Cost => ("cost", offer.cost),
            Spending::Value => ("value", offer.value),
        };
        if each == 0.0 {
            found.push(("budget", format!("`budget` spends `{key}`, which is 0: it is never used up")));
        } else if amount < each {
            let message = format!("`budget` {amount} is below `{key}` {each}: the offer is never shown");
            found.push(("budget", message));
        }
    }
    found
}
