//! Which number of segments to choose, and why, in words.

use std::fmt::Write as _;

use crate::train::outliers::are_outliers;
use crate::train::study::{Candidate, Choice, SMALLEST_SHARE, STABLE_JACCARD};
use document::plural;

/// Whether every segment is found again and none is too small.
pub(super) fn is_stable(candidate: &Candidate) -> bool {
    candidate.stability.least() >= STABLE_JACCARD
        && candidate.smallest_share >= SMALLEST_SHARE
        && !has_outlier_segment(candidate)
}

/// Whether the smallest segment is only a few customers far from all others.
fn has_outlier_segment(candidate: &Candidate) -> bool {
    let customers: u64 = candidate.sizes.iter().sum();
    candidate.sizes.last().is_some_and(|smallest| are_outliers(*smallest, customers, candidate.k))
}

/// The stable candidate with the best silhouette; of equal ones, that with the fewest segments.
///
/// A single segment is always stable and useless, so it is never recommended.
pub(super) fn recommended<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Option<&'a Candidate> {
    candidates
        .filter(|candidate| candidate.stable && candidate.k > 1)
        .reduce(|best, candidate| if candidate.silhouette > best.silhouette { candidate } else { best })
}

/// Makes the choice.
///
/// `candidates`: ascending. `tried`: the numbers of the range, which may be recommended.
/// `by_hand`: the requested number, one of the candidates.
/// `chosen` is 0 if no number is stable and none was requested.
pub(super) fn choice(
    candidates: Vec<Candidate>,
    tried: &[usize],
    knee: Option<u64>,
    by_hand: Option<usize>,
) -> Choice {
    let in_range = || candidates.iter().filter(|candidate| tried.contains(&(candidate.k as usize)));
    let recommended = recommended(in_range());
    let requested = by_hand.and_then(|k| candidates.iter().find(|candidate| candidate.k == k as u64));
    let reason = match (requested, recommended) {
        (Some(requested), recommended) => reason_by_hand(requested, recommended, tried),
        (None, Some(recommended)) => reason_recommended(recommended, in_range()),
        (None, None) => reason_none(in_range(), tried),
    };
    Choice {
        knee,
        recommended: recommended.map(|candidate| candidate.k),
        chosen: requested.or(recommended).map_or(0, |candidate| candidate.k),
        by_hand: requested.is_some(),
        reason,
        candidates,
    }
}

fn reason_recommended<'a>(chosen: &Candidate, candidates: impl Iterator<Item = &'a Candidate>) -> String {
    let others = candidates.filter(|candidate| candidate.k != chosen.k);
    let (stable, failing): (Vec<&Candidate>, Vec<&Candidate>) =
        others.partition(|candidate| candidate.stable);
    let (k, evidence, silhouette) = (plural(chosen.k, "segment"), evidence(chosen), chosen.silhouette);
    let mut reason = format!("{k}: {evidence}.");
    if stable.is_empty() {
        let _ = write!(reason, " No other number is stable. The silhouette is {silhouette:.3}.");
    } else {
        let _ = write!(reason, " The silhouette, {silhouette:.3}, is the best of the stable numbers.");
        let each = stable.iter().map(|other| format!("{} (silhouette {:.3})", other.k, other.silhouette));
        let _ = write!(reason, " Also stable: {}.", each.collect::<Vec<_>>().join(", "));
    }
    if !failing.is_empty() {
        let each = failing.iter().map(|other| format!("{} ({})", other.k, shortcoming(other)));
        let _ = write!(reason, " Not stable: {}.", each.collect::<Vec<_>>().join(", "));
    }
    reason
}

fn reason_by_hand(requested: &Candidate, recommended: Option<&Candidate>, tried: &[usize]) -> String {
    let k = format!("{}, as requested", plural(requested.k, "segment"));
    let mut reason = if requested.stable {
        format!("{k}: {}. The silhouette is {:.3}.", evidence(requested), requested.silhouette)
    } else {
        format!("{k}, although this is not stable: {}.", shortcoming(requested))
    };
    match recommended {
        Some(same) if same.k == requested.k => reason.push_str(" This is the recommended number."),
        Some(other) => {
            let (k, evidence, silhouette) = (other.k, evidence(other), other.silhouette);
            let _ = write!(
                reason,
                " The recommended number is {k}: {evidence}. Its silhouette is {silhouette:.3}."
            );
        }
        None if tried.is_empty() => {}
        None => {
            let _ = write!(reason, " No number from {} is recommended.", range(tried));
        }
    }
    reason
}

fn reason_none<'a>(candidates: impl Iterator<Item = &'a Candidate>, tried: &[usize]) -> String {
    let each: Vec<String> = candidates.map(|other| format!("{} ({})", other.k, shortcoming(other))).collect();
    format!("no number of segments from {} is stable: {}; choose one with --k", range(tried), each.join(", "))
}

fn range(tried: &[usize]) -> String {
    let end = |end: Option<&usize>| end.copied().unwrap_or_default();
    format!("{} to {}", end(tried.first()), end(tried.last()))
}

/// Why a candidate is stable.
fn evidence(candidate: &Candidate) -> String {
    let least = candidate.stability.least();
    let at_least = if least >= 1.0 - CUT { "" } else { "at least " };
    let (least, share) = (hundredths(least), candidate.smallest());
    format!(
        "each is found again in resamples (Jaccard {at_least}{least}), and the smallest has {share} of the customers"
    )
}

/// Why a candidate is not stable.
fn shortcoming(candidate: &Candidate) -> String {
    let lost = candidate.stability.jaccard.iter().filter(|jaccard| **jaccard < STABLE_JACCARD).count();
    let mut found = Vec::new();
    if lost > 0 {
        let least = hundredths(candidate.stability.least());
        found.push(format!("{} not found again, Jaccard {least}", plural(lost, "segment")));
    }
    if has_outlier_segment(candidate) {
        let smallest = candidate.sizes.last().copied().unwrap_or_default();
        found.push(format!("the smallest has {}", plural(smallest, "customer")));
    } else if candidate.smallest_share < SMALLEST_SHARE {
        found.push(format!("the smallest has {}", candidate.smallest()));
    }
    found.join("; ")
}

/// Two decimals, rounded down: 0.748 must not read as the limit of 0.75.
fn hundredths(value: f64) -> String {
    format!("{:.2}", (value * 100.0 + CUT).floor() / 100.0)
}

/// Keeps 0.29, which is 28.999… hundredths in binary, from being rounded down to 0.28.
const CUT: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::train::study::Stability;

    fn candidate(k: u64, silhouette: f64, least: f64, share: f64) -> Candidate {
        let mut jaccard = vec![0.99; k as usize];
        jaccard[0] = least;
        let candidate = Candidate {
            k,
            inertia: 1000.0 / k as f64,
            silhouette,
            silhouette_error: None,
            calinski_harabasz: 1.0,
            davies_bouldin: 1.0,
            gap: None,
            sizes: Vec::new(),
            smallest_share: share,
            stability: Stability { resamples: 20, ari: 0.9, jaccard },
            stable: false,
        };
        Candidate { stable: is_stable(&candidate), ..candidate }
    }

    fn some_stable() -> Vec<Candidate> {
        vec![
            candidate(5, 0.2183, 0.7481, 0.156),
            candidate(6, 0.2172, 0.945, 0.08),
            candidate(7, 0.211, 0.9, 0.02),
            candidate(8, 0.230, 0.58, 0.0199),
        ]
    }

    #[test]
    fn the_stable_number_with_the_best_silhouette_is_chosen() {
        let choice = choice(some_stable(), &[5, 6, 7, 8], Some(6), None);
        assert_eq!((choice.recommended, choice.chosen, choice.by_hand), (Some(6), 6, false));
        assert_eq!(
            choice.reason,
            "6 segments: each is found again in resamples (Jaccard at least 0.94), and the smallest has 8.0 % of the \
             customers. The silhouette, 0.217, is the best of the stable numbers. Also stable: 7 (silhouette 0.211). \
             Not stable: 5 (1 segment not found again, Jaccard 0.74), 8 (1 segment not found again, Jaccard 0.58; the \
             smallest has 1.99 %)."
        );
    }

    #[test]
    fn the_reason_compares_a_requested_number_with_the_recommended_one() {
        let stable = choice(some_stable(), &[5, 6, 7, 8], None, Some(7));
        assert_eq!((stable.recommended, stable.chosen, stable.by_hand), (Some(6), 7, true));
        assert_eq!(
            stable.reason,
            "7 segments, as requested: each is found again in resamples (Jaccard at least 0.90), and the smallest has \
             2.0 % of the customers. The silhouette is 0.211. The recommended number is 6: each is found again in \
             resamples (Jaccard at least 0.94), and the smallest has 8.0 % of the customers. Its silhouette is 0.217."
        );
        let unstable = choice(some_stable(), &[5, 6, 7, 8], None, Some(5));
        assert!(
            unstable
                .reason
                .starts_with("5 segments, as requested, although this is not stable: 1 segment not")
        );
        let same = choice(some_stable(), &[5, 6, 7, 8], None, Some(6));
        assert!(same.reason.ends_with(" This is the recommended number."), "{}", same.reason);
    }

    #[test]
    fn a_number_outside_of_the_range_is_never_recommended() {
        let choice = choice(some_stable(), &[7, 8], None, Some(6));
        assert_eq!((choice.recommended, choice.chosen), (Some(7), 6));
    }

    #[test]
    fn without_a_stable_number_the_reason_says_why_and_what_to_do() {
        let choice =
            choice(vec![candidate(3, 0.3, 0.5, 0.1), candidate(4, 0.2, 0.9, 0.01)], &[3, 4], None, None);
        assert_eq!((choice.recommended, choice.chosen), (None, 0));
        assert_eq!(
            choice.reason,
            "no number of segments from 3 to 4 is stable: 3 (1 segment not found again, Jaccard 0.50), 4 (the smallest \
             has 1.0 %); choose one with --k"
        );
    }

    #[test]
    fn the_reason_names_the_only_stable_number_as_such() {
        let choice =
            choice(vec![candidate(3, 0.3, 0.8, 0.1), candidate(4, 0.4, 0.1, 0.1)], &[3, 4], None, None);
        assert!(
            choice.reason.contains("No other number is stable. The silhouette is 0.300."),
            "{}",
            choice.reason
        );
    }

    #[test]
    fn one_segment_is_not_recommended() {
        assert_eq!(recommended([candidate(1, 0.0, 1.0, 1.0)].iter()), None);
    }

    #[test]
    fn equal_silhouettes_give_the_fewest_segments() {
        let candidates = [candidate(4, 0.25, 0.9, 0.1), candidate(6, 0.25, 0.9, 0.1)];
        assert_eq!(recommended(candidates.iter()).unwrap().k, 4);
    }

    proptest! {
        #[test]
        fn a_value_below_its_limit_never_reads_as_the_limit(jaccard in 0.0..STABLE_JACCARD, share in 0.0..SMALLEST_SHARE) {
            prop_assert!(hundredths(jaccard).parse::<f64>().unwrap() < STABLE_JACCARD || STABLE_JACCARD - jaccard < CUT);
            let shown = candidate(3, 0.2, 0.9, share).smallest();
            let number = shown.trim_start_matches("< ").trim_end_matches(" %").parse::<f64>().unwrap();
            prop_assert!(number < SMALLEST_SHARE * 100.0 || SMALLEST_SHARE - share < CUT);
        }

        #[test]
        fn the_recommended_number_is_stable(
            found in proptest::collection::vec((-1.0_f64..1.0, 0.5_f64..1.0, 0.0_f64..0.1), 1..10),
        ) {
            let each = found.iter().enumerate();
            let candidates: Vec<Candidate> = each
                .map(|(position, (silhouette, least, share))| {
                    candidate(position as u64 + 3, *silhouette, *least, *share)
                })
                .collect();
            match recommended(candidates.iter()) {
                None => prop_assert!(candidates.iter().all(|candidate| !candidate.stable)),
                Some(best) => {
                    prop_assert!(best.stable);
                    let stable = candidates.iter().filter(|candidate| candidate.stable);
                    prop_assert!(stable.map(|candidate| candidate.silhouette).all(|other| other <= best.silhouette));
                }
            }
        }
    }
}
