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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::FeatureSchema;

    const FEATURES: &str = r#"
feature = [
    { name = "trx", type = "int", entity = "customer" },
    { name = "months", type = "int", entity = "customer" },
    { name = "share", type = "float", entity = "customer", range = [0, 1] },
    { name = "tier", type = "string", entity = "customer" },
    { name = "income", type = "string", entity = "customer", values = ["low", "upper"] },
]
"#;
    const POLICY: &str = r#"
segmentation = "groups"
category = [{ id = "cards" }, { id = "loans" }]
placement = [{ id = "home", channels = ["app"], count = 3, model = "base" }]
"#;

    fn findings(offer: &str, policy: &str) -> Vec<String> {
        let schema = FeatureSchema::parse("features.toml", FEATURES).unwrap();
        let offers = format!(
            "[[offer]]\nid = \"gold\"\nname = \"Gold\"\ncategory = \"cards\"\nplacements = [\"home\"]\nvalue = 10.0\n{offer}"
        );
        let policy = format!("{POLICY}{policy}");
        let catalog = crate::offer::read(&schema, ("offers.toml", &offers), ("policy.toml", &policy))
            .unwrap_or_else(|unsound| panic!("{}", unsound.problems));
        let segments = ["Savers".into(), "Spenders".into()];
        let declared = Declared {
            schema: &schema,
            segments: Some(&segments),
            offers: &["gold"],
            categories: &["cards", "loans"],
        };
        catalog.findings(declared).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn what_nobody_can_have_meant_is_found() {
        for (offer, expected) in [
            (
                "eligibility = 'customer.trx / customer.months >= 0.5'",
                "write `customer.trx * 1.0 / customer.months`",
            ),
            (
                "eligibility = 'segment.name == \"Savres\"'",
                "`segment.name` is never \"Savres\"; did you mean `Savers`?",
            ),
            (
                "eligibility = 'segment.name in [\"Spenders\", \"Others\"]'",
                "is one of \"Savers\", \"Spenders\"",
            ),
            (
                "eligibility = 'customer.income in [\"uper\", \"low\"]'",
                "`customer.income` is never \"uper\"; did you mean `upper`?",
            ),
            ("eligibility = 'segment.id in [1, 2]'", "`segment.id` is never 2; the segmentation has 0 to 1"),
            ("eligibility = 'offer.category != \"card\"'", "did you mean `cards`?"),
            (
                "suitability = 'customer.trx > 5 && customer.trx < 3'",
                "`suitability` can never be true: the offer is never shown",
            ),
            (
                "applicability = 'customer.share > 1'",
                "never be true for the values that the release declares: the offer is",
            ),
            ("eligibility = 'true'", "`eligibility` is always true: it withholds nothing"),
            (
                "exclusion = 'customer.trx > 5 && customer.trx < 3'",
                "`exclusion` can never be true: it withholds nothing",
            ),
            ("exclusion = 'offer.value > 5.0'", "`exclusion` is always true: the offer is never shown"),
        ] {
            let found = findings(offer, "");
            assert_eq!(found.len(), 1, "{offer}: {found:?}");
            assert!(found[0].contains(expected), "{offer}: {found:?}");
        }
    }

    #[test]
    fn a_context_weight_may_always_apply_and_must_sometimes() {
        let weight = |when: &str| {
            findings("", &format!("[[context_weight]]\nid = \"w\"\npercent = 5\nwhen = '{when}'"))
        };
        assert_eq!(weight("true"), [""; 0]);
        assert_eq!(weight("customer.trx > 1"), [""; 0]);
        assert_eq!(weight("offer.value > 20.0"), ["`when` can never be true: the weight never applies"]);
        assert_eq!(
            weight("customer.trx > 1 || customer.trx < 2"),
            ["`when` is always true: the weight always applies; write `true`"]
        );
    }

    #[test]
    fn rules_that_can_be_met_and_missed_are_left_alone() {
        for offer in [
            "eligibility = 'customer.trx * 1.0 / customer.months >= 0.5'",
            "eligibility = 'customer.trx / customer.months >= 1'",
            "eligibility = 'customer.share >= 0.5 && segment.name == \"Savers\" && customer.tier == \"gold\"'",
            "exclusion = 'customer.tier in [\"gold\", \"black\"]'",
        ] {
            assert_eq!(findings(offer, ""), [""; 0], "{offer}");
        }
    }
}
