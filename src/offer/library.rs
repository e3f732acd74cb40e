//! The offer library: `offers.toml`, checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use toml::de::DeValue;

use super::reading::{self, Entries, Names};
use super::zone::{self, Twice};
use super::{Category, Rule};
use crate::document::{FromToml, Table, suggestion};
use crate::feature::{Entity, Value, ValueRef, read_value};

/// The features of each offer as rules and models see them: one row per offer, in the order of `offers`.
#[must_use]
pub fn feature_rows<'a>(offers: impl IntoIterator<Item = &'a Offer>) -> Vec<Vec<ValueRef<'a>>> {
    offers.into_iter().map(|offer| offer.features.iter().map(ValueRef::from).collect()).collect()
}

/// Something that a customer can be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Letters, digits, `_`, `-` and `.`; unique.
    pub id: Arc<str>,
    /// For people.
    pub name: String,
    /// Index into the policy's categories.
    pub category: usize,
    /// Indices into the policy's placements, sorted; empty for an offer that is only a fallback.
    pub placements: Vec<usize>,
    /// The channels it may be shown in; empty = every channel.
    pub channels: Vec<String>,
    /// The first moment at which it may be shown.
    pub valid_from: Option<DateTime<Utc>>,
    /// The first moment at which it may no longer be shown; later than `valid_from`.
    pub valid_until: Option<DateTime<Utc>>,
    /// What an acceptance is worth, in money; at least 0.
    pub value: f64,
    /// What showing it costs, in money; at least 0.
    pub cost: f64,
    /// Percent by which it is raised or lowered; added to its category's, the sum is more than −100.
    pub weight: f64,
    /// Where false, the customer may not have it.
    pub eligibility: Option<Rule>,
    /// Where false, it makes no sense here and now.
    pub applicability: Option<Rule>,
    /// Where false, it would not be right for the customer.
    pub suitability: Option<Rule>,
    /// Where true, it is withheld.
    pub exclusion: Option<Rule>,
    /// Indices of the offers that are not shown beside it, sorted. Whoever names the other, both have it.
    pub conflicts_with: Vec<usize>,
    /// The consents of the customer that it needs, all of them.
    pub consents: Vec<String>,
    /// One value per offer feature of the schema, in its order: the offer's own, else the default, else missing.
    pub features: Vec<Option<Value>>,
    /// Passed through untouched.
    pub attributes: BTreeMap<String, Attribute>,
}

/// A value that is passed through to whoever shows the offer.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// Text.
    String(String),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

/// Every offer of a release, sorted by id: the order of the indices is the order of the ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfferLibrary {
    offers: Vec<Offer>,
}

impl OfferLibrary {
    /// `offers` must be sorted by id, each id once.
    pub(super) fn new(offers: Vec<Offer>) -> Self {
        Self { offers }
    }

    /// The offers, sorted by id.
    #[must_use]
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// See [`OfferLibrary::offers`]; the ids must stay as they are.
    pub(super) fn offers_mut(&mut self) -> &mut [Offer] {
        &mut self.offers
    }

    /// The offer with this index, as placements, conflicts and weights name it.
    ///
    /// # Panics
    /// If the index is not one of this library.
    #[must_use]
    pub fn get(&self, index: usize) -> &Offer {
        &self.offers[index]
    }

    /// The index of the offer called `id`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<usize> {
        self.offers.binary_search_by(|offer| offer.id.as_ref().cmp(id)).ok()
    }
}

/// Keys that mean something to people who know offers, and that nothing enforces yet.
const UNENFORCED: [&str; 4] = ["caps", "cap_customer", "cap_total", "budget"];

/// Reads every offer, in the order of the ids.
pub(super) fn read_offers(
    entries: &Entries<'_, '_>,
    names: &Names<'_>,
    categories: &[Category],
) -> Vec<Offer> {
    let mut offers: Vec<Offer> =
        entries.iter().map(|(id, table)| read_offer(id, table, names, categories)).collect();
    for index in 0..offers.len() {
        for other in offers[index].conflicts_with.clone() {
            offers[other].conflicts_with.push(index);
        }
    }
    for offer in &mut offers {
        offer.conflicts_with.sort_unstable();
        offer.conflicts_with.dedup();
    }
    offers
}

fn read_offer(id: &str, table: &Table<'_, '_>, names: &Names<'_>, categories: &[Category]) -> Offer {
    if !table.has("placements") {
        table.problem("`placements` is missing; give it a list of placement ids, empty for a mere fallback");
    }
    let weight = reading::percent(table, "weight", table.or("weight", 0.0));
    let offer = Offer {
        id: id.into(),
        name: table.required("name"),
        category: read_category(table, names, categories, weight),
        placements: names.placements.find_all(table, "placements").unwrap_or_default(),
        channels: reading::words(table, "channels"),
        valid_from: zone::moment(table, "valid_from", names.zone, Twice::Earlier),
        valid_until: zone::moment(table, "valid_until", names.zone, Twice::Later),
        value: reading::money(table, "value", table.required("value")),
        cost: reading::money(table, "cost", table.or("cost", 0.0)),
        weight,
        eligibility: reading::rule(table, "eligibility", names),
        applicability: reading::rule(table, "applicability", names),
        suitability: reading::rule(table, "suitability", names),
        exclusion: reading::rule(table, "exclusion", names),
        conflicts_with: names.offers.find_all(table, "conflicts_with").unwrap_or_default(),
        consents: reading::words(table, "consents"),
        features: read_features(table, names),
        attributes: read_attributes(table),
    };
    if let (Some(from), Some(until)) = (offer.valid_from, offer.valid_until)
        && until <= from
    {
        table.problem_at("valid_until", "`valid_until` must be later than `valid_from`");
    }
    if offer.conflicts_with.iter().any(|other| names.offers.name(*other) == id) {
        table.problem_at("conflicts_with", "`conflicts_with` names the offer itself; remove it");
    }
    reading::refuse(table, &UNENFORCED);
    table.finish();
    offer
}

fn read_category(table: &Table<'_, '_>, names: &Names<'_>, categories: &[Category], weight: f64) -> usize {
    let id: String = table.required("category");
    if id.is_empty() && !table.has("category") {
        return 0;
    }
    let Some(category) = names.categories.find(table, "category", &id) else { return 0 };
    let of_category = categories[category].weight;
    // Each on its own is reported where it stands.
    if weight > -100.0 && of_category > -100.0 && weight + of_category <= -100.0 {
        let sum = weight + of_category;
        table.problem_at(
            "weight",
            format!("`weight` {weight} and the {of_category} of category `{id}` make {sum}; the sum must be more than -100 percent"),
        );
    }
    category
}

fn read_features(table: &Table<'_, '_>, names: &Names<'_>) -> Vec<Option<Value>> {
    let features = names.schema.of(Entity::Offer);
    let mut values: Vec<Option<Value>> = features.iter().map(|feature| feature.default.clone()).collect();
    let Some(written) = table.table("features") else { return values };
    for key in written.keys() {
        match names.schema.find(&key) {
            Some((Entity::Offer, index)) => {
                values[index] = read_value(&written, &key, features[index].feature_type);
            }
            Some((entity @ (Entity::Customer | Entity::Context), _)) => {
                let message = format!("`{key}` is a feature of the {entity}, not of offers; remove it");
                written.problem_at(&key, message);
            }
            None => {
                let hint = suggestion(&key, features.iter().map(|feature| feature.name.as_str()));
                let message = format!("unknown feature `{key}`, no offer feature of the schema{hint}");
                written.problem_at(&key, message);
            }
        }
    }
    values
}

fn read_attributes(table: &Table<'_, '_>) -> BTreeMap<String, Attribute> {
    let Some(written) = table.table("attributes") else { return BTreeMap::new() };
    written.keys().into_iter().filter_map(|key| Some((key.clone(), written.optional(&key)?))).collect()
}

impl FromToml for Attribute {
    const EXPECTED: &'static str = "a string, a finite number, true or false";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        String::from_toml(value)
            .map(Self::String)
            .or_else(|| bool::from_toml(value).map(Self::Bool))
            .or_else(|| i64::from_toml(value).map(Self::Int))
            .or_else(|| f64::from_toml(value).map(Self::Float))
    }
}
