//! The limits of a release, resolved once against the names of a history.
//!
//! [`Limits`] is made when a release is loaded. For each customer, [`Limits::gate`] goes through their entries once and
//! gives [`CustomerLimits`], which says of each offer whether a limit withholds it, and until when.

mod cap;
mod contact;
mod full_totals;
mod gate;
mod lookback;
mod meaning;
mod offer_set;
mod suppression;

pub use gate::{CustomerLimits, LimitBlocked, LimitReason};
pub use lookback::Beyond;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use offer::{Budget, Catalog, Counted, Offer, OfferIndex, Pacing, PlacementIndex, Spending, TotalCap};

use self::cap::CustomerCaps;
use self::contact::ContactLimits;
pub(crate) use self::full_totals::FullTotals;
use self::full_totals::Watch;
use self::lookback::Lookback;
use self::meaning::Meanings;
pub(crate) use self::offer_set::OfferSet;
use self::suppression::Suppressions;
use super::History;
use super::event::{Reservation, ShownOffer};
use super::moment::{self, Millis};
use super::names::{DECISION, Interner, NONE, Names};
use super::total::{Board, Charge, Ledger, Measure, Meter, MeterUse, Rule, Spend, Taken, TotalLimit, micros};
use super::window::Window;

/// Why limits cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the history has no room for the {what} `{name}`: it has seen {most} others since it was built")]
pub struct TooManyNames {
    /// `offer`, `placement`, `channel` or `outcome`.
    pub what: &'static str,
    /// The name.
    pub name: String,
    /// The most names.
    pub most: usize,
}

/// The limits of a release.
#[derive(Debug)]
pub struct Limits {
    names: Arc<Names>,
    /// By [`OfferIndex`].
    offers: Vec<Terms>,
    /// By position among the names, as far as they were known when the limits were resolved.
    indices: Vec<Option<OfferIndex>>,
    placements: Vec<PlacementNames>,
    contacts: ContactLimits,
    suppressions: Suppressions,
    caps: CustomerCaps,
    meanings: Meanings,
    meters: Vec<OfferMeter>,
    board: Arc<Board>,
    watch: Watch,
    lookback: Lookback,
    longest: Millis,
}

/// What the limits need of an offer.
#[derive(Debug)]
struct Terms {
    position: u16,
    id: Arc<str>,
    category: usize,
    spend: Spend,
    ledger: Arc<Ledger>,
    /// Positions among the meters.
    cap: Option<usize>,
    budget: Option<usize>,
}

#[derive(Debug)]
struct OfferMeter {
    offer: OfferIndex,
    meter: Arc<Meter>,
}

/// The positions of a placement and its channels among the names.
#[derive(Debug)]
struct PlacementNames {
    position: u16,
    channels: Vec<(String, u16)>,
}

/// A placement and a channel of it, among the names of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(crate) placement: u16,
    pub(crate) channel: u16,
}

/// How far a limit of an offer over all customers is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TotalUse {
    /// The offer.
    pub offer: OfferIndex,
    /// Which of its limits.
    pub limit: TotalLimit,
    /// The most in the period: a number, or millionths of money.
    pub most: i64,
    /// What was counted in the period.
    pub confirmed: i64,
    /// What is reserved.
    pub reserved: i64,
}

impl Limits {
    /// Resolves the limits of a release. Counts that `history` has already count at once.
    ///
    /// # Errors
    /// When the history has no room for a name of the release.
    pub fn new(history: &History, catalog: &Catalog, now: DateTime<Utc>) -> Result<Self, TooManyNames> {
        let (names, now) = (history.names(), moment::millis(now));
        let policy = &catalog.policy;
        for outcome in &policy.outcomes {
            named(&names.types, "outcome", &outcome.id)?;
        }
        let mut placements = Vec::with_capacity(policy.placements.len());
        for placement in &policy.placements {
            let channels = placement
                .channels
                .iter()
                .map(|channel| Ok((channel.clone(), named(&names.channels, "channel", channel)?)));
            placements.push(PlacementNames {
                position: named(&names.placements, "placement", &placement.id)?,
                channels: channels.collect::<Result<_, _>>()?,
            });
        }
        for channel in policy.contact_limits.iter().flat_map(|limit| &limit.channels) {
            named(&names.channels, "channel", channel)?;
        }
        let (mut offers, mut meters) = (Vec::with_capacity(catalog.library.offers().len()), Vec::new());
        for (index, offer) in catalog.library.indexed() {
            let position = named(&names.offers, "offer", &offer.id)?;
            let ledger = history.ledger(position);
            ledger.set_zone(policy.time_zone);
            let mut add = |rule: Rule| {
                meters.push(OfferMeter { offer: index, meter: ledger.meter(&rule, history.board(), now) });
                meters.len() - 1
            };
            let cap = offer.cap_total.as_ref().map(|cap| add(cap_rule(cap, names, catalog)));
            let budget = offer.budget.as_ref().map(|budget| add(budget_rule(budget, offer, names, catalog)));
            let (id, category, spend) = (Arc::clone(&offer.id), offer.category, Spend::of(offer));
            offers.push(Terms { position, id, category, spend, ledger, cap, budget });
        }
        let mut indices = vec![None; names.offers.len()];
        for (index, terms) in offers.iter().enumerate() {
            indices[usize::from(terms.position)] = Some(OfferIndex::new(index));
        }
        let contacts = ContactLimits::new(policy, &offers, &placements, names);
        let suppressions = Suppressions::new(policy, &offers, names);
        let caps = CustomerCaps::new(catalog, names);
        let longest = contacts.longest().max(suppressions.longest()).max(caps.longest());
        history.looks_back(longest);
        let lookback = Lookback::new(catalog, &placements, names);
        Ok(Self {
            names: Arc::clone(names),
            offers,
            indices,
            placements,
            contacts,
            suppressions,
            caps,
            meanings: Meanings::default(),
            watch: Watch::new(&meters),
            meters,
            board: Arc::clone(history.board()),
            lookback,
            longest,
        })
    }

    /// A placement of the release, and a channel. One that the placement does not have is none.
    ///
    /// # Panics
    /// If the placement is not one of the release.
    #[must_use]
    pub fn place(&self, placement: PlacementIndex, channel: &str) -> Place {
        let names = &self.placements[placement.get()];
        let channel = names.channels.iter().find(|(known, _)| known == channel);
        Place { placement: names.position, channel: channel.map_or(NONE, |(_, position)| *position) }
    }

    /// What an offer spends when it is counted.
    ///
    /// # Panics
    /// If the offer is not one of the release.
    #[must_use]
    pub fn spend(&self, offer: OfferIndex) -> Spend {
        self.offers[offer.get()].spend
    }

    /// How many decisions of all customers have shown the offer so far, as a fallback among them. Takes the lock of the
    /// offer's totals: ask only for offers of which it matters.
    ///
    /// # Panics
    /// If the offer is not one of the release.
    #[must_use]
    pub fn impressions(&self, offer: OfferIndex) -> u64 {
        self.offers[offer.get()].ledger.impressions()
    }

    /// Whether showing the offer can be refused for what other customers did: it has a total cap or a budget.
    ///
    /// # Panics
    /// If the offer is not one of the release.
    #[must_use]
    pub fn has_totals(&self, offer: OfferIndex) -> bool {
        let terms = &self.offers[offer.get()];
        terms.cap.is_some() || terms.budget.is_some()
    }

    /// What showing an offer at `now` reserves, where nothing refuses it.
    ///
    /// # Panics
    /// If the offer is not one of the release.
    #[must_use]
    pub fn would_show(&self, offer: OfferIndex, now: DateTime<Utc>) -> ShownOffer {
        let (_, charge) = self.charge(offer);
        self.shown(offer, &charge.holds(moment::millis(now)))
    }

    /// An offer that is shown, with what was taken for it.
    pub(crate) fn shown(&self, offer: OfferIndex, taken: &Taken) -> ShownOffer {
        let reservations = taken.iter().map(|(limit, hold)| Reservation {
            limit: *limit,
            outcome: self.names.types.name(hold.counted),
            until: moment::moment(hold.until).unwrap_or(DateTime::<Utc>::MAX_UTC),
        });
        let reservations = reservations.collect();
        ShownOffer { offer: Arc::clone(self.name(offer).1), spend: self.spend(offer), reservations }
    }

    /// The use of every total cap and budget.
    #[must_use]
    pub fn usage(&self, now: DateTime<Utc>) -> Vec<TotalUse> {
        let now = moment::millis(now);
        let of_meter = |OfferMeter { offer, meter }: &OfferMeter| {
            let MeterUse { confirmed, reserved } = self.offers[offer.get()].ledger.usage(meter, now);
            let Rule { limit, most, .. } = *meter.rule();
            TotalUse { offer: *offer, limit, most, confirmed, reserved }
        };
        self.meters.iter().map(of_meter).collect()
    }

    /// The age from which on no limit for a customer looks at an entry.
    pub(crate) fn longest(&self) -> Millis {
        self.longest
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// The position of an offer among the names, and its id.
    pub(crate) fn name(&self, offer: OfferIndex) -> (u16, &Arc<str>) {
        let terms = &self.offers[offer.get()];
        (terms.position, &terms.id)
    }

    /// The offer at a position among the names, if the release has it.
    pub(crate) fn index(&self, position: u16) -> Option<OfferIndex> {
        self.indices.get(usize::from(position)).copied().flatten()
    }

    /// What showing an offer asks of its totals.
    pub(crate) fn charge(&self, offer: OfferIndex) -> (&Ledger, Charge<'_>) {
        let terms = &self.offers[offer.get()];
        let meter = |place: Option<usize>| place.map(|place| &self.meters[place].meter);
        (&terms.ledger, Charge { spend: terms.spend, cap: meter(terms.cap), budget: meter(terms.budget) })
    }

    /// The totals that have no room at `now`.
    pub(crate) fn full_totals(&self, now: Millis) -> FullTotals {
        self.watch.full(&self.board, &self.meters, now)
    }
}

/// The position of a name of the release.
fn named(interner: &Interner, what: &'static str, name: &str) -> Result<u16, TooManyNames> {
    let position = interner.intern(name);
    if position == interner.other() {
        return Err(TooManyNames { what, name: name.to_owned(), most: usize::from(position) });
    }
    Ok(position)
}

/// The position of what is counted; the outcomes of the release have theirs.
fn counted(count: &Counted, names: &Names) -> u16 {
    match count {
        Counted::Decision => DECISION,
        Counted::Outcome(outcome) => names.types.intern(outcome),
    }
}

fn cap_rule(cap: &TotalCap, names: &Names, catalog: &Catalog) -> Rule {
    Rule {
        limit: TotalLimit::Cap,
        counted: counted(&cap.count, names),
        window: Window::new(cap.per, catalog.policy.time_zone),
        most: i64::try_from(cap.limit).unwrap_or(i64::MAX),
        asks: 1,
        measure: Measure::Count,
        until: None,
        is_paced: false,
        reserve: moment::length(cap.reserve),
    }
}

fn budget_rule(budget: &Budget, offer: &Offer, names: &Names, catalog: &Catalog) -> Rule {
    let spend = Spend::of(offer);
    let (measure, asks) = match budget.spends {
        Spending::Cost => (Measure::Cost, spend.cost_micros),
        Spending::Value => (Measure::Value, spend.value_micros),
    };
    let is_paced = budget.pacing == Pacing::Even;
    Rule {
        limit: TotalLimit::Budget,
        counted: counted(&budget.count, names),
        window: Window::new(budget.per, catalog.policy.time_zone),
        most: micros(budget.amount),
        asks,
        measure,
        until: offer.valid_until.filter(|_| is_paced).map(moment::millis),
        is_paced,
        reserve: moment::length(budget.reserve),
    }
}
