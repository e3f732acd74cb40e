//! `golden.csv` of a segmentation: rows with the segment that each must get, for the gates of whoever receives the version.
//!
//! No customer is among them: the rows are the centroids, taken back to raw values, and one row of which nothing is known. What is expected
//! is what this segmentation itself assigns, so that another build, another machine or a damaged artefact shows.

use super::assign::Segmentation;
use super::prepare::FeaturePreparation;
use crate::table::Writer;

/// The name of the file in a version's directory.
pub const GOLDEN_FILE: &str = "golden.csv";

impl Segmentation {
    /// The table: a column per raw feature and `expected`, a row per segment and one without a value. Features whose values in training
    /// begin and end with whole numbers get whole numbers, so that a schema may call them `int`; a text that is several features is
    /// one column, in which stands the text that is most frequent near the centroid.
    #[must_use]
    pub fn golden_csv(&self) -> String {
        let mut writer = Writer::default();
        let columns = self.columns();
        let names = columns.iter().filter_map(|column| column.first()).map(|at| &self.features()[*at].name);
        writer.write(names.map(String::as_str).chain(["expected"]));
        let centroids = self.centroids.rows().map(|centroid| self.raw(centroid));
        for mut row in centroids.chain([vec![f32::NAN; self.features().len()]]) {
            let cells: Vec<String> = columns.iter().map(|column| self.cell(column, &mut row)).collect();
            let expected = self.assign(&row).id.to_string();
            writer.write(cells.into_iter().chain([expected]));
        }
        String::from_utf8_lossy(&writer.into_bytes()).into_owned()
    }

    /// The positions of the features that are one column of a table, for each column, in the order of their first.
    fn columns(&self) -> Vec<Vec<usize>> {
        let mut columns: Vec<Vec<usize>> = Vec::new();
        let features = self.features();
        for (at, feature) in features.iter().enumerate() {
            match columns.iter_mut().find(|column| features[column[0]].name == feature.name) {
                Some(column) => column.push(at),
                None => columns.push(vec![at]),
            }
        }
        columns
    }

    /// What stands in a column; a text is settled in `row`, whose values lay between 0 and 1.
    fn cell(&self, column: &[usize], row: &mut [f32]) -> String {
        let most = column.iter().copied().reduce(|best, at| if row[at] > row[best] { at } else { best });
        let Some(most) = most.filter(|most| !row[*most].is_nan()) else { return String::new() };
        let Some(text) = &self.features()[most].equals else { return row[most].to_string() };
        for at in column {
            row[*at] = self.features()[*at].raw_of_text(Some(text));
        }
        text.clone()
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
    let whole = feature.equals.is_none() && least.fract() == 0.0 && greatest.fract() == 0.0;
    (if whole { value.round() } else { value }) as f32
}
