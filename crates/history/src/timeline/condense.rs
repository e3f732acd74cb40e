//! Making room in a full timeline.

use hashbrown::HashMap;

use super::Timeline;
use crate::entry::Entry;
use crate::moment::Millis;
use crate::names::{Code, Names};

/// A code with fewer entries than this is not worth condensing.
const WORTHWHILE: usize = 4;

impl Timeline {
    /// Makes room for `more` entries in a full timeline, and returns how many entries it gave up.
    ///
    /// The most frequent code loses the older half of its entries. One entry, at the moment of the youngest of them,
    /// stands for any number of such entries: a limit that would count them is taken as reached there. So a limit
    /// whose newest events are still there counts as before, and another withholds until the moment leaves its window.
    /// Where no code is frequent, the older half of all goes, and the entry that replaces them counts for every limit.
    pub(super) fn condense(&mut self, more: usize, names: &Names) -> usize {
        let before = self.len();
        while self.len() + more > Self::MOST && self.len() > 1 {
            let mut counts: HashMap<Code, usize> = HashMap::new();
            for entry in self.entries() {
                *counts.entry(entry.code()).or_default() += 1;
            }
            // Of equals the smaller code, so that the order of a map decides nothing.
            let frequent = counts.into_iter().max_by_key(|(code, count)| (*count, std::cmp::Reverse(*code)));
            match frequent.filter(|(_, count)| *count >= WORTHWHILE) {
                Some((code, count)) => {
                    self.replace(count / 2, names.saturated(code), |entry| entry.code() == code);
                }
                None => self.replace(self.len() / 2, Code::UNKNOWN, |_| true),
            }
        }
        before - self.len()
    }

    /// Replaces the `oldest` entries that are `among` by one entry of the code `by`.
    fn replace(&mut self, oldest: usize, by: Code, among: impl Fn(&Entry) -> bool) {
        let entries = self.entries();
        let last = entries.iter().filter(|entry| among(entry)).take(oldest).last().map(|entry| entry.at());
        let Some(at) = last else { return };
        let mut left = oldest;
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        // Whether the first entry of the decision at hand is gone.
        let mut headless = false;
        for entry in entries {
            headless &= entry.follows();
            // An older entry of the same meaning adds nothing.
            if (left > 0 && among(entry)) || (entry.code() == by && entry.at() <= at) {
                left = left.saturating_sub(usize::from(among(entry)));
                headless |= !entry.follows();
                continue;
            }
            kept.push(if headless { entry.leading() } else { *entry });
            headless = false;
        }
        kept.insert(kept.partition_point(|entry| entry.at() <= at), marker(at, by));
        self.room()[..kept.len()].copy_from_slice(&kept);
        self.set_len(kept.len());
    }
}

/// An entry of its own.
fn marker(at: Millis, code: Code) -> Entry {
    Entry::new(at, code, false)
}
