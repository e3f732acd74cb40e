//! Rules that are sound and cannot be meant: values that nothing has, quotients that lost their decimals, rules that can
//! never be true or always are. All of it is warned of.

use std::collections::HashMap;

use super::Review;
use crate::document::Document;
use crate::offer::{Declared, RuleFinding, RulePlace};
use crate::release::{Release, ReleaseSource, Segmenter};

/// Warns of what the rules of the release say.
pub(super) fn review(release: &Release, source: &ReleaseSource<'_>, review: &mut Review) {
    let catalog = release.catalog();
    let offers: Vec<&str> = catalog.library.offers().iter().map(|offer| &*offer.id).collect();
    let categories: Vec<&str> =
        catalog.policy.categories.iter().map(|category| category.id.as_str()).collect();
    let declared = Declared {
        schema: release.schema(),
        segments: release.segmentation().map(Segmenter::names),
        offers: &offers,
        categories: &categories,
    };
    let findings = catalog.findings(declared);
    if findings.is_empty() {
        return;
    }
    let lines = [("offer", source.offers), ("context_weight", source.policy)]
        .map(|(kind, text)| Lines::of(kind, text));
    for RuleFinding { place, key, message } in findings {
        let (file, kind, id, lines) = match place {
            RulePlace::Offer(index) => ("offers.toml", "offer", offers[index], &lines[0]),
            RulePlace::ContextWeight(index) => {
                let id = catalog.policy.context_weights[index].id.as_str();
                ("policy.toml", "context_weight", id, &lines[1])
            }
        };
        review.warnings.push(file, lines.find(id, key), format!("{kind} `{id}`: {message}"));
    }
}

/// Where the rules of a file stand.
#[derive(Default)]
struct Lines(HashMap<(String, &'static str), usize>);

impl Lines {
    const KEYS: [&str; 5] = ["eligibility", "applicability", "suitability", "exclusion", "when"];

    /// The lines of the rules in the `[[kind]]` tables; none of a text that is not TOML, which no release has.
    fn of(kind: &str, text: &str) -> Self {
        let Ok(document) = Document::parse("", text) else { return Self::default() };
        let tables = document.root().tables(kind);
        let lines = tables.iter().flat_map(|table| {
            let id: String = table.required("id");
            Self::KEYS
                .iter()
                .filter(|key| table.has(key))
                .map(move |key| ((id.clone(), *key), table.line(key)))
        });
        Self(lines.collect())
    }

    fn find(&self, id: &str, key: &'static str) -> Option<usize> {
        self.0.get(&(id.to_owned(), key)).copied()
    }
}
