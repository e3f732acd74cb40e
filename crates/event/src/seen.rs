//! What limits looked at, as records have it: packed, and unpacked again.
//!
//! The only place where a [`SeenHistory`] is packed and unpacked. Times are in milliseconds.

use super::proto::{SeenHistory, SeenKind};

/// A name in a [`SeenHistory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeenName<'r> {
    /// There is none.
    Nothing,
    /// It could not be told from others.
    Any,
    /// This one.
    Is(&'r str),
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedKind<'r> {
    /// The offer.
    pub offer: SeenName<'r>,
    /// Where it was shown.
    pub placement: SeenName<'r>,
    /// Over what.
    pub channel: SeenName<'r>,
    /// `decision`, or the type of an outcome.
    pub event_type: SeenName<'r>,
    /// Whether it stands for any number of such events, none of them later.
    pub many: bool,
}

/// An event of the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenEvent {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The position of its kind.
    pub kind: usize,
    /// Whether it belongs to the same decision as the event before it.
    pub same_decision: bool,
}

/// A limit over all customers that had no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullLimit<'r> {
    /// The offer.
    pub offer: SeenName<'r>,
    /// Whether it is the budget of the offer, and not its total cap.
    pub is_budget: bool,
    /// When it has room if nothing else happens, in milliseconds since 1970; `None`: never.
    pub frees_at: Option<i64>,
}

/// A [`SeenHistory`] with its names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen<'r> {
    /// What events are about.
    pub kinds: Vec<NamedKind<'r>>,
    /// The events, the oldest first.
    pub events: Vec<SeenEvent>,
    /// Limits that had no room.
    pub full: Vec<FullLimit<'r>>,
}

/// Why a [`SeenHistory`] makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeenError {
    /// A number of a name that there is not.
    #[error("there is no name {0}")]
    Name(u32),
    /// A position of a kind that there is not.
    #[error("there is no kind {0}")]
    Kind(u32),
    /// Two lists of different lengths.
    #[error("`{0}` and `{1}` are not of the same length")]
    Lengths(&'static str, &'static str),
    /// A time that no clock shows.
    #[error("`{0}`: a time is out of range")]
    Time(&'static str),
}

/// The first number of a name in the list.
const FIRST: u32 = 2;

/// Makes a [`SeenHistory`]. Names and kinds are numbered in the order in which they come.
#[derive(Debug)]
pub struct SeenPacker {
    seen: SeenHistory,
    /// Milliseconds since 1970.
    decided_at: i64,
    last: i64,
}

impl SeenPacker {
    /// Begins for a decision at `decided_at`, in microseconds since 1970.
    #[must_use]
    pub fn new(decided_at: i64) -> Self {
        let decided_at = millis(decided_at);
        Self { seen: SeenHistory::default(), decided_at, last: decided_at }
    }

    /// The customer had opted out of all marketing.
    pub fn opted_out(&mut self) {
        self.seen.opted_out = true;
    }

    /// Adds a kind of event, which is not there yet, and returns its position.
    pub fn kind(&mut self, kind: NamedKind<'_>) -> usize {
        let NamedKind { offer, placement, channel, event_type, many } = kind;
        let [offer, placement, channel, r#type] =
            [offer, placement, channel, event_type].map(|name| self.name(name));
        self.seen.kinds.push(SeenKind { offer, placement, channel, r#type, many });
        self.seen.kinds.len() - 1
    }

    /// Adds an event, which is no older than the one before.
    pub fn event(&mut self, SeenEvent { at, kind, same_decision }: SeenEvent) {
        self.seen.times.push(at - self.last);
        self.last = at;
        self.seen.events.push(2 * kind as u32 + u32::from(same_decision));
    }

    /// Adds a limit without room.
    pub fn full(&mut self, FullLimit { offer, is_budget, frees_at }: FullLimit<'_>) {
        let offer = self.name(offer);
        self.seen.full.push(2 * offer + u32::from(is_budget));
        self.seen.frees_in.push(frees_at.map_or(0, |at| (at - self.decided_at).max(1).unsigned_abs()));
    }

    /// What was added; `None` if it was nothing.
    #[must_use]
    pub fn finish(self) -> Option<SeenHistory> {
        let SeenHistory { opted_out, events, full, .. } = &self.seen;
        (*opted_out || !events.is_empty() || !full.is_empty()).then_some(self.seen)
    }

    /// The number of a name.
    fn name(&mut self, name: SeenName<'_>) -> u32 {
        let name = match name {
            SeenName::Nothing => return 0,
            SeenName::Any => return 1,
            SeenName::Is(name) => name,
        };
        // Few are different.
        let names = &mut self.seen.names;
        let position = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        FIRST + position as u32
    }
}

impl SeenHistory {
    /// Everything with its names, for a decision at `decided_at`, in microseconds since 1970.
    ///
    /// # Errors
    /// When numbers or lists do not fit each other.
    pub fn unpacked(&self, decided_at: i64) -> Result<Seen<'_>, SeenError> {
        let decided_at = millis(decided_at);
        if self.events.len() != self.times.len() {
            return Err(SeenError::Lengths("events", "times"));
        }
        if self.full.len() != self.frees_in.len() {
            return Err(SeenError::Lengths("full", "frees_in"));
        }
        let kinds = self.kinds.iter().map(|kind| {
            Ok(NamedKind {
                offer: self.named(kind.offer)?,
                placement: self.named(kind.placement)?,
                channel: self.named(kind.channel)?,
                event_type: self.named(kind.r#type)?,
                many: kind.many,
            })
        });
        let mut at = decided_at;
        let events = self.events.iter().zip(&self.times).enumerate().map(|(place, (event, since))| {
            let kind = (event / 2) as usize;
            if kind >= self.kinds.len() {
                return Err(SeenError::Kind(event / 2));
            }
            // The first may be long ago; the others are in order.
            let is_in_order = place == 0 || *since >= 0;
            at = at.checked_add(*since).filter(|_| is_in_order).ok_or(SeenError::Time("times"))?;
            Ok(SeenEvent { at, kind, same_decision: event % 2 == 1 })
        });
        let full = self.full.iter().zip(&self.frees_in).map(|(full, frees_in)| {
            let frees_at = match frees_in {
                0 => None,
                length => {
                    let frees =
                        i64::try_from(*length).ok().and_then(|length: i64| decided_at.checked_add(length));
                    Some(frees.ok_or(SeenError::Time("frees_in"))?)
                }
            };
            Ok(FullLimit { offer: self.named(full / 2)?, is_budget: full % 2 == 1, frees_at })
        });
        Ok(Seen {
            kinds: kinds.collect::<Result<_, _>>()?,
            events: events.collect::<Result<_, _>>()?,
            full: full.collect::<Result<_, _>>()?,
        })
    }

    fn named(&self, number: u32) -> Result<SeenName<'_>, SeenError> {
        match number {
            0 => Ok(SeenName::Nothing),
            1 => Ok(SeenName::Any),
            number => {
                let name = self.names.get((number - FIRST) as usize);
                name.map(|name| SeenName::Is(name)).ok_or(SeenError::Name(number))
            }
        }
    }
}

impl<'r> SeenName<'r> {
    /// As people read it.
    #[must_use]
    pub fn text(self) -> &'r str {
        match self {
            Self::Nothing => "",
            Self::Any => "(other)",
            Self::Is(name) => name,
        }
    }
}

/// Whole milliseconds of microseconds.
fn millis(micros: i64) -> i64 {
    micros.div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = SeenName<'static>> {
        prop_oneof![
            Just(SeenName::Nothing),
            Just(SeenName::Any),
            prop::sample::select(vec!["gold", "home", "app", "decision", "accept", ""])
                .prop_map(SeenName::Is),
        ]
    }

    fn kind() -> impl Strategy<Value = NamedKind<'static>> {
        (name(), name(), name(), name(), any::<bool>()).prop_map(
            |(offer, placement, channel, event_type, many)| NamedKind {
                offer,
                placement,
                channel,
                event_type,
                many,
            },
        )
    }

    const NOON: i64 = 1_796_083_200_123_456;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            kinds in prop::collection::vec(kind(), 1..5),
            events in prop::collection::vec((any::<prop::sample::Index>(), 0..9_000_000_000_i64, any::<bool>()), 0..40),
            full in prop::collection::vec((name(), any::<bool>(), prop::option::of(1..9_000_000_000_i64)), 0..5),
            opted_out in any::<bool>(),
        ) {
            let mut packer = SeenPacker::new(NOON);
            if opted_out {
                packer.opted_out();
            }
            let mut expected = Seen { kinds, ..Seen::default() };
            let positions: Vec<usize> = expected.kinds.iter().map(|kind| packer.kind(*kind)).collect();
            prop_assert_eq!(&positions, &(0..expected.kinds.len()).collect::<Vec<_>>());
            let mut at = NOON / 1_000 - 20_000_000_000;
            for (kind, since, same_decision) in events {
                at += since;
                expected.events.push(SeenEvent { at, kind: kind.index(positions.len()), same_decision });
            }
            for (offer, is_budget, frees_in) in full {
                expected.full.push(FullLimit { offer, is_budget, frees_at: frees_in.map(|length| NOON / 1_000 + length) });
            }
            expected.events.iter().for_each(|event| packer.event(*event));
            expected.full.iter().for_each(|full| packer.full(*full));
            let is_empty = !opted_out && expected.events.is_empty() && expected.full.is_empty();
            let packed = packer.finish();
            prop_assert_eq!(packed.is_none(), is_empty);
            if let Some(packed) = packed {
                prop_assert_eq!(packed.opted_out, opted_out);
                let mut names = packed.names.clone();
                names.sort();
                names.dedup();
                prop_assert_eq!(names.len(), packed.names.len());
                prop_assert_eq!(packed.unpacked(NOON), Ok(expected));
            }
        }

        #[test]
        fn no_numbers_make_it_panic(
            kinds in prop::collection::vec(any::<[u8; 4]>(), 0..3),
            events in prop::collection::vec(any::<u32>(), 0..3),
            times in prop::collection::vec(any::<i64>(), 0..3),
            full in prop::collection::vec(any::<u32>(), 0..3),
            frees_in in prop::collection::vec(any::<u64>(), 0..3),
            decided_at in any::<i64>(),
        ) {
            let kind = |numbers: [u8; 4]| {
                let [offer, placement, channel, r#type] = numbers.map(|number| u32::from(number) % 5);
                SeenKind { offer, placement, channel, r#type, many: false }
            };
            let kinds = kinds.into_iter().map(kind).collect();
            let names = vec!["a".to_owned(), "b".to_owned()];
            let seen = SeenHistory { opted_out: false, names, kinds, events, times, full, frees_in };
            let _ = seen.unpacked(decided_at);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        type Change = fn(&mut SeenHistory);
        let mut packer = SeenPacker::new(NOON);
        let name = SeenName::Is("gold");
        let kind = packer.kind(NamedKind {
            offer: name,
            placement: SeenName::Nothing,
            channel: SeenName::Nothing,
            event_type: SeenName::Any,
            many: false,
        });
        for at in [-5, 7] {
            packer.event(SeenEvent { at: NOON / 1_000 + at, kind, same_decision: false });
        }
        packer.full(FullLimit { offer: name, is_budget: true, frees_at: None });
        let good = packer.finish().unwrap();
        assert_eq!((&*good.events, &*good.times), (&[0, 0][..], &[-5, 12][..]));
        let cases: [(Change, SeenError); 7] = [
            (|seen| seen.names.clear(), SeenError::Name(2)),
            (|seen| seen.kinds.clear(), SeenError::Kind(0)),
            (|seen| seen.full[0] = 6, SeenError::Name(3)),
            (|seen| seen.times.truncate(1), SeenError::Lengths("events", "times")),
            (|seen| seen.frees_in.clear(), SeenError::Lengths("full", "frees_in")),
            (|seen| seen.times[1] = -1, SeenError::Time("times")),
            (|seen| seen.frees_in[0] = u64::MAX, SeenError::Time("frees_in")),
        ];
        for (change, expected) in cases {
            let mut seen = good.clone();
            change(&mut seen);
            assert_eq!(seen.unpacked(NOON), Err(expected));
        }
    }
}
