//! The gate that holds the answers to recent requests against those of the version that serves.

use std::fmt;

use super::bench::{Bench, raw_scores};
use super::{Champion, Finding};
use crate::feature::{FeatureSchema, RereadRow, psi};
use crate::model::{Layout, Model, ModelError, PSI_LIMIT};
use crate::release::load::{Loaded, Segmenter, load_version};

/// Fewer rows say more of chance than of the model.
const LEAST_ROWS: usize = 1000;

/// How both versions answer the rows that both can.
struct Compared {
    psi: f64,
    rows: usize,
    /// What has moved, for people.
    shift: String,
}

/// Why the two cannot be compared.
enum Incomparable {
    Kinds,
    TooFew(usize),
    Failed(ModelError),
}

/// The population stability index against the version that serves is at most the manifest's limit.
pub(super) fn check(bench: &Bench<'_>, loaded: &Loaded) -> Finding {
    let candidate = bench.candidate;
    let Some(champion) = candidate.champion else {
        return Finding::skipped("no version of this model serves, so there is nothing to compare with");
    };
    if champion.version == candidate.version {
        return Finding::skipped("this is the version that serves");
    }
    if candidate.recent.len() < LEAST_ROWS {
        return Finding::skipped(Incomparable::TooFew(candidate.recent.len()).to_string());
    }
    let Champion { directory, version, schema } = champion;
    let served = match load_version(directory, candidate.name, version, schema, candidate.cache) {
        Ok(served) => served,
        Err(problems) => {
            return Finding::skipped(format!("the version that serves cannot be read: {problems}"));
        }
    };
    let compared = match (&served, loaded) {
        (Loaded::Model(served), Loaded::Model(model)) => compare_scores(bench, (served, schema), model),
        (Loaded::Segmentation(served), Loaded::Segmentation(segmenter)) => {
            Ok(compare_segments(bench, (served, schema), segmenter))
        }
        _ => Err(Incomparable::Kinds),
    };
    let Compared { psi, rows, shift } = match compared {
        Ok(compared) => compared,
        Err(why) => return Finding::skipped(why.to_string()),
    };
    let limit = bench.manifest().ok().and_then(|manifest| manifest.psi_limit).unwrap_or(PSI_LIMIT);
    let (measured, shown) = (format!("PSI {psi:.4} over {rows} recent rows"), format!("PSI {limit}"));
    if psi <= limit {
        return Finding::passed(measured, shown);
    }
    let why = format!(
        "against version {version}, {shift}; if that is meant, raise `psi_limit` under [gates] in model.toml"
    );
    Finding::failed(measured, shown, why)
}

impl fmt::Display for Incomparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kinds => f.write_str("the version that serves is of another kind"),
            Self::TooFew(rows) => {
                write!(f, "{rows} recent rows that both versions can answer; {LEAST_ROWS} are needed")
            }
            Self::Failed(error) => write!(f, "a version failed on recent rows: {error}"),
        }
    }
}

/// `served` comes with the schema that it is fed.
fn compare_scores(
    bench: &Bench<'_>,
    served: (&Model, &FeatureSchema),
    model: &Model,
) -> Result<Compared, Incomparable> {
    let reference = scores_of_offers(bench, served.0, served.1).map_err(Incomparable::Failed)?;
    let found = scores_of_offers(bench, model, bench.candidate.schema).map_err(Incomparable::Failed)?;
    let both = reference.into_iter().zip(found);
    let (reference, found): (Vec<f32>, Vec<f32>) =
        both.filter_map(|(reference, found)| Some((reference?, found?))).unzip();
    if found.len() < LEAST_ROWS {
        return Err(Incomparable::TooFew(found.len()));
    }
    let mean = |scores: &[f32]| scores.iter().copied().map(f64::from).sum::<f64>() / scores.len() as f64;
    let shift = format!("the mean score went from {:.4} to {:.4}", mean(&reference), mean(&found));
    Ok(Compared { psi: psi::of_scores(&reference, &found), rows: found.len(), shift })
}

/// Per recent row the raw score of its offer; `None` where the model has none. Calibrated answers would say more of the calibration than
/// of the model: an isotonic curve has flat stretches, on which the bins between quantiles have almost no width.
fn scores_of_offers(
    bench: &Bench<'_>,
    model: &Model,
    schema: &FeatureSchema,
) -> Result<Vec<Option<f32>>, ModelError> {
    let recent = bench.candidate.recent;
    let rows: Vec<RereadRow<'_>> = recent.iter().map(|row| row.under(schema)).collect();
    let answers = raw_scores(model, bench.worker(), rows.iter().map(RereadRow::row))?;
    let column = |offer: &str| match model.manifest().layout {
        Some(Layout::MultiOffer | Layout::PerOffer) => model.columns().iter().position(|id| id == offer),
        Some(Layout::Pairwise) | None => Some(0),
    };
    let of_rows = answers.chunks_exact(model.columns().len().max(1)).zip(recent);
    Ok(of_rows.map(|(answers, row)| column(row.offer_id()).and_then(|column| answers[column])).collect())
}

fn compare_segments(
    bench: &Bench<'_>,
    served: (&Segmenter, &FeatureSchema),
    segmenter: &Segmenter,
) -> Compared {
    let segments = served.0.names().len().max(segmenter.names().len());
    let recent = bench.candidate.recent;
    let sizes = |segmenter: &Segmenter, schema: &FeatureSchema| {
        let mut sizes = vec![0_u64; segments];
        for row in recent {
            let reread = row.under(schema);
            let id = segmenter.assign(|index| reread.row().customer[index]).id;
            // Ids are positions, from 0.
            sizes[id as usize] += 1;
        }
        sizes
    };
    let (reference, found) = (sizes(served.0, served.1), sizes(segmenter, bench.candidate.schema));
    let share = |size: u64| 100.0 * size as f64 / recent.len() as f64;
    let moved = (0..segments).max_by_key(|id| reference[*id].abs_diff(found[*id])).unwrap_or(0);
    let shift = format!(
        "segment {moved} went from {:.1} % of the rows to {:.1} %",
        share(reference[moved]),
        share(found[moved])
    );
    Compared { psi: psi::of_counts(&reference, &found), rows: recent.len(), shift }
}
