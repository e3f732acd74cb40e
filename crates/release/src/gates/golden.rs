//! The gate that compares a version's answers with those that its authors expect: `golden.csv`.
//!
//! The header names features that the version takes, `segment` among them where it does, and the expected answers:
//!
//! | column | meaning |
//! |---|---|
//! | a feature | its value; an empty cell is a missing value, as in a request |
//! | `expected` | one score per row: the answer of `Score` (calibrated: a propensity); segmentations: a segment's id |
//! | `expected:<offer id>` | models with a score per offer: the same for this offer; empty: not compared |
//! | `raw`, `raw:<offer id>` | models only: the same before calibration, as the training library predicts it |
//! | `tolerance` | optional, models only: allowed difference, times max(1, \|expected\|); empty: the default |
//!
//! `table.rs` reads the table; this file compares it with the version.

mod table;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Arc;

use super::bench::{Bench, answer};
use super::{Champion, Finding, Sample};
use crate::load::{Loaded, Segmenter};
use crate::records::WARNING;
use document::{Problems, plural};
use feature::{Entity, FeatureSchema, RecentRow, Row, SegmentRef, ValueRef};
use model::{Layout, Model, ModelError};
use segment::GOLDEN_FILE as FILE;
use table::{GoldenRow, Reading};

/// The allowed difference of an answer, where the row sets none.
const TOLERANCE: f64 = 1e-5;

/// The most bytes of the file, which is read whole.
const MAX_BYTES: u64 = 16 << 20;

/// The most rows that a message lists.
const MAX_LISTED: usize = 5;

/// Every golden row is answered as expected.
pub(super) fn check(bench: &Bench<'_>, loaded: &Loaded) -> Finding {
    let file = bench.file(FILE);
    let size = fs::metadata(bench.candidate.directory.join(FILE)).map_or(0, |file| file.len());
    if size > MAX_BYTES {
        let why = format!("{file} is too large; keep a few hundred rows");
        return Finding::failed(format!("{size} bytes"), format!("{MAX_BYTES} bytes"), why);
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
            return Finding::failed(measured, "a table of golden rows", listed(&problems));
        }
    };
    match loaded {
        Loaded::Model(model) => of_model(bench, model, &file, &rows),
        Loaded::Segmentation(segmenter) => of_segmentation(segmenter, &file, &rows),
    }
}

/// The golden rows of the serving version, one row per answer, for comparing versions where there are no customers.
/// `None` where there are none, or they cannot be read.
pub(super) fn rows_of(champion: &Champion<'_>, served: &Model) -> Option<Sample> {
    let path = champion.directory.join(FILE);
    if fs::metadata(&path).ok()?.len() > MAX_BYTES {
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

/// The values of a row by entity, as the model receives them: as in a request, the default replaces a missing value.
fn features_of<'r>(schema: &'r FeatureSchema, row: &'r GoldenRow) -> [Vec<ValueRef<'r>>; 3] {
    [Entity::Customer, Entity::Context, Entity::Offer]
        .map(|entity| row.values(schema, entity, |value, feature| value.or(feature.default_ref())))
}

/// The finding without golden rows: the graph was never compared with its training library. That is a warning, or a
/// failure where the manifest requires golden rows.
fn without_rows(bench: &Bench<'_>) -> Finding {
    let why = format!(
        "the version has no {FILE}, so its answers were never compared with the training library's: push it with \
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
    // Answers that differ, and those of them that equal the model's score before calibration.
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
        let listed =
            row.expected.iter().map(|(column, expected)| (column, expected, answer(model, scores[*column])));
        let raw = row.raw.iter().map(|(column, expected)| {
            (column, expected, Some(scores[*column]).filter(|score| score.is_finite()))
        });
        for (column, expected, found) in listed.chain(raw) {
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
    let mut why = listed(&problems);
    if different > 0 && different == uncalibrated {
        why.push_str(
            "\nthese are the model's scores before calibration: call the column `raw`, not `expected`",
        );
    }
    Finding::failed(format!("{wrong} of {} differ", plural(rows.len(), "row")), limit, why)
}

/// The model's raw scores of one row, one per column.
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
    Finding::failed(measured, "every row", listed(&problems))
}

/// The first few problems, and the number of the others.
fn listed(problems: &Problems) -> String {
    let mut lines: Vec<String> = problems.iter().take(MAX_LISTED).map(ToString::to_string).collect();
    if problems.len() > MAX_LISTED {
        lines.push(format!("and {} more", problems.len() - MAX_LISTED));
    }
    lines.join("\n")
}
