//! The chosen clustering: found, continued from the previous version, named, and made a segmentation.
//!
//! Start reading at [`Clustering::find`].

use std::collections::BTreeSet;

use ndarray::ArrayView2;

use super::TrainError;
use super::choose::{self, ChooseError, ChooseOptions, Chosen};
use super::k_means::KMeansOptions;
use super::learn::Learned;
use super::matching::{self, Previous};
use super::membership::Membership;
use super::profile::Evidence;
use super::progress::Progress;
use super::settings::{ClusterSettings, TrainSettings};
use super::silhouette::{self, Silhouettes};
use super::study::{Choice, Migration, Stability};
use segment::artefact::{Artefact, ArtefactSegment, FILE_NAME, FORMAT_VERSION, TrainingNotes};
use segment::assign::{Centroids, Segmentation};

/// The chosen clustering, by the ids of its segments.
pub(super) struct Clustering {
    pub(super) choice: Choice,
    silhouettes: Silhouettes,
    pub(super) stability: Stability,
    centroids: Centroids,
    pub(super) membership: Membership,
    dimensions: usize,
    pub(super) migration: Option<Migration>,
    /// The matching to the previous version, which gives the continued names.
    matching: Option<matching::Matching>,
}

impl Clustering {
    /// Tries numbers of segments on `points`, which are `matrix` row by row, and clusters with the best. `file` is the
    /// table.
    pub(super) fn find(
        file: &str,
        matrix: ArrayView2<'_, f64>,
        points: &[f64],
        settings: &ClusterSettings,
        progress: &dyn Progress,
    ) -> Result<Self, TrainError> {
        let k_means = KMeansOptions {
            mini_batch_above: settings.mini_batch_above,
            ..KMeansOptions::new(settings.k.unwrap_or(settings.k_min), settings.n_init, settings.seed)
        };
        let options = ChooseOptions {
            ks: settings.k_min..=settings.k_max,
            k: settings.k,
            k_means,
            resamples: settings.resamples,
            gap: settings.gap,
            silhouette_rows: silhouette::EXACT_UP_TO,
        };
        let chosen = choose::choose(matrix, &options, progress).map_err(|source| match source {
            ChooseError::Stopped(stopped) => TrainError::Stopped(stopped),
            source @ (ChooseError::NoSegments
            | ChooseError::EmptyRange { .. }
            | ChooseError::NoResamples
            | ChooseError::NoReferences
            | ChooseError::TooManySegments { .. }
            | ChooseError::NoStable { .. }) => TrainError::Choice { file: file.to_owned(), source },
        })?;
        Self::new(chosen, points, matrix.ncols())
    }

    /// How well separated and how stable the segments are.
    pub(super) fn evidence(&self) -> Evidence<'_> {
        Evidence {
            silhouette_rows: &self.silhouettes.rows,
            silhouettes: &self.silhouettes.values,
            jaccard: &self.stability.jaccard,
        }
    }

    fn new(chosen: Chosen, points: &[f64], dimensions: usize) -> Result<Self, TrainError> {
        let Chosen { choice, fit, silhouettes, stability } = chosen;
        let k = fit.sizes.len();
        let centroids = Centroids::new(dimensions, fit.centroids.iter().copied().collect());
        let membership = Membership::of(&centroids, points, dimensions);
        if membership.sizes.contains(&0) {
            return Err(TrainError::EmptySegment { k });
        }
        let (migration, matching) = (None, None);
        Ok(Self { choice, silhouettes, stability, centroids, membership, dimensions, migration, matching })
    }

    /// Gives the segments the ids of the previous ones that they continue.
    pub(super) fn continue_from(
        &mut self,
        before: &Previous,
        labels_before: &[u32],
        limit: f64,
        points: &[f64],
    ) {
        let k = self.membership.sizes.len();
        let matching = matching::match_segments(before, labels_before, k, &self.membership.segments, limit);
        let rows: Vec<&[f64]> = self.centroids.rows().collect();
        let (mut centroids, mut jaccard) = (vec![&[][..]; k], vec![0.0; k]);
        for (found, id) in matching.order.iter().enumerate() {
            centroids[*id] = rows[found];
            jaccard[*id] = self.stability.jaccard[found];
        }
        self.centroids = Centroids::new(self.dimensions, centroids.concat());
        self.membership = Membership::of(&self.centroids, points, self.dimensions);
        let chosen = self.choice.chosen;
        for candidate in self.choice.candidates.iter_mut().filter(|candidate| candidate.k == chosen) {
            candidate.stability.jaccard.clone_from(&jaccard);
        }
        self.stability.jaccard = jaccard;
        self.migration = Some(matching.migration.clone());
        self.matching = Some(matching);
    }

    /// The names: of the settings, else of the previous version, else proposed from the features.
    pub(super) fn names(
        &self,
        proposed: &[String],
        settings: &TrainSettings,
    ) -> Result<Vec<String>, TrainError> {
        let mut names =
            self.matching.as_ref().map_or_else(|| proposed.to_vec(), |matching| matching.names(proposed));
        let k = names.len();
        for (id, name) in &settings.names {
            let slot = names.get_mut(*id as usize).ok_or(TrainError::NoSuchSegment { id: *id, k })?;
            if name.trim().is_empty() {
                return Err(TrainError::EmptyName { id: *id });
            }
            slot.clone_from(name);
        }
        let mut seen = BTreeSet::new();
        match names.iter().find(|name| !seen.insert(name.as_str())) {
            Some(name) => Err(TrainError::NameTwice { name: name.clone() }),
            None => Ok(names),
        }
    }

    /// The validated artefact; segments without an entry in `names` are numbered.
    pub(super) fn segmentation(
        &self,
        learned: &Learned,
        settings: &TrainSettings,
        names: &[String],
    ) -> Result<Segmentation, TrainError> {
        let segments = self.centroids.rows().zip(&self.membership.sizes).enumerate();
        let artefact = Artefact {
            format_version: FORMAT_VERSION,
            features: learned.preparation.features.clone(),
            pca: learned.preparation.pca.clone(),
            segments: segments
                .map(|(id, (centroid, size))| ArtefactSegment {
                    id: id as u32,
                    name: names.get(id).cloned().unwrap_or_else(|| format!("Segment {id}")),
                    size: *size,
                    centroid: centroid.to_vec(),
                })
                .collect(),
            inertia: self.membership.inertia,
            training: TrainingNotes {
                rows: self.membership.segments.len() as u64,
                k: self.membership.sizes.len() as u64,
                seed: settings.cluster.seed,
                n_init: settings.cluster.n_init as u64,
                scale: settings.prepare.scale,
                variance_kept: learned.variance_kept,
                dropped: learned.dropped.clone(),
            },
        };
        artefact.check(FILE_NAME).map_err(TrainError::InvalidArtefact)
    }
}
