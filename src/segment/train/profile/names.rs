//! A name and a sentence for each segment, from what sets it apart.
//!
//! The scheme knows no domain: a level (`high`, `very low` …) before the words of a column's name. The most telling
//! features are named that do not repeat each other; as many as it takes to tell the segments apart.

use std::collections::BTreeMap;

use crate::segment::report::numbers;
use crate::segment::report::words::{capitalised, words};
use crate::segment::train::study::{FeatureProfile, PopulationProfile, SegmentProfile};

/// Features in a name, unless more are needed to tell two segments apart.
const NAMED: usize = 2;

/// Features in a sentence.
const DESCRIBED: usize = 3;

/// A feature that correlates more than this with one that was named says the same again.
const REPEATS: f64 = 0.65;

/// Standardised differences below this are not spoken of. Source: Cohen (1988) calls 0.2 a small effect …
const SPOKEN: f64 = 0.2;

/// … 0.5 a middling one; from here on a feature is `high` or `low` …
const PLAIN: f64 = 0.5;

/// … and 0.8 a large one. Segments are made to differ, so `very` is kept for two whole deviations.
const VERY: f64 = 2.0;

/// A mean that differs by less than this many standard deviations of the raw values tells nothing.
const TELLING: f64 = 0.1;

/// What the segments were found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// Unique among the segments.
    pub(super) name: String,
    /// One sentence, with figures in the unit of the raw values.
    pub(super) description: String,
}

/// Finds the names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namer<'p> {
    /// The features in order.
    pub(super) features: &'p [PopulationProfile],
    /// Whether a feature says yes or no: its mean is a share.
    pub(super) yes_no: &'p [bool],
    /// Features × features.
    pub(super) correlation: &'p [Vec<f64>],
}

impl Namer<'_> {
    /// A name and a sentence for each segment, in order.
    pub(super) fn propose(&self, segments: &[SegmentProfile]) -> Vec<Named> {
        let telling: Vec<Vec<usize>> = segments.iter().map(|segment| self.telling(segment)).collect();
        let names = self.unique_names(segments, &telling);
        let described =
            segments.iter().zip(&telling).map(|(segment, telling)| self.describe(segment, telling));
        names.into_iter().zip(described).map(|(name, description)| Named { name, description }).collect()
    }

    /// Features worth a word, the most telling first; those that repeat an earlier one come after all others.
    fn telling(&self, segment: &SegmentProfile) -> Vec<usize> {
        let mut fresh: Vec<usize> = Vec::new();
        let mut repeating = Vec::new();
        for feature in super::apart(&segment.features) {
            if segment.features[feature].difference.abs() < SPOKEN {
                break;
            }
            let repeats = fresh.iter().any(|named| self.repeats(feature, *named));
            if repeats { &mut repeating } else { &mut fresh }.push(feature);
        }
        fresh.extend(repeating);
        fresh
    }

    /// Whether two features say much the same: they correlate, or the words of one are among those of the other.
    fn repeats(&self, one: usize, other: usize) -> bool {
        if self.correlation[one][other].abs() > REPEATS {
            return true;
        }
        let (one, other) = (words(&self.features[one].name), words(&self.features[other].name));
        let within =
            |few: &str, many: &str| few.split(' ').all(|word| many.split(' ').any(|found| found == word));
        within(&one, &other) || within(&other, &one)
    }

    /// Names of as few features as keep them apart; a number where all features do not.
    fn unique_names(&self, segments: &[SegmentProfile], telling: &[Vec<usize>]) -> Vec<String> {
        let mut used = vec![NAMED; segments.len()];
        let name = |id: usize, used: usize| {
            let features = &telling[id][..used.min(telling[id].len())];
            self.name(&segments[id].features, features)
        };
        let mut names: Vec<String> = (0..segments.len()).map(|id| name(id, used[id])).collect();
        loop {
            let twins = twins(&names);
            let may_grow: Vec<usize> =
                twins.into_iter().filter(|id| used[*id] < telling[*id].len()).collect();
            if may_grow.is_empty() {
                break;
            }
            for id in may_grow {
                used[id] += 1;
                names[id] = name(id, used[id]);
            }
        }
        // Later twins are numbered; the first keeps the name.
        while let Some(first) = twins(&names).first().copied() {
            let alike: Vec<usize> = (0..names.len()).filter(|id| names[*id] == names[first]).collect();
            for (number, twin) in (1..).zip(alike).skip(1) {
                names[twin] = format!("{} ({number})", names[twin]);
            }
        }
        names
    }

    /// `High cash advance, low purchases`; features of one level that follow each other share it.
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
            return match (high, size >= PLAIN) {
                (true, true) => "often",
                (true, false) => "rather often",
                (false, true) => "seldom",
                (false, false) => "rather seldom",
            };
        }
        match (high, size >= VERY, size >= PLAIN) {
            (true, true, _) => "very high",
            (true, false, true) => "high",
            (true, false, false) => "rather high",
            (false, true, _) => "very low",
            (false, false, true) => "low",
            (false, false, false) => "rather low",
        }
    }

    /// One sentence: the most telling features, here and over all customers.
    fn describe(&self, segment: &SegmentProfile, telling: &[usize]) -> String {
        let figures = telling.iter().filter_map(|feature| self.figure(*feature, &segment.features[*feature]));
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
        format!("On average {}.", list(&parts))
    }

    /// `purchases 28` and `1,003`: here and over all customers. The mean where it points the same way as the difference
    /// does and tells, else the median, which a logarithm leaves in order; nothing where neither points that way.
    fn figure(&self, feature: usize, profile: &FeatureProfile) -> Option<(String, String)> {
        let population = &self.features[feature];
        let same_way = |here: f64, all: f64| (here - all) * profile.difference > 0.0;
        let words = words(&population.name);
        if self.yes_no[feature] {
            return Some((
                format!("{words} in {}", numbers::share(profile.mean)),
                numbers::share(population.mean),
            ));
        }
        let mean = || (format!("{words} {}", numbers::short(profile.mean)), numbers::short(population.mean));
        let median = || {
            let here = numbers::short(profile.median);
            (format!("{words} {here} in the median"), numbers::short(population.median))
        };
        let mean_tells = (profile.mean - population.mean).abs() >= TELLING * population.deviation;
        match (same_way(profile.mean, population.mean), same_way(profile.median, population.median)) {
            (true, median_agrees) if mean_tells || !median_agrees => Some(mean()),
            (_, true) => Some(median()),
            (_, false) => None,
        }
    }
}

/// The ids of those whose name another has too, ascending.
fn twins(names: &[String]) -> Vec<usize> {
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
    fn a_name_tells_the_two_features_that_tell_most() {
        let names =
            propose(&["PURCHASES", "CASH_ADVANCE", "TENURE"], &[&[-0.9, 2.4, 0.3], &[0.9, 0.7, -0.3]]);
        assert_eq!(names[0].name, "Very high cash advance, low purchases");
        assert_eq!(names[1].name, "High purchases and cash advance");
        assert_eq!(
            names[0].description,
            "On average cash advance 124 (all customers: 100), purchases 91 (100) and tenure 103 (100)."
        );
    }

    #[test]
    fn names_grow_until_they_differ_and_are_numbered_where_they_cannot() {
        let names = propose(&["a", "b", "c"], &[&[0.9, 0.8, 0.7], &[0.9, 0.8, -0.7], &[0.9, 0.8, 0.7]]);
        let names: Vec<&str> = names.iter().map(|named| named.name.as_str()).collect();
        assert_eq!(names, ["High a, b and c", "High a and b, low c", "High a, b and c (2)"]);
    }

    #[test]
    fn a_segment_like_all_customers_says_so() {
        let named = &propose(&["a"], &[&[0.1]])[0];
        assert_eq!(named.name, "Near the average");
        assert_eq!(named.description, "Near the average of all customers in every feature.");
    }

    #[test]
    fn a_feature_that_repeats_another_is_not_named() {
        let correlation = vec![vec![1.0, 0.9, 0.1], vec![0.9, 1.0, 0.1], vec![0.1, 0.1, 1.0]];
        let (features, yes_no) = (population(&["purchases", "one off", "married"]), [false, false, true]);
        let namer = Namer { features: &features, yes_no: &yes_no, correlation: &correlation };
        let named = &namer.propose(&[segment(0, &[1.5, 1.4, 0.9])])[0];
        assert_eq!(named.name, "High purchases, often married");
    }

    #[test]
    fn a_feature_whose_words_are_among_those_of_another_is_not_named_beside_it() {
        let names = propose(&["CASH_ADVANCE_TRX", "CASH_ADVANCE", "LIMIT"], &[&[1.5, 1.4, -0.9]]);
        assert_eq!(names[0].name, "High cash advance trx, low limit");
    }

    #[test]
    fn a_mean_that_a_few_large_values_pull_the_other_way_gives_way_to_the_median() {
        let correlation = vec![vec![1.0]];
        let (features, yes_no) = (population(&["balance"]), [false]);
        let namer = Namer { features: &features, yes_no: &yes_no, correlation: &correlation };
        let mut pulled = segment(0, &[0.9]);
        pulled.features[0].mean = 95.0;
        let described = namer.propose(&[pulled.clone()]).remove(0).description;
        assert_eq!(described, "On average balance 89 in the median (all customers: 80).");
        pulled.features[0].median = 70.0;
        let described = namer.propose(&[pulled]).remove(0).description;
        assert_eq!(described, "Near the average of all customers in every feature.");
    }
}
