//! The gates between a candidate and a score, in their order, each with its reason.
//!
//! Pure: a gate looks at one offer and what is known, never at other offers, so that the order of offers cannot matter.

use chrono::{DateTime, Utc};

use super::customer::Known;
use super::withheld::{Detail, Withheld};
use super::{Reason, Stage};
use crate::offer::{Catalog, CustomerRules, Offer, Rule};

/// What the gates look at besides the offer.
pub(super) struct Visit<'a, 'k> {
    pub catalog: &'a Catalog,
    pub known: &'k Known<'a>,
    /// `None` for a channel over which the placement is not shown.
    pub channel: Option<&'a str>,
    /// Those over which it is.
    pub channels: &'a [String],
    pub as_of: DateTime<Utc>,
}

/// Where an offer falls, why, and what people are told of it.
type Fall<'a> = (Stage, Reason, Detail<'a>);

impl<'a> Visit<'a, '_> {
    /// The first gate that withholds the offer with this index, if any. `rules` are asked about the customer.
    pub fn withholds(&self, offer: usize, rules: &CustomerRules<'_>) -> Option<Withheld<'a>> {
        self.without_rules(offer).or_else(|| by_rules(self.catalog.library.get(offer), offer, rules))
    }

    /// The gates that a fallback has to pass, too: consent, validity, channel.
    pub fn without_rules(&self, offer: usize) -> Option<Withheld<'a>> {
        let terms = self.catalog.library.get(offer);
        let fall = self.consent(terms).or_else(|| self.validity(terms)).or_else(|| self.channel(terms));
        fall.map(|(stage, reason, detail)| Withheld::new(offer, stage, reason, detail))
    }

    fn consent(&self, offer: &'a Offer) -> Option<Fall<'a>> {
        let consents = &self.known.consents;
        let missing = offer.consents.iter().find(|needed| !consents.are_given(needed))?;
        let reason = if consents.are_refused(missing) { Reason::OptedOut } else { Reason::ConsentMissing };
        Some((Stage::Consent, reason, Detail::Name(missing)))
    }

    fn validity(&self, offer: &Offer) -> Option<Fall<'a>> {
        if let Some(from) = offer.valid_from.filter(|from| self.as_of < *from) {
            return Some((Stage::Validity, Reason::NotYetValid, Detail::ValidFrom(from)));
        }
        let until = offer.valid_until.filter(|until| self.as_of >= *until)?;
        Some((Stage::Validity, Reason::Expired, Detail::ValidUntil(until)))
    }

    fn channel(&self, offer: &'a Offer) -> Option<Fall<'a>> {
        let fall = |allowed| (Stage::Channel, Reason::ChannelNotAllowed, Detail::Channels(allowed));
        let Some(channel) = self.channel else { return Some(fall(self.channels)) };
        let allowed = offer.channels.is_empty() || offer.channels.iter().any(|known| known == channel);
        (!allowed).then(|| fall(&offer.channels))
    }
}

fn by_rules<'a>(terms: &'a Offer, offer: usize, rules: &CustomerRules<'_>) -> Option<Withheld<'a>> {
    let gates: [RuleGate<'_>; 4] = [
        (terms.exclusion.as_ref(), false, Stage::Exclusion, Reason::Excluded),
        (terms.eligibility.as_ref(), true, Stage::Eligibility, Reason::Ineligible),
        (terms.applicability.as_ref(), true, Stage::Applicability, Reason::NotApplicable),
        (terms.suitability.as_ref(), true, Stage::Suitability, Reason::Unsuitable),
    ];
    gates.into_iter().find_map(|(rule, wanted, stage, reason)| {
        let rule = rule?;
        let (reason, detail) = match rules.holds(rule, offer) {
            Ok(held) if held == wanted => return None,
            Ok(_) => (reason, Detail::Nothing),
            Err(error) => (Reason::RuleError, Detail::Error(error)),
        };
        Some(Withheld { rule: Some(rule), ..Withheld::new(offer, stage, reason, detail) })
    })
}

/// A rule, whether it must hold or must not, and what its failure is called.
type RuleGate<'a> = (Option<&'a Rule>, bool, Stage, Reason);
