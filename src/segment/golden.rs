//! `golden.csv` of a segmentation: rows with the segment that each must get, for the gates of whoever receives the version.
//!
//! No customer is among them: the rows are the centroids, taken back to raw values, and one row of which nothing is known. What is expected
//! is what this segmentation itself assigns, so that another build, another machine or a damaged artefact shows.

use super::assign::Segmentation;
use super::prepare::FeaturePreparation;

/// The name of the file in a version's directory.
pub const GOLDEN_FILE: &str = "golden.csv";

impl Segmentation {
    /// The table: a column per feature and `expected`, a row per segment and one without a value. Features whose values in training
    /// begin and end with whole numbers get whole numbers, so that a schema may call them `int`.
    ///
    /// # Errors
    /// None that writing to memory can cause; the type is that of the writer.
    pub fn golden_csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let features = self.features();
        writer.write_record(features.iter().map(|feature| feature.name.as_str()).chain(["expected"]))?;
        let centroids = self.centroids.rows().map(|centroid| self.raw(centroid));
        for row in centroids.chain([vec![f32::NAN; features.len()]]) {
            let expected = self.assign(&row).id.to_string();
            let cells =
                row.iter().map(|value| if value.is_nan() { String::new() } else { value.to_string() });
            writer.write_record(cells.chain([expected]))?;
        }
        let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Raw values that lie near a point: exactly there without principal components, else at what the components keep of it.
    fn raw(&self, point: &[f64]) -> Vec<f32> {
        let standardised = match &self.preparation.pca {
            None => point.to_vec(),
            // The components are orthonormal, so that the way back is their transpose.
            Some(components) => (0..self.features().len())
                .map(|feature| components.iter().zip(point).map(|(weights, x)| weights[feature] * x).sum())
                .collect(),
        };
        self.features().iter().zip(standardised).map(|(feature, z)| raw_value(feature, z)).collect()
    }
}

fn raw_value(feature: &FeaturePreparation, z: f64) -> f32 {
    let mut value = z * feature.deviation + feature.mean;
    if feature.log1p {
        value = value.exp_m1();
    }
    let [least, greatest] = feature.range;
    let value = value.clamp(least, greatest);
    let whole = least.fract() == 0.0 && greatest.fract() == 0.0;
    (if whole { value.round() } else { value }) as f32
}
