//! The policy: `policy.toml`, checked. Where offers are shown, what scores them, and what raises or lowers them.

use std::collections::BTreeSet;

use super::reading::{self, Entries, Names};
use super::{Offer, Rule};
use crate::document::Table;

/// How offers are arbitrated.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The categories, sorted by id.
    pub categories: Vec<Category>,
    /// The placements, sorted by id.
    pub placements: Vec<Placement>,
    /// The context weights, sorted by id.
    pub context_weights: Vec<ContextWeight>,
    /// The model whose segments rules and models see.
    pub segmentation: Option<NamedModel>,
}

/// A model as the policy names it; whether there is one is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedModel {
    /// Its name.
    pub name: String,
    /// The line that names it, for whoever finds it wrong.
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
    /// For people.
    pub description: String,
    /// Not empty; the first stands in for a request that names none.
    pub channels: Vec<String>,
    /// The number of offers where a request does not say, 1..=100.
    pub count: usize,
    /// What the offers are sorted by.
    pub strategy: Strategy,
    /// The models that the file names for this placement, each once; those that no candidate uses included.
    pub models: Vec<NamedModel>,
    /// The offers of this placement, sorted by index.
    pub candidates: Vec<Candidate>,
    /// At most so many offers of one category.
    pub max_per_category: Option<usize>,
    /// Index of the offer that is shown when no other remains; it may be shown in every channel of the placement.
    pub fallback: Option<usize>,
}

/// An offer of a placement and what scores it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Index of the offer.
    pub offer: usize,
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
    /// When it holds.
    pub when: Rule,
    /// More than −100. Several that hold add up, and their sum may well be less.
    pub percent: f64,
    /// Indices of the offers it applies to, sorted.
    pub offers: Vec<usize>,
}

impl Policy {
    /// The index of the placement called `id`.
    #[must_use]
    pub fn find_placement(&self, id: &str) -> Option<usize> {
        self.placements.binary_search_by(|placement| placement.id.as_str().cmp(id)).ok()
    }

    /// Every model that a release with this policy needs, the segmentation included.
    #[must_use]
    pub fn models(&self) -> BTreeSet<&str> {
        let of_placements = self.placements.iter().flat_map(|placement| &placement.models);
        of_placements.chain(&self.segmentation).map(|model| model.name.as_str()).collect()
    }
}

/// Keys that mean something to people who know policies, and that nothing enforces yet.
const UNENFORCED: [&str; 6] =
    ["contact_limits", "holdout", "experiment", "explore", "exploration", "suppression"];

/// Reports what a policy says and nothing enforces.
pub(super) fn refuse_unenforced(table: &Table<'_, '_>) {
    reading::refuse(table, &UNENFORCED);
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
        .map(|(index, (id, table))| read_placement(index, id, table, names, offers))
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
    index: usize,
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
    refuse_unenforced(table);
    table.finish();
    let id = id.to_owned();
    Placement { id, description, channels, count, strategy, models, candidates, max_per_category, fallback }
}

fn read_fallback(
    table: &Table<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
    channels: &[String],
) -> Option<usize> {
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
    Some(fallback)
}

/// The models of a placement, and which of them scores each of its offers: the first scorer that claims it, else the
/// placement's own `model`.
fn read_models(
    placement: usize,
    table: &Table<'_, '_>,
    names: &Names<'_>,
    offers: &[Offer],
) -> (Vec<NamedModel>, Vec<Candidate>) {
    let mut models = Vec::new();
    let rest = table.optional("model").map(|name| add_model(&mut models, table, name));
    let mut claims: Vec<(Vec<usize>, usize)> = Vec::new();
    for scorer in table.tables("scorer") {
        let name: String = scorer.required("model");
        let claimed = read_targets(&scorer, names, offers);
        if claimed.is_none() {
            scorer.problem("which offers it scores is missing; give it `categories` or `offers`");
        }
        if scorer.has("model") {
            let model = add_model(&mut models, &scorer, name);
            claims.push((claimed.unwrap_or_default(), model));
        }
        scorer.finish();
    }
    let mut candidates = Vec::new();
    let shown = offers.iter().enumerate().filter(|(_, offer)| offer.placements.contains(&placement));
    for (offer, _) in shown {
        let claim = claims.iter().find(|(claimed, _)| claimed.binary_search(&offer).is_ok());
        let Some(model) = claim.map(|(_, model)| *model).or(rest) else {
            let id = names.offers.name(offer);
            table.problem(format!("nothing scores offer `{id}`; give the placement a `model`"));
            // One is enough: the remedy is the same for the others.
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
    let targets = read_targets(table, names, offers).unwrap_or_else(|| (0..offers.len()).collect());
    table.finish();
    Some(ContextWeight { id: id.to_owned(), when: when?, percent, offers: targets })
}

/// The offers that `categories` or `offers` name, sorted; `None` where neither is there.
fn read_targets(table: &Table<'_, '_>, names: &Names<'_>, offers: &[Offer]) -> Option<Vec<usize>> {
    if table.has("categories") && table.has("offers") {
        table.problem_at("offers", "`offers` and `categories` exclude each other; keep one");
    }
    let listed = names.offers.find_all(table, "offers");
    let of_categories = names.categories.find_all(table, "categories").map(|categories| {
        let indices = offers.iter().enumerate();
        indices.filter(|(_, offer)| categories.contains(&offer.category)).map(|(index, _)| index).collect()
    });
    listed.or(of_categories)
}
