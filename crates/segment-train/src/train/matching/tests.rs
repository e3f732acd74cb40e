//! Matchings worked out by hand, and invariants of all of them.

use proptest::prelude::*;

use super::*;
use crate::train::study::Stability;
use segment::Segment;
use segment::samples::segmentation;

fn previous(names: &[&str]) -> Previous {
    let mut segmentation = segmentation();
    segmentation.segments = names.iter().map(|name| Segment { name: (*name).to_owned(), size: 1 }).collect();
    Previous { name: "segments/1".into(), segmentation }
}

/// Labels with the overlaps of `matrix`: a row per previous segment, a column per new cluster.
fn labels(matrix: &[Vec<u64>]) -> (Vec<u32>, Vec<u32>) {
    let mut pairs = Vec::new();
    for (old, row) in (0..).zip(matrix) {
        for (new, count) in (0..).zip(row) {
            pairs.extend((0..*count).map(|_| (old, new)));
        }
    }
    pairs.into_iter().unzip()
}

fn matched_by(names: &[&str], matrix: &[Vec<u64>], limit: f64) -> Matching {
    let (old, new) = labels(matrix);
    match_segments(&previous(names), &old, matrix[0].len(), &new, limit)
}

fn stable(k: usize) -> Stability {
    Stability { resamples: 20, ari: 0.9, jaccard: vec![0.9; k] }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn numbers_that_were_swapped_are_swapped_back() {
    let found = matched_by(&["Quiet", "Busy"], &[vec![1, 40], vec![56, 3]], 0.2);
    assert_eq!(found.order, [1, 0]);
    let migration = &found.migration;
    assert_eq!(migration.matrix, [[40, 1], [3, 56]]);
    assert_eq!(migration.continues, [Some(0), Some(1)]);
    assert_eq!((migration.customers_moved(), migration.customers()), (4, 100));
    assert!((migration.moved - 0.04).abs() < 1e-15);
    assert_eq!(found.names(&owned(&["a", "b"])), ["Quiet", "Busy"]);
    assert!(
        migration.ended().is_empty() && migration.begun().is_empty() && migration.renumbered().is_empty()
    );
}

#[test]
fn the_greater_part_of_a_split_segment_keeps_its_number() {
    // Segment 1 splits into the clusters 0 (20 customers) and 2 (30).
    let matrix = [vec![0, 50, 0, 2], vec![20, 0, 30, 0], vec![0, 1, 0, 47]];
    let found = matched_by(&["a", "b", "c"], &matrix, 0.2);
    assert_eq!(found.order, [3, 0, 1, 2]);
    assert_eq!(found.migration.continues, [Some(0), Some(1), Some(2), None]);
    assert_eq!(found.migration.matrix, [[50, 0, 2, 0], [0, 30, 0, 20], [1, 0, 47, 0]]);
    assert_eq!(found.migration.begun(), [3]);
    assert_eq!(found.migration.customers_moved(), 23);
    // Another segment has the name that is proposed for the new one.
    assert_eq!(found.names(&owned(&["x", "x", "x", "b"])), ["a", "b", "c", "b 2"]);
}

#[test]
fn of_two_segments_that_merge_the_smaller_ends_and_the_last_moves_up() {
    let matrix = [vec![0, 60, 0], vec![0, 9, 0], vec![40, 0, 0], vec![0, 0, 30]];
    let found = matched_by(&["a", "b", "c", "d"], &matrix, 0.2);
    // Ids stay consecutive: `d` was 3 and gets the number of `b`, which is gone.
    assert_eq!(found.order, [2, 0, 1]);
    let migration = &found.migration;
    assert_eq!(migration.continues, [Some(0), Some(3), Some(2)]);
    assert_eq!(migration.ended(), [1]);
    assert_eq!(migration.renumbered(), [(3, 1)]);
    assert_eq!(migration.customers_moved(), 9);
    assert_eq!(found.names(&owned(&["x", "y", "z"])), ["a", "d", "c"]);
    let shown = MigrationTable(migration).to_string();
    for line in [
        "9 of 139 customers (6.5 %) change segment; the limit is 20.0 %",
        "segment 3 d continues as 1",
        "segment 1 b is gone",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
    assert!(shown.contains("was 3 d") && shown.contains("100 %"), "{shown}");
}

#[test]
fn the_matching_maximises_the_sum() {
    // Segment 0 overlaps most with cluster 0. Matching that to segment 1 keeps 9 + 8 customers instead of 10 + 0.
    let found = matched_by(&["a", "b"], &[vec![10, 9], vec![8, 0]], 0.2);
    assert_eq!(found.order, [1, 0]);
    assert_eq!(found.migration.customers_moved(), 10);
}

#[test]
fn no_segment_continues_one_without_customers() {
    let found = matched_by(&["a", "b"], &[vec![30, 20], vec![0, 0]], 0.2);
    assert_eq!(found.migration.continues, [Some(0), None]);
    assert_eq!((found.migration.ended(), found.migration.begun()), (vec![1], vec![1]));
    let none = match_segments(&previous(&["a"]), &[], 2, &[], 0.2);
    assert_eq!((none.order.as_slice(), none.migration.moved.to_bits()), (&[0, 1][..], 0));
}

#[test]
fn a_refusal_has_the_figures_and_names_the_flag() {
    let migration = matched_by(&["Quiet", "Busy"], &[vec![40, 10], vec![14, 36]], 0.2).migration;
    let names = owned(&["Quiet", "Busy"]);
    let unstable = Stability { jaccard: vec![0.61, 0.75], ..stable(2) };
    let refusal = Gate::default().check(&migration, &unstable, &names).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "24 of 100 customers (24.0 %) would change segment compared with segments/1, but at most 20.0 % may; not every \
         segment is found again in resamples with a Jaccard similarity of at least 0.75: segment 0 `Quiet` (0.61); \
         pass --force to write the segments anyway"
    );
    let unmeasured = Stability { resamples: 0, ari: 0.0, jaccard: Vec::new() };
    let lenient = Gate { max_moved: 0.24, ..Gate::default() };
    let refusal = lenient.check(&migration, &unmeasured, &names).unwrap_err();
    assert_eq!(refusal.causes, [Cause::NotMeasured]);
    assert_eq!(lenient.check(&migration, &stable(2), &names), Ok(()));
    assert_eq!(Gate { min_jaccard: 0.0, ..lenient }.check(&migration, &unmeasured, &names), Ok(()));
}

/// All permutations of the numbers below `n`.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(n - 1);
    let with_last = |shorter: &Vec<usize>| {
        (0..n)
            .map(|at| {
                let mut longer = shorter.clone();
                longer.insert(at, n - 1);
                longer
            })
            .collect::<Vec<_>>()
    };
    shorter.iter().flat_map(with_last).collect()
}

fn matrices() -> impl Strategy<Value = Vec<Vec<u64>>> {
    let count = prop_oneof![1 => Just(0), 2 => 0..20_u64];
    (1..6_usize, 1..6_usize)
        .prop_flat_map(move |(old, k)| prop::collection::vec(prop::collection::vec(count.clone(), k), old))
}

proptest! {
    #[test]
    fn every_cluster_gets_one_number_and_no_matching_keeps_more_customers(matrix in matrices()) {
        let names: Vec<String> = (0..matrix.len()).map(|old| format!("s{old}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = matched_by(&names, &matrix, 0.2);
        let k = matrix[0].len();
        let mut ids = found.order.clone();
        ids.sort_unstable();
        prop_assert_eq!(ids, (0..k).collect::<Vec<_>>());

        let stay = found.migration.customers() - found.migration.customers_moved();
        let at = |old: usize, new: usize| matrix.get(old).and_then(|row| row.get(new)).copied().unwrap_or(0);
        let most = permutations(matrix.len().max(k)).into_iter()
            .map(|order| order.into_iter().enumerate().map(|(old, new)| at(old, new)).sum::<u64>())
            .max();
        prop_assert_eq!(Some(stay), most);

        // No segment is continued twice, and ids that exist are kept.
        let continued: Vec<u32> = found.migration.continues.iter().flatten().copied().collect();
        prop_assert_eq!(continued.iter().collect::<BTreeSet<_>>().len(), continued.len());
        for (id, old) in found.migration.continues.iter().enumerate() {
            prop_assert!(old.is_none_or(|old| old as usize == id || old as usize >= k));
        }
        // The matrix counts the labels under their new ids.
        let (old, new) = labels(&matrix);
        let mut counted = vec![vec![0; k]; matrix.len()];
        for (old, new) in old.iter().zip(new.iter().map(|label| found.order[*label as usize] as u32)) {
            counted[*old as usize][new as usize] += 1;
        }
        prop_assert_eq!(&counted, &found.migration.matrix);
        let distinct: BTreeSet<String> = found.names(&vec!["s0".to_owned(); k]).into_iter().collect();
        prop_assert_eq!(distinct.len(), k);
    }

    #[test]
    fn a_migration_is_refused_exactly_above_the_limit(matrix in matrices(), limit in 0.0..1.0_f64) {
        let names = vec!["s"; matrix.len()];
        let migration = matched_by(&names, &matrix, limit).migration;
        let gate = Gate { max_moved: limit, min_jaccard: 0.75 };
        let k = migration.continues.len();
        let refused = gate.check(&migration, &stable(k), &vec![String::new(); k]).is_err();
        prop_assert_eq!(refused, migration.moved > limit);
        let exactly = Gate { max_moved: migration.moved, ..gate };
        prop_assert!(exactly.check(&migration, &stable(k), &vec![String::new(); k]).is_ok());
    }
}
