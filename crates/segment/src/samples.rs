//! A small segmentation for the tests of this crate and of its users.

use crate::artefact::{Segment, TrainingNotes};
use crate::assign::{Centroids, Segmentation};
use crate::prepare::{FeaturePreparation, Preparation};

/// Two segments over two features.
#[must_use]
pub fn segmentation() -> Segmentation {
    let feature = |name: &str, deviation| FeaturePreparation {
        impute: 1.0,
        mean: 1.0,
        deviation,
        range: [0.0, 5.0],
        ..FeaturePreparation::identity(name)
    };
    Segmentation {
        preparation: Preparation {
            features: vec![feature("balance", 1.0), feature("purchases", 2.0)],
            pca: None,
        },
        centroids: Centroids::new(2, vec![0.0, 0.0, 4.0, 0.0]),
        segments: vec![Segment { name: "Quiet".into(), size: 6 }, Segment { name: "Busy".into(), size: 4 }],
        inertia: 12.5,
        training: TrainingNotes { rows: 10, k: 2, seed: 42, n_init: 10, ..TrainingNotes::default() },
    }
}
