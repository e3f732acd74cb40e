//! Which events the limits for customers look at: of which type, and how far back.
//!
//! A record keeps what limits looked at. So this also says what another release, asked again, cannot know.

use offer::{Catalog, OfferIndex};

use super::{Limits, Place, PlacementNames, counted};
use crate::moment::{self, Millis};
use crate::names::Names;
use crate::total::{Rule, TotalLimit};
use crate::window::Window;

/// A limit that looks at what a record does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beyond {
    /// The offer that alone it withholds.
    pub offer: Option<OfferIndex>,
    /// What people call it.
    pub limit: String,
}

/// How far back limits look, by type.
#[derive(Debug)]
pub(super) struct Lookback {
    /// Those that hold everywhere: suppressions and customer caps.
    everywhere: Vec<(u16, Millis)>,
    contacts: Vec<ContactLookback>,
}

/// How far back a contact limit looks, and where it holds.
#[derive(Debug)]
struct ContactLookback {
    counted: u16,
    back: Millis,
    /// Positions among the names; empty: every one.
    placements: Vec<u16>,
    channels: Vec<u16>,
}

impl ContactLookback {
    fn holds_at(&self, place: Place) -> bool {
        let is_among = |list: &[u16], position: u16| list.is_empty() || list.contains(&position);
        is_among(&self.placements, place.placement) && is_among(&self.channels, place.channel)
    }
}

impl Lookback {
    pub(super) fn new(catalog: &Catalog, placements: &[PlacementNames], names: &Names) -> Self {
        let policy = &catalog.policy;
        let mut everywhere: Vec<(u16, Millis)> = Vec::new();
        let mut looks =
            |counted: u16, back: Millis| match everywhere.iter_mut().find(|(of, _)| *of == counted) {
                Some((_, longest)) => *longest = back.max(*longest),
                None => everywhere.push((counted, back)),
            };
        for suppression in &policy.suppressions {
            looks(names.types.intern(&suppression.outcome), moment::length(suppression.longest()));
        }
        for cap in catalog.library.offers().iter().filter_map(|offer| offer.cap_customer.as_ref()) {
            looks(counted(&cap.count, names), Window::longest(cap.per));
        }
        let contacts = policy.contact_limits.iter().map(|limit| ContactLookback {
            counted: counted(&limit.count, names),
            back: Window::longest(limit.per),
            placements: limit
                .placements
                .iter()
                .map(|placement| placements[placement.get()].position)
                .collect(),
            channels: limit.channels.iter().map(|channel| names.channels.intern(channel)).collect(),
        });
        let contacts = contacts.collect();
        Self { everywhere, contacts }
    }

    /// How far back limits look at events of a type; 0 where none does.
    fn of(&self, place: Place, event_type: u16) -> Millis {
        let everywhere = self.everywhere.iter().filter(|(of, _)| *of == event_type).map(|(_, back)| *back);
        let here = self.contacts.iter().filter(|limit| limit.counted == event_type && limit.holds_at(place));
        everywhere.chain(here.map(|limit| limit.back)).max().unwrap_or(0)
    }
}

impl Limits {
    /// How far back limits look at events of a type where offers are shown at `place`; 0 where none does.
    pub(crate) fn lookback(&self, place: Place, event_type: u16) -> Millis {
        // Every limit counts an event whose type could not be kept apart.
        if event_type == self.names.types.other() {
            self.longest
        } else {
            self.lookback.of(place, event_type)
        }
    }

    /// The limits for customers of `catalog`, whose limits these are, that look at more than those of `known` did.
    /// Both have their names of one history. `place` and `known_place` are the same place, as either release has it.
    #[must_use]
    pub fn beyond(&self, catalog: &Catalog, place: Place, known: &Self, known_place: Place) -> Vec<Beyond> {
        let is_beyond = |counted: u16, back: Millis| back > known.lookback(known_place, counted);
        let policy = &catalog.policy;
        let suppressions = policy
            .suppressions
            .iter()
            .filter(|rule| is_beyond(self.names.types.intern(&rule.outcome), moment::length(rule.longest())));
        let suppressions = suppressions.map(|rule| (None, format!("suppression `{}`", rule.id)));
        let contacts = policy.contact_limits.iter().zip(&self.lookback.contacts);
        let contacts = contacts
            .filter(|(_, limit)| limit.holds_at(place) && is_beyond(limit.counted, limit.back))
            .map(|(limit, _)| (None, format!("contact limit `{}`", limit.id)));
        let caps = catalog.library.indexed().filter(|(_, offer)| {
            let cap = offer.cap_customer.as_ref();
            cap.is_some_and(|cap| is_beyond(counted(&cap.count, &self.names), Window::longest(cap.per)))
        });
        let caps = caps.map(|(index, offer)| (Some(index), format!("`cap_customer` of `{}`", offer.id)));
        let all = suppressions.chain(contacts).chain(caps);
        all.map(|(offer, limit)| Beyond { offer, limit }).collect()
    }

    /// The limits over all customers of these offers of `catalog`, whose limits these are.
    pub fn totals_of<'c>(
        &'c self,
        catalog: &'c Catalog,
        offers: impl IntoIterator<Item = OfferIndex> + 'c,
    ) -> impl Iterator<Item = (TotalLimit, Beyond)> + 'c {
        let of_offer = move |offer: OfferIndex| {
            let id = &catalog.library.get(offer).id;
            let has = move |limit: &TotalLimit| self.meter_of(offer, *limit).is_some();
            TotalLimit::ALL.into_iter().filter(has).map(move |limit| {
                (limit, Beyond { offer: Some(offer), limit: format!("`{}` of `{id}`", limit.name()) })
            })
        };
        offers.into_iter().flat_map(of_offer)
    }

    /// Whether `other` has the same limit over all customers for the offer of this name. Both have their names of one
    /// history.
    ///
    /// # Panics
    /// If the offer is not one of the release.
    #[must_use]
    pub fn shares_total(&self, offer: OfferIndex, limit: TotalLimit, other: &Self) -> bool {
        let (position, _) = self.name(offer);
        let theirs = other.index(position).and_then(|offer| other.rule_of(offer, limit));
        theirs.is_some() && theirs == self.rule_of(offer, limit)
    }

    fn rule_of(&self, offer: OfferIndex, limit: TotalLimit) -> Option<&Rule> {
        self.meter_of(offer, limit).map(|place| self.meters[place].meter.rule())
    }

    /// The position of a limit over all customers among the meters.
    pub(crate) fn meter_of(&self, offer: OfferIndex, limit: TotalLimit) -> Option<usize> {
        let terms = &self.offers[offer.get()];
        match limit {
            TotalLimit::Cap => terms.cap,
            TotalLimit::Budget => terms.budget,
        }
    }
}
