//! The targets of rollbacks, from the history of promotions.

use std::collections::BTreeSet;

use super::Current;

/// The releases that repeated rollbacks return to, the current one last. A promotion pushes a release, a rollback
/// pops one. So two rollbacks go back two releases instead of returning to the one just left.
///
/// A step of a ramp is never returned to: it is here only while it is current. A return to the release below it is a
/// rollback, whoever asks for it.
///
/// `promotions` ascend by sequence. A rollback differs from a promotion of the same release in its `previous`. After
/// a rollback, that is not the release that it replaced.
pub(super) fn trail(promotions: &[Current], steps: &BTreeSet<u64>) -> Vec<u64> {
    let mut trail: Vec<u64> = Vec::new();
    for entry in promotions {
        // The first release of a store is a person's.
        if trail.len() > 1 && trail.pop_if(|top| steps.contains(top)).is_some() {
            if trail.last() != Some(&entry.release) {
                trail.push(entry.release);
            }
            continue;
        }
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

    /// Something that is promoted.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Made {
        /// A release of a person, that is not current.
        Release(u64),
        /// The next step of a ramp.
        Step,
        /// A rollback, if possible.
        Back,
    }

    /// Steps have numbers above those of releases of persons.
    const FIRST_STEP: u64 = 1_000_000;

    /// Promotes as a store does. Also returns the releases that rollbacks return to, and which are steps.
    fn play(made: &[Made]) -> (Vec<Current>, Vec<u64>, BTreeSet<u64>) {
        let (mut entries, mut model, mut steps) = (vec![entry(1, 1, 0)], vec![1], BTreeSet::new());
        for made in made {
            let sequence = entries.len() as u64 + 1;
            let current = entries.last().unwrap().clone();
            let is_step = steps.contains(&current.release);
            let before = {
                let trail = trail(&entries, &steps);
                trail.len().checked_sub(3).map_or(0, |at| trail[at])
            };
            let person = if is_step { current.previous } else { current.release };
            match made {
                Made::Release(release) if is_step && *release == current.previous => {
                    model.pop();
                    entries.push(entry(sequence, *release, before));
                }
                Made::Release(release) if *release != current.release => {
                    entries.push(entry(sequence, *release, person));
                    if is_step {
                        model.pop();
                    }
                    model.push(*release);
                }
                Made::Step => {
                    let number = FIRST_STEP + sequence;
                    steps.insert(number);
                    entries.push(entry(sequence, number, person));
                    if is_step {
                        model.pop();
                    }
                    model.push(number);
                }
                Made::Back if current.previous != 0 => {
                    model.pop();
                    entries.push(entry(sequence, current.previous, before));
                }
                Made::Release(_) | Made::Back => {}
            }
        }
        (entries, model, steps)
    }

    fn made(releases: std::ops::Range<u64>) -> impl Strategy<Value = Vec<Made>> {
        let one = prop_oneof![releases.prop_map(Made::Release), Just(Made::Step), Just(Made::Back)];
        prop::collection::vec(one, 0..30)
    }

    #[test]
    fn rolling_back_twice_goes_two_releases_back_and_ends_at_the_first() {
        let back = [Made::Back; 3];
        let (entries, ..) = play(&[&[Made::Release(2), Made::Release(3)][..], &back].concat());
        let released: Vec<u64> = entries.iter().map(|entry| entry.release).collect();
        assert_eq!(released, [1, 2, 3, 2, 1]);
        assert_eq!(entries.last().unwrap().previous, 0);
    }

    #[test]
    fn a_rollback_skips_the_steps_of_a_ramp() {
        let ramp = [Made::Step; 10];
        let made = [&[Made::Release(2)][..], &ramp, &[Made::Back, Made::Back]].concat();
        let (entries, ..) = play(&made);
        assert_eq!(entries.iter().rev().take(2).map(|entry| entry.release).collect::<Vec<_>>(), [1, 2]);
        // A release of a person in the middle of it.
        let made = [&[Made::Release(2)][..], &ramp, &[Made::Release(3)], &ramp, &[Made::Back; 3]].concat();
        let (entries, ..) = play(&made);
        assert_eq!(entries.iter().rev().take(3).map(|entry| entry.release).collect::<Vec<_>>(), [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn the_trail_is_what_promotions_and_rollbacks_leave(made in made(2..1000)) {
            // Numbers that never recur, as in a pipeline.
            let mut seen = BTreeSet::new();
            let is_new = |made: &Made| !matches!(made, Made::Release(release) if !seen.insert(*release));
            let made: Vec<_> = made.into_iter().filter(is_new).collect();
            let (entries, model, steps) = play(&made);
            prop_assert_eq!(trail(&entries, &steps), model);
        }

        #[test]
        fn the_end_of_the_trail_is_what_is_current_and_before_it(made in made(1..4)) {
            let (entries, _, steps) = play(&made);
            let (trail, current) = (trail(&entries, &steps), entries.last().unwrap());
            prop_assert_eq!(trail.last().copied(), Some(current.release));
            prop_assert_eq!(trail.len().checked_sub(2).map_or(0, |at| trail[at]), current.previous);
            prop_assert!(!steps.contains(&current.previous));
        }
    }
}
