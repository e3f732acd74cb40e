//! The gates between a candidate and its score, in order, each with its reason.
//!
//! Gates are pure: each looks at one offer and its inputs, never at other offers. So the order of offers has no effect.

use chrono::{DateTime, Utc};

use super::customer::ResolvedCustomer;
use super::limits::CustomerGate;
use super::withheld::{Detail, Withheld};
use super::{Reason, Stage};
use offer::{Catalog, CustomerRules, Offer, OfferIndex, Rule};

/// What the gates read besides the offer.
pub(super) struct GateInput<'a, 'k> {
    pub catalog: &'a Catalog,
    pub customer: &'k ResolvedCustomer<'a>,
    /// `None` where the placement is not shown on the requested channel.
    pub channel: Option<&'a str>,
    /// The channels of the placement.
    pub channels: &'a [String],
    pub as_of: DateTime<Utc>,
    /// The server's clock, which limits go by.
    pub now: DateTime<Utc>,
    /// The limits of the customer, where there is a history.
    pub limits: Option<&'k CustomerGate<'a>>,
}

/// Why a gate withholds an offer.
struct Blocked<'a> {
    stage: Stage,
    reason: Reason,
    detail: Detail<'a>,
}

impl<'a> Blocked<'a> {
    fn at(self, offer: OfferIndex) -> Withheld<'a> {
        Withheld::new(offer, self.stage, self.reason, self.detail)
    }
}

impl<'a> GateInput<'a, '_> {
    /// The first gate that withholds the offer, if any. `rules` are evaluated for the customer.
    pub(crate) fn withholds(&self, offer: OfferIndex, rules: &CustomerRules<'_>) -> Option<Withheld<'a>> {
        self.without_rules(offer)
            .or_else(|| by_rules(self.catalog.library.get(offer), offer, rules))
            .or_else(|| self.limits?.withholds(offer, self.now))
    }

    /// The first gate other than consent that withholds the offer.
    pub(crate) fn withholds_despite_consent(
        &self,
        offer: OfferIndex,
        rules: &CustomerRules<'_>,
    ) -> Option<Withheld<'a>> {
        let terms = self.catalog.library.get(offer);
        let blocked = self.validity(terms).or_else(|| self.channel(terms));
        blocked.map(|blocked| blocked.at(offer)).or_else(|| by_rules(terms, offer, rules))
    }

    /// The gates of a fallback: consent, validity, channel, suppressions and contact limits.
    pub(crate) fn withholds_fallback(&self, offer: OfferIndex) -> Option<Withheld<'a>> {
        self.without_rules(offer).or_else(|| self.limits?.withholds_fallback(offer, self.now))
    }

    /// Consent, validity, channel.
    fn without_rules(&self, offer: OfferIndex) -> Option<Withheld<'a>> {
        let terms = self.catalog.library.get(offer);
        let blocked = self.consent(terms).or_else(|| self.validity(terms)).or_else(|| self.channel(terms));
        blocked.map(|blocked| blocked.at(offer))
    }

    fn consent(&self, offer: &'a Offer) -> Option<Blocked<'a>> {
        let consents = &self.customer.consents;
        let missing = offer.consents.iter().find(|needed| !consents.are_given(needed))?;
        let reason = if consents.are_refused(missing) { Reason::OptedOut } else { Reason::ConsentMissing };
        Some(Blocked { stage: Stage::Consent, reason, detail: Detail::Name(missing) })
    }

    fn validity(&self, offer: &Offer) -> Option<Blocked<'a>> {
        let blocked = |reason, detail| Some(Blocked { stage: Stage::Validity, reason, detail });
        if let Some(from) = offer.valid_from.filter(|from| self.as_of < *from) {
            return blocked(Reason::NotYetValid, Detail::ValidFrom(from));
        }
        let until = offer.valid_until.filter(|until| self.as_of >= *until)?;
        blocked(Reason::Expired, Detail::ValidUntil(until))
    }

    fn channel(&self, offer: &'a Offer) -> Option<Blocked<'a>> {
        let blocked = |allowed| {
            let detail = Detail::Channels(allowed);
            Blocked { stage: Stage::Channel, reason: Reason::ChannelNotAllowed, detail }
        };
        let Some(channel) = self.channel else { return Some(blocked(self.channels)) };
        let allowed = offer.channels.is_empty() || offer.channels.iter().any(|known| known == channel);
        (!allowed).then(|| blocked(&offer.channels))
    }
}

/// A rule of an offer as a gate.
struct RuleGate<'a> {
    rule: Option<&'a Rule>,
    /// The result of the rule that lets the offer pass.
    passes: bool,
    stage: Stage,
    reason: Reason,
}

fn by_rules<'a>(terms: &'a Offer, offer: OfferIndex, rules: &CustomerRules<'_>) -> Option<Withheld<'a>> {
    let gate = |rule: &'a Option<Rule>, passes, stage, reason| {
        let rule = rule.as_ref();
        RuleGate { rule, passes, stage, reason }
    };
    let gates = [
        gate(&terms.exclusion, false, Stage::Exclusion, Reason::Excluded),
        gate(&terms.eligibility, true, Stage::Eligibility, Reason::Ineligible),
        gate(&terms.applicability, true, Stage::Applicability, Reason::NotApplicable),
        gate(&terms.suitability, true, Stage::Suitability, Reason::Unsuitable),
    ];
    gates.into_iter().find_map(|gate| {
        let rule = gate.rule?;
        let (reason, detail) = match rules.holds(rule, offer) {
            Ok(holds) if holds == gate.passes => return None,
            Ok(_) => (gate.reason, Detail::Nothing),
            Err(error) => (Reason::RuleError, Detail::Error(error)),
        };
        Some(Withheld { rule: Some(rule), ..Withheld::new(offer, gate.stage, reason, detail) })
    })
}
