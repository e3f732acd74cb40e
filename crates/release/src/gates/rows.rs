//! Rows generated from the schema's description of each feature: the same schema always gives the same rows.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use feature::{Entity, Feature, FeatureSchema, FeatureType, Row, SegmentRef, ValueRef};
use model::{InputError, Matrix};

/// The number of rows: more than 1,000 for the finite gate, and whole batches for the latency gate.
pub(super) const ROWS: usize = 1200;

/// The number of segments to draw from where there is no segmentation.
const SEGMENTS: usize = 8;

/// The largest magnitude of a number whose feature has no range.
const UNBOUNDED: f64 = 1e6;

/// A text that no training data had.
const UNSEEN_TEXT: &str = "never seen before";

/// A generated customer × offer pair.
pub(super) struct Generated<'a> {
    /// With a value for every feature.
    whole: Values<'a>,
    /// Without some of the values that may be missing in a request: those without a default.
    gapped: Values<'a>,
    segment: SegmentRef<'a>,
}

struct Values<'a> {
    customer: Vec<ValueRef<'a>>,
    context: Vec<ValueRef<'a>>,
    offer: Vec<ValueRef<'a>>,
}

impl Generated<'_> {
    /// The row with its gaps.
    pub(super) fn gapped(&self) -> Row<'_> {
        self.gapped.row(self.segment)
    }

    /// The row without gaps.
    pub(super) fn whole(&self) -> Row<'_> {
        self.whole.row(self.segment)
    }

    /// Appends the row to `matrix`: with its gaps, or without them if the model does not accept missing values.
    /// Returns the row that was appended.
    pub(super) fn push(&self, matrix: &mut Matrix) -> Result<Row<'_>, InputError> {
        let row = self.gapped();
        if matrix.push(&row).is_ok() {
            return Ok(row);
        }
        let row = self.whole();
        matrix.push(&row).map(|()| row)
    }
}

impl Values<'_> {
    fn row<'r>(&'r self, segment: SegmentRef<'r>) -> Row<'r> {
        Row { customer: &self.customer, context: &self.context, offer: &self.offer, segment: Some(segment) }
    }
}

/// How the values of a row are chosen.
#[derive(Clone, Copy)]
enum Sort {
    Defaults,
    Least,
    Greatest,
    /// Each value independently: sometimes the minimum, the maximum or the default, mostly any value of the range.
    Mixed,
}

/// Draws [`ROWS`] rows: one each of all defaults, all minima and all maxima, then mixtures. `segments` is the number
/// of segments.
pub(super) fn generate(schema: &FeatureSchema, segments: Option<usize>) -> Vec<Generated<'_>> {
    let mut random = Chance(SplitMix64::seed_from_u64(20_270_215));
    let segments = segments.unwrap_or(SEGMENTS).max(1);
    (0..ROWS)
        .map(|at| {
            let sort = match at {
                0 => Sort::Defaults,
                1 => Sort::Least,
                2 => Sort::Greatest,
                _ => Sort::Mixed,
            };
            let mut draw = |entity| {
                schema.of(entity).iter().map(|feature| random.value(feature, sort)).collect::<Vec<_>>()
            };
            let whole = Values {
                customer: draw(Entity::Customer),
                context: draw(Entity::Context),
                offer: draw(Entity::Offer),
            };
            // Half of the mixtures have gaps, and the first row has nothing but defaults.
            let share = match sort {
                Sort::Defaults => 1.0,
                Sort::Mixed if at % 2 == 0 => 0.3,
                Sort::Mixed | Sort::Least | Sort::Greatest => 0.0,
            };
            let gapped = Values {
                customer: random.gaps(schema.of(Entity::Customer), &whole.customer, share),
                context: random.gaps(schema.of(Entity::Context), &whole.context, share),
                offer: random.gaps(schema.of(Entity::Offer), &whole.offer, share),
            };
            let id = (random.next() % segments as u64) as i64;
            Generated { whole, gapped, segment: SegmentRef { id, name: "" } }
        })
        .collect()
}

struct Chance(SplitMix64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform number in 0..1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn gaps<'a>(&mut self, features: &[Feature], values: &[ValueRef<'a>], share: f64) -> Vec<ValueRef<'a>> {
        let pairs = features.iter().zip(values);
        pairs
            .map(|(feature, value)| {
                let missing = self.share() < share && feature.default.is_none();
                if missing { ValueRef::Missing } else { *value }
            })
            .collect()
    }

    fn value<'a>(&mut self, feature: &'a Feature, sort: Sort) -> ValueRef<'a> {
        // Always drawn, so that an added feature does not change the values of the others.
        let (which, share) = (self.share(), self.share());
        let sort = match sort {
            Sort::Mixed if which < 0.1 => Sort::Least,
            Sort::Mixed if which < 0.2 => Sort::Greatest,
            Sort::Mixed if which < 0.3 => Sort::Defaults,
            Sort::Mixed | Sort::Defaults | Sort::Least | Sort::Greatest => sort,
        };
        if let (Sort::Defaults, Some(default)) = (sort, &feature.default) {
            return default.as_ref();
        }
        match feature.feature_type {
            FeatureType::Float => ValueRef::Float(number(feature.range, sort, share) as f32),
            FeatureType::Int => ValueRef::Int(whole_number(feature.range, sort, share)),
            FeatureType::Bool => ValueRef::Bool(match sort {
                Sort::Least => false,
                Sort::Greatest => true,
                Sort::Defaults | Sort::Mixed => share < 0.5,
            }),
            FeatureType::String if !feature.values.is_empty() => {
                let last = feature.values.len() - 1;
                let at = match sort {
                    Sort::Least => 0,
                    Sort::Greatest => last,
                    Sort::Defaults | Sort::Mixed => {
                        ((share * feature.values.len() as f64) as usize).min(last)
                    }
                };
                ValueRef::String(&feature.values[at])
            }
            FeatureType::String => match (sort, &feature.default) {
                (Sort::Least, _) => ValueRef::String(""),
                (Sort::Mixed, Some(default)) if share < 0.5 => default.as_ref(),
                _ => ValueRef::String(UNSEEN_TEXT),
            },
        }
    }
}

fn number(range: Option<(f64, f64)>, sort: Sort, share: f64) -> f64 {
    match (range, sort) {
        (Some((least, _)), Sort::Least) => least,
        (Some((_, greatest)), Sort::Greatest) => greatest,
        (Some((least, greatest)), Sort::Defaults | Sort::Mixed) => least + (greatest - least) * share,
        (None, Sort::Least) => -UNBOUNDED,
        (None, Sort::Greatest) => UNBOUNDED,
        // Every order of magnitude from a thousandth on, and either sign.
        (None, Sort::Defaults | Sort::Mixed) => {
            let exponent = (2.0 * share - 1.0) * 9.0;
            exponent.signum() * 10_f64.powf(exponent.abs() - 3.0)
        }
    }
}

fn whole_number(range: Option<(f64, f64)>, sort: Sort, share: f64) -> i64 {
    // Only the integers of the range count; a range without any has only its ends.
    let range = range.map(|(least, greatest)| match (least.ceil(), greatest.floor()) {
        (least, greatest) if least <= greatest => (least, greatest),
        (least, _) => (least, least),
    });
    match (range, sort) {
        (Some((least, greatest)), Sort::Defaults | Sort::Mixed) => {
            (least + ((greatest - least + 1.0) * share).floor()).min(greatest) as i64
        }
        _ => number(range, sort, share).round() as i64,
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
default = 10.0
range = [0.0, 100.0]
[[feature]]
name = "age"
type = "int"
entity = "customer"
range = [18, 20]
[[feature]]
name = "anything"
type = "float"
entity = "customer"
[[feature]]
name = "digital"
type = "bool"
entity = "context"
[[feature]]
name = "page"
type = "string"
entity = "context"
default = "home"
[[feature]]
name = "fee"
type = "float"
entity = "offer"
range = [0.0, 9.0]
default = 1.0
"#;

    #[test]
    fn rows_are_of_the_schema_and_reach_its_extremes() {
        let schema = FeatureSchema::parse("features.toml", FEATURES).unwrap();
        let rows = generate(&schema, Some(3));
        assert_eq!(rows.len(), ROWS);
        let mut seen = std::collections::BTreeSet::new();
        for row in rows.iter().map(Generated::whole) {
            let [ValueRef::Float(balance), ValueRef::Int(age), ValueRef::Float(anything)] = row.customer
            else {
                panic!("{row:?}");
            };
            assert!((0.0..=100.0).contains(balance) && (18..=20).contains(age) && anything.abs() <= 1e6);
            let [ValueRef::Bool(_), ValueRef::String(page)] = row.context else { panic!("{row:?}") };
            seen.extend([format!("age {age}"), format!("page {page:?}"), format!("balance {balance}")]);
            seen.insert(format!("segment {}", row.segment.unwrap().id));
        }
        for expected in [
            "age 18",
            "age 19",
            "age 20",
            "page \"\"",
            "page \"home\"",
            "page \"never seen before\"",
            "balance 0",
            "balance 100",
            "balance 10",
            "segment 0",
            "segment 1",
            "segment 2",
        ] {
            assert!(seen.contains(expected), "{expected} never came");
        }
        assert!(!seen.contains("segment 3"));
    }

    #[test]
    fn texts_are_drawn_from_those_that_the_schema_lists() {
        let listed = FEATURES
            .replace("default = \"home\"", "default = \"home\"\nvalues = [\"home\", \"cards\", \"travel\"]");
        let schema = FeatureSchema::parse("features.toml", &listed).unwrap();
        let rows = generate(&schema, None);
        let text = |row: Row<'_>| match row.context {
            [_, ValueRef::String(page)] => (*page).to_owned(),
            other => panic!("{other:?}"),
        };
        let drawn: std::collections::BTreeSet<String> = rows.iter().map(|row| text(row.whole())).collect();
        assert_eq!(drawn.iter().map(String::as_str).collect::<Vec<_>>(), ["cards", "home", "travel"]);
    }

    #[test]
    fn only_values_without_a_default_are_left_out() {
        let schema = FeatureSchema::parse("features.toml", FEATURES).unwrap();
        let rows = generate(&schema, None);
        let missing = |entity: fn(&Row<'_>) -> usize| {
            rows.iter().map(Generated::gapped).map(|row| entity(&row)).sum::<usize>()
        };
        let gaps = |values: &[ValueRef<'_>]| values.iter().filter(|value| value.is_missing()).count();
        assert!(gaps(rows[0].gapped().customer) == 2 && gaps(rows[1].gapped().customer) == 0);
        assert!(missing(|row| usize::from(row.customer[0].is_missing())) == 0);
        assert!(missing(|row| usize::from(row.customer[1].is_missing())) > 100);
        assert!(missing(|row| usize::from(row.offer[0].is_missing())) == 0);
    }

    #[test]
    fn the_same_schema_gives_the_same_rows() {
        let schema = FeatureSchema::parse("features.toml", FEATURES).unwrap();
        let shown = |rows: Vec<Generated<'_>>| {
            rows.iter().map(|row| format!("{:?}", row.gapped())).collect::<Vec<_>>()
        };
        assert_eq!(shown(generate(&schema, None)), shown(generate(&schema, None)));
    }
}
