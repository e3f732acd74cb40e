//! A small library and scored offers, for tests of slates.

use super::super::Factors;
use super::super::arbitration::Scored;
use feature::FeatureSchema;
use offer::{Catalog, OfferIndex};

/// The number of offers.
pub(crate) const OFFERS: usize = 8;

/// Eight offers `o0`–`o7` in two categories; `o0` and `o1` conflict, and `o6` is mandatory.
pub(crate) fn catalog(max_per_category: usize) -> Catalog {
    let offer = |index: usize| {
        let category = if index.is_multiple_of(2) { "even" } else { "odd" };
        let more = match index {
            0 => "conflicts_with = [\"o1\"]",
            6 => "mandatory = true",
            _ => "",
        };
        format!(
            "[[offer]]\nid = \"o{index}\"\nname = \"\"\ncategory = \"{category}\"\nplacements = [\"here\"]\n\
             value = 1.0\n{more}\n"
        )
    };
    let offers: String = (0..OFFERS).map(offer).collect::<Vec<_>>().join("\n");
    let policy = format!(
        "[[category]]\nid = \"even\"\n[[category]]\nid = \"odd\"\n[[placement]]\nid = \"here\"\nchannels = [\"app\"]\n\
         count = 3\nmodel = \"m\"\nmax_per_category = {max_per_category}\n"
    );
    let schema = FeatureSchema::default();
    offer::read(&schema, ("offers.toml", &offers), ("policy.toml", &policy)).unwrap()
}

/// An offer whose priority is its propensity.
pub(crate) fn scored(offer: usize, propensity: f64) -> Scored {
    let factors = Factors {
        score: propensity,
        propensity,
        context_weight: 1.0,
        value: 1.0,
        lever: 1.0,
        cost: 0.0,
        margin: propensity,
        model: Some(release::ModelIndex::new(0)),
    };
    Scored { offer: OfferIndex::new(offer), factors }
}
