//! The targets of rollbacks, from the history of promotions.

use super::Current;

/// The releases that repeated rollbacks return to, the current one last. A promotion pushes a release, a rollback
/// pops one. So two rollbacks go back two releases instead of returning to the one just left.
///
/// `promotions` ascend by sequence. A rollback differs from a promotion of the same release in its `previous`. After
/// a rollback, that is not the release that it replaced.
pub(super) fn trail(promotions: &[Current]) -> Vec<u64> {
    let mut trail: Vec<u64> = Vec::new();
    for entry in promotions {
        let below = |depth: usize| trail.len().checked_sub(depth).map_or(0, |at| trail[at]);
        if trail.len() > 1 && entry.release == below(2) && entry.previous == below(3) {
            trail.pop();
        } else {
            trail.push(entry.release);
        }
    }
    trail
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(sequence: u64, release: u64, previous: u64) -> Current {
        let (author, reason, time) = (String::new(), String::new(), String::new());
        Current { release, previous, sequence, author, reason, time }
    }

    /// Applies `steps` as a store does: `Some` promotes a release that is not current, `None` rolls back if possible.
    fn play(steps: &[Option<u64>]) -> (Vec<Current>, Vec<u64>) {
        let (mut entries, mut model) = (vec![entry(1, 1, 0)], vec![1]);
        for step in steps {
            let sequence = entries.len() as u64 + 1;
            let current = entries.last().unwrap().clone();
            match step {
                Some(release) if *release != current.release => {
                    entries.push(entry(sequence, *release, current.release));
                    model.push(*release);
                }
                None if current.previous != 0 => {
                    model.pop();
                    let trail = trail(&entries);
                    let before = trail.len().checked_sub(3).map_or(0, |at| trail[at]);
                    entries.push(entry(sequence, current.previous, before));
                }
                _ => {}
            }
        }
        (entries, model)
    }

    #[test]
    fn rolling_back_twice_goes_two_releases_back_and_ends_at_the_first() {
        let (entries, _) = play(&[Some(2), Some(3), None, None, None]);
        let released: Vec<u64> = entries.iter().map(|entry| entry.release).collect();
        assert_eq!(released, [1, 2, 3, 2, 1]);
        assert_eq!(entries.last().unwrap().previous, 0);
    }

    proptest! {
        #[test]
        fn the_trail_is_what_promotions_and_rollbacks_leave(steps in prop::collection::vec(prop::option::of(2_u64..1000), 0..30)) {
            // Numbers that never recur, as in a pipeline.
            let mut seen = std::collections::BTreeSet::new();
            let steps: Vec<_> = steps.into_iter().filter(|step| step.is_none_or(|step| seen.insert(step))).collect();
            let (entries, model) = play(&steps);
            prop_assert_eq!(trail(&entries), model);
        }

        #[test]
        fn the_end_of_the_trail_is_what_is_current_and_before_it(steps in prop::collection::vec(prop::option::of(1_u64..4), 0..30)) {
            let (entries, _) = play(&steps);
            let (trail, current) = (trail(&entries), entries.last().unwrap());
            prop_assert_eq!(trail.last().copied(), Some(current.release));
            prop_assert_eq!(trail.len().checked_sub(2).map_or(0, |at| trail[at]), current.previous);
        }
    }
}
