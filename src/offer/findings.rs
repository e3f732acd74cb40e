//! What is most likely a mistake in the rules of a catalog that is sound.

use super::rule::{Declared, OfferSeen, Outlook};
use super::{Catalog, Rule, customer_rules};

/// Something that a rule says and nobody can have meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFinding {
    /// Where the rule stands.
    pub place: RulePlace,
    /// The key of the rule there.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulePlace {
    /// The offer with this index.
    Offer(usize),
    /// The context weight with this index.
    ContextWeight(usize),
}

/// A rule, its key, and what it means for the offer or the weight never to be true and always to be.
struct Kind<'a> {
    rule: Option<&'a Rule>,
    key: &'static str,
    never: &'static str,
    always: Option<&'static str>,
}

impl Catalog {
    /// Looks through every rule: values that nothing has, quotients that lost their decimals, rules that can never be true or
    /// always are. Takes some microseconds per rule.
    #[must_use]
    pub fn findings(&self, declared: Declared<'_>) -> Vec<RuleFinding> {
        const WITHHOLDS: &str = "the offer is never shown";
        const NOTHING: &str = "it withholds nothing";
        let mut findings = Vec::new();
        for (index, offer) in self.library.offers().iter().enumerate() {
            let seen = [self.seen(index)];
            for (key, rule, never, always) in [
                ("eligibility", &offer.eligibility, WITHHOLDS, NOTHING),
                ("applicability", &offer.applicability, WITHHOLDS, NOTHING),
                ("suitability", &offer.suitability, WITHHOLDS, NOTHING),
                ("exclusion", &offer.exclusion, NOTHING, WITHHOLDS),
            ] {
                let kind = Kind { rule: rule.as_ref(), key, never, always: Some(always) };
                kind.look(RulePlace::Offer(index), declared, &seen, &mut findings);
            }
        }
        for (index, weight) in self.policy.context_weights.iter().enumerate() {
            let seen: Vec<OfferSeen<'_>> = weight.offers.iter().map(|offer| self.seen(*offer)).collect();
            // `true` is how a weight for always is written.
            let always =
                (weight.when.source().trim() != "true").then_some("the weight always applies; write `true`");
            let kind =
                Kind { rule: Some(&weight.when), key: "when", never: "the weight never applies", always };
            kind.look(RulePlace::ContextWeight(index), declared, &seen, &mut findings);
        }
        findings
    }

    fn seen(&self, index: usize) -> OfferSeen<'_> {
        let offer = self.library.get(index);
        OfferSeen { index, fields: self.fields(offer), features: customer_rules::features(offer) }
    }
}

impl Kind<'_> {
    fn look(
        &self,
        place: RulePlace,
        declared: Declared<'_>,
        offers: &[OfferSeen<'_>],
        findings: &mut Vec<RuleFinding>,
    ) {
        let Some(rule) = self.rule else { return };
        let key = self.key;
        let many_lines = rule.source().trim_end().contains('\n');
        let unknown = rule.unknown_values(declared);
        for problem in rule.warnings().iter().chain(&unknown) {
            let line =
                if many_lines { format!(" (line {} of the rule)", problem.line) } else { String::new() };
            findings.push(RuleFinding { place, key, message: format!("`{key}`: {}{line}", problem.message) });
        }
        // What nothing can be makes a rule constant, and is said already.
        if !unknown.is_empty() {
            return;
        }
        let Some(outlook) = rule.outlook(Some(declared), offers) else { return };
        let said = match outlook {
            Outlook::NeverTrue => Some(("can never be true", self.never)),
            Outlook::NeverFalse => self.always.map(|meaning| ("is always true", meaning)),
        };
        if let Some((what, meaning)) = said {
            let by = if rule.outlook(None, offers) == Some(outlook) {
                ""
            } else {
                " for the values that the release declares"
            };
            findings.push(RuleFinding { place, key, message: format!("`{key}` {what}{by}: {meaning}") });
        }
    }
}
