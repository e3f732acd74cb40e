//! Limits: what the history of a call's customers withholds, and how what is shown is reserved.
//!
//! A call takes one view of the history when it is planned ([`CallLimits`]); gates read nothing else. Once a slate is
//! chosen, [`Reserving`] adds it to the history, checks the limits again under the customer's lock, and reserves what
//! is limited in total. What it refuses is replaced by the next best offers, for at most [`ROUNDS`] rounds. When a
//! decision is made again from its record, view and refusals are those of the record.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};
use std::{fmt, mem};

use chrono::{DateTime, Utc};
use smallvec::SmallVec;
use uuid::Uuid;

use super::plan::Plan;
use super::withheld::{Detail, LimitDetail, Withheld};
use super::{DecisionError, Reason, Stage};
use history::{
    CustomerLimits, Decision, History, HistoryView, LimitReason, Limits, Place, RecentDecisions, Refused,
    ShownOffer, TotalLimit, Transaction,
};
use offer::OfferIndex;
use release::Release;

/// How often a slate is filled anew because a limit refused one of its offers.
pub(super) const ROUNDS: u32 = 3;

/// The releases whose limits are kept: the one that serves, and those that a swap or a rollback brings back.
const MAX_RESOLVED: usize = 4;

/// Writes the pseudonym of a customer's id, the newest key's first, then those of older keys.
pub trait Naming: Send + Sync {
    /// Appends the pseudonyms of `id`; nothing where customers go by their ids.
    fn pseudonyms(&self, id: &str, names: &mut Vec<String>);
}

/// The limits of releases, latest first.
type Resolved = Vec<(Weak<Release>, Arc<Limits>)>;

/// The history of a server, and the limits of its releases.
#[derive(Clone)]
pub struct Limiter {
    history: Arc<History>,
    naming: Arc<dyn Naming>,
    /// `None` where no outcomes come.
    recent: Option<Arc<RecentDecisions>>,
    resolved: Arc<RwLock<Resolved>>,
}

impl Limiter {
    /// Limits look at this history, which has customers by the names that `naming` gives them.
    #[must_use]
    pub fn new(history: Arc<History>, naming: Arc<dyn Naming>) -> Self {
        Self { history, naming, recent: None, resolved: Arc::default() }
    }

    /// The same; decisions whose records are certain are remembered in `recent`, where their outcomes find them.
    #[must_use]
    pub fn with_recent(self, recent: Arc<RecentDecisions>) -> Self {
        Self { recent: Some(recent), ..self }
    }

    /// Takes the view for the customers of a plan, and returns how long that took.
    ///
    /// # Errors
    /// As [`Limiter::limits`].
    pub(super) fn look(&self, plan: &mut Plan, adds: Adds) -> Result<Duration, DecisionError> {
        let limits = self.limits(&plan.snapshot.release, plan.now)?;
        let place = limits.place(plan.placement, plan.channel().unwrap_or_default());
        self.name(plan);
        let ids = (0..plan.customers.len()).map(|index| plan.history_id(index));
        let began = Instant::now();
        let view = Arc::new(self.history.view(&limits, ids, plan.now));
        let took = began.elapsed();
        for newcomer in &mut plan.newcomers {
            newcomer.impressions = limits.impressions(newcomer.offer);
        }
        let reserve = match adds {
            Adds::Nothing => Reserve::Nothing,
            Adds::Durably | Adds::Undurably => Reserve::In(Arc::clone(&self.history)),
        };
        plan.limits = Some(CallLimits { limits, view, place, reserve, undurable: adds == Adds::Undurably });
        Ok(took)
    }

    /// The decisions of a plan are recorded: their outcomes find them.
    pub(super) fn remember(&self, plan: &Plan, decided: &[Reserved]) {
        let Some(recent) = &self.recent else { return };
        for Reserved { index, decision, shown, .. } in decided.iter().filter(|one| !one.shown.is_empty()) {
            recent.remember(&Decision {
                id: *decision,
                customer: plan.history_id(*index),
                placement: &plan.placement().id,
                channel: plan.channel().unwrap_or_default(),
                decided_at: plan.now,
                shown,
            });
        }
    }

    /// Names the customers of a plan as the history has them. What it has under an older key moves to the newest.
    fn name(&self, plan: &mut Plan) {
        let (mut pseudonyms, mut names) = (Vec::new(), Vec::new());
        for customer in &plan.customers {
            names.clear();
            if !customer.id.is_empty() {
                self.naming.pseudonyms(&customer.id, &mut names);
                if names.is_empty() {
                    return;
                }
            }
            let mut of_customer = names.drain(..);
            let newest = of_customer.next().unwrap_or_default();
            of_customer.for_each(|older| self.history.rename(&older, &newest));
            pseudonyms.push(newest);
        }
        plan.pseudonyms = pseudonyms;
    }

    /// The history.
    #[must_use]
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// The limits of a release, resolved once.
    ///
    /// # Errors
    /// When the history has no room for the names of the release.
    pub fn limits(&self, release: &Arc<Release>, now: DateTime<Utc>) -> Result<Arc<Limits>, DecisionError> {
        let find = |known: &[(Weak<Release>, Arc<Limits>)]| {
            let found = known.iter().find(|(of, _)| of.as_ptr() == Arc::as_ptr(release));
            found.map(|(_, limits)| Arc::clone(limits))
        };
        if let Some(limits) = find(&self.resolved.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(limits);
        }
        let mut resolved = self.resolved.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(limits) = find(&resolved) {
            return Ok(limits);
        }
        let limits = Limits::new(&self.history, release.catalog(), now)
            .map_err(|error| DecisionError::Internal(error.to_string()))?;
        let limits = Arc::new(limits);
        resolved.insert(0, (Arc::downgrade(release), Arc::clone(&limits)));
        resolved.truncate(MAX_RESOLVED);
        Ok(limits)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}

/// What limits look at while a call is decided.
pub(super) struct CallLimits {
    pub limits: Arc<Limits>,
    pub view: Arc<HistoryView>,
    pub place: Place,
    pub reserve: Reserve,
    /// Whether what is decided cannot become durable: then nothing that all customers share may be reserved.
    pub undurable: bool,
}

/// What a call adds to the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adds {
    /// What it shows; it becomes durable before the answer where that is needed.
    Durably,
    /// What it shows, as far as that need not survive the server.
    Undurably,
    /// Nothing: it is a dry run.
    Nothing,
}

/// What happens to a slate.
pub(super) enum Reserve {
    /// It is added to the history.
    In(Arc<History>),
    /// Nothing: the call is a dry run.
    Nothing,
    /// The record says what was refused.
    Recorded(Vec<Refusal>),
}

/// An offer of a slate that a limit refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// How often the slate had been filled before; `None` for a fallback.
    pub round: Option<u32>,
    /// The offer.
    pub offer: OfferIndex,
    /// Why.
    pub reason: Reason,
    /// The id of the suppression or contact limit; of a limit of the offer, its key.
    pub limit: String,
    /// When it has room again if nothing else happens; `None`: never.
    pub frees_at: Option<DateTime<Utc>>,
}

impl From<LimitReason> for Reason {
    fn from(reason: LimitReason) -> Self {
        match reason {
            LimitReason::Suppressed => Self::Suppressed,
            LimitReason::ContactLimit => Self::ContactLimit,
            LimitReason::CapCustomer => Self::CapCustomer,
            LimitReason::CapTotal => Self::CapTotal,
            LimitReason::Budget => Self::Budget,
        }
    }
}

impl Reason {
    /// The kind of limit that it is about, if it is about one.
    #[must_use]
    pub fn limit(self) -> Option<LimitReason> {
        use LimitReason::{Budget, CapCustomer, CapTotal, ContactLimit, Suppressed};
        let all = [Suppressed, ContactLimit, CapCustomer, CapTotal, Budget];
        all.into_iter().find(|limit| Self::from(*limit) == self)
    }

    /// The key of the limit in `offers.toml`, if it is one of the offer itself.
    #[must_use]
    pub fn limit_key(self) -> Option<&'static str> {
        match self.limit()? {
            LimitReason::Suppressed | LimitReason::ContactLimit => None,
            LimitReason::CapCustomer => Some("cap_customer"),
            LimitReason::CapTotal => Some(TotalLimit::Cap.name()),
            LimitReason::Budget => Some(TotalLimit::Budget.name()),
        }
    }
}

impl CallLimits {
    /// What limits say of the customer at a position.
    pub(crate) fn gate(&self, position: usize) -> CustomerGate<'_> {
        CustomerGate { call: self, limits: self.limits.gate(&self.view, position, self.place) }
    }

    /// Whether an offer cannot be reserved, since nothing durable says so.
    fn cannot_reserve(&self, offer: OfferIndex) -> bool {
        self.undurable && self.limits.has_totals(offer)
    }
}

/// The limits of one customer as a gate.
pub(super) struct CustomerGate<'a> {
    call: &'a CallLimits,
    limits: CustomerLimits<'a>,
}

impl<'a> CustomerGate<'a> {
    /// The first limit that withholds an offer, if any.
    pub(crate) fn withholds(&self, offer: OfferIndex, now: DateTime<Utc>) -> Option<Withheld<'a>> {
        if let Some(blocked) = self.limits.withholds(offer) {
            return Some(self.withheld(offer, blocked, now));
        }
        let detail = Detail::Name("the decision cannot be recorded now");
        self.call
            .cannot_reserve(offer)
            .then(|| Withheld::new(offer, Stage::Limits, Reason::HistoryUnavailable, detail))
    }

    /// The first suppression or contact limit that withholds a fallback, if any.
    pub(crate) fn withholds_fallback(&self, offer: OfferIndex, now: DateTime<Utc>) -> Option<Withheld<'a>> {
        self.limits.fallback_withholds(offer).map(|blocked| self.withheld(offer, blocked, now))
    }

    fn withheld(
        &self,
        offer: OfferIndex,
        blocked: history::LimitBlocked,
        now: DateTime<Utc>,
    ) -> Withheld<'a> {
        let (id, frees_at) = (blocked.id(&self.call.limits), blocked.frees_at());
        let detail = Detail::Limit(LimitDetail { id, frees_at, now });
        Withheld::new(offer, Stage::Limits, blocked.reason.into(), detail)
    }
}

/// How the slate of one decision is reserved.
pub(super) struct Reserving<'a> {
    plan: &'a Plan,
    call: &'a CallLimits,
    index: usize,
    decision: Uuid,
    round: u32,
    transaction: Option<Transaction>,
    /// What was refused, where the decision was made before: then nothing is added to the history.
    recorded: Option<&'a [Refusal]>,
    /// What is shown where it is known what was refused.
    shown_again: SmallVec<[OfferIndex; 4]>,
    refusals: Vec<Refusal>,
}

/// What was reserved for a decision, until its answer is certain.
#[derive(Debug)]
pub(super) struct Reserved {
    /// The place of the customer in the call.
    index: usize,
    decision: Uuid,
    transaction: Option<Transaction>,
    /// What was shown, with what was reserved for its outcomes, where the decision is recorded.
    shown: Arc<[ShownOffer]>,
    refusals: Vec<Refusal>,
}

impl Reserved {
    /// What was shown and what was refused, for a record. What was shown is also remembered for outcomes.
    pub(crate) fn for_record(&mut self) -> (Arc<[ShownOffer]>, Vec<Refusal>) {
        (Arc::clone(&self.shown), mem::take(&mut self.refusals))
    }

    /// The place of the customer in the call.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// What was refused, unless a record has it.
    pub(crate) fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// The answer is certain.
    pub(crate) fn keep(self) {
        if let Some(transaction) = self.transaction {
            transaction.keep();
        }
    }

    /// What is shown stays counted for limits over all customers alone.
    pub(crate) fn keep_totals(self) {
        if let Some(transaction) = self.transaction {
            transaction.keep_totals();
        }
    }
}

impl<'a> Reserving<'a> {
    /// Begins for a decision of a plan; `None` where the plan has no limits. If the decision was made before, `again`
    /// is what was refused then: it is refused now, and nothing is reserved.
    pub(crate) fn begin(
        plan: &'a Plan,
        index: usize,
        decision: Uuid,
        again: Option<&'a [Refusal]>,
    ) -> Option<Self> {
        let call = plan.limits.as_ref()?;
        let (transaction, recorded) = match (&call.reserve, again) {
            (_, Some(refusals)) => (None, Some(refusals)),
            (Reserve::Recorded(refusals), None) => (None, Some(&refusals[..])),
            (Reserve::Nothing, None) => (None, None),
            (Reserve::In(history), None) => {
                let customer = plan.history_id(index);
                let begun =
                    Transaction::begin(history, &call.limits, decision, customer, call.place, plan.now);
                (Some(begun), None)
            }
        };
        let (shown_again, refusals) = (SmallVec::new(), Vec::new());
        Some(Self { plan, call, index, decision, round: 0, transaction, recorded, shown_again, refusals })
    }

    /// Shows these offers in this order. Returns those that are refused; unless it was the last round, none is shown
    /// then, and the caller fills the slate anew without them.
    pub(crate) fn show(&mut self, offers: &[OfferIndex]) -> Shown<'a> {
        let is_last = self.round >= ROUNDS;
        let refused = match (&mut self.transaction, self.recorded) {
            (Some(transaction), _) if is_last => transaction.show_what_fits(offers),
            (Some(transaction), _) => transaction.show(offers).err().unwrap_or_default(),
            (None, Some(recorded)) => return self.show_recorded(recorded, offers, is_last),
            (None, None) => Vec::new(),
        };
        let round = Some(self.round);
        let withheld = refused.into_iter().map(|refused| self.refuse(round, refused)).collect();
        self.end_round(withheld, is_last)
    }

    /// Shows a fallback; returns whether it is shown.
    pub(crate) fn show_fallback(&mut self, offer: OfferIndex) -> bool {
        if let Some(recorded) = self.recorded {
            let refused = recorded.iter().find(|one| one.round.is_none() && one.offer == offer);
            match refused {
                Some(refusal) => self.refusals.push(refusal.clone()),
                None => self.shown_again.push(offer),
            }
            return refused.is_none();
        }
        let Some(transaction) = &mut self.transaction else { return true };
        let Err(refused) = transaction.show_fallback(offer) else { return true };
        self.refuse(None, refused);
        false
    }

    /// What is to be kept once the answer is certain.
    pub(crate) fn end(self) -> Reserved {
        let Self { plan, call, index, decision, mut transaction, shown_again, refusals, .. } = self;
        if let Some(transaction) = &mut transaction {
            transaction.give_back_unshown();
        }
        let shown = match &transaction {
            _ if !plan.records => Arc::default(),
            Some(transaction) => transaction.shown(),
            None => shown_again.iter().map(|offer| call.limits.would_show(*offer, plan.now)).collect(),
        };
        Reserved { index, decision, transaction, shown, refusals }
    }

    fn show_recorded(&mut self, recorded: &'a [Refusal], offers: &[OfferIndex], is_last: bool) -> Shown<'a> {
        let round = self.round;
        let mut withheld = Vec::new();
        for refusal in refused_in(round, recorded, offers) {
            self.refusals.push(Refusal { round: Some(round), ..refusal.clone() });
            let Refusal { limit, frees_at, .. } = refusal;
            let detail = LimitDetail { id: limit, frees_at: *frees_at, now: self.plan.now };
            withheld.push(reserved_for_another(refusal.offer, refusal.reason, detail));
        }
        let shown = self.end_round(withheld, is_last);
        if shown.is_final {
            let is_shown = |offer: &&OfferIndex| shown.refused.iter().all(|one| one.offer != **offer);
            self.shown_again.extend(offers.iter().filter(is_shown).copied());
        }
        shown
    }

    fn end_round(&mut self, refused: Vec<Withheld<'a>>, is_last: bool) -> Shown<'a> {
        self.round += 1;
        let is_final = refused.is_empty() || is_last;
        Shown { refused, is_final }
    }

    fn refuse(&mut self, round: Option<u32>, Refused { offer, blocked }: Refused) -> Withheld<'a> {
        let (id, frees_at) = (blocked.id(&self.call.limits), blocked.frees_at());
        let reason = Reason::from(blocked.reason);
        self.refusals.push(Refusal { round, offer, reason, limit: id.to_owned(), frees_at });
        reserved_for_another(offer, reason, LimitDetail { id, frees_at, now: self.plan.now })
    }
}

/// What became of a slate.
pub(super) struct Shown<'a> {
    /// The offers that a limit refuses.
    pub refused: Vec<Withheld<'a>>,
    /// Whether the others are shown; else the slate is to be filled anew.
    pub is_final: bool,
}

/// What is refused of a slate in a round, by what a record says was refused: all that was refused by that round. Where
/// that is nothing, what was refused later or as a fallback.
///
/// The slates of the release that decided have nothing that was refused in an earlier round, and in each round but the
/// last something that is: they end as they did. Those of another release never show what had no room in the end.
fn refused_in<'r>(round: u32, recorded: &'r [Refusal], offers: &[OfferIndex]) -> Vec<&'r Refusal> {
    let of_slate = |refuses: &dyn Fn(&Refusal) -> bool| {
        let mut refused: Vec<&'r Refusal> = Vec::new();
        for refusal in recorded.iter().filter(|one| refuses(one) && offers.contains(&one.offer)) {
            if refused.iter().all(|known| known.offer != refusal.offer) {
                refused.push(refusal);
            }
        }
        refused
    };
    let by_now = of_slate(&|refusal| refusal.round.is_some_and(|of| of <= round));
    if by_now.is_empty() { of_slate(&|_| true) } else { by_now }
}

fn reserved_for_another(offer: OfferIndex, reason: Reason, detail: LimitDetail<'_>) -> Withheld<'_> {
    Withheld::new(offer, Stage::Reservation, reason, Detail::Limit(detail))
}
