//! The offer library: `offers.toml`, checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use toml::de::DeValue;

use super::reading::{self, Entries, Names};
use super::zone::{self, Ambiguity};
use super::{Budget, Category, CustomerCap, OfferIndex, PlacementIndex, Rule, TotalCap, limit};
use document::{FromToml, Table, suggestion};
use feature::{Entity, Value, ValueRef, read_value};

/// The features of each offer for rules and models: one row per offer, in the order of `offers`.
#[must_use]
pub fn feature_rows<'a>(offers: impl IntoIterator<Item = &'a Offer>) -> Vec<Vec<ValueRef<'a>>> {
    offers.into_iter().map(|offer| offer.features.iter().map(ValueRef::from).collect()).collect()
}

/// Something that a customer can be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Letters, digits, `_`, `-` and `.`; unique.
    pub id: Arc<str>,
    /// The name shown to people.
    pub name: String,
    /// Index into the policy's categories.
    pub category: usize,
    /// Indices into the policy's placements, sorted; empty for an offer that is only a fallback.
    pub placements: Vec<PlacementIndex>,
    /// The channels it may be shown in; empty means every channel.
    pub channels: Vec<String>,
    /// The first moment at which it may be shown.
    pub valid_from: Option<DateTime<Utc>>,
    /// The first moment at which it may no longer be shown; later than `valid_from`.
    pub valid_until: Option<DateTime<Utc>>,
    /// The value of an acceptance, in money; at least 0.
    pub value: f64,
    /// The cost of showing it, in money; at least 0.
    pub cost: f64,
    /// Percent by which it is raised or lowered. The category's weight is added; the sum is more than −100.
    pub weight: f64,
    /// If false, the customer may not have the offer.
    pub eligibility: Option<Rule>,
    /// If false, the offer makes no sense here and now.
    pub applicability: Option<Rule>,
    /// If false, the offer would not suit the customer.
    pub suitability: Option<Rule>,
    /// If true, the offer is withheld.
    pub exclusion: Option<Rule>,
    /// The class by which contact limits exempt it.
    pub class: Option<String>,
    /// How often one customer may have it.
    pub cap_customer: Option<CustomerCap>,
    /// How often all customers together may have it.
    pub cap_total: Option<TotalCap>,
    /// How much money may be spent on it.
    pub budget: Option<Budget>,
    /// Indices of the offers that must not be shown together with this one, sorted. Conflicts are symmetric: both
    /// offers list each other.
    pub conflicts_with: Vec<OfferIndex>,
    /// Whether it is shown before all others, once it has passed the gates.
    pub mandatory: bool,
    /// The consents it requires, all of them.
    pub consents: Vec<String>,
    /// One value per offer feature of the schema, in its order: the offer's own value, else the default, else
    /// missing.
    pub features: Vec<Option<Value>>,
    /// Passed through unchanged.
    pub attributes: BTreeMap<String, Attribute>,
}

/// A value that is passed through to the client.
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

/// Every offer of a release, sorted by id: indices and ids have the same order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfferLibrary {
    offers: Vec<Offer>,
}

impl OfferLibrary {
    /// `offers` must be sorted by id, and each id must be unique.
    pub(super) fn new(offers: Vec<Offer>) -> Self {
        Self { offers }
    }

    /// The offers, sorted by id.
    #[must_use]
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// Like [`OfferLibrary::offers`], but mutable; the ids must not change.
    pub(super) fn offers_mut(&mut self) -> &mut [Offer] {
        &mut self.offers
    }

    /// The offer with this index, as used by placements, conflicts and weights.
    ///
    /// # Panics
    /// If the index is not one of this library.
    #[must_use]
    pub fn get(&self, index: OfferIndex) -> &Offer {
        &self.offers[index.get()]
    }

    /// The index of the offer called `id`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<OfferIndex> {
        self.offers.binary_search_by(|offer| offer.id.as_ref().cmp(id)).ok().map(OfferIndex::new)
    }

    /// The offers with their indices, in order.
    pub fn indexed(&self) -> impl Iterator<Item = (OfferIndex, &Offer)> {
        self.offers.iter().enumerate().map(|(index, offer)| (OfferIndex::new(index), offer))
    }
}

/// Keys that are common in this field and that this version does not enforce.
const UNENFORCED: [&str; 1] = ["caps"];

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
            offers[other.get()].conflicts_with.push(OfferIndex::new(index));
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
        table.problem(
            "`placements` is missing; give it a list of placement ids, empty if the offer is only a fallback",
        );
    }
    let weight = reading::percent(table, "weight", table.or("weight", 0.0));
    let offer = Offer {
        id: id.into(),
        name: table.required("name"),
        category: read_category(table, names, categories, weight),
        placements: indices(names.placements.find_all(table, "placements"), PlacementIndex::new),
        channels: reading::words(table, "channels"),
        valid_from: zone::moment(table, "valid_from", names.zone, Ambiguity::Earlier),
        valid_until: zone::moment(table, "valid_until", names.zone, Ambiguity::Later),
        value: reading::money(table, "value", table.required("value")),
        cost: reading::money(table, "cost", table.or("cost", 0.0)),
        weight,
        eligibility: reading::rule(table, "eligibility", names),
        applicability: reading::rule(table, "applicability", names),
        suitability: reading::rule(table, "suitability", names),
        exclusion: reading::rule(table, "exclusion", names),
        class: table.optional("class"),
        cap_customer: limit::customer_cap(table, names),
        cap_total: limit::total_cap(table, names),
        budget: limit::budget(table, names),
        conflicts_with: indices(names.offers.find_all(table, "conflicts_with"), OfferIndex::new),
        mandatory: table.or("mandatory", false),
        consents: reading::words(table, "consents"),
        features: read_features(table, names),
        attributes: read_attributes(table),
    };
    if let (Some(from), Some(until)) = (offer.valid_from, offer.valid_until)
        && until <= from
    {
        table.problem_at("valid_until", "`valid_until` must be later than `valid_from`");
    }
    if offer.conflicts_with.iter().any(|other| names.offers.name(other.get()) == id) {
        table.problem_at("conflicts_with", "`conflicts_with` names the offer itself; remove it");
    }
    if let Some(class) = &offer.class {
        reading::check_name(table, "class", class);
    }
    // Read by crate `experiment`.
    table.has("prior");
    table.has("maturity");
    reading::refuse(table, &UNENFORCED);
    table.finish();
    offer
}

/// What was listed, as indices; nothing where nothing was.
fn indices<I>(found: Option<Vec<usize>>, index: impl Fn(usize) -> I) -> Vec<I> {
    found.unwrap_or_default().into_iter().map(index).collect()
}

fn read_category(table: &Table<'_, '_>, names: &Names<'_>, categories: &[Category], weight: f64) -> usize {
    let id: String = table.required("category");
    if id.is_empty() && !table.has("category") {
        return 0;
    }
    let Some(category) = names.categories.find(table, "category", &id) else { return 0 };
    let of_category = categories[category].weight;
    // Each weight that is invalid on its own is reported elsewhere.
    if weight > -100.0 && of_category > -100.0 && weight + of_category <= -100.0 {
        let sum = weight + of_category;
        table.problem_at(
            "weight",
            format!(
                "`weight` {weight} plus {of_category} of category `{id}` is {sum}; \
                 the sum must be more than -100 percent"
            ),
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
                let message = format!("unknown feature `{key}`: the schema has no such offer feature{hint}");
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
