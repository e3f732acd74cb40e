//! Which releases stay in memory after they served.
//!
//! What a release costs is its models, and releases share them. So releases are counted by their models: a ramp of ten
//! steps keeps one set of them, and does not evict what a rollback returns to.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Release, Snapshot};

/// The versions of the models that may decide the answers of a release.
pub(super) type ModelSet = BTreeSet<(String, u64)>;

/// Removes from `warm`, the latest first, what does not stay beside the release that serves: at most `keep` sets of
/// models besides those that serve, and of each set the latest release, and `target`, to which a rollback goes.
pub(super) fn retire(
    warm: &mut VecDeque<Arc<Snapshot>>,
    serving: &Release,
    target: u64,
    keep: usize,
) -> Vec<Arc<Snapshot>> {
    let sets: Vec<(u64, ModelSet)> =
        warm.iter().map(|warm| (warm.release.number(), models_of(&warm.release))).collect();
    let stays = stays(&sets, &models_of(serving), target, keep);
    let (kept, gone): (Vec<_>, Vec<_>) = warm.drain(..).zip(stays).partition(|(_, stays)| *stays);
    warm.extend(kept.into_iter().map(|(snapshot, _)| snapshot));
    gone.into_iter().map(|(snapshot, _)| snapshot).collect()
}

/// The versions of a release: those that it pins, and those of variants. Those of shadows alone do not count: they are
/// not what a rollback goes back to.
pub(super) fn models_of(release: &Release) -> ModelSet {
    let loaded = release.deciding_models().iter().map(|model| (model.name().to_owned(), model.version()));
    let pinned = release.pins().iter().map(|(name, version)| (name.clone(), *version));
    loaded.chain(pinned).collect()
}

/// For each warm release, the latest first, whether it stays.
fn stays(warm: &[(u64, ModelSet)], serving: &ModelSet, target: u64, keep: usize) -> Vec<bool> {
    if keep == 0 {
        return vec![false; warm.len()];
    }
    // The sets that count, and those of which a release stays.
    let (mut counted, mut seen): (Vec<&ModelSet>, Vec<&ModelSet>) = (Vec::new(), Vec::new());
    let mut found = Vec::with_capacity(warm.len());
    for (number, models) in warm {
        if models != serving && !counted.contains(&models) {
            if counted.len() == keep {
                found.push(false);
                continue;
            }
            counted.push(models);
        }
        let is_latest = !seen.contains(&models);
        if is_latest {
            seen.push(models);
        }
        found.push(is_latest || *number == target);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(version: u64) -> ModelSet {
        [("m".to_owned(), version)].into()
    }

    fn kept(warm: &[(u64, u64)], serving: u64, target: u64, keep: usize) -> Vec<u64> {
        let sets: Vec<(u64, ModelSet)> =
            warm.iter().map(|(number, models)| (*number, set(*models))).collect();
        let stays = stays(&sets, &set(serving), target, keep);
        warm.iter().zip(stays).filter(|(_, stays)| *stays).map(|((number, _), _)| *number).collect()
    }

    #[test]
    fn releases_with_models_of_their_own_count() {
        assert_eq!(kept(&[(3, 3), (2, 2), (1, 1)], 4, 3, 1), [3]);
        assert_eq!(kept(&[(3, 3), (2, 2), (1, 1)], 4, 3, 2), [3, 2]);
        assert!(kept(&[(3, 3)], 4, 3, 0).is_empty());
    }

    #[test]
    fn of_releases_that_share_their_models_the_latest_stays_and_the_target() {
        // A ramp from release 1, with release 12 serving.
        let ramp: Vec<(u64, u64)> = (1..12).rev().map(|number| (number, 7)).collect();
        assert_eq!(kept(&ramp, 7, 1, 1), [11, 1]);
        // What served before the ramp with other models stays, too.
        let more = [&ramp[..], &[(0, 6)]].concat();
        assert_eq!(kept(&more, 7, 1, 1), [11, 1, 0]);
        // A retrained model after it.
        assert_eq!(kept(&more, 8, 1, 1), [11, 1]);
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_the_last_to_serve_stays(
            sets in prop::collection::vec(0_u64..4, 1..20), serving in 0_u64..4, target in 0_u64..20,
            keep in 1_usize..4,
        ) {
            let warm: Vec<(u64, u64)> = sets.iter().enumerate().map(|(at, set)| (at as u64, *set)).collect();
            let kept = kept(&warm, serving, target, keep);
            prop_assert!(kept.len() <= keep + 2);
            prop_assert_eq!(kept.first(), Some(&0));
            let models: BTreeSet<u64> = kept.iter().map(|number| sets[*number as usize]).collect();
            prop_assert!(models.iter().filter(|set| **set != serving).count() <= keep);
        }
    }
}
