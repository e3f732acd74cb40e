//! Warming up: what a graph does on its first run is done before a customer waits for it.

use std::fmt::Display;
use std::slice;
use std::sync::Arc;

use super::{ModelIndex, Release};
use document::Problems;
use model::{GraphCache, Model, ModelError};
use work::{Worker, catch_panic};

impl Release {
    /// Scores one row of defaults with every session, so that no customer waits for what graphs do on their first
    /// run. Skips models that one of `known` contains: they have run already, and requests use their sessions.
    ///
    /// # Errors
    /// A graph that cannot run.
    pub fn warm_up(&self, sessions: usize, known: &[Arc<Self>]) -> Result<(), Problems> {
        let is_known = |model: &Model| has(known, Self::models, model);
        warm_up(&self.models, &Worker::tokens(sessions), is_known, Model::warm_up)
    }

    /// The same for a release that is to serve its models of `cache`. Those of shadows alone get the session beside those
    /// of the workers, if there is one, and no other; a shadow whose graph cannot run is unavailable from then on, in
    /// this release and in those that are loaded while it is in memory.
    ///
    /// # Errors
    /// A graph that answers need and that cannot run.
    pub(crate) fn warm_up_to_serve(
        &mut self,
        cache: &GraphCache,
        known: &[Arc<Self>],
    ) -> Result<(), Problems> {
        self.warm_up_by(cache, known, Model::warm_up)
    }

    /// The same; `run` warms up one session of a model.
    pub(super) fn warm_up_by(
        &mut self,
        cache: &GraphCache,
        known: &[Arc<Self>],
        run: impl Fn(&Model, &Worker) -> Result<(), ModelError>,
    ) -> Result<(), Problems> {
        let (deciding, of_shadows) = self.models.split_at(self.deciding);
        let workers = Worker::tokens(cache.sessions());
        // One that only a shadow has had lacks the sessions of the workers.
        warm_up(deciding, &workers, |model| has(known, Self::deciding_models, model), &run)?;
        let beside = cache.beside().map_or(workers, |beside| vec![beside]);
        for (index, model) in (self.deciding..).map(ModelIndex::new).zip(of_shadows) {
            let is_known = |model: &Model| has(known, Self::models, model);
            let warm_up = || warm_up(slice::from_ref(model), &beside, is_known, &run);
            // No answer needs it, so it may not keep the release from serving either.
            let warmed = catch_panic(warm_up).unwrap_or_else(|panicked| Err(cannot_score(model, &panicked)));
            if let Err(found) = warmed {
                self.shadows.iter_mut().for_each(|shadow| shadow.lose(index, &found));
                self.unfit.insert((model.name().to_owned(), model.version()), found);
            }
        }
        Ok(())
    }
}

/// Whether one of the releases has a model among those that `of` says.
fn has(releases: &[Arc<Release>], of: impl Fn(&Release) -> &[Arc<Model>], model: &Model) -> bool {
    let is_it = |other: &Arc<Model>| other.name() == model.name() && other.version() == model.version();
    releases.iter().any(|release| of(release).iter().any(is_it))
}

/// Scores one row of defaults with the sessions of the workers by `run`, for the models that are not `known`.
///
/// # Errors
/// A graph that cannot run.
fn warm_up(
    models: &[Arc<Model>],
    workers: &[Worker],
    known: impl Fn(&Model) -> bool,
    run: impl Fn(&Model, &Worker) -> Result<(), ModelError>,
) -> Result<(), Problems> {
    let mut problems = Problems::new();
    for model in models.iter().filter(|model| !known(model)) {
        if let Err(error) = workers.iter().try_for_each(|worker| run(model, worker)) {
            problems.extend(cannot_score(model, &error));
        }
    }
    problems.into_result(())
}

fn cannot_score(model: &Model, why: &dyn Display) -> Problems {
    let mut problems = Problems::new();
    let file = format!("{}/{}", model.name(), model.version());
    problems.push(file, None, format!("cannot score a row: {why}"));
    problems
}
