//! Probable mistakes in the rules of a valid catalog.

use super::rule::{Declared, OfferView, Outlook};
use super::{Catalog, OfferIndex, Rule, customer_rules};
use document::plural;

/// A probable mistake in a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFinding {
    /// Where the rule is.
    pub place: RulePlace,
    /// The key of the rule there.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// Where a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulePlace {
    /// The offer with this index.
    Offer(OfferIndex),
    /// The context weight with this index.
    ContextWeight(usize),
}

/// A rule with its key, and what it means for the offer or weight if the rule is constant.
struct Subject<'a> {
    rule: Option<&'a Rule>,
    key: &'static str,
    never: Meaning,
    always: Option<Meaning>,
}

/// The effect of a constant rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The offer is never shown.
    Never,
    /// The rule withholds the offer from no customer, except those with a missing value: for them it cannot be
    /// evaluated.
    Nothing,
    /// The weight never applies.
    NoWeight,
    /// The weight applies to every customer, except those with a missing value.
    Always,
}

impl Meaning {
    fn words(self) -> &'static str {
        match self {
            Self::Never => "the offer is never shown",
            Self::Nothing => "it withholds nothing",
            Self::NoWeight => "the weight never applies",
            Self::Always => "the weight always applies; write `true`",
        }
    }
}

/// Names the first feature of the rule that may be missing, and the number of further ones; `None` if there is none.
fn may_be_missing(rule: &Rule, declared: Declared<'_>) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for (entity, index) in rule.features() {
        let Some(feature) = declared.schema.of(entity).get(index) else { continue };
        let name = format!("`{entity}.{}`", feature.name);
        if feature.default.is_none() && !names.contains(&name) {
            names.push(name);
        }
    }
    let (first, others) = names.split_first()?;
    Some(match others.len() {
        0 => first.clone(),
        count => format!("{first} (and {})", plural(count, "other feature")),
    })
}

impl Catalog {
    /// Checks every rule for values that nothing has, integer quotients that meet floats, and constant results. Takes
    /// some microseconds per rule.
    #[must_use]
    pub fn findings(&self, declared: Declared<'_>) -> Vec<RuleFinding> {
        let mut findings = Vec::new();
        for (index, offer) in self.library.indexed() {
            let views = [self.view(index)];
            for (key, rule, never, always) in [
                ("eligibility", &offer.eligibility, Meaning::Never, Meaning::Nothing),
                ("applicability", &offer.applicability, Meaning::Never, Meaning::Nothing),
                ("suitability", &offer.suitability, Meaning::Never, Meaning::Nothing),
                ("exclusion", &offer.exclusion, Meaning::Nothing, Meaning::Never),
            ] {
                let subject = Subject { rule: rule.as_ref(), key, never, always: Some(always) };
                subject.check(RulePlace::Offer(index), declared, &views, &mut findings);
            }
        }
        for (index, weight) in self.policy.context_weights.iter().enumerate() {
            let views: Vec<OfferView<'_>> = weight.offers.iter().map(|offer| self.view(*offer)).collect();
            // A weight that always applies is written as `true`.
            let always = (weight.when.source().trim() != "true").then_some(Meaning::Always);
            let subject = Subject { rule: Some(&weight.when), key: "when", never: Meaning::NoWeight, always };
            subject.check(RulePlace::ContextWeight(index), declared, &views, &mut findings);
        }
        findings
    }

    fn view(&self, index: OfferIndex) -> OfferView<'_> {
        let offer = self.library.get(index);
        OfferView {
            index: index.get(),
            fields: self.fields(offer),
            features: customer_rules::features(offer),
        }
    }
}

impl Subject<'_> {
    fn check(
        &self,
        place: RulePlace,
        declared: Declared<'_>,
        offers: &[OfferView<'_>],
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
        // An impossible value makes the rule constant, and is reported already.
        if !unknown.is_empty() {
            return;
        }
        let Some(outlook) = rule.outlook(Some(declared), offers) else { return };
        let finding = match outlook {
            Outlook::NeverTrue => Some(("can never be true", self.never)),
            Outlook::NeverFalse => self.always.map(|meaning| ("is always true", meaning)),
        };
        if let Some((what, meaning)) = finding {
            let unsure = may_be_missing(rule, declared);
            let (what, meaning) = match (meaning, unsure) {
                (Meaning::Nothing, Some(unsure)) => {
                    (what, format!("it withholds no customer for whom {unsure} is known"))
                }
                (Meaning::Always, Some(unsure)) => {
                    (what, format!("the weight applies whenever {unsure} is known"))
                }
                (meaning, _) => (what, meaning.words().to_owned()),
            };
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
    use feature::FeatureSchema;

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
            "[[offer]]\nid = \"gold\"\nname = \"Gold\"\ncategory = \"cards\"\nplacements = [\"home\"]\nvalue = \
             10.0\n{offer}"
        );
        let policy = format!("{POLICY}{policy}");
        let catalog = crate::read(&schema, ("offers.toml", &offers), ("policy.toml", &policy))
            .unwrap_or_else(|invalid| panic!("{}", invalid.problems));
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
    fn probable_mistakes_are_found() {
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
                "`exclusion` can never be true: it withholds no customer for whom `customer.trx` is known",
            ),
            (
                "eligibility = 'customer.trx > 5 || customer.months > 5 || customer.trx <= 5'",
                "`eligibility` is always true: it withholds no customer for whom `customer.trx` (and 1 other \
                 feature) is known",
            ),
            ("exclusion = 'offer.value > 5.0'", "`exclusion` is always true: the offer is never shown"),
        ] {
            let found = findings(offer, "");
            assert_eq!(found.len(), 1, "{offer}: {found:?}");
            assert!(found[0].contains(expected), "{offer}: {found:?}");
        }
    }

    #[test]
    fn a_context_weight_may_always_apply_but_not_never() {
        let weight = |when: &str| {
            findings("", &format!("[[context_weight]]\nid = \"w\"\npercent = 5\nwhen = '{when}'"))
        };
        assert_eq!(weight("true"), [""; 0]);
        assert_eq!(weight("customer.trx > 1"), [""; 0]);
        assert_eq!(
            weight("offer.value > 5.0"),
            ["`when` is always true: the weight always applies; write `true`"]
        );
        assert_eq!(weight("offer.value > 20.0"), ["`when` can never be true: the weight never applies"]);
        assert_eq!(
            weight("customer.trx > 1 || customer.trx < 2"),
            ["`when` is always true: the weight applies whenever `customer.trx` is known"]
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
