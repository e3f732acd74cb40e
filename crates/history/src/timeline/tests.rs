use proptest::prelude::*;

use super::*;
use crate::names::{Code, DECISION, EntryKey};

/// Codes for offers.
fn codes(names: &Names, offers: u16) -> Vec<Code> {
    let key = |offer| EntryKey { offer, placement: 1, channel: 1, event_type: DECISION, saturated: false };
    (1..=offers).map(|offer| names.code(key(offer))).collect()
}

/// A decision that shows these.
fn group(at: Millis, codes: &[Code]) -> Vec<Entry> {
    codes.iter().enumerate().map(|(place, code)| Entry::new(at, *code, place > 0)).collect()
}

/// The decisions, oldest first, with those of one moment in a fixed order.
fn groups(timeline: &Timeline) -> Vec<Vec<u64>> {
    let mut groups: Vec<Vec<u64>> = Vec::new();
    for entry in timeline.entries() {
        match groups.last_mut().filter(|_| entry.follows()) {
            Some(group) => group.push(entry.bits()),
            None => groups.push(vec![entry.bits()]),
        }
    }
    groups.sort();
    groups
}

proptest! {
    #[test]
    fn entries_are_sorted_and_decisions_whole_in_any_order_of_arrival(
        arrivals in prop::collection::vec((0..30_i64, 1..4_usize, any::<bool>()), 0..60),
    ) {
        let names = Names::default();
        let codes = codes(&names, 4);
        let (mut timeline, mut expected) = (Timeline::with_room(&Id::new("a"), 1), Vec::new());
        for (at, shown, taken_back) in arrivals {
            let group = group(at, &codes[..shown]);
            timeline.insert(&group, &names);
            if taken_back {
                timeline.remove(&group);
            } else {
                expected.push(group.iter().map(|entry| entry.bits()).collect::<Vec<_>>());
            }
            prop_assert!(timeline.entries().is_sorted_by_key(|entry| entry.at()));
        }
        expected.sort();
        prop_assert_eq!(groups(&timeline), expected);
    }

    #[test]
    fn expiry_drops_what_is_older_and_nothing_else(
        moments in prop::collection::vec(0..100_i64, 0..50), before in 0..110_i64,
    ) {
        let names = Names::default();
        let code = codes(&names, 1)[0];
        let mut timeline = Timeline::with_room(&Id::new("a"), 0);
        timeline.opt_out();
        for at in &moments {
            timeline.insert(&[Entry::new(*at, code, false)], &names);
        }
        let dropped = timeline.expire(before);
        prop_assert_eq!(dropped, moments.iter().filter(|at| **at < before).count());
        prop_assert!(timeline.entries().iter().all(|entry| entry.at() >= before));
        prop_assert_eq!(timeline.len(), moments.len() - dropped);
        prop_assert!(timeline.has_opted_out());
    }
}

#[test]
fn a_block_wastes_a_fifth_at_most() {
    for words in 1..5_000 {
        let block = block_words(words);
        assert!(block >= words && block * 4 <= words * 5, "{words}: {block}");
    }
}

#[test]
fn a_full_timeline_gives_up_old_entries_of_the_most_frequent_kind() {
    let names = Names::default();
    let codes = codes(&names, 2);
    let mut timeline = Timeline::with_room(&Id::new("a"), 0);
    // A rare entry first, then nothing but others.
    timeline.insert(&[Entry::new(5, codes[1], false)], &names);
    let mut given_up = 0;
    for at in 10..20_000 {
        given_up += timeline.insert(&[Entry::new(at, codes[0], false)], &names);
        assert!(timeline.len() <= Timeline::MOST);
    }
    assert_eq!(timeline.len() + given_up, 19_991);
    let saturated = names.saturated(codes[0]);
    let entries = timeline.entries();
    assert_eq!(entries[0], Entry::new(5, codes[1], false), "the rare entry is still there");
    assert_eq!(entries[1].code(), saturated);
    assert_eq!(entries.iter().filter(|entry| entry.code() == saturated).count(), 1);
    // Behind the mark every entry is there.
    let moments: Vec<Millis> = entries[2..].iter().map(|entry| entry.at()).collect();
    assert_eq!(moments, (entries[1].at() + 1..20_000).collect::<Vec<_>>());
}

#[test]
fn a_timeline_of_all_different_entries_gives_up_the_older_half() {
    let names = Names::default();
    let codes = codes(&names, 5_000);
    let mut timeline = Timeline::with_room(&Id::new("a"), 0);
    for (at, code) in (0..).zip(&codes) {
        timeline.insert(&[Entry::new(at, *code, false)], &names);
    }
    assert!(timeline.len() <= Timeline::MOST);
    let entries = timeline.entries();
    assert_eq!(entries[0].code(), Code::UNKNOWN);
    assert_eq!(entries.last().unwrap().code(), codes[4_999]);
    assert_eq!(entries.len() as i64, 5_000 - entries[0].at());
}

#[test]
fn what_is_left_of_a_decision_has_a_first_entry() {
    let names = Names::default();
    let codes = codes(&names, 3);
    let mut timeline = Timeline::with_room(&Id::new("a"), 0);
    for at in 0..3_000 {
        timeline.insert(&group(at, &codes), &names);
    }
    let entries = timeline.entries();
    for pair in entries.windows(2) {
        assert!(!pair[1].follows() || pair[0].at() == pair[1].at(), "{pair:?}");
    }
    assert!(!entries[0].follows());
}
