mod fuzz_decoders;

use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;
use crate::entry::Entry;
use crate::names::Code;
use crate::tests::catalogs::{World, noon};
use crate::tests::rebuilt::{Recorded, dump, life, lived};
use crate::{HistoryEntry, LimitBlocked, Limits, Rebuild};

const DEDUPLICATED: TimeDelta = TimeDelta::days(30);

fn written(history: &History) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(history, b"here", &mut bytes).unwrap();
    bytes
}

/// The world of a checkpoint, under the limits of another one.
fn reopened(bytes: &[u8], like: &World) -> World {
    let Checkpoint { history, position } = read(bytes, DEDUPLICATED).unwrap();
    assert_eq!(position, b"here");
    let limits = Arc::new(Limits::new(&history, &like.catalog, noon()).unwrap());
    World { history: Arc::new(history), limits, catalog: like.catalog.clone() }
}

/// What limits withhold, and until when.
fn frees(world: &World, now: DateTime<Utc>) -> Vec<Option<LimitBlocked>> {
    let view = world.history.view(&world.limits, ["a"], now);
    let gate = world.limits.gate(&view, 0, world.place("app"));
    world.all().into_iter().map(|offer| gate.withholds(offer)).collect()
}

/// Counts events in a history.
fn count(history: &History, events: &[Recorded], now: DateTime<Utc>) {
    let mut rebuild = Rebuild::new(history, now);
    for event in events {
        rebuild.apply(&event.as_event());
    }
}

/// Clicks of the customer `a` on the offer `o`, by number, all at one moment.
fn clicks(numbers: Range<usize>, at: DateTime<Utc>) -> Vec<Recorded> {
    let shown =
        crate::ShownOffer { offer: "o".into(), spend: crate::Spend::default(), reservations: Vec::new() };
    let click =
        |number: usize| Recorded::outcome(number as u64, uuid::Uuid::nil(), "a", "app", &shown, "click", at);
    numbers.map(click).collect()
}

/// What the next checkpoint has of `a`, who has another click at noon behind that of `before`.
fn after_one_more(before: &History, keep: TimeDelta) -> Vec<HistoryEntry> {
    let (old, mut next) = (written(before), Vec::new());
    advance(
        &*old,
        &mut next,
        (noon(), keep, DEDUPLICATED),
        |_| false,
        |history, position| {
            count(history, &clicks(Timeline::MOST..Timeline::MOST + 1, noon()), noon());
            Ok::<_, CheckpointError>(position.to_vec())
        },
    )
    .unwrap();
    let history = read(&*next, DEDUPLICATED).unwrap().history;
    history.customer("a").unwrap().entries
}

#[test]
fn an_entry_that_stands_for_more_means_the_same_in_the_next_checkpoint() {
    let before = History::default();
    count(&before, &clicks(0..Timeline::MOST, noon()), noon());
    let entries = after_one_more(&before, TimeDelta::days(400));
    let of_many: Vec<_> = entries.iter().filter(|entry| entry.stands_for_more).collect();
    let meanings: Vec<_> = of_many.iter().map(|entry| (&*entry.offer, &*entry.event_type)).collect();
    assert_eq!(meanings, [("o", "click")]);
    assert_eq!(entries.len(), Timeline::MOST / 2 + 2);
}

#[test]
fn what_is_dropped_from_the_next_checkpoint_takes_no_room_in_it() {
    let before = History::default();
    count(&before, &clicks(0..1_000, noon() - TimeDelta::days(10)), noon());
    count(&before, &clicks(1_000..Timeline::MOST, noon()), noon());
    let entries = after_one_more(&before, TimeDelta::zero());
    assert!(!entries.iter().any(|entry| entry.stands_for_more));
    assert_eq!(entries.len(), Timeline::MOST - 1_000 + 1);
}

#[test]
fn an_entry_with_a_code_that_is_not_there_is_refused() {
    let with = |code: u32| {
        let history = History::default();
        let entry = Entry::new(1, Code::new(code), false);
        history.customers.add(Timeline::from_entries(&Id::new("a"), &[entry], false));
        written(&history)
    };
    assert!(read(&*with(0), DEDUPLICATED).is_ok());
    let damaged = with(1);
    let is_refused = |result: Result<(), CheckpointError>| {
        result.is_err_and(|error| error.to_string().contains("an entry has a code that is not there"))
    };
    assert!(is_refused(read(&*damaged, DEDUPLICATED).map(drop)));
    assert!(is_refused(without(&*damaged, io::sink(), |_| false)));
    // Also where the code is given out to what happened since.
    let times = (noon(), TimeDelta::days(400), DEDUPLICATED);
    let advanced = advance(
        &*damaged,
        io::sink(),
        times,
        |_| false,
        |history, position| {
            count(history, &clicks(0..1, noon()), noon());
            Ok::<_, CheckpointError>(position.to_vec())
        },
    );
    assert!(is_refused(advanced));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_written_is_read(steps in life()) {
        let (world, recorded, now) = lived(&steps);
        let again = reopened(&written(&world.history), &world);
        prop_assert_eq!(dump(&world, now), dump(&again, now));
        for minutes in [0, 10, 3_000] {
            let now = now + TimeDelta::minutes(minutes);
            prop_assert_eq!(frees(&world, now), frees(&again, now));
        }
        prop_assert_eq!(world.history.size().customers, again.history.size().customers);
        let mut rebuild = Rebuild::new(&again.history, now);
        let is_young = |one: &Recorded| match one {
            Recorded::Outcome { occurred_at, .. } => now - *occurred_at < TimeDelta::days(29),
            Recorded::Decision { .. } => false,
        };
        let outcomes = recorded.iter().filter(|one| is_young(one));
        for outcome in outcomes {
            prop_assert!(!rebuild.apply(&outcome.as_event()), "an outcome is recognised again");
        }
    }

    #[test]
    fn a_start_is_the_checkpoint_and_the_events_behind_it(steps in life(), at in any::<prop::sample::Index>()) {
        let (world, recorded, now) = lived(&steps);
        let at = at.index(recorded.len() + 1);
        let before = World::of(world.catalog.clone());
        count(&before.history, &recorded[..at], now);
        let again = reopened(&written(&before.history), &world);
        count(&again.history, &recorded[at..], now);
        prop_assert_eq!(dump(&world, now), dump(&again, now));
        prop_assert_eq!(frees(&world, now), frees(&again, now));
    }

    #[test]
    fn the_next_checkpoint_is_that_of_all_events(
        steps in life(), at in any::<prop::sample::Index>(), forgotten in any::<bool>(), keep in 0..20_i64,
    ) {
        let (world, recorded, now) = lived(&steps);
        let (at, keep) = (at.index(recorded.len() + 1), TimeDelta::days(keep));
        let before = World::of(world.catalog.clone());
        count(&before.history, &recorded[..at], now);
        let mut next = Vec::new();
        let old = written(&before.history);
        advance(&*old, &mut next, (now, keep, DEDUPLICATED), |id| forgotten && id == "a", |history, position| {
            assert_eq!(position, b"here");
            let _limits = Limits::new(history, &world.catalog, noon()).unwrap();
            count(history, &recorded[at..], now);
            Ok::<_, CheckpointError>(b"here".to_vec())
        })
        .unwrap();
        let again = reopened(&next, &world);
        if forgotten {
            world.history.forget("a");
        }
        world.history.expire(now, keep);
        prop_assert_eq!(dump(&world, now), dump(&again, now));
        prop_assert_eq!(frees(&world, now), frees(&again, now));
    }
}

#[test]
fn a_file_that_was_cut_or_changed_is_refused() {
    let steps: Vec<(u16, usize, usize, bool)> = (0..60_u16)
        .map(|step| (step * 7, usize::from(step) * 5, usize::from(step) % 9, step % 3 == 0))
        .collect();
    let (world, _, _) = lived(&steps);
    let bytes = written(&world.history);
    assert!(read(&*bytes, DEDUPLICATED).is_ok() && bytes.len() > 4_000, "{}", bytes.len());
    for cut in 0..bytes.len() {
        assert!(read(&bytes[..cut], DEDUPLICATED).is_err(), "cut at {cut}");
    }
    let mut changed = bytes.clone();
    for (place, byte) in bytes.iter().enumerate() {
        changed[place] = byte ^ (1 << (place % 8));
        assert!(read(&*changed, DEDUPLICATED).is_err(), "changed at {place}");
        changed[place] = *byte;
    }
    changed.push(0);
    assert!(read(&*changed, DEDUPLICATED).is_err());
}

#[test]
fn frames_that_change_places_are_refused() {
    let history = History::default();
    let mut rebuild = Rebuild::new(&history, noon());
    for number in 0..9_000_u64 {
        let shown =
            crate::ShownOffer { offer: "o".into(), spend: crate::Spend::default(), reservations: Vec::new() };
        let id = uuid::Uuid::from_u128(u128::from(number));
        let one =
            Recorded::outcome(number, id, &format!("customer {number}"), "app", &shown, "click", noon());
        rebuild.apply(&one.as_event());
    }
    let bytes = written(&history);
    let frame = 8 + (64 << 10);
    assert!(bytes.len() > 4 * frame);
    assert!(read(&*bytes, DEDUPLICATED).is_ok());
    let mut changed = bytes.clone();
    changed[frame..2 * frame].copy_from_slice(&bytes[2 * frame..3 * frame]);
    changed[2 * frame..3 * frame].copy_from_slice(&bytes[frame..2 * frame]);
    assert!(read(&*changed, DEDUPLICATED).is_err());
    let without = [&bytes[..frame], &bytes[2 * frame..]].concat();
    assert!(read(&*without, DEDUPLICATED).is_err());
}

#[test]
fn another_file_is_named_as_such() {
    let mut bytes = Vec::new();
    let mut out = Output::new(&mut bytes);
    out.bytes(b"proffer history 2\n").unwrap();
    out.finish().unwrap();
    assert!(matches!(read(&*bytes, DEDUPLICATED), Err(CheckpointError::Foreign)));
}
