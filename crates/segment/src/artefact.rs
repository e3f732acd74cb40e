//! `segments.json`: the artefact on disk, and every rule that it must satisfy.
//!
//! Training and parsing both build an [`Artefact`] and call [`Artefact::check`].
//! So every [`Segmentation`] is one that the server accepts.
//! The crate's documentation describes the artefact key by key.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::assign::{Centroids, Segmentation};
use super::prepare::{FeaturePreparation, Preparation, Reference, Scale};
use document::Problems;

/// The name of the artefact in a version's directory.
pub const FILE_NAME: &str = "segments.json";

/// The format that this build writes, and the only one that it reads.
pub const FORMAT_VERSION: u64 = 1;

/// The inner edges of ten bins: a reference holds deciles.
const MAX_EDGES: usize = 9;

/// The name and the size of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// In plain words, unique in its segmentation.
    pub name: String,
    /// Training rows assigned to it.
    pub size: u64,
}

/// How the segments were trained.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingNotes {
    /// Rows that the centroids were trained on.
    pub rows: u64,
    /// The number of segments.
    pub k: u64,
    /// The random seed.
    pub seed: u64,
    /// Restarts of k-means; the best was kept.
    pub n_init: u64,
    /// How the features were scaled.
    #[serde(default, skip_serializing_if = "Scale::is_default")]
    pub scale: Scale,
    /// Share of the variance of the scaled features that the components of `pca` explain, above 0 and at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance_kept: Option<f64>,
    /// Columns that are not features.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<DroppedFeature>,
}

/// A column of the training table that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DroppedFeature {
    /// Its label: the name, or `name=text`.
    pub feature: String,
    /// Why, in plain words.
    pub reason: String,
}

/// The JSON object on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefact {
    /// [`FORMAT_VERSION`].
    pub format_version: u64,
    /// How each feature is prepared, in the order of a row.
    pub features: Vec<FeaturePreparation>,
    /// Principal components, components × features. Without them, the standardised row is the point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pca: Option<Vec<Vec<f64>>>,
    /// In the order of their ids, from 0.
    pub segments: Vec<ArtefactSegment>,
    /// The sum of the squared distances of the training rows to their centroids.
    pub inertia: f64,
    /// What it was trained from.
    pub training: TrainingNotes,
}

/// A segment on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtefactSegment {
    /// Its position in the list.
    pub id: u32,
    /// Its name in plain words.
    pub name: String,
    /// Training rows assigned to it.
    pub size: u64,
    /// Its coordinates in the prepared space.
    pub centroid: Vec<f64>,
}

/// The key that every format version has.
#[derive(Deserialize)]
struct Versioned {
    format_version: u64,
}

impl Segmentation {
    /// Reads `segments.json`; `file` is the name that problems carry.
    ///
    /// # Errors
    /// One problem with its line if the text is not JSON of this form or has another format version.
    /// Otherwise every problem of the contents: lengths that do not match, values that are not finite,
    /// deviations that are not positive, bounds in the wrong order, duplicate names, ids that are not positions,
    /// sizes that do not add up.
    pub fn parse(file: &str, json: &[u8]) -> Result<Self, Problems> {
        let version: Versioned = from_json(file, json)?;
        if version.format_version != FORMAT_VERSION {
            let message = format!(
                "format_version is {}, but this build reads {FORMAT_VERSION}; train the segments again with it",
                version.format_version
            );
            return Err(Problems::one(file, None, message));
        }
        from_json::<Artefact>(file, json)?.check(file)
    }

    /// The artefact as JSON text: the same segmentation always gives the same bytes.
    ///
    /// # Errors
    /// None for a validated segmentation; the type is that of the JSON writer.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(&Artefact::of(self))?;
        text.push('\n');
        Ok(text)
    }
}

fn from_json<'j, T: Deserialize<'j>>(file: &str, json: &'j [u8]) -> Result<T, Problems> {
    serde_json::from_slice(json).map_err(|error| {
        // The problem carries the line already, so the parser's position is removed.
        let position = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string().replace(&position, "");
        Problems::one(file, Some(error.line()), format!("not a segmentation: {message}"))
    })
}

impl Artefact {
    fn of(segmentation: &Segmentation) -> Self {
        let centroids = segmentation.centroids.rows();
        let segments = segmentation.segments.iter().zip(centroids).zip(0..);
        Self {
            format_version: FORMAT_VERSION,
            features: segmentation.preparation.features.clone(),
            pca: segmentation.preparation.pca.clone(),
            segments: segments
                .map(|((segment, centroid), id)| ArtefactSegment {
                    id,
                    name: segment.name.clone(),
                    size: segment.size,
                    centroid: centroid.to_vec(),
                })
                .collect(),
            inertia: segmentation.inertia,
            training: segmentation.training.clone(),
        }
    }

    /// Validates everything that assignment relies on.
    ///
    /// # Errors
    /// Every rule of the format that is broken.
    pub fn check(self, file: &str) -> Result<Segmentation, Problems> {
        let mut checker = Checker { file, problems: Problems::new() };
        checker.features(&self.features);
        if let Some(pca) = &self.pca {
            checker.pca(pca, self.features.len());
        }
        let dimensions = self.pca.as_ref().map_or(self.features.len(), Vec::len);
        checker.segments(&self.segments, dimensions);
        checker.training(&self);
        checker.problems.into_result(())?;

        let centroids = self.segments.iter().flat_map(|segment| segment.centroid.iter().copied()).collect();
        let segments = self.segments.into_iter();
        Ok(Segmentation {
            preparation: Preparation { features: self.features, pca: self.pca },
            centroids: Centroids::new(dimensions, centroids),
            segments: segments.map(|segment| Segment { name: segment.name, size: segment.size }).collect(),
            inertia: self.inertia,
            training: self.training,
        })
    }
}

/// Collects the problems of an artefact.
struct Checker<'f> {
    file: &'f str,
    problems: Problems,
}

impl Checker<'_> {
    fn require(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(self.file, None, message());
        }
    }

    fn features(&mut self, features: &[FeaturePreparation]) {
        self.require(!features.is_empty(), || "features: at least one is needed".to_owned());
        let mut names: BTreeMap<&str, BTreeSet<Option<&str>>> = BTreeMap::new();
        for (index, feature) in features.iter().enumerate() {
            let at = format!("features[{index}] `{}`", feature.label());
            self.require(!feature.name.is_empty(), || format!("{at}: `name` is empty"));
            let of_name = names.entry(&feature.name).or_default();
            let fresh = of_name.insert(feature.equals.as_deref());
            self.require(fresh, || match &feature.equals {
                None => format!("{at}: another feature has this name"),
                Some(_) => format!("{at}: another feature has this name and `equals`"),
            });
            let mixed = of_name.contains(&None) && of_name.len() > 1;
            self.require(!mixed, || {
                format!("{at}: another feature has this name, and one of the two has `equals`")
            });
            self.text(&at, feature);
            self.finite(&format!("{at}: `impute`"), feature.impute);
            self.finite(&format!("{at}: `mean`"), feature.mean);
            self.finite(&format!("{at}: `deviation`"), feature.deviation);
            self.require(feature.deviation > 0.0, || {
                format!("{at}: `deviation` must be positive, not {}", feature.deviation)
            });
            self.ordered(&format!("{at}: `range`"), feature.range);
            if let Some(bounds) = feature.winsor {
                self.ordered(&format!("{at}: `winsor`"), bounds);
            }
            if let Some(reference) = &feature.reference {
                self.reference(&format!("{at}: `reference`"), reference);
            }
        }
    }

    fn text(&mut self, at: &str, feature: &FeaturePreparation) {
        let Some(text) = &feature.equals else { return };
        self.require(!text.is_empty(), || format!("{at}: `equals` is empty"));
        let is_raw = [0.0, 1.0].contains(&feature.impute);
        self.require(is_raw, || {
            format!("{at}: `impute` must be 0 or 1 beside `equals`, not {}", feature.impute)
        });
    }

    fn reference(&mut self, at: &str, reference: &Reference) {
        let (edges, counts) = (&reference.edges, reference.counts.len());
        self.all_finite(&format!("{at}: `edges`"), edges);
        self.require(edges.len() <= MAX_EDGES, || {
            format!("{at}: {} edges; at most {MAX_EDGES} are possible", edges.len())
        });
        let descends = edges.windows(2).any(|pair| pair[0] >= pair[1]);
        self.require(!descends, || format!("{at}: `edges` must be strictly ascending"));
        self.require(counts == edges.len() + 1, || {
            format!("{at}: {counts} counts for {} edges; one more than edges is needed", edges.len())
        });
    }

    fn pca(&mut self, pca: &[Vec<f64>], features: usize) {
        self.require(!pca.is_empty(), || "pca: has no component; leave it out instead".to_owned());
        for (index, component) in pca.iter().enumerate() {
            let at = format!("pca[{index}]");
            self.require(component.len() == features, || {
                format!("{at}: {} weights for {features} features", component.len())
            });
            self.all_finite(&at, component);
        }
    }

    fn segments(&mut self, segments: &[ArtefactSegment], dimensions: usize) {
        self.require(!segments.is_empty(), || "segments: at least one is needed".to_owned());
        let mut names = BTreeSet::new();
        for (index, segment) in segments.iter().enumerate() {
            let at = format!("segments[{index}] `{}`", segment.name);
            self.require(segment.id as usize == index, || {
                format!("{at}: `id` must be its position, {index}, not {}", segment.id)
            });
            self.require(!segment.name.is_empty(), || format!("{at}: `name` is empty"));
            self.require(names.insert(&segment.name), || format!("{at}: another segment has this name"));
            let found = segment.centroid.len();
            self.require(found == dimensions, || {
                format!("{at}: `centroid` has {found} coordinates, but points have {dimensions}")
            });
            self.all_finite(&format!("{at}: `centroid`"), &segment.centroid);
        }
    }

    fn training(&mut self, artefact: &Artefact) {
        self.finite("inertia", artefact.inertia);
        self.require(artefact.inertia >= 0.0, || {
            format!("inertia: must not be negative, but is {}", artefact.inertia)
        });
        let training = &artefact.training;
        let segments = artefact.segments.len();
        self.require(training.k == segments as u64, || {
            format!("training: `k` is {}, but there are {segments} segments", training.k)
        });
        let assigned: u128 = artefact.segments.iter().map(|segment| u128::from(segment.size)).sum();
        self.require(assigned == u128::from(training.rows), || {
            format!(
                "training: `rows` is {}, but the sizes of the segments add up to {assigned}",
                training.rows
            )
        });
        self.require(training.rows > 0, || "training: `rows` must be at least 1".to_owned());
        self.require(training.n_init > 0, || "training: `n_init` must be at least 1".to_owned());
        self.counted(artefact);
        self.variance(training.variance_kept, artefact.pca.is_some());
        self.dropped(&training.dropped, &artefact.features);
    }

    /// Each reference counts every training row once.
    fn counted(&mut self, artefact: &Artefact) {
        let rows = artefact.training.rows;
        for (index, feature) in artefact.features.iter().enumerate() {
            let Some(reference) = &feature.reference else { continue };
            let counts = reference.counts.iter().chain([&reference.missing]);
            let counted: u128 = counts.map(|count| u128::from(*count)).sum();
            self.require(counted == u128::from(rows), || {
                let label = feature.label();
                format!("features[{index}] `{label}`: `reference` counts {counted} rows of {rows}")
            });
        }
    }

    fn variance(&mut self, kept: Option<f64>, components: bool) {
        let Some(kept) = kept else { return };
        self.require(kept > 0.0 && kept <= 1.0, || {
            format!("training: `variance_kept` must be above 0 and at most 1, not {kept}")
        });
        self.require(components, || "training: `variance_kept` requires `pca`".to_owned());
    }

    fn dropped(&mut self, dropped: &[DroppedFeature], features: &[FeaturePreparation]) {
        let mut known: BTreeSet<Cow<'_, str>> = features.iter().map(FeaturePreparation::label).collect();
        for (index, DroppedFeature { feature, reason }) in dropped.iter().enumerate() {
            let at = format!("training: dropped[{index}] `{feature}`");
            self.require(!feature.is_empty(), || format!("{at}: `feature` is empty"));
            self.require(!reason.is_empty(), || format!("{at}: `reason` is empty"));
            let fresh = known.insert(Cow::Borrowed(feature));
            self.require(fresh, || format!("{at}: is a feature, or is dropped twice"));
        }
    }

    fn finite(&mut self, at: &str, value: f64) {
        self.require(value.is_finite(), || format!("{at} must be finite, not {value}"));
    }

    fn all_finite(&mut self, at: &str, values: &[f64]) {
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            self.require(false, || {
                format!("{at}: value {position} must be finite, not {}", values[position])
            });
        }
    }

    fn ordered(&mut self, at: &str, [low, high]: [f64; 2]) {
        self.finite(at, low);
        self.finite(at, high);
        self.require(low <= high, || format!("{at} must be [low, high], not [{low}, {high}]"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::assign::tests::segmentations;
    use crate::prepare::ImputedWith;
    use crate::samples::segmentation;

    fn valid() -> Artefact {
        Artefact::of(&segmentation())
    }

    fn problems(change: impl FnOnce(&mut Artefact)) -> String {
        let mut artefact = valid();
        change(&mut artefact);
        artefact.check("segments.json").unwrap_err().to_string()
    }

    fn parse_problems(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut json = serde_json::to_value(valid()).unwrap();
        change(&mut json);
        Segmentation::parse("segments.json", json.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_documented_example_is_valid() {
        let lines = include_str!("lib.rs").lines().map(|line| line.trim_start_matches("//!"));
        let example = lines.skip_while(|line| !line.contains("```json")).skip(1);
        let example: String = example.take_while(|line| !line.contains("```")).collect();
        let segmentation = Segmentation::parse("segments.json", example.as_bytes()).unwrap();
        assert_eq!(segmentation.name(1), Some("Revolvers"));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let found = problems(|artefact| {
            artefact.features[0].deviation = 0.0;
            artefact.features[1].name = artefact.features[0].name.clone();
            artefact.segments[1].id = 7;
            artefact.segments[0].centroid.pop();
            artefact.training.rows += 1;
        });
        for expected in [
            "segments.json: features[0] `balance`: `deviation` must be positive, not 0",
            "segments.json: features[1] `balance`: another feature has this name",
            "segments.json: segments[0] `Quiet`: `centroid` has 1 coordinates, but points have 2",
            "segments.json: segments[1] `Busy`: `id` must be its position, 1, not 7",
            "segments.json: training: `rows` is 11, but the sizes of the segments add up to 10",
        ] {
            assert!(found.contains(expected), "{expected}\nnot in\n{found}");
        }
        assert_eq!(found.lines().count(), 5, "{found}");
    }

    #[test]
    fn every_rule_of_the_required_keys_is_checked() {
        type Change = fn(&mut Artefact);
        let cases: [(&str, Change); 18] = [
            ("features: at least one is needed", |artefact| artefact.features.clear()),
            ("`name` is empty", |artefact| artefact.features[0].name.clear()),
            ("`impute` must be finite, not NaN", |artefact| artefact.features[0].impute = f64::NAN),
            ("`mean` must be finite, not inf", |artefact| artefact.features[0].mean = f64::INFINITY),
            ("`deviation` must be finite", |artefact| artefact.features[0].deviation = f64::INFINITY),
            ("`deviation` must be positive, not -1", |artefact| artefact.features[0].deviation = -1.0),
            ("`range` must be [low, high], not [2, 1]", |artefact| artefact.features[0].range = [2.0, 1.0]),
            ("`winsor` must be [low, high]", |artefact| artefact.features[0].winsor = Some([2.0, 1.0])),
            ("pca: has no component", |artefact| artefact.pca = Some(Vec::new())),
            ("pca[0]: 1 weights for 2 features", |artefact| artefact.pca = Some(vec![vec![1.0]])),
            ("pca[0]: value 1 must be finite", |artefact| artefact.pca = Some(vec![vec![1.0, f64::NAN]])),
            ("segments: at least one is needed", |artefact| artefact.segments.clear()),
            ("another segment has this name", |artefact| artefact.segments[1].name = "Quiet".into()),
            ("`centroid`: value 0 must be finite", |artefact| artefact.segments[0].centroid[0] = f64::NAN),
            ("inertia: must not be negative", |artefact| artefact.inertia = -1.0),
            ("`k` is 3, but there are 2", |artefact| artefact.training.k = 3),
            ("`n_init` must be at least 1", |artefact| artefact.training.n_init = 0),
            ("sizes of the segments add up to 18446744073709551619", |artefact| {
                artefact.segments[0].size = u64::MAX;
            }),
        ];
        for (expected, change) in cases {
            let found = problems(change);
            assert!(found.contains(expected), "{expected}\nnot in\n{found}");
        }
    }

    #[test]
    fn every_rule_of_the_optional_keys_is_checked() {
        type Change = fn(&mut Artefact);
        let cases: [(&str, Change); 17] = [
            ("`equals` is empty", |artefact| artefact.features[0].equals = Some(String::new())),
            ("features[0] `balance=a`: `impute` must be 0 or 1 beside `equals`, not 0.5", |artefact| {
                artefact.features[0].equals = Some("a".into());
                artefact.features[0].impute = 0.5;
            }),
            ("features[1] `balance=a`: another feature has this name and `equals`", |artefact| {
                for feature in &mut artefact.features {
                    feature.name = "balance".into();
                    feature.equals = Some("a".into());
                }
            }),
            ("features[1] `balance=a`: another feature has this name, and one of the two has", |artefact| {
                artefact.features[1].name = "balance".into();
                artefact.features[1].equals = Some("a".into());
            }),
            ("`reference`: `edges`: value 1 must be finite", |artefact| {
                reference(artefact).edges[1] = f64::NAN;
            }),
            ("`reference`: 10 edges; at most 9", |artefact| {
                *reference(artefact) =
                    Reference { edges: (0..10).map(f64::from).collect(), counts: vec![1; 11], missing: 0 };
            }),
            ("`edges` must be strictly ascending", |artefact| reference(artefact).edges = vec![2.0, 2.0]),
            ("`edges` must be strictly ascending", |artefact| reference(artefact).edges = vec![2.0, 1.0]),
            ("`reference`: 2 counts for 2 edges", |artefact| {
                reference(artefact).counts.pop();
            }),
            ("`reference` counts 12 rows of 10", |artefact| reference(artefact).missing = 3),
            ("`variance_kept` must be above 0 and at most 1, not 0", |artefact| {
                artefact.training.variance_kept = Some(0.0);
            }),
            ("`variance_kept` must be above 0 and at most 1, not 1.5", |artefact| {
                artefact.training.variance_kept = Some(1.5);
            }),
            ("`variance_kept` must be above 0 and at most 1, not NaN", |artefact| {
                artefact.training.variance_kept = Some(f64::NAN);
            }),
            ("`variance_kept` requires `pca`", |artefact| {
                artefact.training.variance_kept = Some(0.9);
            }),
            ("dropped[0] `balance`: is a feature", |artefact| drop(artefact, "balance", "unused")),
            ("dropped[0] ``: `feature` is empty", |artefact| drop(artefact, "", "unused")),
            ("dropped[0] `tenure`: `reason` is empty", |artefact| drop(artefact, "tenure", "")),
        ];
        for (expected, change) in cases {
            let found = problems(change);
            assert!(found.contains(expected), "{expected}\nnot in\n{found}");
        }
    }

    /// Gives the first feature a valid reference of ten rows, for the caller to break.
    fn reference(artefact: &mut Artefact) -> &mut Reference {
        artefact.features[0].reference.insert(Reference {
            edges: vec![1.0, 2.0],
            counts: vec![4, 3, 2],
            missing: 1,
        })
    }

    fn drop(artefact: &mut Artefact, feature: &str, reason: &str) {
        artefact.training.dropped.push(DroppedFeature { feature: feature.into(), reason: reason.into() });
    }

    #[test]
    fn optional_keys_are_omitted_at_their_default_and_read_back() {
        let plain = serde_json::to_string(&valid()).unwrap();
        for key in ["equals", "imputed_with", "winsor", "reference", "scale", "variance_kept", "dropped"] {
            assert!(!plain.contains(key), "{key} in {plain}");
        }
        let mut artefact = valid();
        reference(&mut artefact);
        drop(&mut artefact, "tenure", "unused");
        artefact.features[1].name = "balance_band".into();
        artefact.features[1].equals = Some("high".into());
        artefact.features[1].imputed_with = ImputedWith::Constant;
        artefact.features[1].impute = 0.0;
        artefact.pca = Some(vec![vec![0.6, 0.8], vec![0.8, -0.6]]);
        artefact.training.scale = Scale::MinMax;
        artefact.training.variance_kept = Some(1.0);
        let segmentation = artefact.check("segments.json").unwrap();
        let json = segmentation.to_json().unwrap();
        assert_eq!(Segmentation::parse("segments.json", json.as_bytes()).unwrap(), segmentation);
        for expected in ["\"equals\": \"high\"", "\"imputed_with\": \"constant\"", "\"scale\": \"min-max\""] {
            assert!(json.contains(expected), "{expected} not in {json}");
        }
    }

    #[test]
    fn another_format_version_is_named_before_anything_else() {
        let found = parse_problems(|json| {
            json["format_version"] = 2.into();
            json["new_key"] = true.into();
        });
        assert!(found.contains("format_version is 2, but this build reads 1"), "{found}");
    }

    #[test]
    fn unknown_and_missing_keys_and_wrong_types_are_named() {
        let unknown = parse_problems(|json| json["features"][0]["winzor"] = 1.into());
        assert!(unknown.contains("unknown field `winzor`"), "{unknown}");
        let missing = parse_problems(|json| {
            json.as_object_mut().unwrap().remove("inertia");
        });
        assert!(missing.contains("missing field `inertia`"), "{missing}");
        let text = parse_problems(|json| json["features"][0]["mean"] = "x".into());
        assert!(text.contains("invalid type: string"), "{text}");
        let huge = br#"{"format_version": 1, "inertia": 1e999}"#;
        assert!(Segmentation::parse("segments.json", huge).is_err());
    }

    #[test]
    fn a_cut_file_names_its_line() {
        let json = segmentation().to_json().unwrap();
        let cut = Segmentation::parse("segments.json", &json.as_bytes()[..40]).unwrap_err();
        let problem = cut.iter().next().unwrap();
        assert_eq!(problem.line, Some(3));
        assert!(problem.message.starts_with("not a segmentation: EOF"), "{problem}");
        assert!(!problem.message.contains(" at line"), "{problem}");
    }

    proptest! {
        #[test]
        fn a_written_artefact_reads_back_identically(segmentation in segmentations()) {
            let json = segmentation.to_json().unwrap();
            let read = Segmentation::parse("segments.json", json.as_bytes()).unwrap();
            prop_assert_eq!(&read, &segmentation);
            prop_assert_eq!(read.to_json().unwrap(), json);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Segmentation::parse("segments.json", &bytes);
        }

        #[test]
        fn a_damaged_artefact_is_refused_or_still_assigns(
            segmentation in segmentations(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut json = segmentation.to_json().unwrap().into_bytes();
            for (at, byte) in damage {
                let at = at.index(json.len());
                json[at] = byte;
            }
            if let Ok(read) = Segmentation::parse("segments.json", &json) {
                let assignment = read.assign(&vec![1.0; read.features().len()]);
                prop_assert!((assignment.id as usize) < read.len());
            }
        }
    }
}
