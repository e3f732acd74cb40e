//! `Score`: rows through one model, without rules or arbitration.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Asked, DecisionError, RowProblem, RowProblems, ScoreRequest, degraded};
use document::suggestion;
use feature::{BoundBatch, Entity, Misplaced, Row, ValueRef};
use model::{Layout, Model, ModelError, Pairing};
use offer::{OfferIndex, feature_rows};
use release::{AssignedSegment, ModelIndex, Snapshot};
use work::priority::yield_if_due;
use work::{Call, Cancellation, Worker};

/// The most values in one answer: 4 MiB of floats, well within a message.
pub const MAX_SCORES: usize = 1 << 20;

/// How many rows of the matrix are assembled and scored between two checks of the deadline.
const ROWS_PER_BLOCK: usize = 4096;

/// A `Score` call resolved against the snapshot that answers it.
pub(super) struct ScorePlan {
    pub snapshot: Arc<Snapshot>,
    pub model: Arc<Model>,
    features: BoundBatch,
    /// Rows that cannot be scored, in addition to those with a fault.
    unreadable: RowProblems,
    /// Pairwise: the offers that each row is paired with. Empty where the rows carry the offer's features.
    offers: Vec<usize>,
    /// The model's columns to return; 0 alone for pairwise.
    columns: Vec<usize>,
    /// The names of the answer's columns.
    pub column_names: Vec<String>,
    /// The answer's columns that have scores, ascending: all but those of unknown offers.
    known: Vec<usize>,
    /// What of the call could not be used.
    pub degraded: Vec<String>,
}

/// The scores of a range of rows.
pub(super) struct ScorePart {
    /// rows × known columns, row-major; NaN where there is no score.
    pub values: Vec<f32>,
    /// Rows with at least one NaN, and why.
    pub errors: Vec<(usize, String)>,
    /// Rows and duration of each batch that the model scored.
    pub batches: Vec<(usize, Duration)>,
}

impl ScorePlan {
    /// Resolves `request` against `snapshot`.
    ///
    /// # Errors
    /// The first error in the request, with its field.
    pub(crate) fn new(snapshot: Arc<Snapshot>, request: ScoreRequest) -> Result<Self, DecisionError> {
        let model = Arc::clone(find_model(&snapshot, &request)?);
        if request.features.rows == 0 {
            return Err(DecisionError::invalid("features.rows", "send at least one row"));
        }
        let pairwise = model.manifest().layout == Some(Layout::Pairwise);
        let pairs_in_rows = pairwise && request.offer_ids.is_empty();
        // The position of each requested offer for the model: in the library, or among the columns.
        let library = &snapshot.release.catalog().library;
        let position = |id: &String| {
            if pairwise {
                library.find(id).map(OfferIndex::get)
            } else {
                model.columns().iter().position(|column| column == id)
            }
        };
        let (names, found) = if request.offer_ids.is_empty() {
            (model.columns().to_vec(), (0..model.columns().len()).map(Some).collect())
        } else {
            let found: Vec<Option<usize>> = request.offer_ids.iter().map(position).collect();
            (request.offer_ids, found)
        };
        let mut degraded = Vec::new();
        let unknown = names.iter().zip(&found).filter(|(_, found)| found.is_none());
        degraded::list("unknown_offer", unknown.map(|(name, _)| name.as_str()), &mut degraded);
        let known = found.iter().enumerate().filter_map(|(column, found)| found.map(|_| column)).collect();
        let found: Vec<usize> = found.into_iter().flatten().collect();
        let (offers, columns) = if pairs_in_rows {
            (Vec::new(), vec![0])
        } else if pairwise {
            (found, vec![0])
        } else {
            (Vec::new(), found)
        };
        let column_names = names;
        let entities: &[Entity] = if pairs_in_rows {
            &[Entity::Customer, Entity::Context, Entity::Offer]
        } else {
            &[Entity::Customer, Entity::Context]
        };
        let rows = request.features.rows;
        if rows.saturating_mul(column_names.len()) > MAX_SCORES {
            let message = format!(
                "{rows} rows × {} columns are more than {MAX_SCORES} scores; send fewer rows at a time",
                column_names.len()
            );
            return Err(DecisionError::invalid("features.rows", message));
        }
        let features = request
            .features
            .bind(snapshot.release.schema(), entities, Misplaced::Refused)
            .map_err(DecisionError::in_features)?;
        degraded::list("unknown_feature", features.unknown().iter().map(String::as_str), &mut degraded);
        // Without any offer feature, all rows would be scored for an offer of defaults that does not exist.
        if pairs_in_rows && !features.has_any(Entity::Offer) {
            let message =
                "is empty; name the offers to pair each row with, or send the offer's features in the rows";
            return Err(DecisionError::invalid("offer_ids", message));
        }
        let unreadable = request.unreadable;
        Ok(Self { snapshot, model, features, unreadable, offers, columns, column_names, known, degraded })
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.features.rows()
    }

    /// The scores of all rows, in the columns of the answer.
    pub(crate) fn in_columns(&self, scores: Vec<f32>) -> Vec<f32> {
        let (all, known) = (self.column_names.len(), self.known.len());
        if all == known {
            return scores;
        }
        let mut values = vec![f32::NAN; self.rows() * all];
        if known > 0 {
            for (values, scores) in values.chunks_exact_mut(all).zip(scores.chunks_exact(known)) {
                self.known.iter().zip(scores).for_each(|(column, score)| values[*column] = *score);
            }
        }
        values
    }

    /// How many rows of the model's matrix one row of the request becomes.
    pub(crate) fn pairs_per_row(&self) -> usize {
        self.offers.len().max(1)
    }

    /// Scores the rows of `range`: `range × columns` values, row-major, and the rows that could not be scored.
    ///
    /// # Errors
    /// When the call ends before the last row is scored.
    pub(crate) fn score(
        &self,
        range: Range<usize>,
        worker: &Worker,
        call: &Call,
    ) -> Result<ScorePart, Cancellation> {
        let values = Vec::with_capacity(range.len() * self.known.len());
        let mut part = ScorePart { values, errors: Vec::new(), batches: Vec::new() };
        if self.known.is_empty() {
            return Ok(part);
        }
        let block = (ROWS_PER_BLOCK / self.pairs_per_row()).max(1);
        let mut start = range.start;
        while start < range.end {
            call.check()?;
            let end = (start + block).min(range.end);
            if self.score_block(start..end, worker, &mut part).is_err() {
                // Row by row, so that only rows on which the model fails have no score.
                for row in start..end {
                    call.check()?;
                    if let Err(error) = self.score_block(row..row + 1, worker, &mut part) {
                        tracing::warn!(model = self.model.name(), %error, "model failed on a row");
                        part.values.extend(std::iter::repeat_n(f32::NAN, self.known.len()));
                        part.errors.push((row, format!("{} failed on these values", self.model.name())));
                    }
                }
            }
            start = end;
        }
        Ok(part)
    }

    /// Appends the values and errors of a block. Appends nothing if the model fails.
    fn score_block(
        &self,
        range: Range<usize>,
        worker: &Worker,
        part: &mut ScorePart,
    ) -> Result<(), ModelError> {
        if let Some(dense) = self.in_place(&range) {
            let began = Instant::now();
            let scores = self.model.score_dense(worker, range.len(), dense)?;
            part.batches.push((range.len(), began.elapsed()));
            self.append(&range, &vec![None; range.len()], &scores.values, part);
            return Ok(());
        }
        if let Some(pairing) = self.pairing() {
            return self.score_pairs(pairing, range, part);
        }
        let mut matrix = self.model.matrix();
        let mut missing: Vec<Option<String>> = Vec::with_capacity(range.len() * self.pairs_per_row());
        let library = self.snapshot.release.catalog().library.offers();
        let offers = feature_rows(self.offers.iter().map(|offer| &library[*offer]));
        for row in range.clone() {
            yield_if_due();
            if let Some(problem) = self.problem(row) {
                missing.extend(std::iter::repeat_n(Some(problem), self.pairs_per_row()));
                continue;
            }
            self.push_row(row, &offers, &mut |row| {
                missing.push(matrix.push(row).err().map(|error| error.to_string()));
            });
        }
        let began = Instant::now();
        let scores = self.model.score_columns(worker, &matrix, &self.columns)?;
        part.batches.push((matrix.rows(), began.elapsed()));
        self.append(&range, &missing, &scores.values, part);
        Ok(())
    }

    /// The dense rows of `range` as sent, where they match the model's input exactly: the usual form of a bulk call.
    fn in_place(&self, range: &Range<usize>) -> Option<&[f32]> {
        let every_column = 0..self.model.columns().len();
        if self.features.has_faults()
            || !self.offers.is_empty()
            || !self.columns.iter().copied().eq(every_column)
        {
            return None;
        }
        let (names, values) = self.features.dense_only()?;
        let width = names.len();
        let values = values.get(range.start * width..range.end * width)?;
        if !self.model.takes_dense(names.iter(), values) {
            return None;
        }
        if values.iter().any(|value| value.is_nan()) {
            // A missing value takes the schema's default first, as in every other form of the request.
            let schema = self.snapshot.release.schema();
            let has_default = |name| schema.get(name).is_some_and(|feature| feature.default.is_some());
            let defaults: Vec<bool> = names.iter().map(has_default).collect();
            let mut values = values.iter().zip(defaults.iter().cycle());
            if values.any(|(value, default)| *default && value.is_nan()) {
                return None;
            }
        }
        Some(values)
    }

    /// The library's offers prepared for the model, where each row is paired with offers.
    fn pairing(&self) -> Option<&Pairing> {
        if self.offers.is_empty() {
            return None;
        }
        let models = self.snapshot.release.models();
        let position = models.iter().position(|model| Arc::ptr_eq(model, &self.model))?;
        self.snapshot.release.pairing(ModelIndex::new(position))
    }

    /// Scores a block whose rows are paired with offers, with the native engine.
    fn score_pairs(
        &self,
        pairing: &Pairing,
        range: Range<usize>,
        part: &mut ScorePart,
    ) -> Result<(), ModelError> {
        let pairs = range.len() * self.offers.len();
        let (mut missing, mut scores) = (Vec::with_capacity(pairs), Vec::with_capacity(pairs));
        let began = Instant::now();
        for row in range.clone() {
            yield_if_due();
            if let Some(problem) = self.problem(row) {
                missing.extend(std::iter::repeat_n(Some(problem), self.offers.len()));
                continue;
            }
            let Resolved { customer, context, segment } = self.resolve(row);
            let segment = segment.as_ref().map(AssignedSegment::as_ref);
            let row = Row { customer: &customer, context: &context, offer: &[], segment };
            self.model.score_pairs(pairing, &row, &self.offers, |answer| match answer {
                Ok(score) => {
                    missing.push(None);
                    scores.push(score);
                }
                Err(error) => missing.push(Some(error.to_string())),
            })?;
        }
        part.batches.push((pairs, began.elapsed()));
        self.append(&range, &missing, &scores, part);
        Ok(())
    }

    /// Why a row of the request cannot be scored, if it is invalid.
    fn problem(&self, row: usize) -> Option<String> {
        RowProblem::of_row(row, &self.unreadable, Some(&self.features)).map(|problem| problem.to_string())
    }

    /// The values of a row of the request, over the schema's defaults.
    fn resolve(&self, row: usize) -> Resolved<'_> {
        let segmentation = self.snapshot.release.segmentation();
        let sent = |index| self.features.value(Entity::Customer, index, row);
        Resolved {
            customer: self.values(Entity::Customer, row),
            context: self.values(Entity::Context, row),
            segment: segmentation.map(|segmentation| segmentation.assign(sent)),
        }
    }

    fn values(&self, entity: Entity, row: usize) -> Vec<ValueRef<'_>> {
        let features = self.snapshot.release.schema().of(entity).iter().enumerate();
        let value = |index| self.features.value(entity, index, row);
        features.map(|(index, feature)| value(index).or(feature.default_ref())).collect()
    }

    /// Resolves one row of the request and passes its pairs to `take` one by one.
    fn push_row(&self, row: usize, offers: &[Vec<ValueRef<'_>>], take: &mut dyn FnMut(&Row<'_>)) {
        let Resolved { customer, context, segment } = self.resolve(row);
        let segment = segment.as_ref().map(AssignedSegment::as_ref);
        if offers.is_empty() {
            let offer = self.values(Entity::Offer, row);
            take(&Row { customer: &customer, context: &context, offer: &offer, segment });
            return;
        }
        for offer in offers {
            take(&Row { customer: &customer, context: &context, offer, segment });
        }
    }

    /// Arranges the model's scores in the shape of the answer.
    fn append(&self, range: &Range<usize>, missing: &[Option<String>], scores: &[f32], part: &mut ScorePart) {
        let mut scores = scores.chunks_exact(self.columns.len());
        for (row, pairs) in range.clone().zip(missing.chunks(self.pairs_per_row())) {
            let mut problem: Option<String> = None;
            for lacking in pairs {
                if let Some(why) = lacking {
                    problem.get_or_insert_with(|| format!("{}: {why}", self.model.name()));
                    part.values.extend(std::iter::repeat_n(f32::NAN, self.columns.len()));
                    continue;
                }
                for raw in scores.next().unwrap_or_default() {
                    let value = self.model.answer(*raw).unwrap_or(f32::NAN);
                    if value.is_nan() {
                        problem.get_or_insert_with(|| format!("{} answered {raw}", self.model.name()));
                    }
                    part.values.push(value);
                }
            }
            part.errors.extend(problem.map(|problem| (row, problem)));
        }
    }
}

/// The resolved values of a row.
struct Resolved<'p> {
    customer: Vec<ValueRef<'p>>,
    context: Vec<ValueRef<'p>>,
    segment: Option<AssignedSegment>,
}

fn find_model<'a>(snapshot: &'a Snapshot, request: &ScoreRequest) -> Result<&'a Arc<Model>, DecisionError> {
    let release = &snapshot.release;
    let Some(model) = release.models().iter().find(|model| model.name() == request.model) else {
        let known = release.models().iter().map(|model| model.name());
        return Err(DecisionError::NotFound {
            field: "model.name".to_owned(),
            what: "model",
            name: request.model.clone(),
            hint: suggestion(&request.model, known),
        });
    };
    if request.version == 0 {
        return Ok(model);
    }
    // That of a variant is loaded, too.
    if let Some(found) = release.find_model(&request.model, request.version) {
        return Ok(release.model(found));
    }
    Err(DecisionError::NotLoaded {
        field: "model.version".to_owned(),
        asked: Asked::Version { model: model.name().to_owned(), version: request.version },
        serving: format!("release {} pins version {}", release.number(), model.version()),
    })
}
