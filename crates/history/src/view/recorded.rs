//! A view as the record of a decision has it, and back.
//!
//! A record has names instead of codes, so that it is read with any history. What no limit looks at where the decision
//! was made is left out: the view that is made of a record gives the same gates.

use chrono::{DateTime, Utc};
use event::proto::SeenHistory;
use event::seen::{FullLimit, NamedKind, SeenError, SeenEvent, SeenName, SeenPacker};
use hashbrown::HashMap;
use offer::OfferIndex;
use smallvec::smallvec;

use super::{Customer, HistoryView};
use crate::entry::Entry;
use crate::limits::{FullTotals, Limits, Place};
use crate::moment::{self, LAST, Millis, NEVER};
use crate::names::{Code, EntryKey, Interner, NONE, Names};
use crate::total::TotalLimit;

/// What is known of a code while a record is made.
#[derive(Clone, Copy)]
struct KnownCode {
    /// Events before are left out.
    since: Millis,
    /// The position of its kind in the record, once it has one.
    kind: Option<usize>,
}

impl HistoryView {
    /// What limits looked at of the customer at `position`, for the record of a decision at `place` between
    /// `candidates`; `None` if there was nothing. `limits` are those of the view, and `decided_at` is its clock.
    ///
    /// # Panics
    /// If the view has no such customer, or `limits` have no such candidate.
    #[must_use]
    pub fn seen(
        &self,
        limits: &Limits,
        position: usize,
        place: Place,
        candidates: impl IntoIterator<Item = OfferIndex>,
        decided_at: DateTime<Utc>,
    ) -> Option<SeenHistory> {
        let mut packer = SeenPacker::new(decided_at.timestamp_micros());
        if self.has_opted_out(position) {
            packer.opted_out();
        }
        self.pack_entries(limits, position, place, &mut packer);
        if !self.totals.is_empty() {
            candidates.into_iter().for_each(|offer| self.pack_full(limits, offer, &mut packer));
        }
        packer.finish()
    }

    fn pack_entries(&self, limits: &Limits, position: usize, place: Place, packer: &mut SeenPacker) {
        let names = limits.names();
        let mut codes: HashMap<Code, KnownCode> = HashMap::new();
        // Whether the first entry of the decision at hand is left out.
        let mut headless = false;
        for entry in self.entries(position) {
            let code = codes.entry(entry.code()).or_insert_with(|| {
                let lookback = limits.lookback(place, names.key(entry.code()).event_type);
                // Where nothing looks, not even what is ahead of the clock is looked at.
                let since = if lookback == 0 { NEVER } else { self.now.saturating_sub(lookback) };
                KnownCode { since, kind: None }
            });
            headless &= entry.follows();
            if entry.at() < code.since {
                headless |= !entry.follows();
                continue;
            }
            let kind = *code.kind.get_or_insert_with(|| pack_kind(names, entry.code(), packer));
            packer.event(SeenEvent {
                at: moment::since_1970(entry.at()),
                kind,
                same_decision: entry.follows() && !headless,
            });
            headless = false;
        }
    }

    fn pack_full(&self, limits: &Limits, offer: OfferIndex, packer: &mut SeenPacker) {
        if !self.totals.offers().contains(offer) {
            return;
        }
        let (_, id) = limits.name(offer);
        for limit in TotalLimit::ALL {
            if let Some(frees) = limits.meter_of(offer, limit).and_then(|place| self.totals.frees(place)) {
                packer.full(FullLimit {
                    offer: SeenName::Is(id),
                    is_budget: limit == TotalLimit::Budget,
                    frees_at: moment::moment(frees).map(|frees| frees.timestamp_millis()),
                });
            }
        }
    }

    /// The view of a record for its one customer: what the limits that decide now can look at of what others looked at.
    /// `decided_at` is that of the record. `is_known` says of which limits over all customers a record speaks; the
    /// others have room.
    ///
    /// # Errors
    /// When the parts of the record do not fit each other.
    pub fn of_record(
        seen: Option<&SeenHistory>,
        limits: &Limits,
        decided_at: DateTime<Utc>,
        is_known: impl Fn(OfferIndex, TotalLimit) -> bool,
    ) -> Result<Self, SeenError> {
        let mut view = Self {
            now: moment::millis(decided_at),
            entries: Vec::new(),
            customers: smallvec![Customer { end: 0, opted_out: false }],
            totals: FullTotals::default(),
        };
        let Some(seen) = seen else { return Ok(view) };
        let unpacked = seen.unpacked(decided_at.timestamp_micros())?;
        let names = limits.names();
        let codes: Vec<Code> = unpacked.kinds.iter().map(|kind| code_of(names, kind)).collect();
        for SeenEvent { at, kind, same_decision } in unpacked.events {
            let at = moment::of_1970(at);
            if !(0..=LAST).contains(&at) {
                return Err(SeenError::Time("times"));
            }
            view.entries.push(Entry::new(at, codes[kind], same_decision));
        }
        view.customers = smallvec![Customer { end: view.entries.len(), opted_out: seen.opted_out }];
        for FullLimit { offer, is_budget, frees_at } in unpacked.full {
            let limit = if is_budget { TotalLimit::Budget } else { TotalLimit::Cap };
            let offer = match offer {
                SeenName::Is(name) => names.offers.find(name).and_then(|position| limits.index(position)),
                SeenName::Nothing | SeenName::Any => None,
            };
            // A release that decides again may have other offers.
            let Some(offer) = offer.filter(|offer| is_known(*offer, limit)) else { continue };
            let frees = frees_at.map_or(NEVER, moment::of_1970);
            if let Some(place) = limits.meter_of(offer, limit).filter(|_| view.now < frees) {
                view.totals.push(place, frees, offer);
            }
        }
        Ok(view)
    }
}

/// Adds the kind of a code to a record.
fn pack_kind(names: &Names, code: Code, packer: &mut SeenPacker) -> usize {
    fn name<'n>(list: &Interner, position: u16, name: &'n str) -> SeenName<'n> {
        match position {
            NONE => SeenName::Nothing,
            position if position == list.other() => SeenName::Any,
            _ => SeenName::Is(name),
        }
    }
    let key = names.key(code);
    let of = names.of(key);
    packer.kind(NamedKind {
        offer: name(&names.offers, key.offer, &of.offer),
        placement: name(&names.placements, key.placement, &of.placement),
        channel: name(&names.channels, key.channel, &of.channel),
        event_type: name(&names.types, key.event_type, &of.event_type),
        many: key.saturated,
    })
}

/// The code of a kind. What the release does not name is as good as nothing: no limit tells it apart.
fn code_of(names: &Names, kind: &NamedKind<'_>) -> Code {
    let position = |list: &Interner, name: SeenName<'_>| match name {
        SeenName::Nothing => NONE,
        SeenName::Any => list.other(),
        SeenName::Is(name) => list.find(name).unwrap_or(NONE),
    };
    names.code(EntryKey {
        offer: position(&names.offers, kind.offer),
        placement: position(&names.placements, kind.placement),
        channel: position(&names.channels, kind.channel),
        event_type: position(&names.types, kind.event_type),
        saturated: kind.many,
    })
}
