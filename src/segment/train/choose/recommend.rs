//! Which number of segments to take, and why, in words.

use std::fmt::Write as _;

use crate::segment::train::outliers::are_few;
use crate::segment::train::study::{Candidate, Choice};

/// A segment is found again if its mean Jaccard similarity over the resamples is at least this. Source: Hennig,
/// "Cluster-wise assessment of cluster stability" (2007): "a valid, stable cluster should yield a mean Jaccard
/// similarity value of 0.75 or more".
pub const LEAST_JACCARD: f64 = 0.75;

/// Of all customers, 0..=1: a smaller segment is not worth an offer of its own.
pub const LEAST_SHARE: f64 = 0.02;

/// Whether every segment is found again and none is too small.
pub(super) fn is_stable(candidate: &Candidate) -> bool {
    candidate.stability.least() >= LEAST_JACCARD
        && candidate.smallest_share >= LEAST_SHARE
        && !is_made_of_outliers(candidate)
}

/// Whether its smallest segment is no more than a few customers far from all others.
fn is_made_of_outliers(candidate: &Candidate) -> bool {
    let customers: u64 = candidate.sizes.iter().sum();
    candidate.sizes.last().is_some_and(|smallest| are_few(*smallest, customers, candidate.k))
}

/// The stable candidate of the best silhouette; of equal ones the fewest segments. One segment is always found again and
/// tells no customers apart: it is never recommended.
pub(super) fn recommended<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Option<&'a Candidate> {
    candidates
        .filter(|candidate| candidate.stable && candidate.k > 1)
        .reduce(|best, candidate| if candidate.silhouette > best.silhouette { candidate } else { best })
}

/// Makes the choice. `candidates`: ascending; `tried`: of those, the numbers of the range, for which a recommendation
/// is sought; `by_hand`: a person's number, one of the candidates. Nothing is chosen (0) where no number is stable and
/// no person named one: the reason then says so.
pub(super) fn choice(
    candidates: Vec<Candidate>,
    tried: &[usize],
    knee: Option<u64>,
    by_hand: Option<usize>,
) -> Choice {
    let in_range = || candidates.iter().filter(|candidate| tried.contains(&(candidate.k as usize)));
    let recommended = recommended(in_range());
    let named = by_hand.and_then(|k| candidates.iter().find(|candidate| candidate.k == k as u64));
    let reason = match (named, recommended) {
        (Some(named), recommended) => reason_by_hand(named, recommended, tried),
        (None, Some(recommended)) => reason_recommended(recommended, in_range()),
        (None, None) => reason_none(in_range(), tried),
    };
    Choice {
        knee,
        recommended: recommended.map(|candidate| candidate.k),
        chosen: named.or(recommended).map_or(0, |candidate| candidate.k),
        by_hand: named.is_some(),
        reason,
        candidates,
    }
}

fn reason_recommended<'a>(taken: &Candidate, candidates: impl Iterator<Item = &'a Candidate>) -> String {
    let others = candidates.filter(|candidate| candidate.k != taken.k);
    let (stable, failing): (Vec<&Candidate>, Vec<&Candidate>) =
        others.partition(|candidate| candidate.stable);
    let mut reason = format!("{}: {}", segments(taken.k), evidence(taken));
    if stable.is_empty() {
        let _ = write!(reason, ", and no other number is stable. Its silhouette is {:.3}.", taken.silhouette);
    } else {
        let _ =
            write!(reason, "; of the stable numbers it has the best silhouette, {:.3}.", taken.silhouette);
        let each = stable.iter().map(|other| format!("{} (silhouette {:.3})", other.k, other.silhouette));
        let _ = write!(reason, " Stable too: {}.", each.collect::<Vec<_>>().join(", "));
    }
    if !failing.is_empty() {
        let each = failing.iter().map(|other| format!("{} ({})", other.k, shortcoming(other)));
        let _ = write!(reason, " Not stable: {}.", each.collect::<Vec<_>>().join(", "));
    }
    reason
}

fn reason_by_hand(named: &Candidate, recommended: Option<&Candidate>, tried: &[usize]) -> String {
    let asked = format!("{}, as asked for", segments(named.k));
    let mut reason = if named.stable {
        format!("{asked}: {}, the silhouette is {:.3}.", evidence(named), named.silhouette)
    } else {
        format!("{asked}, although that is not stable: {}.", shortcoming(named))
    };
    match recommended {
        Some(same) if same.k == named.k => reason.push_str(" It is the recommended number."),
        Some(other) => {
            let (k, evidence, silhouette) = (other.k, evidence(other), other.silhouette);
            let _ =
                write!(reason, " Recommended would be {k}: {evidence}, the silhouette is {silhouette:.3}.");
        }
        None if tried.is_empty() => {}
        None => {
            let _ = write!(reason, " No number in {} is recommended.", range(tried));
        }
    }
    reason
}

fn reason_none<'a>(candidates: impl Iterator<Item = &'a Candidate>, tried: &[usize]) -> String {
    let each: Vec<String> = candidates.map(|other| format!("{} ({})", other.k, shortcoming(other))).collect();
    format!("no stable k in {}: {}; name one with --k", range(tried), each.join(", "))
}

fn segments(k: u64) -> String {
    if k == 1 { "1 segment".to_owned() } else { format!("{k} segments") }
}

fn range(tried: &[usize]) -> String {
    let end = |end: Option<&usize>| end.copied().unwrap_or_default();
    format!("{}..={}", end(tried.first()), end(tried.last()))
}

/// What speaks for a stable candidate.
fn evidence(candidate: &Candidate) -> String {
    let least = candidate.stability.least();
    let or_more = if least >= 1.0 - CUT { "" } else { " or more" };
    let (least, share) = (hundredths(least), candidate.smallest());
    format!("each is found again in resamples (Jaccard {least}{or_more}), the smallest holds {share}")
}

/// What speaks against a candidate that is not stable.
fn shortcoming(candidate: &Candidate) -> String {
    let lost = candidate.stability.jaccard.iter().filter(|jaccard| **jaccard < LEAST_JACCARD).count();
    let mut found = Vec::new();
    if lost > 0 {
        let least = hundredths(candidate.stability.least());
        let what = if lost == 1 { "1 segment is".to_owned() } else { format!("{lost} segments are") };
        found.push(format!("{what} not found again, Jaccard {least}"));
    }
    if is_made_of_outliers(candidate) {
        let smallest = candidate.sizes.last().copied().unwrap_or_default();
        let noun = if smallest == 1 { "customer" } else { "customers" };
        found.push(format!("the smallest holds {smallest} {noun}"));
    } else if candidate.smallest_share < LEAST_SHARE {
        found.push(format!("the smallest holds {}", candidate.smallest()));
    }
    found.join("; ")
}

/// Two decimals, cut off rather than rounded: 0.748 must not read as the 0.75 that it misses.
fn hundredths(value: f64) -> String {
    format!("{:.2}", (value * 100.0 + CUT).floor() / 100.0)
}

/// So that 0.29, which is 28.999… hundredths in binary, is not cut to 0.28.
const CUT: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::segment::train::study::Stability;

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
    fn the_best_silhouette_of_the_stable_numbers_is_taken() {
        let choice = choice(some_stable(), &[5, 6, 7, 8], Some(6), None);
        assert_eq!((choice.recommended, choice.chosen, choice.by_hand), (Some(6), 6, false));
        assert_eq!(
            choice.reason,
            "6 segments: each is found again in resamples (Jaccard 0.94 or more), the smallest holds 8.0 %; of the \
             stable numbers it has the best silhouette, 0.217. Stable too: 7 (silhouette 0.211). Not stable: 5 (1 \
             segment is not found again, Jaccard 0.74), 8 (1 segment is not found again, Jaccard 0.58; the smallest \
             holds 1.99 %)."
        );
    }

    #[test]
    fn a_person_may_take_another_number_and_reads_what_that_means() {
        let stable = choice(some_stable(), &[5, 6, 7, 8], None, Some(7));
        assert_eq!((stable.recommended, stable.chosen, stable.by_hand), (Some(6), 7, true));
        assert_eq!(
            stable.reason,
            "7 segments, as asked for: each is found again in resamples (Jaccard 0.90 or more), the smallest holds \
             2.0 %, the silhouette is 0.211. Recommended would be 6: each is found again in resamples (Jaccard 0.94 or \
             more), the smallest holds 8.0 %, the silhouette is 0.217."
        );
        let unstable = choice(some_stable(), &[5, 6, 7, 8], None, Some(5));
        assert!(
            unstable
                .reason
                .starts_with("5 segments, as asked for, although that is not stable: 1 segment is")
        );
        let same = choice(some_stable(), &[5, 6, 7, 8], None, Some(6));
        assert!(same.reason.ends_with(" It is the recommended number."), "{}", same.reason);
    }

    #[test]
    fn a_number_outside_of_the_range_is_never_recommended() {
        let choice = choice(some_stable(), &[7, 8], None, Some(6));
        assert_eq!((choice.recommended, choice.chosen), (Some(7), 6));
    }

    #[test]
    fn no_stable_number_says_why_and_what_to_do() {
        let choice =
            choice(vec![candidate(3, 0.3, 0.5, 0.1), candidate(4, 0.2, 0.9, 0.01)], &[3, 4], None, None);
        assert_eq!((choice.recommended, choice.chosen), (None, 0));
        assert_eq!(
            choice.reason,
            "no stable k in 3..=4: 3 (1 segment is not found again, Jaccard 0.50), 4 (the smallest holds 1.0 %); name one with --k"
        );
    }

    #[test]
    fn the_only_stable_number_is_said_to_be_the_only_one() {
        let choice =
            choice(vec![candidate(3, 0.3, 0.8, 0.1), candidate(4, 0.4, 0.1, 0.1)], &[3, 4], None, None);
        assert!(
            choice.reason.contains("and no other number is stable. Its silhouette is 0.300."),
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
        fn a_number_that_fails_never_reads_as_if_it_passed(jaccard in 0.0..LEAST_JACCARD, share in 0.0..LEAST_SHARE) {
            prop_assert!(hundredths(jaccard).parse::<f64>().unwrap() < LEAST_JACCARD || LEAST_JACCARD - jaccard < CUT);
            let shown = candidate(3, 0.2, 0.9, share).smallest();
            let number = shown.trim_start_matches("< ").trim_end_matches(" %").parse::<f64>().unwrap();
            prop_assert!(number < LEAST_SHARE * 100.0 || LEAST_SHARE - share < CUT);
        }

        #[test]
        fn what_is_recommended_is_stable(
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
