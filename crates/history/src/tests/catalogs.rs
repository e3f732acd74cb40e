//! Catalogs out of short texts.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use feature::FeatureSchema;
use offer::{Catalog, OfferIndex};

use crate::{History, Limits};

/// Noon on a day in spring, a week before the clocks change in Berlin.
pub(crate) fn noon() -> DateTime<Utc> {
    "2026-03-22T12:00:00Z".parse().unwrap()
}

pub(crate) fn millis(millis: i64) -> TimeDelta {
    TimeDelta::milliseconds(millis)
}

/// Offers `o0`, `o1` …, each with further keys, in turn of the categories `cards` and `loans`; placements `home` and
/// `mail` in Berlin.
pub(crate) fn catalog(offers: &[&str], policy: &str) -> Catalog {
    let offer = |(index, keys): (usize, &&str)| {
        let category = ["cards", "loans"][index % 2];
        format!(
            "[[offer]]\nid = \"o{index}\"\nname = \"\"\ncategory = \"{category}\"\nplacements = [\"home\", \"mail\"]\n\
             {keys}\n{}\n",
            if keys.contains("value =") { "" } else { "value = 1.0" }
        )
    };
    let offers: Vec<String> = offers.iter().enumerate().map(offer).collect();
    let offers = offers.join("\n");
    let policy = format!(
        "time_zone = \"Europe/Berlin\"\n[[category]]\nid = \"cards\"\n[[category]]\nid = \"loans\"\n\
         [[placement]]\nid = \"home\"\nchannels = [\"app\", \"web\"]\ncount = 3\nmodel = \"m\"\n\
         [[placement]]\nid = \"mail\"\nchannels = [\"email\"]\ncount = 3\nmodel = \"m\"\n{policy}"
    );
    let schema = FeatureSchema::default();
    match offer::read(&schema, ("offers.toml", &offers), ("policy.toml", &policy)) {
        Ok(catalog) => catalog,
        Err(invalid) => panic!("{}\n{offers}\n{policy}", invalid.problems),
    }
}

/// A history and the limits of a catalog.
pub(crate) struct World {
    pub history: Arc<History>,
    pub limits: Arc<Limits>,
    pub catalog: Catalog,
}

impl World {
    pub(crate) fn new(offers: &[&str], policy: &str) -> Self {
        Self::of(catalog(offers, policy))
    }

    pub(crate) fn of(catalog: Catalog) -> Self {
        let history = Arc::new(History::default());
        let limits = Arc::new(Limits::new(&history, &catalog, noon()).unwrap());
        Self { history, limits, catalog }
    }

    /// The offers, best first.
    pub(crate) fn all(&self) -> Vec<OfferIndex> {
        (0..self.catalog.library.offers().len()).map(OfferIndex::new).collect()
    }

    /// The id of an offer.
    pub(crate) fn id(&self, offer: OfferIndex) -> &str {
        &self.catalog.library.get(offer).id
    }

    /// The place with this channel.
    pub(crate) fn place(&self, channel: &str) -> crate::Place {
        let placement = placement_of(channel);
        self.limits.place(self.catalog.policy.find_placement(placement).unwrap(), channel)
    }
}

/// The placement that has a channel.
pub(crate) fn placement_of(channel: &str) -> &'static str {
    if channel == "email" { "mail" } else { "home" }
}
