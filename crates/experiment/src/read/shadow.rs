//! Reads shadows: where they hold, on how many decisions they are compared, and what they change.

use document::Table;

use super::value::{self, SomeShare};
use super::variant::{self, CHANGES};
use super::{Names, read_places};
use crate::Shadow;

/// The most shadows of a policy. Each keeps models in memory and decides again, as often as it samples.
const MOST_SHADOWS: usize = 8;

/// Reads the shadows, sorted by id.
pub(super) fn read(policy: &Table<'_, '_>, names: &Names<'_>) -> Vec<Shadow> {
    let tables = policy.tables("shadow");
    if tables.len() > MOST_SHADOWS {
        let count = tables.len();
        policy.problem_at(
            "shadow",
            format!("{count} shadows; at most {MOST_SHADOWS} are allowed, so remove those that are over"),
        );
    }
    let mut all: Vec<(Shadow, &Table<'_, '_>)> =
        tables.iter().take(MOST_SHADOWS).map(|table| (read_shadow(table, names), table)).collect();
    // Stable, so that the later of two equal ids in the file is reported.
    all.sort_by(|(left, _), (right, _)| left.id.cmp(&right.id));
    for pair in all.windows(2) {
        if let [(first, place), (shadow, table)] = pair
            && first.id == shadow.id
            && !shadow.id.is_empty()
        {
            let line = place.first_line();
            table.problem_at("id", format!("`{}` is already the id of the shadow in line {line}", shadow.id));
        }
    }
    all.into_iter().map(|(shadow, _)| shadow).collect()
}

fn read_shadow(table: &Table<'_, '_>, names: &Names<'_>) -> Shadow {
    let id: String = table.required("id");
    if !id.is_empty() {
        table.label(format!("shadow `{id}`"));
        value::check_name(table, "id", &id);
    }
    let placements = read_places(table, names);
    let SomeShare(sample) = table.required("sample");
    let models = value::models_at(&placements, names);
    let changes = variant::read_changes(table, "shadow", names, &models);
    if table.has("count") {
        table.problem_at(
            "count",
            "`count` is not for shadows: slates of two sizes cannot be compared; remove it",
        );
    } else if !CHANGES.iter().any(|key| table.has(key)) {
        let keys: Vec<&str> = CHANGES.into_iter().filter(|key| *key != "count").collect();
        table.problem(format!("it changes nothing; give it at least one of {}", keys.join(", ")));
    }
    table.finish();
    Shadow::new(&id, placements, sample, changes, table.first_line())
}
