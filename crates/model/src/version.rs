//! A model version in memory: manifest, graphs, and the plan that ties them to the feature schema.
//!
//! Start reading at [`Model::load`] for what is checked, and at [`Model::score_columns`] for what a request pays.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::graph::{BLOCK_ROWS, Graph};
use super::inputs::{Element, Plan};
use super::manifest::is_offer_id;
use super::matrix::Rows;
use super::onnx::OnnxFile;
use super::output::ScoreOutput;
use super::sizes::{MAX_MANIFEST_BYTES, read_text_at_most};
use super::{GraphCache, LoadedGraph};
use crate::{Calibration, Engine, Layout, Manifest, Matrix, ModelError, ModelKind};
use document::{Problem, Problems};
use feature::FeatureSchema;
use work::priority::yield_if_due;
use work::{Cost, Worker};

/// A loaded version of a model, ready to score.
#[derive(Debug)]
pub struct Model {
    name: String,
    version: u64,
    manifest: Manifest,
    plan: Arc<Plan>,
    /// One graph, or one per offer for [`Layout::PerOffer`], in the order of the columns.
    graphs: Vec<Graph>,
    columns: Vec<String>,
    /// How far outside 0..=1 rounding may move a score: the maximum over the graphs.
    rounding: f64,
    /// The cost of a row.
    cost: Cost,
}

/// A graph in memory, with its file and the label for problems.
struct Loaded {
    label: String,
    file: OnnxFile,
    graph: Arc<LoadedGraph>,
}

/// Pairs of a graph's output column and its position among the requested columns.
type Moves = Vec<(usize, usize)>;

/// Raw scores: model outputs before calibration; may be NaN or infinite.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The number of scores per row.
    pub columns: usize,
    /// `rows × columns`, row-major.
    pub values: Vec<f32>,
}

impl Scores {
    /// The score of a row and column.
    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> Option<f32> {
        let inside = column < self.columns;
        inside.then(|| self.values.get(row * self.columns + column).copied()).flatten()
    }
}

impl Model {
    /// Loads the version in `directory`. Checks the manifest and the checksums, loads the graphs (shared through
    /// `cache`), and matches everything with `schema`.
    ///
    /// # Errors
    /// Everything that is wrong, under the name `<name>/<version>/<file>`.
    pub fn load(
        directory: &Path,
        name: &str,
        version: u64,
        schema: &FeatureSchema,
        cache: &GraphCache,
    ) -> Result<Self, Problems> {
        let began = Instant::now();
        let label = format!("{name}/{version}");
        let file = format!("{label}/model.toml");
        let text = read_text_at_most(&directory.join("model.toml"), MAX_MANIFEST_BYTES)
            .map_err(|error| Problems::one(&file, None, format!("cannot be read: {error}")))?;
        let manifest = Manifest::parse(&file, &text)?;
        if manifest.kind == ModelKind::Segmentation {
            return Err(Problems::one(&file, None, "a segmentation has no graph that could score"));
        }
        let mut problems = Problems::new();
        let per_offer = manifest.layout == Some(Layout::PerOffer);
        let offers = if per_offer {
            problems.absorb(offers_of(directory, &label)).unwrap_or_default()
        } else {
            Vec::new()
        };
        let stems = if per_offer { offers.clone() } else { vec!["model".to_owned()] };
        let read = |stem: &String| {
            yield_if_due();
            let name = format!("{stem}.onnx");
            let file = OnnxFile::read(directory.join(&name)).map_err(ModelError::from);
            (name, file)
        };
        let files: Vec<(String, Result<OnnxFile, ModelError>)> = stems.iter().map(read).collect();
        if !manifest.checksums.is_empty() {
            let here = files.iter().filter_map(|(name, file)| Some((name.as_str(), file.as_ref().ok()?)));
            let by_name: HashMap<&str, &OnnxFile> = here.collect();
            let known = |name: &str| by_name.get(name).map(|file| file.sha256());
            problems.absorb(manifest.checksums.verify_with(directory, &label, known));
        }
        let mut loaded = Vec::with_capacity(files.len());
        for (name, file) in files {
            let label = format!("{label}/{name}");
            match file.and_then(|file| Ok((cache.load_file(&file)?, file))) {
                Ok((graph, file)) => loaded.push(Loaded { label, file, graph }),
                Err(error) => problems.push(label, None, error.to_string()),
            }
        }
        let inputs = loaded.first().map(|loaded| loaded.graph.onnx().signature());
        let plan = problems.absorb(Plan::resolve(&manifest, schema, inputs, &file));
        let outputs = problems.absorb(match_graphs(&manifest, &loaded, &file)).unwrap_or_default();
        let columns = match manifest.layout {
            Some(Layout::MultiOffer) => manifest.offers.clone(),
            Some(Layout::PerOffer) => offers,
            Some(Layout::Pairwise) | None => outputs.iter().map(|output| output.name.clone()).collect(),
        };
        let plan = problems.into_result(plan)?;
        // Without problems there is a plan.
        let plan = plan.ok_or_else(|| Problems::one(&file, None, "it describes no inputs"))?;
        let graphs = loaded.into_iter().zip(outputs);
        let graph = |(Loaded { label, file, graph }, output)| Graph::new(&label, &file, graph, output, &plan);
        let graphs: Vec<Graph> = graphs.map(graph).collect();
        let rounding = graphs.iter().map(Graph::rounding).fold(0.0, f64::max);
        let (name, plan, cost) = (name.to_owned(), Arc::new(plan), Cost::default());
        let model = Self { name, version, manifest, plan, graphs, columns, rounding, cost };
        let native = || {
            model.engines().filter_map(|engine| match engine {
                Engine::Native(trees) => Some(trees),
                Engine::OnnxRuntime(_) => None,
            })
        };
        tracing::info!(
            model = model.name,
            version,
            graphs = model.graphs.len(),
            native = native().count(),
            trees = native().map(|trees| trees.trees()).sum::<usize>(),
            bytes = native().map(|trees| trees.memory_bytes()).sum::<usize>(),
            milliseconds = began.elapsed().as_millis() as u64,
            "model loaded"
        );
        Ok(model)
    }

    /// The name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The manifest of the version.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The names of the columns of [`Scores`]: the offers, or the one score output.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The offers in the order of the columns; empty where columns are not offers.
    #[must_use]
    pub fn offers(&self) -> &[String] {
        match self.manifest.layout {
            Some(Layout::MultiOffer | Layout::PerOffer) => &self.columns,
            Some(Layout::Pairwise) | None => &[],
        }
    }

    /// The features that the model takes, including `segment`, in the order of the graph's inputs and columns.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.plan.tensors.iter().flat_map(|tensor| &tensor.columns).map(|input| input.feature.as_str())
    }

    /// Whether the model takes the customer's segment, so that the release needs a segmentation.
    #[must_use]
    pub fn uses_segment(&self) -> bool {
        self.plan.uses_segment()
    }

    /// Whether scores are calibrated. If not, they must be propensities already.
    #[must_use]
    pub fn is_calibrated(&self) -> bool {
        self.manifest.calibration != Calibration::None
    }

    /// The propensity of a raw score, in 0..=1. `None` where the score is not finite or the result lies outside by more
    /// than [`Model::rounding`].
    #[must_use]
    pub fn propensity(&self, raw: f32) -> Option<f64> {
        self.manifest.calibration.propensity(raw, self.rounding)
    }

    /// How far outside 0..=1 a score may lie only because it was summed in 32 bits.
    #[must_use]
    pub fn rounding(&self) -> f64 {
        self.rounding
    }

    /// Whether a raw score's propensity is 0 or 1 because rounding moved the score outside 0..=1.
    #[must_use]
    pub fn is_clamped(&self, raw: f32) -> bool {
        !(0.0..=1.0).contains(&raw) && !self.is_calibrated() && self.propensity(raw).is_some()
    }

    /// The value that callers get for a raw score; `None` where it is not usable. It is the propensity where the model
    /// is calibrated, else the score. A score of a propensity model that rounding moved outside 0..=1 is clamped.
    #[must_use]
    pub fn answer(&self, raw: f32) -> Option<f32> {
        if self.is_calibrated() {
            return self.propensity(raw).map(|propensity| propensity as f32);
        }
        if self.manifest.kind == ModelKind::Propensity && self.is_clamped(raw) {
            return Some(raw.clamp(0.0, 1.0));
        }
        raw.is_finite().then_some(raw)
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The engine of each graph.
    pub fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.graphs.iter().map(Graph::engine)
    }

    /// Whether any graph runs in ONNX Runtime, so that workers need sessions.
    #[must_use]
    pub fn needs_session(&self) -> bool {
        self.engines().any(|engine| matches!(engine, Engine::OnnxRuntime(_)))
    }

    /// The cost of a row, updated on each scoring.
    #[must_use]
    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    /// An empty matrix for rows of this model. It can be filled, scored and cleared repeatedly.
    #[must_use]
    pub fn matrix(&self) -> Matrix {
        Matrix::new(Arc::clone(&self.plan))
    }

    /// Scores all columns of `matrix`'s rows.
    ///
    /// # Errors
    /// As [`Model::score_columns`].
    pub fn score(&self, worker: &Worker, matrix: &Matrix) -> Result<Scores, ModelError> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        self.score_columns(worker, matrix, &all)
    }

    /// Scores the columns `wanted`, in that order, of `matrix`'s rows. For [`Layout::PerOffer`] only the graphs of
    /// these offers run. `matrix` must come from [`Model::matrix`]. Large matrices are scored in blocks. Where the
    /// graph has a fixed batch, the last block is padded and the padding's scores are dropped.
    ///
    /// # Errors
    /// A column that does not exist, a worker without a session, a graph that fails or returns another shape.
    pub fn score_columns(
        &self,
        worker: &Worker,
        matrix: &Matrix,
        wanted: &[usize],
    ) -> Result<Scores, ModelError> {
        self.score_blocks(worker, matrix.rows(), wanted, Rows::Matrix(matrix))
    }

    /// Whether dense values under these names can be scored as they are. The model must take one float tensor with
    /// these features in this order, and no value may be missing unless the model accepts that.
    #[must_use]
    pub fn takes_dense<'n>(&self, names: impl IntoIterator<Item = &'n str>, values: &[f32]) -> bool {
        let [tensor] = self.plan.tensors.as_slice() else { return false };
        let features = tensor.columns.iter().map(|input| input.feature.as_str());
        tensor.element == Element::Float32
            && features.eq(names)
            && (self.plan.accepts_missing || !values.iter().any(|value| value.is_nan()))
    }

    /// Scores all columns of dense `values` that [`Model::takes_dense`], row-major, without a copy.
    ///
    /// # Errors
    /// As [`Model::score_columns`]; [`ModelError::Input`] where the values do not fill the rows.
    pub fn score_dense(&self, worker: &Worker, rows: usize, values: &[f32]) -> Result<Scores, ModelError> {
        let refuse = |message: String| ModelError::Input { name: self.name.clone(), message };
        let [tensor] = self.plan.tensors.as_slice() else {
            return Err(refuse("the model takes no dense values".to_owned()));
        };
        let width = tensor.columns.len();
        if rows.checked_mul(width) != Some(values.len()) {
            return Err(refuse(format!("{} values do not fill {rows} rows of {width}", values.len())));
        }
        let all: Vec<usize> = (0..self.columns.len()).collect();
        self.score_blocks(worker, rows, &all, Rows::Dense { tensor, values })
    }

    /// Scores one row of defaults, so that no customer pays for a graph's first run.
    ///
    /// # Errors
    /// As [`Model::score_columns`]: a graph that cannot run fails here.
    pub fn warm_up(&self, worker: &Worker) -> Result<(), ModelError> {
        let mut matrix = self.matrix();
        let refuse = |message| ModelError::Input { name: self.name.clone(), message };
        matrix.push_stand_ins().map_err(|error| refuse(error.to_string()))?;
        self.score(worker, &matrix)?;
        // The first run is not the cost of a row.
        self.cost.forget();
        Ok(())
    }

    fn score_blocks(
        &self,
        worker: &Worker,
        count: usize,
        wanted: &[usize],
        rows: Rows<'_>,
    ) -> Result<Scores, ModelError> {
        let began = Instant::now();
        let runs = self.runs(wanted)?;
        let columns = wanted.len();
        let mut scores = Scores { columns, values: vec![f32::NAN; count * columns] };
        for start in (0..count).step_by(self.plan.batch.unwrap_or(BLOCK_ROWS)) {
            let range = start..count.min(start + self.plan.batch.unwrap_or(BLOCK_ROWS));
            for (graph, places) in &runs {
                let found = graph.score(worker, &self.plan, &rows, &range)?;
                let into = scores.values[range.start * columns..].chunks_exact_mut(columns);
                for (row, into) in found.chunks_exact(graph.columns()).zip(into) {
                    for (from, to) in places {
                        into[*to] = row[*from];
                    }
                }
            }
        }
        self.cost.record(count, began.elapsed());
        Ok(scores)
    }

    /// The graphs that `wanted` needs, each with the moves of its output columns.
    fn runs(&self, wanted: &[usize]) -> Result<Vec<(&Graph, Moves)>, ModelError> {
        let known = self.columns.len();
        if let Some(column) = wanted.iter().find(|column| **column >= known) {
            let message = format!("the model has {known} columns");
            return Err(ModelError::Output { name: format!("column {column}"), message });
        }
        let per_offer = self.manifest.layout == Some(Layout::PerOffer);
        let mut runs = Vec::with_capacity(self.graphs.len());
        for (at, graph) in self.graphs.iter().enumerate() {
            let places = wanted.iter().enumerate();
            let places: Moves = if per_offer {
                places.filter(|(_, column)| **column == at).map(|(to, _)| (0, to)).collect()
            } else {
                places.map(|(to, column)| (*column, to)).collect()
            };
            if !places.is_empty() {
                runs.push((graph, places));
            }
        }
        Ok(runs)
    }
}

/// Finds the score output of each graph and checks that their inputs match those of the first, because one matrix feeds
/// them all.
fn match_graphs(manifest: &Manifest, loaded: &[Loaded], file: &str) -> Result<Vec<ScoreOutput>, Problems> {
    let mut problems = Problems::new();
    let mut outputs = Vec::with_capacity(loaded.len());
    for Loaded { label, graph, .. } in loaded {
        let first = &loaded[0];
        if graph.onnx().signature().inputs != first.graph.onnx().signature().inputs {
            let message = format!("its inputs differ from those of {}; they must be the same", first.label);
            problems.push(label, None, message);
        }
        match ScoreOutput::resolve(manifest, graph.onnx().signature(), file) {
            Ok(output) => outputs.push(output),
            // With several graphs, name the one.
            Err(wrong) if manifest.layout == Some(Layout::PerOffer) => {
                wrong.iter().for_each(|Problem { message, .. }| problems.push(label, None, message));
            }
            Err(wrong) => problems.extend(wrong),
        }
    }
    problems.into_result(outputs)
}

/// The offers that a `per_offer` version has graphs for, in alphabetical order.
fn offers_of(directory: &Path, label: &str) -> Result<Vec<String>, Problems> {
    let unreadable = |error: std::io::Error| Problems::one(label, None, format!("cannot be read: {error}"));
    let mut problems = Problems::new();
    let mut offers = Vec::new();
    for entry in directory.read_dir().map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".onnx")) else { continue };
        if is_offer_id(stem) {
            offers.push(stem.to_owned());
        } else {
            let message = "its name is no offer id (letters, digits, _ - .) with .onnx behind it";
            problems.push(format!("{label}/{stem}.onnx"), None, message);
        }
    }
    if offers.is_empty() {
        problems.push(
            label,
            None,
            "a per_offer model needs a file `<offer id>.onnx` for each offer; it has none",
        );
    }
    offers.sort_unstable();
    problems.into_result(offers)
}

#[cfg(test)]
mod tests;
