//! The policy: `policy.toml`, checked. It says where offers are shown, what scores them, and what raises or lowers
//! them.

use std::collections::BTreeSet;

use chrono_tz::Tz;

use super::reading::{self, Entries, Names};
use super::{Attribution, ContactLimit, Offer, OfferIndex, OutcomeType, PlacementIndex, Rule, Suppression};
use document::Table;

/// How offers are arbitrated.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The categories, sorted by id.
    pub categories: Vec<Category>,
    /// The placements, sorted by id.
    pub placements: Vec<Placement>,
    /// The context weights, sorted by id.
    pub context_weights: Vec<ContextWeight>,
    /// The model that assigns the segments.
    pub segmentation: Option<NamedModel>,
    /// The time zone of dates and local times, and of calendar periods.
    pub time_zone: Tz,
    /// The contact limits, sorted by id.
    pub contact_limits: Vec<ContactLimit>,
    /// The suppressions, sorted by id.
    pub suppressions: Vec<Suppression>,
    /// The outcome types, built-in and declared, sorted by id.
    pub outcomes: Vec<OutcomeType>,
    /// How long outcomes count as on time.
    pub attribution: Attribution,
}

/// A model that the policy names; this crate does not know whether it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedModel {
    /// Its name.
    pub name: String,
    /// The line that names it, for problems with the model.
    pub line: usize,
}

/// A kind of offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Category {
    /// Unique among the categories.
    pub id: String,
    /// Percent by which its offers are raised or lowered; more than −100.
    pub weight: f64,
}

/// A place where offers are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Unique among the placements.
    pub id: String,
    /// A description for people.
    pub description: String,
    /// At least one; the first is the default of a request that names none.
    pub channels: Vec<String>,
    /// The default number of offers in an answer, 1..=100.
    pub count: usize,
    /// What the offers are sorted by.
    pub strategy: Strategy,
    /// The distinct models that the file names for this placement, including unused ones.
    pub models: Vec<NamedModel>,
    /// The offers of this placement, sorted by index.
    pub candidates: Vec<Candidate>,
    /// The most offers of one category in an answer.
    pub max_per_category: Option<usize>,
    /// Index of the offer that is shown when no other remains; it must be allowed in every channel of the placement.
    pub fallback: Option<OfferIndex>,
}

/// An offer of a placement with its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The offer.
    pub offer: OfferIndex,
    /// Index into the placement's `models`.
    pub model: usize,
}

/// What the offers of a placement are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Propensity × context weight × value × lever.
    #[default]
    Priority,
    /// Propensity × value − cost.
    Margin,
}

/// Raises or lowers offers while a rule holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextWeight {
    /// Unique among the context weights.
    pub id: String,
    /// The rule.
    pub when: Rule,
    /// More than −100. Several weights that hold add up, and the sum may be less.
    pub percent: f64,
    /// Indices of the offers it applies to, sorted.
    pub offers: Vec<OfferIndex>,
}

impl Policy {
    /// The index of the placement called `id`.
    #[must_use]
    pub fn find_placement(&self, id: &str) -> Option<PlacementIndex> {
        let found = self.placements.binary_search_by(|placement| placement.id.as_str().cmp(id));
        found.ok().map(PlacementIndex::new)
    }

    /// The placement at an index.
    ///
    /// # Panics
    /// If the index is not one of this policy.
    #[must_use]
    pub fn placement(&self, index: PlacementIndex) -> &Placement {
        &self.placements[index.get()]
    }

    /// Every model that a release with this policy needs, including the segmentation.
    #[must_use]
    pub fn models(&self) -> BTreeSet<&str> {
        let of_placements = self.placements.iter().flat_map(|placement| &placement.models);
        of_placements.chain(&self.segmentation).map(|model| model.name.as_str()).collect()
    }
}

/// Keys that are common in this field and that this version does not enforce.
const UNENFORCED: [&str; 1] = ["explore"];

/// Reports settings that this version does not enforce.
pub(super) fn refuse_unenforced(table: &Table<'_, '_>) {
    reading::refuse(table, &UNENFORCED);
    if table.has("exploration") {
        table.problem_at("exploration", "`exploration` belongs to a [[placement]]; move it there");
    }
}

/// Reads the name of the segmentation.
pub(super) fn read_segmentation(root: &Table<'_, '_>) -> Option<NamedModel> {
    let name: String = root.optional("segmentation")?;
    reading::check_name(root, "segmentation", &name);
    Some(NamedModel { name, line: root.line("segmentation") })
}

/// Reads the categories, in the order of the ids.
pub(super) fn read_categories(entries: &Entries<'_, '_>) -> Vec<Category> {
    let read = |(id, table): (&str, &Table<'_, '_>)| {
        let weight = reading::percent(table, "weight", table.or("weight", 0.0));
        table.finish();
        Category { id: id.to_owned(), weight }
    };
    entries.iter().map(read).collect()
}

/// Reads the placements, in the order of the ids.
pub(super) fn read_placements(
    entries: &Entries<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
) -> Vec<Placement> {
    entries
        .iter()
        .enumerate()
        .map(|(index, (id, table))| read_placement(PlacementIndex::new(index), id, table, names, offers))
        .collect()
}

/// Reads the context weights, in the order of the ids.
pub(super) fn read_context_weights(
    entries: &Entries<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
) -> Vec<ContextWeight> {
    entries.iter().filter_map(|(id, table)| read_context_weight(id, table, names, offers)).collect()
}

fn read_placement(
    index: PlacementIndex,
    id: &str,
    table: &Table<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
) -> Placement {
    let channels = reading::words(table, "channels");
    if channels.is_empty() {
        table.problem_at("channels", "`channels` needs at least one channel; the first is the default");
    }
    let count = table.required("count");
    if table.has("count") && !(1..=100).contains(&count) {
        table.problem_at("count", format!("`count` must be 1 to 100, not {count}"));
    }
    let max_per_category = table.optional("max_per_category");
    if max_per_category == Some(0) {
        table.problem_at(
            "max_per_category",
            "`max_per_category` must be at least 1; without it there is no limit",
        );
    }
    let strategies = [("priority", Strategy::Priority), ("margin", Strategy::Margin)];
    let strategy = table.choice("strategy", &strategies).unwrap_or_default();
    let (models, candidates) = read_models(index, table, names, offers);
    let fallback = read_fallback(table, names, offers, &channels);
    let description = table.or("description", String::new());
    // Read by crate `experiment`.
    table.has("exploration");
    reading::refuse(table, &UNENFORCED);
    reading::refuse(table, &["suppression"]);
    table.finish();
    let id = id.to_owned();
    Placement { id, description, channels, count, strategy, models, candidates, max_per_category, fallback }
}

fn read_fallback(
    table: &Table<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
    channels: &[String],
) -> Option<OfferIndex> {
    let id: String = table.optional("fallback")?;
    let fallback = names.offers.find(table, "fallback", &id)?;
    let allowed = &offers[fallback].channels;
    let closed: Vec<&str> =
        channels.iter().filter(|channel| !allowed.contains(channel)).map(String::as_str).collect();
    if !allowed.is_empty() && !closed.is_empty() {
        let closed = closed.join(", ");
        let message =
            format!("`fallback`: offer `{id}` may not be shown in {closed}; choose one for every channel");
        table.problem_at("fallback", message);
    }
    Some(OfferIndex::new(fallback))
}

/// The models of a placement, and the model of each of its offers: the first scorer that claims the offer, else the
/// placement's `model`.
fn read_models(
    placement: PlacementIndex,
    table: &Table<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
) -> (Vec<NamedModel>, Vec<Candidate>) {
    let mut models = Vec::new();
    let rest = table.optional("model").map(|name| add_model(&mut models, table, name));
    let mut claims: Vec<(Vec<OfferIndex>, usize)> = Vec::new();
    for scorer in table.tables("scorer") {
        let name: String = scorer.required("model");
        let claimed = read_targets(&scorer, names, offers);
        if claimed.is_none() {
            scorer.problem("the scorer names no offers; give it `categories` or `offers`");
        }
        if scorer.has("model") {
            let model = add_model(&mut models, &scorer, name);
            claims.push((claimed.unwrap_or_default(), model));
        }
        scorer.finish();
    }
    let mut candidates = Vec::new();
    let shown = offers.iter().enumerate().filter(|(_, offer)| offer.placements.contains(&placement));
    for offer in shown.map(|(index, _)| OfferIndex::new(index)) {
        let claim = claims.iter().find(|(claimed, _)| claimed.binary_search(&offer).is_ok());
        let Some(model) = claim.map(|(_, model)| *model).or(rest) else {
            let id = names.offers.name(offer.get());
            table.problem(format!("no model scores offer `{id}`; give the placement a `model`"));
            // One report suffices: the remedy is the same for the others.
            break;
        };
        candidates.push(Candidate { offer, model });
    }
    if candidates.is_empty() && models.is_empty() {
        table.problem("`model` is missing; give it the name of a model");
    }
    (models, candidates)
}

fn add_model(models: &mut Vec<NamedModel>, table: &Table<'_, '_>, name: String) -> usize {
    reading::check_name(table, "model", &name);
    models.iter().position(|model| model.name == name).unwrap_or_else(|| {
        models.push(NamedModel { name, line: table.line("model") });
        models.len() - 1
    })
}

fn read_context_weight(
    id: &str,
    table: &Table<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
) -> Option<ContextWeight> {
    if !table.has("when") {
        table.problem("`when` is missing; give it a rule, `true` for always");
    }
    let when = reading::rule(table, "when", names);
    let percent = reading::percent(table, "percent", table.required("percent"));
    let targets = read_targets(table, names, offers)
        .unwrap_or_else(|| (0..offers.len()).map(OfferIndex::new).collect());
    table.finish();
    Some(ContextWeight { id: id.to_owned(), when: when?, percent, offers: targets })
}

/// The offers that `categories` or `offers` name, sorted; `None` if both keys are absent.
pub(super) fn read_targets(
    table: &Table<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
) -> Option<Vec<OfferIndex>> {
    if table.has("categories") && table.has("offers") {
        table.problem_at("offers", "`offers` and `categories` exclude each other; keep one");
    }
    let listed = names.offers.find_all(table, "offers");
    let of_categories = names.categories.find_all(table, "categories").map(|categories| {
        let indices = offers.iter().enumerate();
        indices.filter(|(_, offer)| categories.contains(&offer.category)).map(|(index, _)| index).collect()
    });
    listed.or(of_categories).map(|indices| indices.into_iter().map(OfferIndex::new).collect())
}
