//! Experiments that cannot hold at once: equal ids or seeds, parts of a group that overlap, and two that change the same
//! thing.

use std::collections::HashMap;

use document::Table;

use super::Names;
use crate::{Changes, Experiment, State};

/// The most customers that the variants of a policy list. Each has an entry in memory for every release.
const MOST_LISTED: usize = 10_000;

/// Reports what clashes, on the later of two experiments in the order of their ids. Stopped ones clash with nothing but
/// their id.
pub(super) fn report<R>(all: &[(Experiment<R>, &Table<'_, '_>)], names: &Names<'_>) {
    for (index, (experiment, table)) in all.iter().enumerate() {
        for (earlier, place) in all.iter().take(index) {
            if earlier.id == experiment.id {
                if !experiment.id.is_empty() {
                    let line = place.first_line();
                    let message =
                        format!("`{}` is already the id of the experiment in line {line}", experiment.id);
                    table.problem_at("id", message);
                }
            } else if experiment.state != State::Stopped && earlier.state != State::Stopped {
                pair(experiment, earlier, table, names);
            }
        }
    }
    report_listed(all);
}

/// Reports customers whom two experiments of a group list, and the experiment with which too many are listed.
fn report_listed<R>(all: &[(Experiment<R>, &Table<'_, '_>)]) {
    let mut count = 0;
    let mut lists: HashMap<(usize, &str), &str> = HashMap::new();
    for (experiment, table) in all {
        let before = count;
        count += listed(experiment).count();
        if before <= MOST_LISTED && count > MOST_LISTED {
            table.problem(format!(
                "with these, the policy lists {count} customers and may list {MOST_LISTED}: `listed` is for testers"
            ));
        }
        let Some(group) = experiment.group.as_ref().filter(|_| experiment.state != State::Stopped) else {
            continue;
        };
        for id in listed(experiment) {
            let other = *lists.entry((group.index, id.as_str())).or_insert(experiment.id.as_str());
            if other != experiment.id {
                let name = &group.name;
                table.problem(format!(
                    "customer {id:?} is listed here and in `{other}`, both of group `{name}`"
                ));
            }
        }
    }
}

/// The customers whom the variants of an experiment list.
fn listed<R>(experiment: &Experiment<R>) -> impl Iterator<Item = &String> {
    experiment.variants.iter().flat_map(|variant| &variant.listed)
}

fn pair<R>(experiment: &Experiment<R>, earlier: &Experiment<R>, table: &Table<'_, '_>, names: &Names<'_>) {
    let other = &earlier.id;
    if experiment.seed == earlier.seed && experiment.scheme == earlier.scheme {
        table.problem_at(
            if table.has("seed") { "seed" } else { "id" },
            format!("the seed is that of experiment `{other}`, so both would draw the same customers; give one another"),
        );
    }
    let groups = experiment.group.as_ref().zip(earlier.group.as_ref());
    if let Some((mine, theirs)) = groups.filter(|(mine, theirs)| mine.index == theirs.index) {
        let ([start, end], [their_start, their_end]) = (mine.range, theirs.range);
        if start < their_end && their_start < end {
            let name = &mine.name;
            table.problem_at(
                if table.has("group_range") { "group_range" } else { "group" },
                format!(
                    "group `{name}`: [{start}, {end}] overlaps [{their_start}, {their_end}] of experiment `{other}`; give \
                     each a `group_range` of its own"
                ),
            );
        }
        return;
    }
    let shared = (0..names.placements.len()).find(|place| experiment.is_at(*place) && earlier.is_at(*place));
    let Some(placement) = shared else { return };
    if let Some(changed) = both_change(experiment, earlier, names) {
        let placement = names.placement(placement);
        table.problem(format!(
            "changes {changed} at placement `{placement}`, as does experiment `{other}`; put both into one `group`"
        ));
    }
}

/// What some variant of both changes, if anything.
fn both_change<R>(one: &Experiment<R>, other: &Experiment<R>, names: &Names<'_>) -> Option<String> {
    let changed = |experiment: &Experiment<R>| -> Vec<String> {
        experiment.variants.iter().flat_map(|variant| keys(&variant.changes, names)).collect()
    };
    let others = changed(other);
    changed(one).into_iter().find(|key| others.contains(key))
}

/// What a variant changes, in words.
fn keys(changes: &Changes, names: &Names<'_>) -> Vec<String> {
    let Changes { models, strategy, count, category_weights, context_weights, exploration } = changes;
    let mut keys: Vec<String> = models.iter().map(|model| format!("model `{}`", model.name)).collect();
    let category = |index: &usize| format!("the weight of category `{}`", names.category(*index));
    keys.extend(category_weights.iter().map(|(index, _)| category(index)));
    let context = |index: &usize| format!("context weight `{}`", names.context_weight(*index));
    keys.extend(context_weights.iter().map(|(index, _)| context(index)));
    keys.extend(strategy.map(|_| "`strategy`".to_owned()));
    keys.extend(count.map(|_| "`count`".to_owned()));
    keys.extend(exploration.map(|_| "`exploration`".to_owned()));
    keys
}
