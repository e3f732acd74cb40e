//! Reads experiments, metrics, shadows, the holdout and exploration from `policy.toml`, and new offers from
//! `offers.toml`.
//!
//! Every problem is reported with its line. Keys of other readers are left alone: this reader looks at `[[experiment]]`,
//! `[[metric]]`, `[[shadow]]` and `[holdout]`, at `exploration` of each `[[placement]]`, and at `prior` and `maturity` of
//! each `[[offer]]`.

mod clash;
mod metric;
mod named;
mod shadow;
mod value;
mod variant;

use chrono_tz::Tz;
use document::{Table, suggestion};

pub use self::named::{named_versions, variant_versions, versions};
use self::value::{After, Evidence, Ids, Impressions, Share, SomeShare};
use crate::assign::{Four, Listed};
use crate::holdout::SALT;
use crate::split::{MOST_VARIANTS, Part};
use crate::{
    Experiment, Experiments, Exploration, Group, Holdout, Maturity, Metric, Newcomer, Prior, Redraw, Scheme,
    Split, SplitError, State, Step, Variant, When,
};

/// The most experiments of a policy: each costs every customer a hash.
const MOST_EXPERIMENTS: usize = 100;

/// Keys that have no effect where they are not looked for, and where they belong.
const GUARDRAILS: (&str, &str) = ("guardrails", "[experiment.metric]");
const METRIC: (&str, &str) = ("metric", "the [[experiment]]");

/// What experiments may name, each list in the order of the caller's indices.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The placements.
    pub placements: &'a [PlacementNames<'a>],
    /// The categories.
    pub categories: &'a [CategoryNames<'a>],
    /// The ids of the context weights.
    pub context_weights: &'a [&'a str],
    /// The ids of the offers.
    pub offers: &'a [&'a str],
    /// The types of outcomes, built in and declared.
    pub outcomes: &'a [&'a str],
    /// The zone of the policy.
    pub zone: Tz,
}

/// A placement and its models.
#[derive(Debug, Clone)]
pub struct PlacementNames<'a> {
    /// Its id.
    pub id: &'a str,
    /// The models that score its offers.
    pub models: Vec<&'a str>,
}

/// A category and the lowest weight of its offers.
#[derive(Debug, Clone, Copy)]
pub struct CategoryNames<'a> {
    /// Its id.
    pub id: &'a str,
    /// The lowest `weight` of its offers in percent, 0 if it has none. A weight of the category adds to it.
    pub lowest_offer: f64,
}

impl<'a> Names<'a> {
    pub(crate) fn placement(&self, index: usize) -> &'a str {
        self.placements[index].id
    }

    pub(crate) fn category(&self, index: usize) -> &'a str {
        self.categories[index].id
    }

    pub(crate) fn context_weight(&self, index: usize) -> &'a str {
        self.context_weights[index]
    }

    /// The index of the placement called `id`.
    fn find_placement(&self, id: &str) -> Option<usize> {
        self.placements.iter().position(|placement| placement.id == id)
    }
}

/// Reads the experiments, metrics and shadows of a policy and the new offers of `offers`, the roots of both files.
///
/// `rule` compiles the rule under a key, and reports what is wrong with it. The result may be used only if neither
/// document has a problem.
pub fn read<R>(
    policy: &Table<'_, '_>,
    offers: &Table<'_, '_>,
    names: &Names<'_>,
    mut rule: impl FnMut(&Table<'_, '_>, &str) -> Option<R>,
) -> Experiments<R> {
    refuse(policy, &[GUARDRAILS]);
    let metrics = metric::read(policy, names);
    let holdout = read_holdout(policy, names.zone);
    let tables = policy.tables("experiment");
    if tables.len() > MOST_EXPERIMENTS {
        let count = tables.len();
        policy.problem_at(
            "experiment",
            format!(
                "{count} experiments; at most {MOST_EXPERIMENTS} are allowed, so remove those that are over"
            ),
        );
    }
    let mut groups = Vec::new();
    let mut all: Vec<(Experiment<R>, &Table<'_, '_>)> = tables
        .iter()
        .take(MOST_EXPERIMENTS)
        .filter_map(|table| Some((read_experiment(table, names, &metrics, &mut groups, &mut rule)?, table)))
        .collect();
    // Stable, so that the later of two equal ids in the file is reported.
    all.sort_by(|(left, _), (right, _)| left.id.cmp(&right.id));
    clash::report(&all, names);
    let all: Vec<Experiment<R>> = all.into_iter().map(|(experiment, _)| experiment).collect();
    let at_placement = (0..names.placements.len()).map(|placement| Four::at(placement, &all)).collect();
    let listed = Listed::new(&all);
    let shadows = shadow::read(policy, names);
    let exploration = read_placements(policy, names);
    let newcomers = read_newcomers(offers, names);
    Experiments { holdout, all, metrics, shadows, exploration, newcomers, at_placement, listed }
}

/// Reports those of `keys` that are present: a setting without effect must not look effective.
fn refuse(table: &Table<'_, '_>, keys: &[(&str, &str)]) {
    for (key, place) in keys.iter().filter(|(key, _)| table.has(key)) {
        table.problem_at(key, format!("`{key}` belongs to {place}; move it there"));
    }
}

fn read_holdout(policy: &Table<'_, '_>, zone: Tz) -> Option<Holdout> {
    let table = policy.table("holdout")?;
    let share: Option<Share> = table.optional("share");
    if !table.has("share") {
        table.problem("`share` is missing; give it a share of the customers, such as 0.01");
    }
    if let Some(Share(share)) = share.filter(|Share(share)| !(0.0001..=0.5).contains(share)) {
        table.problem_at("share", format!("`share` must be 0.0001 to 0.5, not {share}"));
    }
    let redraws = [("never", Redraw::Never), ("monthly", Redraw::Monthly)];
    if !table.has("redraw") {
        table.problem("`redraw` is missing; give it one of never, monthly");
    }
    let redraw = table.choice("redraw", &redraws);
    table.finish();
    let Share(share) = share?;
    Some(Holdout::new(share, redraw?, zone))
}

fn read_experiment<R>(
    table: &Table<'_, '_>,
    names: &Names<'_>,
    metrics: &[Metric],
    groups: &mut Vec<String>,
    rule: &mut impl FnMut(&Table<'_, '_>, &str) -> Option<R>,
) -> Option<Experiment<R>> {
    let id = value::read_id(table, "experiment ");
    let state = table.choice("state", &State::ALL).unwrap_or_default();
    let placements = read_places(table, names);
    let scheme = table.choice("scheme", &Scheme::ALL).unwrap_or_default();
    let seed = read_seed(table, &id);
    let source = table.optional::<String>("when");
    let compiled = if source.is_some() { rule(table, "when") } else { None };
    let when = source.zip(compiled).map(|(source, rule)| When { source, rule });
    let group = read_group(table, groups);
    let Share(coverage) = table.required("coverage");
    let step_tables = table.tables("step");
    let steps = read_steps(table, &step_tables, coverage);
    let tables = table.tables("variant");
    if !(2..=MOST_VARIANTS).contains(&tables.len()) {
        let count = tables.len();
        let message = format!(
            "{count} variants; an experiment needs 2 to {MOST_VARIANTS} [[experiment.variant]], of which the first is the \
             control"
        );
        table.problem(message);
    }
    let models = value::models_at(&placements, names);
    let read = |(index, variant)| variant::read(variant, &id, index == 0, names, &models);
    let variants: Vec<Option<Variant>> = tables.iter().take(MOST_VARIANTS).enumerate().map(read).collect();
    // A weight that is missing or not a share has been reported: nothing can be said about the others.
    let variants: Option<Vec<Variant>> = variants.into_iter().collect();
    let measured = metric::read_measured(table, metrics);
    refuse(table, &[GUARDRAILS]);
    table.finish();
    let (variants, group) = (variants?, group.ok()?);
    variant::check_twins(&tables, &variants);
    let weights: Vec<f64> = variants.iter().map(|variant| variant.weight).collect();
    let split = match Split::new(scheme, &seed, coverage, &weights) {
        Ok(split) => split,
        Err(error) => {
            if tables.len() > 1 {
                report_split(table, &tables, &error);
            }
            return None;
        }
    };
    for (step, place) in steps.iter().zip(&step_tables) {
        if let Err(error) = Split::new(scheme, &seed, step.coverage, &weights) {
            place.problem_at("coverage", format!("`coverage`: {error}"));
        }
    }
    let line = table.first_line();
    Some(Experiment {
        id,
        state,
        placements,
        coverage,
        scheme,
        seed,
        when,
        group,
        variants,
        steps,
        measured,
        line,
        split,
    })
}

/// The placements under `placements`, sorted; empty if the key is absent.
fn read_places(table: &Table<'_, '_>, names: &Names<'_>) -> Vec<usize> {
    let ids: Option<Vec<String>> = table.optional("placements");
    if ids.as_ref().is_some_and(Vec::is_empty) {
        table.problem_at(
            "placements",
            "`placements` is an empty list; remove it for all placements, or name one",
        );
    }
    let mut found = Vec::new();
    for id in ids.unwrap_or_default() {
        match names.find_placement(&id) {
            Some(index) => found.push(index),
            None => {
                let hint = suggestion(&id, names.placements.iter().map(|placement| placement.id));
                table.problem_at("placements", format!("`placements`: unknown placement `{id}`{hint}"));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The seed: the id unless the file has another.
fn read_seed(table: &Table<'_, '_>, id: &str) -> String {
    let Some(seed) = table.optional::<String>("seed") else { return id.to_owned() };
    if seed.is_empty() {
        table.problem_at("seed", "`seed` is empty; remove it, and the id is the seed");
    }
    for (salt, layer) in [(SALT, "the holdout"), ("__", "groups")] {
        if seed.starts_with(salt) {
            table.problem_at(
                "seed",
                format!(
                    "`seed` begins with {salt:?}, which is kept for {layer}: one hash for both skews the arms"
                ),
            );
        }
    }
    seed
}

/// What is wrong has been reported.
struct Reported;

/// The group, if the experiment has one.
fn read_group(table: &Table<'_, '_>, groups: &mut Vec<String>) -> Result<Option<Group>, Reported> {
    let name: Option<String> = table.optional("group");
    let range: Option<[f64; 2]> = table.optional("group_range");
    let Some(name) = name else {
        if table.has("group") {
            return Err(Reported);
        }
        if table.has("group_range") {
            table.problem_at("group_range", "`group_range` needs a `group`");
        }
        return Ok(None);
    };
    value::check_name(table, "group", &name);
    let range = if table.has("group_range") { range.ok_or(Reported)? } else { [0.0, 1.0] };
    let [start, end] = range;
    if !(0.0 <= start && start < end && end <= 1.0) {
        let message = format!(
            "`group_range` must be a start below an end, both 0 to 1, such as [0.0, 0.5], not [{start}, {end}]"
        );
        table.problem_at("group_range", message);
        return Err(Reported);
    }
    let index = groups.iter().position(|known| *known == name).unwrap_or_else(|| {
        groups.push(name.clone());
        groups.len() - 1
    });
    let part = Part::new(&name, range);
    if part.is_empty() {
        let message = format!(
            "`group_range` [{start}, {end}] has nobody: a group is drawn in thousandths, so make it at least 0.001 long"
        );
        table.problem_at("group_range", message);
    }
    Ok(Some(Group { index, name, range, part }))
}

fn read_steps(table: &Table<'_, '_>, tables: &[Table<'_, '_>], coverage: f64) -> Vec<Step> {
    let read: Vec<(Option<Share>, Option<After>)> = tables.iter().map(read_step).collect();
    // Where a coverage could not be read, nothing is said about the order of all.
    let reached: Option<Vec<f64>> =
        read.iter().map(|(reached, _)| reached.map(|Share(reached)| reached)).collect();
    let Some(reached) = reached else { return Vec::new() };
    for (pair, step) in reached.windows(2).zip(tables.iter().skip(1)) {
        if let [before, reached] = pair
            && before >= reached
        {
            step.problem_at(
                "coverage",
                format!(
                    "`coverage` must be more than the {before} of the step before, not {reached}: a ramp only rises"
                ),
            );
        }
    }
    if let Some(last) = reached.last().filter(|last| **last < coverage) {
        table.problem_at(
            "coverage",
            format!("`coverage` {coverage} is more than the last step's {last}; remove the steps"),
        );
    }
    let step = |(reached, after): (Option<Share>, Option<After>)| {
        let (Share(coverage), After(after)) = (reached?, after?);
        Some(Step { coverage, after })
    };
    read.into_iter().map(step).collect::<Option<Vec<Step>>>().unwrap_or_default()
}

fn read_step(step: &Table<'_, '_>) -> (Option<Share>, Option<After>) {
    let read = (value::needed(step, "coverage"), value::needed(step, "after"));
    refuse(step, &[METRIC, GUARDRAILS]);
    step.finish();
    read
}

/// Reports a split that does not work, on the line of the key that is wrong.
fn report_split(table: &Table<'_, '_>, variants: &[Table<'_, '_>], error: &SplitError) {
    match error {
        SplitError::Coverage { .. } | SplitError::Percentage { .. } => {
            table.problem_at("coverage", format!("`coverage`: {error}"));
        }
        SplitError::Sum { .. } => {
            // On the last variant: whoever adds one changes it there.
            if let Some(last) = variants.last() {
                last.problem_at("weight", format!("`weight`: {error}"));
            }
        }
        SplitError::Variants { .. } => table.problem(error),
        SplitError::Weight { variant, .. } | SplitError::Thousandths { variant, .. } => {
            if let Some(variant) = variants.get(*variant) {
                variant.problem_at("weight", format!("`weight`: {error}"));
            }
        }
    }
}

fn read_placements(policy: &Table<'_, '_>, names: &Names<'_>) -> Vec<(usize, Exploration)> {
    let mut found = Vec::new();
    for table in policy.tables("placement").iter().filter(|table| table.has("exploration")) {
        let Some(id) = table.optional::<String>("id") else { continue };
        table.label(format!("placement `{id}`"));
        let exploration = value::exploration(table);
        found.extend(names.find_placement(&id).zip(exploration));
    }
    found.sort_by_key(|(placement, _)| *placement);
    found
}

fn read_newcomers(offers: &Table<'_, '_>, names: &Names<'_>) -> Vec<(usize, Newcomer)> {
    let by_id = Ids::new(names.offers);
    let mut found = Vec::new();
    let tables = offers.tables("offer");
    for table in tables.iter().filter(|table| table.has("prior") || table.has("maturity")) {
        let Some(id) = table.optional::<String>("id") else { continue };
        table.label(format!("offer `{id}`"));
        let newcomer = Newcomer { prior: read_prior(table), maturity: read_maturity(table) };
        if newcomer != Newcomer::default() {
            found.extend(by_id.find(&id).map(|offer| (offer, newcomer)));
        }
    }
    found.sort_by_key(|(offer, _)| *offer);
    found
}

fn read_prior(offer: &Table<'_, '_>) -> Option<Prior> {
    let table = offer.table("prior")?;
    let Share(propensity) = table.required("propensity");
    let Evidence(evidence) = table.required("evidence");
    table.finish();
    Some(Prior { propensity, evidence })
}

fn read_maturity(offer: &Table<'_, '_>) -> Option<Maturity> {
    let table = offer.table("maturity")?;
    // With a share of 0 it would never be shown, and so never be mature.
    let SomeShare(max_share) = table.required("max_share");
    let Impressions(impressions) = table.required("impressions");
    table.finish();
    Some(Maturity { max_share, impressions })
}
