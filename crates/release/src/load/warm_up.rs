//! Warming up: what a graph does on its first run is done before a customer waits for it.

use std::slice;
use std::sync::Arc;

use super::{ModelIndex, Release};
use document::Problems;
use model::Model;
use work::Worker;

impl Release {
    /// Scores one row of defaults with every session, so that no customer waits for what graphs do on their first
    /// run. Skips models that one of `known` contains: they have run already, and requests use their sessions.
    ///
    /// # Errors
    /// A graph that cannot run.
    pub fn warm_up(&self, sessions: usize, known: &[Arc<Self>]) -> Result<(), Problems> {
        warm_up(&self.models, sessions, known)
    }

    /// The same for a release that is to serve: a shadow whose graph cannot run is unavailable from then on.
    ///
    /// # Errors
    /// A graph that answers need and that cannot run.
    pub(crate) fn warm_up_to_serve(&mut self, sessions: usize, known: &[Arc<Self>]) -> Result<(), Problems> {
        let (deciding, of_shadows) = self.models.split_at(self.deciding);
        warm_up(deciding, sessions, known)?;
        for (index, model) in (self.deciding..).map(ModelIndex::new).zip(of_shadows) {
            if let Err(found) = warm_up(slice::from_ref(model), sessions, known) {
                self.shadows.iter_mut().for_each(|shadow| shadow.lose(index, &found));
            }
        }
        Ok(())
    }
}

/// Scores one row of defaults with every session of the models that none of `known` contains.
///
/// # Errors
/// A graph that cannot run.
fn warm_up(models: &[Arc<Model>], sessions: usize, known: &[Arc<Release>]) -> Result<(), Problems> {
    let is_new = |model: &&Arc<Model>| {
        !known.iter().any(|release| release.find_model(model.name(), model.version()).is_some())
    };
    let workers = Worker::tokens(sessions);
    let mut problems = Problems::new();
    for model in models.iter().filter(is_new) {
        if let Err(error) = workers.iter().try_for_each(|worker| model.warm_up(worker)) {
            let file = format!("{}/{}", model.name(), model.version());
            problems.push(file, None, format!("cannot score a row: {error}"));
        }
    }
    problems.into_result(())
}
