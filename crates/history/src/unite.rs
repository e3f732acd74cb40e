//! Adding to a history what another one knows of the time before.

use std::collections::HashMap;

use super::History;
use super::entry::Entry;
use super::moment::Millis;
use super::names::{Code, EntryKey, Interner, Names};
use super::timeline::Timeline;
use super::total::{Hold, Ledger, Saved};

impl History {
    /// Adds what `other` has: of customers what is not here, of totals all of it. Calls may go on meanwhile; the thread
    /// needs normal priority.
    pub(crate) fn unite(&self, other: &Self, now: Millis) {
        let mut codes = Codes { theirs: &other.names, ours: &self.names, known: HashMap::new() };
        for (offer, ledger) in other.ledgers() {
            let offer = position(offer, &other.names.offers, &self.names.offers);
            if self.has_ledger(offer) {
                self.ledger(offer).add(codes.of_ledger(&ledger), now);
            }
        }
        other.customers.each(|theirs| {
            let entries = codes.of_timeline(theirs);
            if entries.is_empty() && !theirs.has_opted_out() {
                return;
            }
            self.customers.change_or_add(&theirs.id().text(), entries.len(), |ours| {
                for group in lacking(ours.entries(), &entries) {
                    self.insert(ours, &group);
                }
                if theirs.has_opted_out() {
                    ours.opt_out();
                }
            });
        });
    }
}

/// What another history names, by the names of this one.
struct Codes<'n> {
    theirs: &'n Names,
    ours: &'n Names,
    known: HashMap<Code, Code>,
}

impl Codes<'_> {
    fn of(&mut self, code: Code) -> Code {
        let Self { theirs, ours, known } = self;
        *known.entry(code).or_insert_with(|| {
            let key = theirs.key(code);
            ours.code(EntryKey {
                offer: position(key.offer, &theirs.offers, &ours.offers),
                placement: position(key.placement, &theirs.placements, &ours.placements),
                channel: position(key.channel, &theirs.channels, &ours.channels),
                event_type: position(key.event_type, &theirs.types, &ours.types),
                saturated: key.saturated,
            })
        })
    }

    fn of_timeline(&mut self, timeline: &Timeline) -> Vec<Entry> {
        let entries = timeline.entries().iter();
        entries.map(|entry| Entry::new(entry.at(), self.of(entry.code()), entry.follows())).collect()
    }

    fn of_ledger(&self, ledger: &Ledger) -> Saved {
        let of_type = |counted| position(counted, &self.theirs.types, &self.ours.types);
        let saved = ledger.save();
        let mut named = Saved::default();
        for (counted, series) in saved.series {
            named.series.push((of_type(counted), series));
        }
        for (decision, limit, hold) in saved.reservations.all() {
            let hold = Hold { counted: of_type(hold.counted), ..*hold };
            named.reservations.open(decision, limit, hold);
        }
        named
    }
}

/// The position of a name of one list in another. The names of the release that serves are there; others take no room
/// from those of later ones.
fn position(position: u16, from: &Interner, to: &Interner) -> u16 {
    if position == from.other() { to.other() } else { to.intern_foreign(&from.name(position)) }
}

/// The decisions and outcomes of `all` that are not among `known`. What is there twice, and known once, lacks once.
fn lacking(known: &[Entry], all: &[Entry]) -> Vec<Vec<Entry>> {
    let is_same_decision = |_: &Entry, next: &Entry| next.follows();
    let mut left: HashMap<&[Entry], usize> = HashMap::new();
    for group in known.chunk_by(is_same_decision) {
        *left.entry(group).or_default() += 1;
    }
    let mut lacking = Vec::new();
    for group in all.chunk_by(is_same_decision) {
        match left.get_mut(group) {
            Some(known) if *known > 0 => *known -= 1,
            _ => lacking.push(group.to_vec()),
        }
    }
    lacking
}
