//! A segmentation bound to the schema of a release: maps customer features to the raw values of its rows.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use document::Problems;
use feature::{Entity, FeatureSchema, FeatureType, SegmentRef, ValueRef};
use segment::{FeaturePreparation, Scratch, Segmentation};

thread_local! {
    /// The thread's buffers: the raw values of a row, and the scratch memory of an assignment.
    static SCRATCH: RefCell<(Vec<f32>, Scratch)> = RefCell::default();
}

/// The segmentation of a release, bound to the schema's customer features.
#[derive(Debug)]
pub struct Segmenter {
    segmentation: Segmentation,
    names: Vec<Arc<str>>,
    /// For each raw value of a row, the position of its customer feature.
    inputs: Vec<usize>,
}

/// A customer's segment.
#[derive(Debug, Clone, PartialEq)]
pub struct AssignedSegment {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: Arc<str>,
    /// The Euclidean distance to its centroid.
    pub distance: f64,
    /// (d2 − d1) / d2, of the distances to the nearest and the second-nearest centroid.
    pub margin: f64,
}

impl AssignedSegment {
    /// Stands for a row that could not be assigned.
    #[must_use]
    pub fn none() -> Self {
        Self { id: -1, name: "".into(), distance: f64::NAN, margin: f64::NAN }
    }

    /// The segment as rules and models see it.
    #[must_use]
    pub fn as_ref(&self) -> SegmentRef<'_> {
        SegmentRef { id: self.id, name: &self.name }
    }
}

impl Segmenter {
    /// Finds the segmentation's features in the schema; messages name `file`.
    ///
    /// # Errors
    /// Every feature that the schema lacks, or has of another entity or type.
    pub(crate) fn bind(
        file: &str,
        segmentation: Segmentation,
        schema: &FeatureSchema,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut inputs = Vec::new();
        for feature in segmentation.features() {
            match schema.find(&feature.name) {
                Some((Entity::Customer, index)) => {
                    let found = schema.of(Entity::Customer)[index].feature_type;
                    if let Some(wanted) = mismatch(feature, found) {
                        let message = format!("feature `{}` must be {wanted}, not {found}", feature.label());
                        problems.push(file, None, message);
                    }
                    inputs.push(index);
                }
                Some((entity @ (Entity::Offer | Entity::Context), _)) => {
                    let message =
                        format!("feature `{}` must be of the customer, not of the {entity}", feature.name);
                    problems.push(file, None, message);
                }
                None => {
                    let mut message = format!("the schema has no feature `{}`", feature.name);
                    if let Some(close) = schema.closest(&feature.name) {
                        let _ = write!(message, "; did you mean `{close}`?");
                    }
                    problems.push(file, None, message);
                }
            }
        }
        let names = segmentation.segments().iter().map(|segment| segment.name.as_str().into()).collect();
        problems.into_result(Self { segmentation, names, inputs })
    }

    /// Assigns a customer to a segment; `value` returns a feature by its position in the schema. A missing value is
    /// imputed as in training; the schema's default does not apply.
    #[must_use]
    pub fn assign<'v>(&self, value: impl Fn(usize) -> ValueRef<'v>) -> AssignedSegment {
        let inputs = self.inputs.iter().zip(self.segmentation.features());
        let assigned = SCRATCH.with_borrow_mut(|(raw, scratch)| {
            raw.clear();
            raw.extend(inputs.map(|(index, feature)| raw_value(feature, value(*index))));
            self.segmentation.assign_with(raw, scratch)
        });
        AssignedSegment {
            id: i64::from(assigned.id),
            name: Arc::clone(&self.names[assigned.id as usize]),
            distance: assigned.distance,
            margin: assigned.margin,
        }
    }

    /// The names of its features, each once. A text feature may become several inputs of the artefact.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        let mut seen = BTreeSet::new();
        let names = self.segmentation.features().iter().map(|feature| feature.name.as_str());
        names.filter(move |name| seen.insert(*name))
    }

    /// The segments' names, by id.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }
}

/// The raw value of an artefact's feature, NaN where it is missing. A number is used as it is; a text becomes 1 if it
/// equals the feature's text, else 0.
fn raw_value(feature: &FeaturePreparation, value: ValueRef<'_>) -> f32 {
    if let ValueRef::String(text) = value {
        return feature.raw_of_text(Some(text));
    }
    value.as_f64().unwrap_or(f64::NAN) as f32
}

/// The type that the schema should have, if it does not fit the artefact's feature: training saw a text or a number.
fn mismatch(feature: &FeaturePreparation, found: FeatureType) -> Option<&'static str> {
    match (&feature.equals, found) {
        (Some(_), FeatureType::String) => None,
        (Some(_), FeatureType::Float | FeatureType::Int | FeatureType::Bool) => {
            Some("string, since the segmentation compares it with a text (`equals`)")
        }
        (None, found) => (!found.is_numeric()).then_some("numeric (float, int or bool)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: &str = r#"
[[feature]]
name = "balance"
type = "float"
entity = "customer"
[[feature]]
name = "job"
type = "string"
entity = "customer"
[[feature]]
name = "fee"
type = "float"
entity = "offer"
"#;

    /// Two segments of customers by their balance and whether their job is `admin.`.
    const SEGMENTS: &str = r#"{
        "format_version": 1,
        "features": [
            { "name": "job", "equals": "admin.", "impute": 0.0, "log1p": false, "mean": 0.0, "deviation": 1.0, "range": [0, 1] },
            { "name": "balance", "impute": 5.0, "log1p": false, "mean": 0.0, "deviation": 1.0, "range": [0, 9] },
            { "name": "job", "equals": "retired", "impute": 0.0, "log1p": false, "mean": 0.0, "deviation": 1.0, "range": [0, 1] }
        ],
        "segments": [
            { "id": 0, "name": "Others", "size": 2, "centroid": [0, 5, 0] },
            { "id": 1, "name": "Clerks", "size": 1, "centroid": [1, 5, 0] }
        ],
        "inertia": 0.0,
        "training": { "rows": 3, "k": 2, "seed": 42, "n_init": 10 }
    }"#;

    fn bind(segments: &str) -> Result<Segmenter, Problems> {
        let schema = FeatureSchema::parse("features.toml", FEATURES).unwrap();
        let segmentation = Segmentation::parse("segments.json", segments.as_bytes()).unwrap();
        Segmenter::bind("segments.json", segmentation, &schema)
    }

    #[test]
    fn a_text_is_1_in_the_feature_that_stands_for_it() {
        let segmenter = bind(SEGMENTS).unwrap();
        assert_eq!(segmenter.features().collect::<Vec<_>>(), ["job", "balance"]);
        for (job, name, distance) in [
            (ValueRef::String("admin."), "Clerks", 0.0),
            (ValueRef::String("retired"), "Others", 1.0),
            (ValueRef::String("Admin."), "Others", 0.0),
            (ValueRef::Missing, "Others", 0.0),
        ] {
            let values = [ValueRef::Missing, job];
            let assigned = segmenter.assign(|index| values[index]);
            assert_eq!(
                (&*assigned.name, assigned.distance.to_bits()),
                (name, f64::to_bits(distance)),
                "{job:?}"
            );
        }
    }

    #[test]
    fn a_feature_of_another_type_or_entity_is_refused_by_name() {
        let cases = [
            (
                ("\"name\": \"balance\"", "\"name\": \"blance\""),
                "the schema has no feature `blance`; did you mean `balance`?",
            ),
            (
                ("\"name\": \"balance\"", "\"name\": \"fee\""),
                "feature `fee` must be of the customer, not of the offer",
            ),
            (
                ("\"name\": \"balance\"", "\"name\": \"balance\", \"equals\": \"high\""),
                "feature `balance=high` must be string, since the segmentation compares it with a text (`equals`), not float",
            ),
        ];
        for ((from, to), expected) in cases {
            let segments = SEGMENTS.replace(from, to).replace("\"impute\": 5.0", "\"impute\": 1.0");
            let found = bind(&segments).unwrap_err().to_string();
            assert_eq!(found, format!("segments.json: {expected}"));
        }
        let number = SEGMENTS
            .replace("\"equals\": \"retired\", ", "")
            .replace("\"job\", \"equals\": \"admin.\"", "\"age\"");
        let found = bind(&number).unwrap_err().to_string();
        assert!(found.contains("feature `job` must be numeric (float, int or bool), not string"), "{found}");
    }
}
