//! A name and a sentence for each segment, from its distinguishing features.
//!
//! The scheme is independent of the domain: a level (`high`, `very low` …) before the words of a column's name.
//! A name has the most distinguishing features that do not repeat each other, as many as make the names differ.

use std::collections::BTreeMap;

use report::{capitalised, numbers};

use crate::report::words::words;
use crate::train::study::{FeatureProfile, PopulationProfile, SegmentProfile};

/// Features in a name, unless two segments need more to differ.
const NAMED: usize = 2;

/// Features in a sentence.
const DESCRIBED: usize = 3;

/// A feature with a greater correlation with a named one is redundant.
const REDUNDANT: f64 = 0.65;

/// Smaller standardised differences are not mentioned: a small effect of Cohen (1988).
const SMALL: f64 = 0.2;

/// From this difference on, a feature is `high` or `low`: a medium effect of Cohen (1988).
const MEDIUM: f64 = 0.5;

/// From this difference on, a feature is `very high` or `very low`.
///
/// Cohen calls 0.8 large, but clustering makes segments differ, so most would exceed it.
const VERY: f64 = 2.0;

/// Smaller differences of the raw mean, in standard deviations, are negligible.
const NEGLIGIBLE: f64 = 0.1;

/// The words for a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// Unique among the segments.
    pub(super) name: String,
    /// One sentence, with figures in the units of the raw values.
    pub(super) description: String,
}

/// Names the segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namer<'p> {
    pub(super) features: &'p [PopulationProfile],
    /// Whether a feature is yes or no, so that its mean is a share.
    pub(super) yes_no: &'p [bool],
    /// Features × features.
    pub(super) correlation: &'p [Vec<f64>],
}

impl Namer<'_> {
    /// A name and a sentence for each segment, in order.
    pub(super) fn propose(&self, segments: &[SegmentProfile]) -> Vec<Named> {
        let features: Vec<Vec<usize>> =
            segments.iter().map(|segment| self.worth_mentioning(segment)).collect();
        let names = self.unique_names(segments, &features);
        let described =
            segments.iter().zip(&features).map(|(segment, features)| self.describe(segment, features));
        names.into_iter().zip(described).map(|(name, description)| Named { name, description }).collect()
    }

    /// The features worth mentioning, the most distinguishing first and redundant ones last.
    fn worth_mentioning(&self, segment: &SegmentProfile) -> Vec<usize> {
        let mut distinct: Vec<usize> = Vec::new();
        let mut redundant = Vec::new();
        for feature in super::by_difference(&segment.features) {
            if segment.features[feature].difference.abs() < SMALL {
                break;
            }
            let repeats = distinct.iter().any(|named| self.is_redundant(feature, *named));
            if repeats { &mut redundant } else { &mut distinct }.push(feature);
        }
        distinct.extend(redundant);
        distinct
    }

    /// Whether two features mean much the same: they correlate, or the words of one are among those of the other.
    fn is_redundant(&self, one: usize, other: usize) -> bool {
        if self.correlation[one][other].abs() > REDUNDANT {
            return true;
        }
        let (one, other) = (words(&self.features[one].name), words(&self.features[other].name));
        let split = |words: &str| words.split([' ', ':']).map(str::to_owned).collect::<Vec<String>>();
        let (one, other) = (split(&one), split(&other));
        let within = |few: &[String], many: &[String]| few.iter().all(|word| many.contains(word));
        within(&one, &other) || within(&other, &one)
    }

    /// Names with as few features as make them differ, and a number if all features do not.
    fn unique_names(&self, segments: &[SegmentProfile], features: &[Vec<usize>]) -> Vec<String> {
        let mut used = vec![NAMED; segments.len()];
        let name = |id: usize, used: usize| {
            let features = &features[id][..used.min(features[id].len())];
            self.name(&segments[id].features, features)
        };
        let mut names: Vec<String> = (0..segments.len()).map(|id| name(id, used[id])).collect();
        loop {
            let duplicates = duplicates(&names);
            let may_grow: Vec<usize> =
                duplicates.into_iter().filter(|id| used[*id] < features[*id].len()).collect();
            if may_grow.is_empty() {
                break;
            }
            for id in may_grow {
                used[id] += 1;
                names[id] = name(id, used[id]);
            }
        }
        // The first keeps the name, later ones are numbered.
        while let Some(first) = duplicates(&names).first().copied() {
            let same: Vec<usize> = (0..names.len()).filter(|id| names[*id] == names[first]).collect();
            for (number, id) in (1..).zip(same).skip(1) {
                names[id] = format!("{} ({number})", names[id]);
            }
        }
        names
    }

    /// `High cash advance, low purchases`. Adjacent features of one level share the word.
    fn name(&self, profile: &[FeatureProfile], features: &[usize]) -> String {
        let mut parts: Vec<(&str, Vec<String>)> = Vec::new();
        for feature in features {
            let level = self.level(*feature, profile[*feature].difference);
            let words = words(&self.features[*feature].name);
            match parts.last_mut() {
                Some((last, together)) if *last == level => together.push(words),
                _ => parts.push((level, vec![words])),
            }
        }
        if parts.is_empty() {
            return "Near the average".to_owned();
        }
        let parts: Vec<String> =
            parts.iter().map(|(level, words)| format!("{level} {}", list(words))).collect();
        capitalised(&parts.join(", "))
    }

    fn level(&self, feature: usize, difference: f64) -> &'static str {
        let (high, size) = (difference > 0.0, difference.abs());
        if self.yes_no[feature] {
            return match (high, size >= MEDIUM) {
                (true, true) => "more often",
                (true, false) => "slightly more often",
                (false, true) => "less often",
                (false, false) => "slightly less often",
            };
        }
        match (high, size >= VERY, size >= MEDIUM) {
            (true, true, _) => "very high",
            (true, false, true) => "high",
            (true, false, false) => "above-average",
            (false, true, _) => "very low",
            (false, false, true) => "low",
            (false, false, false) => "below-average",
        }
    }

    /// One sentence: the most distinguishing features, in the segment and over all customers.
    fn describe(&self, segment: &SegmentProfile, features: &[usize]) -> String {
        let figures =
            features.iter().filter_map(|feature| self.figure(*feature, &segment.features[*feature]));
        let figures: Vec<(String, String)> = figures.take(DESCRIBED).collect();
        let parts: Vec<String> = figures
            .iter()
            .enumerate()
            .map(|(place, (here, all))| match place {
                0 => format!("{here} (all customers: {all})"),
                _ => format!("{here} ({all})"),
            })
            .collect();
        if parts.is_empty() {
            return "Near the average of all customers in every feature.".to_owned();
        }
        capitalised(&format!("{}.", list(&parts)))
    }

    /// `average purchases 28` and `1,003`: in the segment and over all customers.
    ///
    /// The mean if it is above or below that of all customers as the difference is, and not negligibly.
    /// Otherwise the median, whose order a logarithm keeps. `None` if neither agrees with the difference.
    fn figure(&self, feature: usize, profile: &FeatureProfile) -> Option<(String, String)> {
        let population = &self.features[feature];
        let agrees = |here: f64, all: f64| (here - all) * profile.difference > 0.0;
        let words = words(&population.name);
        if self.yes_no[feature] {
            return Some((
                format!("{} {words}", numbers::share(profile.mean)),
                numbers::share(population.mean),
            ));
        }
        let mean = || {
            let here = numbers::short(profile.mean);
            (format!("average {words} {here}"), numbers::short(population.mean))
        };
        let median = || {
            let here = numbers::short(profile.median);
            (format!("median {words} {here}"), numbers::short(population.median))
        };
        let mean_differs = (profile.mean - population.mean).abs() >= NEGLIGIBLE * population.deviation;
        match (agrees(profile.mean, population.mean), agrees(profile.median, population.median)) {
            (true, median_agrees) if mean_differs || !median_agrees => Some(mean()),
            (_, true) => Some(median()),
            (_, false) => None,
        }
    }
}

/// The ids whose name occurs more than once, ascending.
fn duplicates(names: &[String]) -> Vec<usize> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *seen.entry(name).or_default() += 1;
    }
    (0..names.len()).filter(|id| seen[&*names[*id]] > 1).collect()
}

/// `a`, `a and b`, `a, b and c`.
fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population(names: &[&str]) -> Vec<PopulationProfile> {
        let feature = |name: &&str| PopulationProfile {
            name: (*name).to_owned(),
            mean: 100.0,
            median: 80.0,
            deviation: 10.0,
            explained: 0.5,
        };
        names.iter().map(feature).collect()
    }

    fn segment(id: u32, differences: &[f64]) -> SegmentProfile {
        let feature = |difference: &f64| FeatureProfile {
            mean: 100.0 + 10.0 * difference,
            median: 80.0 + 10.0 * difference,
            z: *difference,
            lift: None,
            difference: *difference,
        };
        SegmentProfile {
            id,
            name: String::new(),
            proposed: String::new(),
            description: String::new(),
            size: 1_954,
            share: 0.218,
            silhouette: 0.0,
            jaccard: 1.0,
            features: differences.iter().map(feature).collect(),
            distinguishing: Vec::new(),
            nearest: Vec::new(),
            offers: Vec::new(),
        }
    }

    fn propose(names: &[&str], segments: &[&[f64]]) -> Vec<Named> {
        let width = names.len();
        let correlation: Vec<Vec<f64>> = (0..width)
            .map(|one| (0..width).map(|other| f64::from(u8::from(one == other))).collect())
            .collect();
        let segments: Vec<SegmentProfile> = (0..).zip(segments).map(|(id, d)| segment(id, d)).collect();
        let (features, yes_no) = (population(names), vec![false; width]);
        Namer { features: &features, yes_no: &yes_no, correlation: &correlation }.propose(&segments)
    }

    #[test]
    fn a_name_has_the_two_most_distinguishing_features() {
        let names =
            propose(&["PURCHASES", "CASH_ADVANCE", "TENURE"], &[&[-0.9, 2.4, 0.3], &[0.9, 0.7, -0.3]]);
        assert_eq!(names[0].name, "Very high cash advance, low purchases");
        assert_eq!(names[1].name, "High purchases and cash advance");
        assert_eq!(
            names[0].description,
            "Average cash advance 124 (all customers: 100), average purchases 91 (100) and average tenure 103 (100)."
        );
    }

    #[test]
    fn names_grow_until_they_differ_and_are_numbered_where_they_cannot() {
        let names = propose(&["a", "b", "c"], &[&[0.9, 0.8, 0.7], &[0.9, 0.8, -0.7], &[0.9, 0.8, 0.7]]);
        let names: Vec<&str> = names.iter().map(|named| named.name.as_str()).collect();
        assert_eq!(names, ["High a, b and c", "High a and b, low c", "High a, b and c (2)"]);
    }

    #[test]
    fn an_average_segment_is_described_as_such() {
        let named = &propose(&["a"], &[&[0.1]])[0];
        assert_eq!(named.name, "Near the average");
        assert_eq!(named.description, "Near the average of all customers in every feature.");
    }

    #[test]
    fn a_redundant_feature_is_not_named() {
        let correlation = vec![vec![1.0, 0.9, 0.1], vec![0.9, 1.0, 0.1], vec![0.1, 0.1, 1.0]];
        let (features, yes_no) = (population(&["purchases", "one off", "married"]), [false, false, true]);
        let namer = Namer { features: &features, yes_no: &yes_no, correlation: &correlation };
        let named = &namer.propose(&[segment(0, &[1.5, 1.4, 0.9])])[0];
        assert_eq!(named.name, "High purchases, more often married");
    }

    #[test]
    fn shares_are_those_of_a_text_feature() {
        let (mut features, correlation) = (population(&["contact=cellular"]), vec![vec![1.0]]);
        features[0].mean = 0.64;
        let namer = Namer { features: &features, yes_no: &[true], correlation: &correlation };
        let mut segment = segment(0, &[-0.9]);
        segment.features[0].mean = 0.35;
        let named = &namer.propose(&[segment])[0];
        assert_eq!(named.name, "Less often contact: cellular");
        assert_eq!(named.description, "35.0 % contact: cellular (all customers: 64.0 %).");
    }

    #[test]
    fn a_feature_whose_words_another_contains_is_not_named() {
        let names = propose(&["CASH_ADVANCE_TRX", "CASH_ADVANCE", "LIMIT"], &[&[1.5, 1.4, -0.9]]);
        assert_eq!(names[0].name, "High cash advance trx, low limit");
    }

    #[test]
    fn the_median_replaces_a_mean_that_a_few_large_values_distort() {
        let correlation = vec![vec![1.0]];
        let (features, yes_no) = (population(&["balance"]), [false]);
        let namer = Namer { features: &features, yes_no: &yes_no, correlation: &correlation };
        let mut distorted = segment(0, &[0.9]);
        distorted.features[0].mean = 95.0;
        let described = namer.propose(&[distorted.clone()]).remove(0).description;
        assert_eq!(described, "Median balance 89 (all customers: 80).");
        distorted.features[0].median = 70.0;
        let described = namer.propose(&[distorted]).remove(0).description;
        assert_eq!(described, "Near the average of all customers in every feature.");
    }
}
