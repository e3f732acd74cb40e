//! Limits of a customer as one would count them by hand: over the list of all that happened.

use chrono::{DateTime, TimeDelta, Utc};
use offer::{Catalog, Counted, OfferIndex, Period, SuppressionScope};

use super::catalogs::World;
use crate::event::{Decision, Outcome, ShownOffer};
use crate::{Event, LimitReason, Rebuild, Spend};

/// Something that happened.
#[derive(Debug, Clone)]
pub(super) struct Happened {
    pub at: DateTime<Utc>,
    pub customer: String,
    pub channel: &'static str,
    /// `None` for a decision.
    pub outcome: Option<&'static str>,
    pub offers: Vec<OfferIndex>,
}

impl Happened {
    /// Counts it in the history of a world.
    pub(super) fn record(&self, world: &World, rebuild: &mut Rebuild<'_>, number: usize) {
        let placement = super::catalogs::placement_of(self.channel);
        let shown: Vec<ShownOffer> = self
            .offers
            .iter()
            .map(|offer| ShownOffer {
                offer: world.id(*offer).into(),
                spend: world.limits.spend(*offer),
                reservations: Vec::new(),
            })
            .collect();
        let id = uuid::Uuid::from_u128(number as u128);
        let event_id = number.to_string();
        let event = match self.outcome {
            None => Event::Decision(Decision {
                id,
                customer: &self.customer,
                placement,
                channel: self.channel,
                decided_at: self.at,
                shown: &shown,
            }),
            Some(outcome) => Event::Outcome(Outcome {
                event_id: &event_id,
                decision: None,
                customer: &self.customer,
                offer: world.id(self.offers[0]),
                placement,
                channel: self.channel,
                outcome,
                spend: Spend::default(),
                occurred_at: self.at,
                recorded_at: self.at,
            }),
        };
        assert!(rebuild.apply(&event));
    }

    fn is_counted(&self, count: &Counted) -> bool {
        match (count, self.outcome) {
            (Counted::Decision, None) => true,
            (Counted::Outcome(counted), Some(outcome)) => counted == outcome,
            _ => false,
        }
    }
}

/// What the limits of a customer say of an offer: suppressions, contact limits and the offer's cap.
pub(super) fn withholds(
    catalog: &Catalog,
    happened: &[Happened],
    customer: &str,
    channel: &str,
    offer: OfferIndex,
    now: DateTime<Utc>,
) -> Option<(LimitReason, String)> {
    let own: Vec<&Happened> = happened.iter().filter(|one| one.customer == customer).collect();
    let suppressed = catalog.policy.suppressions.iter().find(|rule| {
        let mut moments: Vec<DateTime<Utc>> = own
            .iter()
            .filter(|one| one.outcome == Some(rule.outcome.as_str()))
            .filter(|one| match rule.scope {
                SuppressionScope::Offer => one.offers[0] == offer,
                SuppressionScope::Category => category(catalog, one.offers[0]) == category(catalog, offer),
                SuppressionScope::All => true,
            })
            .map(|one| one.at)
            .collect();
        moments.sort();
        let times = rule.times as usize;
        moments.windows(times).any(|together| {
            let (first, last) = (together[0], together[times - 1]);
            last - first < rule.within && now < last + rule.pause
        })
    });
    if let Some(rule) = suppressed {
        return Some((LimitReason::Suppressed, rule.id.clone()));
    }
    let zone = catalog.policy.time_zone;
    let counts = |at: DateTime<Utc>, per: Period| match per {
        Period::Sliding(length) => now - at < length,
        Period::Day | Period::Week | Period::Month => at >= per.bounds(now, zone).0,
        Period::All => true,
    };
    let reached = catalog.policy.contact_limits.iter().find(|limit| {
        let in_scope = |of: OfferIndex| limit.offers.as_ref().is_none_or(|offers| offers.contains(&of));
        let here = |channel: &str| {
            let placement = catalog.policy.find_placement(super::catalogs::placement_of(channel)).unwrap();
            (limit.channels.is_empty() || limit.channels.iter().any(|known| known == channel))
                && (limit.placements.is_empty() || limit.placements.contains(&placement))
        };
        let contacts = own.iter().filter(|one| {
            one.is_counted(&limit.count)
                && here(one.channel)
                && one.offers.iter().any(|of| in_scope(*of))
                && counts(one.at, limit.per)
        });
        here(channel) && in_scope(offer) && contacts.count() >= limit.limit as usize
    });
    if let Some(limit) = reached {
        return Some((LimitReason::ContactLimit, limit.id.clone()));
    }
    let cap = catalog.library.get(offer).cap_customer.as_ref()?;
    let showings = own
        .iter()
        .filter(|one| one.is_counted(&cap.count) && one.offers.contains(&offer) && counts(one.at, cap.per));
    (showings.count() >= cap.limit as usize).then(|| (LimitReason::CapCustomer, "cap_customer".to_owned()))
}

fn category(catalog: &Catalog, offer: OfferIndex) -> usize {
    catalog.library.get(offer).category
}

/// Makes `now` later in steps that often meet the end of a window.
pub(super) fn later(now: DateTime<Utc>, step: u16) -> DateTime<Utc> {
    let step = i64::from(step);
    now + match step % 4 {
        0 => TimeDelta::zero(),
        1 => TimeDelta::milliseconds(step),
        2 => TimeDelta::minutes(step % 300),
        _ => TimeDelta::hours(step % 40),
    }
}
