//! Concurrent writers: exactly one of them wins, and nothing is lost or mixed.

use std::sync::Barrier;

use super::*;

/// Runs `act` on several threads at once, each with its own `Store`; returns the results.
fn at_once<T: Send>(place: &Place, count: usize, act: impl Fn(usize, &Store) -> T + Sync) -> Vec<T> {
    let stores: Vec<Store> = (0..count).map(|_| place.open().unwrap()).collect();
    race(&stores, act)
}

/// Runs `act` for each store at once, on a thread of its own; returns the results.
fn race<T: Send>(stores: &[Store], act: impl Fn(usize, &Store) -> T + Sync) -> Vec<T> {
    let (barrier, act) = (&Barrier::new(stores.len()), &act);
    std::thread::scope(|scope| {
        let racers: Vec<_> = stores
            .iter()
            .enumerate()
            .map(|(racer, store)| {
                scope.spawn(move || {
                    barrier.wait();
                    act(racer, store)
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    })
}

#[test]
fn exactly_one_of_two_promoters_wins_each_time() {
    in_both(|place| {
        const ROUNDS: u64 = 200;
        place.create().replace_current(None, &current(1, 1, "first")).unwrap();
        let stores = [(); 2].map(|()| place.open().unwrap());
        for round in 1..=ROUNDS {
            let seen = stores[0].current().unwrap();
            assert_eq!(seen.current.sequence, round);
            // Both write identical content, so that only the store can tell them apart.
            let next = current(round, round + 1, "racer");
            let ended = race(&stores, |_, store| store.replace_current(Some(&seen.stamp), &next));
            let present = stores[1].current().unwrap();
            assert_eq!(present.current, next);
            match <[_; 2]>::try_from(ended).unwrap() {
                [Ok(stamp), Err(StoreError::Overtaken { current: found })]
                | [Err(StoreError::Overtaken { current: found }), Ok(stamp)] => {
                    assert_eq!((stamp, *found), (present.stamp, next));
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
        let kept = stores[0].promotions().unwrap();
        let sequences: Vec<u64> = kept.iter().map(|kept| kept.sequence).collect();
        assert_eq!(sequences, (1..=ROUNDS + 1).collect::<Vec<_>>());
    });
}

#[test]
fn concurrent_pushes_get_different_numbers() {
    in_both(|place| {
        place.create().replace_current(None, &current(1, 1, "a")).unwrap();
        let placed = at_once(place, 4, |racer, store| {
            (0..5_u8).map(|serial| push(store, None, &[racer as u8, serial]).unwrap()).collect::<Vec<_>>()
        });
        let store = place.open().unwrap();
        let numbers: BTreeSet<u64> = placed.iter().flatten().map(|placed| placed.version).collect();
        assert_eq!(numbers, (1..=20).collect());
        for (racer, placed) in placed.iter().enumerate() {
            for (index, placed) in placed.iter().enumerate() {
                let directory = store.fetch_version("card", placed.version).unwrap();
                let content = fs::read(directory.join("folder/weights and more.bin")).unwrap();
                assert_eq!(content, [racer as u8, index as u8]);
            }
        }
    });
}

#[test]
fn of_concurrent_pushes_of_one_version_exactly_one_is_kept() {
    in_both(|place| {
        place.create().replace_current(None, &current(1, 1, "a")).unwrap();
        for version in 1..=10 {
            // Two of the three push the same bytes.
            let contents: [&[u8]; 3] = [b"same", b"same", b"other"];
            let placed = at_once(place, 3, |racer, store| push(store, Some(version), contents[racer]));
            let created =
                placed.iter().filter(|placed| placed.as_ref().is_ok_and(|placed| placed.created)).count();
            let done: Vec<bool> = placed.iter().map(Result::is_ok).collect();
            assert!(done == [true, true, false] || done == [false, false, true], "{placed:?}");
            assert_eq!(created, 1, "{placed:?}");
            for refused in placed.into_iter().filter_map(Result::err) {
                assert!(
                    matches!(refused, StoreError::Occupied { .. } | StoreError::HalfWritten { .. }),
                    "{refused}"
                );
            }
            let directory = place.open().unwrap().fetch_version("card", version).unwrap();
            let kept = fs::read(directory.join("folder/weights and more.bin")).unwrap();
            assert_eq!(kept, if done[0] { contents[0] } else { contents[2] });
        }
    });
}

#[test]
fn concurrent_releases_get_different_numbers() {
    in_both(|place| {
        let store = place.create();
        store.replace_current(None, &current(1, 1, "a")).unwrap();
        push(&store, None, b"one").unwrap();
        let created = at_once(place, 4, |racer, store| {
            (0..5)
                .map(|_| (release(store, &pins(1), &format!("# {racer}")).unwrap(), racer))
                .collect::<Vec<_>>()
        });
        let created: BTreeMap<u64, usize> = created.into_iter().flatten().collect();
        assert_eq!(created.keys().copied().collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
        assert_eq!(store.releases().unwrap(), (1..=20).collect::<Vec<_>>());
        for (number, racer) in created {
            assert_eq!(store.release(number).unwrap().features, format!("# {racer}"));
        }
    });
}

#[test]
fn a_release_never_pins_a_version_that_is_being_deleted() {
    in_both(|place| {
        let store = place.create();
        store.replace_current(None, &current(1, 1, "a")).unwrap();
        let (mut released, mut deleted) = (0, 0);
        for round in 1..=40 {
            push(&store, Some(round), b"a version").unwrap();
            let done = at_once(place, 2, |racer, store| {
                if racer == 0 {
                    release(store, &pins(round), "").map(|_| ())
                } else {
                    store.delete_version("card", round)
                }
            });
            let pinned = store
                .releases()
                .unwrap()
                .iter()
                .any(|number| store.release_record(*number).unwrap().models == pins(round));
            assert_eq!(done[0].is_ok(), pinned, "round {round}: {done:?}");
            assert!(!(done[0].is_ok() && done[1].is_ok()), "round {round}: {done:?}");
            assert_eq!(
                store.has_version("card", round).unwrap(),
                done[1].is_err(),
                "round {round}: {done:?}"
            );
            released += usize::from(done[0].is_ok());
            deleted += usize::from(done[1].is_ok());
        }
        assert!(released + deleted > 0);
    });
}

#[test]
fn concurrent_judges_all_get_the_stored_verdict() {
    in_both(|place| {
        let store = place.create();
        store.replace_current(None, &current(1, 1, "a")).unwrap();
        for version in 1..=10 {
            push(&store, Some(version), b"a version").unwrap();
            let got = at_once(place, 3, |racer, store| {
                store.add_verdict("card", version, &verdict(racer as u64 + 1)).unwrap()
            });
            let stored = store.verdict("card", version).unwrap().unwrap();
            assert_eq!(got, vec![stored; 3]);
        }
    });
}
