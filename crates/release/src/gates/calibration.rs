//! The gate that refuses a calibration which reverses the order of scores.

use super::Finding;
use super::bench::Bench;
use crate::load::Loaded;
use model::{Calibration, Direction, FALLING};

/// The calibration rises, or the manifest says that it falls.
pub(super) fn check(bench: &Bench<'_>, loaded: &Loaded) -> Finding {
    const LIMIT: &str = "increasing, or declared as falling";
    let Loaded::Model(model) = loaded else {
        return Finding::skipped("a segmentation has no propensities");
    };
    let manifest = model.manifest();
    if manifest.falls_unsaid() {
        let (file, line) = (bench.file("model.toml"), manifest.calibration_line());
        return Finding::failed("falling", LIMIT, format!("{file}:{line}: {FALLING}"));
    }
    let measured = match (&manifest.calibration, manifest.calibration.direction()) {
        (Calibration::None, _) => "not calibrated",
        (_, Direction::Rising) => "rising",
        (_, Direction::Falling) => "falling, as the manifest says",
    };
    Finding::passed(measured, LIMIT)
}
