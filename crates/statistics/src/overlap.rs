//! Agreement of two rankings of things that need not be the same, where the top counts most.

/// Rank-biased overlap of two rankings, extrapolated: `RBO_EXT` for rankings that may be of unequal length.
///
/// `places` has the place of each thing in both rankings, from 1 on; 0: it is not in that ranking. Each ranking has its
/// places 1, 2, 3 … once each; a place beyond the number of things counts as 0. `p` is how much a place weighs against
/// the one before it, above 0 and below 1: with 0.9 the first ten places have 86 % of the weight. The result is from 0
/// (nothing in common) to 1 (the same); `None` if both rankings are empty. O(n); `buffer` only saves an allocation per
/// call. Source: Webber, Moffat & Zobel, "A similarity measure for indefinite rankings" (2010), equation 32; for equal
/// lengths it is equation 30.
#[must_use]
pub fn rank_biased_overlap(places: &[[u32; 2]], p: f64, buffer: &mut Vec<u32>) -> Option<f64> {
    let known = |place: u32| if place as usize <= places.len() { place as usize } else { 0 };
    let lengths = places
        .iter()
        .fold([0, 0], |[one, other], place| [known(place[0]).max(one), known(place[1]).max(other)]);
    let (short, long) = (lengths[0].min(lengths[1]), lengths[0].max(lengths[1]));
    if long == 0 {
        return None;
    }
    // How many things of both rankings the first places of each have in common: a thing from its lower place on.
    buffer.clear();
    buffer.resize(long + 1, 0);
    for [one, other] in places.iter().map(|place| place.map(known)) {
        if one > 0 && other > 0 {
            buffer[one.max(other)] += 1;
        }
    }
    let in_short: u32 = buffer.iter().take(short + 1).sum();
    let all: u32 = buffer.iter().sum();
    if all == 0 {
        return Some(0.0);
    }
    // 1 less what is missing at each depth: the weights add up to 1, so the same rankings give exactly 1.
    let (mut result, mut weight, mut common) = (1.0, 1.0, 0);
    let mut agreement = 0.0;
    for (depth, new) in buffer.iter().enumerate().skip(1) {
        common += new;
        agreement = f64::from(common) / depth as f64;
        if depth > short {
            // The shorter ranking goes on as it agreed so far.
            agreement += f64::from(in_short) * (depth - short) as f64 / (short * depth) as f64;
        }
        result -= (1.0 - p) * weight * (1.0 - agreement);
        weight *= p;
    }
    Some((result - weight * (1.0 - agreement)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(one: &str, other: &str) -> Vec<[u32; 2]> {
        let place = |text: &str, thing: char| {
            text.chars().position(|found| found == thing).map_or(0, |at| at as u32 + 1)
        };
        let all = one.chars().chain(other.chars().filter(|thing| !one.contains(*thing)));
        all.map(|thing| [place(one, thing), place(other, thing)]).collect()
    }

    fn rbo(one: &str, other: &str) -> Option<f64> {
        rank_biased_overlap(&places(one, other), 0.9, &mut Vec::new())
    }

    /// Equation 32 as it is printed, term by term.
    fn as_printed(one: &str, other: &str, p: f64) -> f64 {
        let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
        let (s, l) = (short.len(), long.len());
        let overlap = |depth: usize| {
            long.chars()
                .take(depth)
                .filter(|thing| short.chars().take(depth).any(|found| found == *thing))
                .count() as f64
        };
        let power = |depth: usize| p.powi(depth as i32);
        let first: f64 = (1..=l).map(|d| overlap(d) / d as f64 * power(d)).sum();
        let second: f64 = (s + 1..=l).map(|d| overlap(s) * (d - s) as f64 / (s * d) as f64 * power(d)).sum();
        (1.0 - p) / p * (first + second)
            + ((overlap(l) - overlap(s)) / l as f64 + overlap(s) / s as f64) * power(l)
    }

    #[test]
    fn known_rankings_have_their_known_overlap() {
        for (one, other, expected) in [("abcde", "bacde", 0.9), ("abcde", "abxyz", 0.542_89)] {
            let found = rbo(one, other).unwrap();
            assert!((found - expected).abs() < 1e-12, "{one} {other}: {found}");
        }
    }

    #[test]
    fn nothing_in_common_is_0_and_the_same_is_1() {
        assert_eq!(rbo("abc", "xyz"), Some(0.0));
        assert_eq!((rbo("abc", ""), rbo("", "a"), rbo("", "")), (Some(0.0), Some(0.0), None));
        assert_eq!((rbo("abcdefghijk", "abcdefghijk"), rbo("a", "a")), (Some(1.0), Some(1.0)));
        // Of a shorter ranking nothing is known that would be against the longer one.
        assert!((rbo("abc", "abcde").unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn places_that_cannot_be_do_no_harm() {
        let wrong = [[u32::MAX, 1], [1, 1], [1, 7]];
        let found = rank_biased_overlap(&wrong, 0.9, &mut Vec::new()).unwrap();
        assert!((0.0..=1.0).contains(&found), "{found}");
    }

    proptest! {
        #[test]
        fn it_is_what_the_paper_prints(
            one in Just("abcdefghij".chars().collect::<Vec<_>>()).prop_shuffle(),
            other in Just("efghijklmn".chars().collect::<Vec<_>>()).prop_shuffle(),
            lengths in (1_usize..=10, 1_usize..=10), p in 0.5_f64..0.99,
        ) {
            let one: String = one[..lengths.0].iter().collect();
            let other: String = other[..lengths.1].iter().collect();
            let there = rank_biased_overlap(&places(&one, &other), p, &mut Vec::new()).unwrap();
            let back = rank_biased_overlap(&places(&other, &one), p, &mut Vec::new()).unwrap();
            prop_assert!((there - as_printed(&one, &other, p)).abs() < 1e-12);
            prop_assert!((there - back).abs() < 1e-12);
        }

        #[test]
        fn a_ranking_and_itself_give_exactly_1(n in 1_u32..500, p in 0.01_f64..0.999) {
            let same: Vec<[u32; 2]> = (1..=n).map(|place| [place, place]).collect();
            prop_assert_eq!(rank_biased_overlap(&same, p, &mut Vec::new()), Some(1.0));
        }
    }
}
