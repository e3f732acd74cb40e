//! The gate that compares a version with the serving one on recent requests: raw scores, and the propensities that
//! decide.

use std::fmt;

use super::bench::{Bench, raw_scores};
use super::ranks::{correlation, psi_of_propensities};
use super::{Champion, Finding, Sample, golden};
use crate::load::{Loaded, Segmenter, load_version};
use feature::{FeatureSchema, RereadRow};
use model::{GateLimits, Layout, Model, ModelError, ModelKind};
use statistics::psi;

/// With fewer rows, chance dominates the comparison.
pub(crate) const LEAST_ROWS: usize = 1000;

/// With fewer golden rows, not even a reversed order or a shifted mean can be detected. Shares need more rows.
const LEAST_GOLDEN: usize = 20;

/// Mean propensities that differ by less count as equal, regardless of their ratio.
const LEAST_MEAN: f64 = 0.005;

/// The comparison on the rows that both versions can score.
struct Compared {
    rows: usize,
    measures: Vec<Measure>,
}

/// A measured number, its limit, and a message if the limit is exceeded.
struct Measure {
    measured: String,
    limit: String,
    wrong: Option<String>,
}

/// Why the two versions cannot be compared.
enum Incomparable {
    Kinds,
    TooFew(usize, String),
    Failed(ModelError),
}

/// Scores, propensities and their order match the serving version's, within the manifest's limits.
pub(super) fn check(bench: &Bench<'_>, loaded: &Loaded) -> Finding {
    let candidate = bench.candidate;
    let Some(champion) = candidate.champion else {
        return Finding::skipped("no version of this model serves, so there is nothing to compare with");
    };
    if champion.version == candidate.version {
        return Finding::skipped("this is the version that serves");
    }
    let Champion { directory, version, schema } = champion;
    let served = match load_version(directory, candidate.name, version, schema, candidate.cache) {
        Ok(served) => served,
        Err(problems) => {
            return Finding::skipped(format!("the version that serves cannot be read: {problems}"));
        }
    };
    let of_golden;
    let sample = if candidate.sample.rows.len() >= LEAST_ROWS {
        candidate.sample
    } else {
        let found = match &served {
            Loaded::Model(model) => golden::rows_of(&champion, model),
            Loaded::Segmentation(_) => None,
        };
        match found.filter(|found| found.rows.len() >= LEAST_GOLDEN) {
            Some(found) => {
                of_golden = found;
                &of_golden
            }
            None => {
                let (rows, source) = (candidate.sample.rows.len(), candidate.sample.source.clone());
                return Finding::skipped(Incomparable::TooFew(rows, source).to_string());
            }
        }
    };
    let limits = bench.manifest().map(|manifest| manifest.gates.clone()).unwrap_or_default();
    let compared = match (&served, loaded) {
        (Loaded::Model(served), Loaded::Model(model)) => {
            compare_scores(bench, sample, (served, schema), model, &limits)
        }
        (Loaded::Segmentation(served), Loaded::Segmentation(segmenter)) => {
            Ok(compare_segments(bench, sample, (served, schema), segmenter, &limits))
        }
        _ => Err(Incomparable::Kinds),
    };
    let Compared { rows, measures } = match compared {
        Ok(compared) => compared,
        Err(why) => return Finding::skipped(why.to_string()),
    };
    let list = |part: fn(&Measure) -> &str| measures.iter().map(part).collect::<Vec<_>>().join(", ");
    let measured = format!("{} over {rows} {}", list(|measure| &measure.measured), sample.source);
    let limit = list(|measure| &measure.limit);
    let wrong: Vec<&str> = measures.iter().filter_map(|measure| measure.wrong.as_deref()).collect();
    if wrong.is_empty() {
        return Finding::passed(measured, limit);
    }
    Finding::failed(measured, limit, format!("against version {version}, {}", wrong.join("; ")))
}

impl Measure {
    /// A population stability index; `shift` describes what has moved.
    fn psi(what: &str, psi: f64, limit: f64, shift: impl FnOnce() -> String) -> Self {
        let wrong = (psi > limit)
            .then(|| format!("{}; if that is meant, raise `psi_limit` under [gates] in model.toml", shift()));
        Self { measured: format!("{what} {psi:.4}"), limit: format!("{what} {limit}"), wrong }
    }

    fn mean(before: f64, after: f64, limit: f64) -> Self {
        let apart = (after - before).abs() > LEAST_MEAN && (after > before * limit || before > after * limit);
        let wrong = apart.then(|| {
            format!(
                "the mean propensity went from {before:.4} to {after:.4}; if that is meant, raise `mean_limit` under [gates] in \
                 model.toml"
            )
        });
        let limit = format!("{:.4} to {:.4}", before / limit, (before * limit).min(1.0));
        Self { measured: format!("mean propensity {after:.4}"), limit, wrong }
    }

    fn rank(correlation: f64, limit: f64) -> Self {
        let wrong = (correlation < limit).then(|| {
            format!(
                "the order of the answers changed (rank correlation {correlation:.3}): customers who were likely to accept now \
                 rank as unlikely, and the reverse; is the calibration upside down, or the score that of the wrong class? \
                 If this is intended, lower `rank_limit` under [gates] in model.toml"
            )
        });
        let measured = format!("rank correlation {correlation:.3}");
        Self { measured, limit: format!("at least {limit}"), wrong }
    }
}

impl fmt::Display for Incomparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kinds => f.write_str("the version that serves is of another kind"),
            Self::TooFew(rows, source) => {
                write!(f, "{rows} {source} that both versions can answer; {LEAST_ROWS} are needed")
            }
            Self::Failed(error) => write!(f, "a version failed on rows of the sample: {error}"),
        }
    }
}

/// `served` comes with the schema that it is fed.
fn compare_scores(
    bench: &Bench<'_>,
    sample: &Sample,
    (served, schema): (&Model, &FeatureSchema),
    model: &Model,
    limits: &GateLimits,
) -> Result<Compared, Incomparable> {
    let reference = scores_of_offers(bench, sample, served, schema).map_err(Incomparable::Failed)?;
    let found =
        scores_of_offers(bench, sample, model, bench.candidate.schema).map_err(Incomparable::Failed)?;
    let both = reference.into_iter().zip(found);
    let (reference, found): (Vec<f32>, Vec<f32>) =
        both.filter_map(|(reference, found)| Some((reference?, found?))).unzip();
    let few = sample.rows.len() < LEAST_ROWS;
    if found.len() < if few { LEAST_GOLDEN } else { LEAST_ROWS } {
        return Err(Incomparable::TooFew(found.len(), sample.source.clone()));
    }
    let mean = |scores: &[f32]| scores.iter().copied().map(f64::from).sum::<f64>() / scores.len() as f64;
    let shift = || format!("the mean score went from {:.4} to {:.4}", mean(&reference), mean(&found));
    let mut measures = Vec::new();
    if !few {
        measures.push(Measure::psi("PSI", psi::of_scores(&reference, &found), limits.psi, shift));
    }
    if decides(served) && decides(model) {
        let pairs = reference.iter().zip(&found);
        let (before, after): (Vec<f64>, Vec<f64>) = pairs
            .filter_map(|(one, other)| Some((served.propensity(*one)?, model.propensity(*other)?)))
            .unzip();
        if !before.is_empty() {
            let mean = |propensities: &[f64]| propensities.iter().sum::<f64>() / propensities.len() as f64;
            let (before_mean, after_mean) = (mean(&before), mean(&after));
            let shift = || format!("the mean propensity went from {before_mean:.4} to {after_mean:.4}");
            let psi = psi_of_propensities(&before, &after);
            measures.push(Measure::mean(before_mean, after_mean, limits.mean));
            if !few {
                measures.push(Measure::psi("PSI of propensities", psi, limits.psi, shift));
            }
        }
    }
    // Other gates refuse unusable answers; here they rank last.
    let ranked = |model: &Model, raw: &[f32]| -> Vec<f32> {
        raw.iter().map(|raw| model.answer(*raw).unwrap_or(f32::MIN)).collect()
    };
    if let Some(found) = correlation(&ranked(served, &reference), &ranked(model, &found)) {
        measures.push(Measure::rank(found, limits.rank));
    }
    Ok(Compared { rows: found.len(), measures })
}

/// Whether the model's answers are propensities, which decide.
fn decides(model: &Model) -> bool {
    matches!(model.manifest().kind, ModelKind::Propensity | ModelKind::Recommendation)
}

/// For each row of the sample, the raw score of its offer; `None` where the model has none.
fn scores_of_offers(
    bench: &Bench<'_>,
    sample: &Sample,
    model: &Model,
    schema: &FeatureSchema,
) -> Result<Vec<Option<f32>>, ModelError> {
    let sample = sample.rows.as_slice();
    let rows: Vec<RereadRow<'_>> = sample.iter().map(|row| row.under(schema)).collect();
    let answers = raw_scores(model, bench.worker(), rows.iter().map(RereadRow::row))?;
    let column = |offer: &str| match model.manifest().layout {
        Some(Layout::MultiOffer | Layout::PerOffer) => model.columns().iter().position(|id| id == offer),
        Some(Layout::Pairwise) | None => Some(0),
    };
    let of_rows = answers.chunks_exact(model.columns().len().max(1)).zip(sample);
    Ok(of_rows.map(|(answers, row)| column(row.offer_id()).and_then(|column| answers[column])).collect())
}

fn compare_segments(
    bench: &Bench<'_>,
    sample: &Sample,
    served: (&Segmenter, &FeatureSchema),
    segmenter: &Segmenter,
    limits: &GateLimits,
) -> Compared {
    let segments = served.0.names().len().max(segmenter.names().len());
    let recent = sample.rows.as_slice();
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
    let shift = || {
        format!(
            "segment {moved} went from {:.1} % of the rows to {:.1} %",
            share(reference[moved]),
            share(found[moved])
        )
    };
    let psi = Measure::psi("PSI", psi::of_counts(&reference, &found), limits.psi, shift);
    Compared { rows: recent.len(), measures: vec![psi] }
}
