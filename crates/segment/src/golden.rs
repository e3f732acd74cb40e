//! `golden.csv` of a segmentation: rows with the segment that each must get, checked by the gates of a push.
//!
//! The rows hold no customer data: they are the centroids as raw values, and one row without a value.
//! The expected segments are those that this segmentation assigns.
//! So the gates detect another build, another machine or a damaged artefact that assigns differently.

use super::assign::Segmentation;
use super::prepare::FeaturePreparation;
use table::Writer;

/// The name of the file in a version's directory.
pub const GOLDEN_FILE: &str = "golden.csv";

impl Segmentation {
    /// The table: a column per raw feature and `expected`, a row per segment and one without a value.
    ///
    /// A feature whose training range has whole ends gets whole numbers, so a schema may declare it `int`.
    /// A one-hot encoded text is one column, which holds the text most frequent near the centroid.
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

    /// For each column of the table, the positions of its features; columns are in the order of their first feature.
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

    /// The value of a column. For a text, also sets its features in `row`, which lie between 0 and 1, to 0 or 1.
    fn cell(&self, column: &[usize], row: &mut [f32]) -> String {
        let most = column.iter().copied().reduce(|best, at| if row[at] > row[best] { at } else { best });
        let Some(most) = most.filter(|most| !row[*most].is_nan()) else { return String::new() };
        let Some(text) = &self.features()[most].equals else { return row[most].to_string() };
        for at in column {
            row[*at] = self.features()[*at].raw_of_text(Some(text));
        }
        text.clone()
    }

    /// Raw values near a point: exactly there without principal components, else its projection onto them.
    fn raw(&self, point: &[f64]) -> Vec<f32> {
        let standardised = match &self.preparation.pca {
            None => point.to_vec(),
            // The components are orthonormal, so their transpose is their inverse.
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
