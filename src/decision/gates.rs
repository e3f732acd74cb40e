//! The gates between a candidate and a score, in their order, each with its reason.
//!
//! Pure: a gate looks at one offer and what is known, never at other offers, so that the order of offers cannot matter.

use chrono::{DateTime, SecondsFormat, Utc};

use super::customer::Known;
use super::{Reason, Rejection, Stage};
use crate::offer::{Catalog, CustomerRules, Offer, Rule};

/// What the gates look at besides the offer.
pub(super) struct Visit<'a> {
    pub catalog: &'a Catalog,
    pub known: &'a Known<'a>,
    pub channel: &'a str,
    pub as_of: DateTime<Utc>,
}

impl Visit<'_> {
    /// The first gate that withholds the offer with this index, if any. `rules` are asked about the customer.
    pub fn withholds(&self, offer: usize, rules: &CustomerRules<'_>) -> Option<Rejection> {
        let terms = self.catalog.library.get(offer);
        self.without_rules(terms).or_else(|| by_rules(terms, offer, rules))
    }

    /// The gates that a fallback has to pass, too: consent, validity, channel.
    pub fn without_rules(&self, offer: &Offer) -> Option<Rejection> {
        self.consent(offer).or_else(|| self.validity(offer)).or_else(|| self.channel(offer))
    }

    fn consent(&self, offer: &Offer) -> Option<Rejection> {
        let missing = offer.consents.iter().find(|needed| !self.known.consents.contains(needed.as_str()))?;
        let refused = self.known.refusals.contains(missing.as_str());
        let reason = if refused { Reason::OptedOut } else { Reason::ConsentMissing };
        Some(Rejection::new(Stage::Consent, reason).with_detail(missing.as_str()))
    }

    fn validity(&self, offer: &Offer) -> Option<Rejection> {
        let date = |moment: DateTime<Utc>| moment.to_rfc3339_opts(SecondsFormat::Secs, true);
        if let Some(from) = offer.valid_from.filter(|from| self.as_of < *from) {
            let rejection = Rejection::new(Stage::Validity, Reason::NotYetValid);
            return Some(rejection.with_detail(format!("valid from {}", date(from))));
        }
        let until = offer.valid_until.filter(|until| self.as_of >= *until)?;
        let rejection = Rejection::new(Stage::Validity, Reason::Expired);
        Some(rejection.with_detail(format!("valid until {}", date(until))))
    }

    fn channel(&self, offer: &Offer) -> Option<Rejection> {
        let allowed = offer.channels.is_empty() || offer.channels.iter().any(|known| known == self.channel);
        (!allowed).then(|| {
            Rejection::new(Stage::Channel, Reason::ChannelNotAllowed).with_detail(offer.channels.join(", "))
        })
    }
}

fn by_rules(terms: &Offer, offer: usize, rules: &CustomerRules<'_>) -> Option<Rejection> {
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
            Ok(_) => (reason, String::new()),
            Err(error) => (Reason::RuleError, error.to_string()),
        };
        let rejection = Rejection::new(stage, reason).with_detail(detail);
        Some(Rejection { rule: Some(rule.shared_source()), ..rejection })
    })
}

/// A rule, whether it must hold or must not, and what its failure is called.
type RuleGate<'a> = (Option<&'a Rule>, bool, Stage, Reason);
