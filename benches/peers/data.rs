//! Customers, offers and mixed rows as written by `workspace.py`, and sessions as a user of ONNX Runtime would create
//! them.

use std::path::{Path, PathBuf};

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

pub(crate) const CUSTOMER: usize = 24;
pub(crate) const OFFER: usize = 8;
pub(crate) const WIDTH: usize = CUSTOMER + OFFER;
pub(crate) const OFFERS: usize = 100;

/// Rows, flattened in row-major order.
pub(crate) struct Data {
    pub customers: Vec<f32>,
    pub offers: Vec<f32>,
    pub mixed: Vec<f32>,
}

impl Data {
    pub(crate) fn read(folder: &Path) -> Self {
        let floats = |name: &str| -> Vec<f32> {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
        };
        Self { customers: floats("customers.f32"), offers: floats("offers.f32"), mixed: floats("mixed.f32") }
    }

    pub(crate) fn customer(&self, index: usize) -> &[f32] {
        &self.customers[index * CUSTOMER..][..CUSTOMER]
    }

    pub(crate) fn offer(&self, index: usize) -> &[f32] {
        &self.offers[index * OFFER..][..OFFER]
    }

    /// A customer paired with each offer.
    pub(crate) fn pairs(&self, customer: usize) -> Vec<f32> {
        (0..OFFERS).flat_map(|offer| [self.customer(customer), self.offer(offer)].concat()).collect()
    }
}

/// The file of a model of the workspace.
pub(crate) fn model(folder: &Path, name: &str) -> PathBuf {
    folder.join("workspace").join(name).join("1").join("model.onnx")
}

/// `count` sessions of the tree model, with one thread each.
pub(crate) fn sessions(folder: &Path, count: usize) -> Vec<Session> {
    let library = std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH names the library");
    let environment = ort::init_from(PathBuf::from(library)).unwrap().with_telemetry(false).build().unwrap();
    let session = |_| {
        let builder = Session::builder(&environment).unwrap().with_intra_threads(1).unwrap();
        let builder = builder.with_inter_threads(1).unwrap();
        let mut builder = builder.with_optimization_level(GraphOptimizationLevel::All).unwrap();
        builder.commit_from_file(model(folder, "trees")).unwrap()
    };
    (0..count).map(session).collect()
}

/// The second column of a session's output for these rows.
pub(crate) fn scores(session: &mut Session, rows: &[f32]) -> Vec<f32> {
    let tensor = TensorRef::from_array_view(([rows.len() / WIDTH, WIDTH], rows)).unwrap();
    let outputs = session.run(ort::inputs!["features" => tensor]).unwrap();
    let (_, both) = outputs["probabilities"].try_extract_tensor::<f32>().unwrap();
    both.iter().skip(1).step_by(2).copied().collect()
}
