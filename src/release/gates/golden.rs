//! The gate that asks a version for the answers that its makers say it gives: `golden.csv`.
//!
//! The header names features that the version takes, `segment` among them where it does, and what is expected:
//!
//! | column | meaning |
//! |---|---|
//! | a feature | its value; an empty cell is a value that nobody knows, as in a request |
//! | `expected` | models with one score a row: what the `Score` call answers, the propensity where the model is calibrated; segmentations: the id of the segment |
//! | `expected:<offer id>` | models with a score per offer: the same for this offer; empty: not compared |
//! | `raw`, `raw:<offer id>` | models only: the same before calibration, what the training library itself predicts |
//! | `tolerance` | optional, models only: how far the answer may be off, times max(1, \|expected\|); empty or absent: 1e-5 |
//!
//! The table is read in `table.rs`; here it is held against the version.

mod table;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Arc;

use super::bench::{Bench, answer};
use super::files::plural;
use super::{Champion, Finding, Sample};
use crate::document::Problems;
use crate::feature::{Entity, FeatureSchema, RecentRow, Row, SegmentRef, ValueRef};
use crate::model::{Layout, Model, ModelError};
use crate::release::load::{Loaded, Segmenter};
use table::{GoldenRow, Reading};

/// The name of the file in a version's directory.
const FILE: &str = "golden.csv";

/// How the reason begins where it is a warning that there was nothing to judge by.
const WARNING: &str = "warning: ";

/// How far an answer may be off where the row does not say.
const TOLERANCE: f64 = 1e-5;

/// The most bytes of the file, which is read whole.
const MOST_BYTES: u64 = 16 << 20;

/// So many rows are told; more would hide them.
const TOLD: usize = 5;

/// Every golden row is answered as expected.
pub(super) fn check(bench: &Bench<'_>, loaded: &Loaded) -> Finding {
    let file = bench.file(FILE);
    let size = fs::metadata(bench.candidate.directory.join(FILE)).map_or(0, |file| file.len());
    if size > MOST_BYTES {
        let why = format!("{file} is too large to be read beside what serves; keep some hundred rows");
        return Finding::failed(format!("{size} bytes"), format!("{MOST_BYTES} bytes"), why);
    }
    let bytes = match fs::read(bench.candidate.directory.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return without_rows(bench);
        }
        Err(error) => return Finding::failed("", "", format!("{file} cannot be read: {error}")),
    };
    let reading = match loaded {
        Loaded::Model(model) => Reading::of_model(&file, bench.candidate.schema, model),
        Loaded::Segmentation(segmenter) => Reading::of_segmentation(&file, bench.candidate.schema, segmenter),
    };
    let rows = match reading.read(&bytes) {
        Ok(rows) => rows,
        Err(problems) => {
            let measured = format!("{} in the file", plural(problems.len(), "mistake"));
            return Finding::failed(measured, "a table of golden rows", told(&problems));
        }
    };
    match loaded {
        Loaded::Model(model) => of_model(bench, model, &file, &rows),
        Loaded::Segmentation(segmenter) => of_segmentation(segmenter, &file, &rows),
    }
}

/// The golden rows of the version that serves, a row per answer, to compare others on where there are no customers; `None` where there
/// are none, or they cannot be read.
pub(super) fn rows_of(champion: &Champion<'_>, served: &Model) -> Option<Sample> {
    let path = champion.directory.join(FILE);
    if fs::metadata(&path).ok()?.len() > MOST_BYTES {
        return None;
    }
    let schema = Arc::new(champion.schema.clone());
    let rows = Reading::of_model(FILE, champion.schema, served).read(&fs::read(&path).ok()?).ok()?;
    let per_offer = matches!(served.manifest().layout, Some(Layout::MultiOffer | Layout::PerOffer));
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let [customer, context, offer] = features_of(&schema, row);
        let segment = row.segment.map(|id| SegmentRef { id, name: "" });
        let features = Row { customer: &customer, context: &context, offer: &offer, segment };
        let columns: BTreeSet<usize> =
            row.expected.iter().chain(&row.raw).map(|(column, _)| *column).collect();
        for column in columns {
            let offer: Arc<str> =
                if per_offer { served.columns()[column].as_str().into() } else { "".into() };
            found.push(RecentRow::new(&schema, &offer, &features));
        }
    }
    Some(Sample { rows: found, source: format!("golden rows of version {}", champion.version) })
}

/// What a model sees of a row, by entity: as in a request, the default stands in for what nobody knows.
fn features_of<'r>(schema: &'r FeatureSchema, row: &'r GoldenRow) -> [Vec<ValueRef<'r>>; 3] {
    [Entity::Customer, Entity::Context, Entity::Offer]
        .map(|entity| row.values(schema, entity, |value, feature| value.or(feature.default_ref())))
}

/// Without golden rows nobody knows whether the graph answers what the training library does: a warning, or a failure where the
/// manifest wants them.
fn without_rows(bench: &Bench<'_>) -> Finding {
    let why = format!(
        "the version has no {FILE}, so nobody has checked that its answers are those of the training library: push it with \
         --check-against ROWS.csv, which has features and the library's own predictions"
    );
    if bench.manifest().is_ok_and(|manifest| manifest.gates.golden_required) {
        let why = format!("{why}; model.toml says golden = \"required\" under [gates]");
        return Finding::failed("no golden rows", "golden rows", why);
    }
    Finding::skipped(format!("{WARNING}{why}"))
}

fn of_model(bench: &Bench<'_>, model: &Model, file: &str, rows: &[GoldenRow]) -> Finding {
    let mut problems = Problems::new();
    let (mut largest, mut wrong) = (0.0_f64, 0);
    // Answers that differ, and those of them that are what the model says before calibration.
    let (mut different, mut uncalibrated) = (0_usize, 0_usize);
    for row in rows {
        let scores = match scores_of(bench, model, row) {
            Ok(scores) => scores,
            Err(message) => {
                problems.push(file, Some(row.line), message);
                wrong += 1;
                continue;
            }
        };
        let before = problems.len();
        let told =
            row.expected.iter().map(|(column, expected)| (column, expected, answer(model, scores[*column])));
        let raw = row.raw.iter().map(|(column, expected)| {
            (column, expected, Some(scores[*column]).filter(|score| score.is_finite()))
        });
        for (column, expected, found) in told.chain(raw) {
            let name = &model.columns()[*column];
            let Some(found) = found.map(f64::from) else {
                problems.push(
                    file,
                    Some(row.line),
                    format!("expected {expected} as `{name}`, but there is no usable answer"),
                );
                continue;
            };
            let off = (found - expected).abs() / expected.abs().max(1.0);
            largest = largest.max(off);
            let tolerance = row.tolerance.unwrap_or(TOLERANCE);
            if off > tolerance {
                different += 1;
                let before = f64::from(scores[*column]) - expected;
                uncalibrated += usize::from(before.abs() <= tolerance * expected.abs().max(1.0));
                let message = format!(
                    "expected {expected} as `{name}`, found {found}: off by {off:.1e}, allowed {tolerance:.1e}"
                );
                problems.push(file, Some(row.line), message);
            }
        }
        wrong += usize::from(problems.len() > before);
    }
    let limit = if rows.iter().any(|row| row.tolerance.is_some()) {
        "the tolerance of each row".to_owned()
    } else {
        format!("{TOLERANCE:.0e}")
    };
    if problems.is_empty() {
        return Finding::passed(
            format!("off by at most {largest:.1e} in {}", plural(rows.len(), "row")),
            limit,
        );
    }
    let mut why = told(&problems);
    if different > 0 && different == uncalibrated {
        why.push_str(
            "\nthese are the model's scores before calibration: call the column `raw`, not `expected`",
        );
    }
    Finding::failed(format!("{wrong} of {} differ", plural(rows.len(), "row")), limit, why)
}

/// What the model says of one row, a raw score per column.
fn scores_of(bench: &Bench<'_>, model: &Model, row: &GoldenRow) -> Result<Vec<f32>, String> {
    let [customer, context, offer] = features_of(bench.candidate.schema, row);
    let mut matrix = model.matrix();
    let pushed = matrix.push(&Row {
        customer: &customer,
        context: &context,
        offer: &offer,
        segment: row.segment.map(|id| SegmentRef { id, name: "" }),
    });
    pushed.map_err(|error| error.to_string())?;
    let scores = model.score(bench.worker(), &matrix).map_err(|error: ModelError| error.to_string())?;
    Ok(scores.values)
}

fn of_segmentation(segmenter: &Segmenter, file: &str, rows: &[GoldenRow]) -> Finding {
    let mut problems = Problems::new();
    let name =
        |id: i64| usize::try_from(id).ok().and_then(|id| segmenter.names().get(id)).map_or("?", |name| name);
    for row in rows {
        let found = segmenter.assign(|index| row.value(Entity::Customer, index)).id;
        for (_, expected) in &row.expected {
            let expected = *expected as i64;
            if found != expected {
                let (was, is) = (name(expected), name(found));
                let message = format!("expected segment {expected} ({was}), found {found} ({is})");
                problems.push(file, Some(row.line), message);
            }
        }
    }
    if problems.is_empty() {
        return Finding::passed(format!("{} in their segments", plural(rows.len(), "row")), "every row");
    }
    let measured = format!("{} of {} differ", problems.len(), plural(rows.len(), "row"));
    Finding::failed(measured, "every row", told(&problems))
}

/// The first few problems, and how many there are beside them.
fn told(problems: &Problems) -> String {
    let mut lines: Vec<String> = problems.iter().take(TOLD).map(ToString::to_string).collect();
    if problems.len() > TOLD {
        lines.push(format!("and {} more", problems.len() - TOLD));
    }
    lines.join("\n")
}
