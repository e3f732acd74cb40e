//! The ledger of one offer: the one place in which its totals change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono_tz::Tz;
use offer::Period;
use smallvec::SmallVec;
use uuid::Uuid;

use super::board::Board;
use super::bucket::Bucket;
use super::meter::{Meter, MeterUse, Rule, Running};
use super::reservations::{Hold, Reservations};
use super::series::Series;
use super::{Spend, Sum, TotalLimit};
use crate::expiry::AHEAD;
use crate::moment::Millis;
use crate::names::DECISION;
use crate::window::Window;

/// The longest period of a limit: 3,650 days. Series of any length take little memory.
const LONGEST: Millis = 3_650 * 86_400_000;

/// Events, reservations and meters of an offer.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Book>);

/// What is under the lock of a ledger.
#[derive(Debug, Default)]
struct Book {
    /// By type.
    series: Vec<(u16, Series)>,
    reservations: Reservations,
    running: Vec<Running>,
    /// The day of the calendar of the last release.
    day: Option<Window>,
    /// Buckets from before a restart, until a release asks for their meters.
    saved: Vec<(Rule, Bucket)>,
}

/// What a release asks of the totals of an offer when it is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charge<'a> {
    pub spend: Spend,
    pub cap: Option<&'a Arc<Meter>>,
    pub budget: Option<&'a Arc<Meter>>,
}

impl<'a> Charge<'a> {
    fn meters(self) -> impl Iterator<Item = &'a Arc<Meter>> {
        self.cap.into_iter().chain(self.budget)
    }

    /// What is reserved where the offer is shown at `now`.
    pub(crate) fn holds(self, now: Millis) -> Taken {
        let waits = self.meters().filter(|meter| meter.rule().counted != DECISION);
        let hold = |meter: &Arc<Meter>| {
            let Rule { limit, counted, reserve, .. } = *meter.rule();
            (limit, Hold { counted, until: now + reserve, spend: self.spend })
        };
        waits.map(hold).collect()
    }
}

/// The reservations that a decision made with an offer.
pub(crate) type Taken = SmallVec<[(TotalLimit, Hold); 2]>;

/// Why an offer may not be shown, and the first moment at which that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub limit: TotalLimit,
    pub frees: Millis,
}

/// What an outcome did to the totals of its offer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Whether a reservation waited for it.
    pub was_reserved: bool,
    pub overshoot: Overshoot,
}

/// The limits that an outcome exceeded, since its reservation had lapsed or there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overshoot {
    /// `cap_total`.
    pub cap_total: bool,
    /// `budget`.
    pub budget: bool,
}

impl Overshoot {
    /// The limits.
    pub fn limits(self) -> impl Iterator<Item = TotalLimit> {
        let all = [(TotalLimit::Cap, self.cap_total), (TotalLimit::Budget, self.budget)];
        all.into_iter().filter(|(_, exceeded)| *exceeded).map(|(limit, _)| limit)
    }
}

/// What a checkpoint keeps of a ledger.
#[derive(Debug, Clone, Default)]
pub(crate) struct Saved {
    pub series: Vec<(u16, Series)>,
    pub reservations: Reservations,
    pub buckets: Vec<(Rule, Bucket)>,
}

impl Ledger {
    /// Calendar periods are of this zone from now on.
    pub(crate) fn set_zone(&self, zone: Tz) {
        self.book().day = Some(Window::new(Period::Day, zone));
    }

    /// The meter of a rule, which has a slot on the board; all releases with the same rule share it.
    pub(crate) fn meter(&self, rule: &Rule, board: &Arc<Board>, now: Millis) -> Arc<Meter> {
        let mut book = self.book();
        // A meter that no release has is kept until the next one comes, which may have it again.
        if let Some(running) = book.running.iter().find(|running| running.rule() == rule) {
            return Arc::clone(&running.meter);
        }
        book.running.retain(|running| Arc::strong_count(&running.meter) > 1);
        let saved =
            book.saved.iter().position(|(of, _)| of == rule).map(|place| book.saved.swap_remove(place).1);
        let series = of_type(&book.series, rule.counted);
        let meter = Meter::new(rule.clone(), Arc::clone(board));
        let running = Running::new(meter, series, &book.reservations, saved, now);
        let meter = Arc::clone(&running.meter);
        book.running.push(running);
        meter
    }

    /// Counts that a decision shows the offer, and reserves. Without `must_fit` what is exceeded is not looked at.
    pub(crate) fn take(
        &self,
        decision: Uuid,
        charge: Charge<'_>,
        must_fit: bool,
        now: Millis,
    ) -> Result<Taken, Refusal> {
        let mut book = self.book();
        book.advance(now);
        if must_fit {
            let full = charge.meters().find_map(|meter| book.full(meter, now));
            if let Some(refusal) = full {
                book.publish(now);
                return Err(refusal);
            }
        }
        let taken = charge.holds(now);
        book.count(DECISION, now, charge.spend, now);
        for running in book.running.iter_mut().filter(|running| running.rule().counted == DECISION) {
            running.take_tokens(running.amount(charge.spend));
        }
        for (limit, hold) in &taken {
            if book.open(decision, *limit, *hold, now) {
                book.take_tokens(*limit, *hold, 1);
            }
        }
        book.publish(now);
        debug_assert!(!must_fit || !charge.meters().any(|meter| book.is_over(meter)), "{charge:?}");
        Ok(taken)
    }

    /// Takes back what [`Ledger::take`] did at `at`.
    pub(crate) fn give_back(&self, decision: Uuid, taken: &Taken, spend: Spend, at: Millis) {
        let mut book = self.book();
        let sum = Sum::one(spend);
        if let Some((_, series)) = book.series.iter_mut().find(|(of, _)| *of == DECISION) {
            series.remove(at, sum);
        }
        for running in book.running.iter_mut().filter(|running| running.rule().counted == DECISION) {
            running.retract(at, sum, at);
            running.take_tokens(-running.amount(spend));
        }
        for (limit, hold) in taken {
            if book.reservations.close(decision, *limit).is_some() {
                book.unreserve(*limit, *hold, at);
                book.take_tokens(*limit, *hold, -1);
            }
        }
        book.publish(at);
    }

    /// Counts a decision that was made before, with the reservations that it made.
    pub(crate) fn decided(&self, decision: Uuid, at: Millis, spend: Spend, taken: &Taken) {
        let mut book = self.book();
        book.advance(at);
        book.count(DECISION, at, spend, at);
        for running in book.running.iter_mut().filter(|running| running.rule().counted == DECISION) {
            running.take_tokens(running.amount(spend));
        }
        for (limit, hold) in taken {
            if !book.reservations.has_settled(decision, hold.counted)
                && book.open(decision, *limit, *hold, at)
            {
                book.take_tokens(*limit, *hold, 1);
            }
        }
        book.publish(at);
    }

    /// Counts an outcome of `at` that came at `now`, and ends the reservations that waited for it. What they reserved
    /// is what it spends; `spend` is that of an outcome without one.
    pub(crate) fn outcome(
        &self,
        decision: Option<Uuid>,
        counted: u16,
        at: Millis,
        spend: Spend,
        now: Millis,
    ) -> Counted {
        let mut book = self.book();
        book.advance(now);
        let mut reserved: SmallVec<[TotalLimit; 2]> = SmallVec::new();
        let mut spend = spend;
        if let Some(decision) = decision {
            for limit in TotalLimit::ALL {
                if let Some(hold) = book.reservations.settle(decision, limit, counted) {
                    book.unreserve(limit, hold, now);
                    spend = hold.spend;
                    reserved.push(limit);
                }
            }
            if book.running.iter().any(|running| running.rule().counted == counted) {
                book.reservations.remember(decision, counted);
            }
        }
        book.count(counted, at, spend, now);
        let mut overshoot = Overshoot::default();
        for running in &book.running {
            let Rule { limit, counted: of, .. } = *running.rule();
            if of == counted && !reserved.contains(&limit) && running.is_over() {
                match limit {
                    TotalLimit::Cap => overshoot.cap_total = true,
                    TotalLimit::Budget => overshoot.budget = true,
                }
            }
        }
        book.publish(now);
        Counted { was_reserved: !reserved.is_empty(), overshoot }
    }

    /// Ends the reservations that waited for this outcome, which is counted elsewhere.
    pub(crate) fn settle(&self, decision: Uuid, counted: u16, now: Millis) {
        let mut book = self.book();
        for limit in TotalLimit::ALL {
            if let Some(hold) = book.reservations.settle(decision, limit, counted) {
                book.unreserve(limit, hold, now);
            }
        }
        book.reservations.remember(decision, counted);
    }

    /// Adds what was counted elsewhere and is not counted here, at `now`. Reservations that have ended here stay so.
    pub(crate) fn add(&self, other: Saved, now: Millis) {
        self.book().add(other, now);
    }

    /// Lapses reservations, and drops what no period of any release can look at any more.
    pub(crate) fn expire(&self, now: Millis) {
        let mut book = self.book();
        book.advance(now);
        for (_, series) in &mut book.series {
            series.expire(now - LONGEST - AHEAD);
        }
        book.publish(now);
    }

    /// The use of a limit at `now`.
    pub(crate) fn usage(&self, meter: &Arc<Meter>, now: Millis) -> MeterUse {
        let mut book = self.book();
        book.advance(now);
        let running = book.running.iter().find(|running| Arc::ptr_eq(&running.meter, meter));
        let usage = running.map_or(MeterUse { confirmed: 0, reserved: 0 }, Running::usage);
        book.publish(now);
        usage
    }

    /// How many decisions have shown the offer since the history began.
    pub(crate) fn impressions(&self) -> u64 {
        let book = self.book();
        let shown = of_type(&book.series, DECISION).map_or(0, |series| series.lifetime.count);
        u64::try_from(shown).unwrap_or(0)
    }

    /// The number of open reservations, and the bytes of everything, roughly.
    pub(crate) fn size(&self) -> (usize, usize) {
        let book = self.book();
        let series: usize = book.series.iter().map(|(_, series)| series.memory_bytes()).sum();
        let bytes = size_of::<Self>() + series + book.reservations.memory_bytes();
        (book.reservations.len(), bytes)
    }

    /// What a checkpoint keeps.
    pub(crate) fn save(&self) -> Saved {
        let book = self.book();
        let running = book.running.iter();
        let buckets = running.filter_map(|running| Some((running.rule().clone(), running.bucket()?)));
        Saved {
            series: book.series.clone(),
            reservations: book.reservations.clone(),
            buckets: buckets.chain(book.saved.iter().cloned()).collect(),
        }
    }

    /// Replaces everything by what a checkpoint kept.
    pub(crate) fn restore(&self, saved: Saved) {
        let Saved { series, reservations, buckets } = saved;
        *self.book() = Book { series, reservations, saved: buckets, ..Book::default() };
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Ends the reservations that have lapsed, each at its moment, and moves every window to `now`.
    fn advance(&mut self, now: Millis) {
        while let Some((until, limit, hold)) = self.reservations.lapse(now) {
            self.roll(until);
            self.unreserve(limit, hold, until);
            self.take_tokens(limit, hold, -1);
        }
        self.roll(now);
    }

    fn add(&mut self, other: Saved, now: Millis) {
        self.advance(now);
        for running in &mut self.running {
            running.settle(now);
        }
        let day = self.day.get_or_insert_with(|| Window::new(Period::Day, Tz::UTC));
        for (counted, series) in other.series {
            match self.series.iter_mut().find(|(of, _)| *of == counted) {
                Some((_, known)) => known.add_all(series, day),
                None => self.series.push((counted, series)),
            }
        }
        for running in &mut self.running {
            running.recount(of_type(&self.series, running.rule().counted));
        }
        for (decision, limit, hold) in other.reservations.all() {
            if hold.until > now && !self.reservations.has_settled(decision, hold.counted) {
                self.open(decision, limit, *hold, now);
            }
        }
        self.publish(now);
    }

    fn roll(&mut self, now: Millis) {
        for running in &mut self.running {
            running.roll(of_type(&self.series, running.rule().counted), now);
        }
    }

    /// The refusal of a meter without room.
    fn full(&self, meter: &Arc<Meter>, now: Millis) -> Option<Refusal> {
        let running = self.running.iter().find(|running| Arc::ptr_eq(&running.meter, meter))?;
        let series = of_type(&self.series, running.rule().counted);
        let is_full = !running.has_room(now);
        is_full.then(|| {
            running.publish(series, &self.reservations, now);
            Refusal { limit: running.rule().limit, frees: meter.frees() }
        })
    }

    /// Whether more is used of a meter than its limit allows.
    fn is_over(&self, meter: &Arc<Meter>) -> bool {
        self.running.iter().any(|running| Arc::ptr_eq(&running.meter, meter) && running.is_over())
    }

    /// Adds an event of `at`.
    fn count(&mut self, counted: u16, at: Millis, spend: Spend, now: Millis) {
        let sum = Sum::one(spend);
        let place = self.series.iter().position(|(of, _)| *of == counted).unwrap_or_else(|| {
            self.series.push((counted, Series::default()));
            self.series.len() - 1
        });
        let day = self.day.get_or_insert_with(|| Window::new(Period::Day, Tz::UTC));
        let series = &mut self.series[place].1;
        let merged = series.add(at, sum, day);
        for running in self.running.iter_mut().filter(|running| running.rule().counted == counted) {
            running.confirm(at, sum, now);
            if merged {
                running.recount(Some(series));
            }
        }
    }

    /// Opens a reservation unless it is open.
    fn open(&mut self, decision: Uuid, limit: TotalLimit, hold: Hold, now: Millis) -> bool {
        let opened = self.reservations.open(decision, limit, hold);
        if opened {
            for running in self.waiting(limit, hold) {
                running.reserve(running.amount(hold.spend), now);
            }
        }
        opened
    }

    /// Takes a reservation that has ended off the meters.
    fn unreserve(&mut self, limit: TotalLimit, hold: Hold, now: Millis) {
        for running in self.waiting(limit, hold) {
            running.reserve(-running.amount(hold.spend), now);
        }
    }

    /// Takes (1) or gives back (−1) the tokens of a reservation.
    fn take_tokens(&mut self, limit: TotalLimit, hold: Hold, sign: i64) {
        for running in self.waiting(limit, hold) {
            running.take_tokens(sign * running.amount(hold.spend));
        }
    }

    /// The meters that a reservation counts for.
    fn waiting(&mut self, limit: TotalLimit, hold: Hold) -> impl Iterator<Item = &mut Running> {
        let running = self.running.iter_mut();
        running.filter(move |one| one.rule().limit == limit && one.rule().counted == hold.counted)
    }

    /// Publishes what changed.
    fn publish(&mut self, now: Millis) {
        for running in &mut self.running {
            running.publish_changes(of_type(&self.series, running.rule().counted), &self.reservations, now);
        }
    }
}

/// The series of a type; `None` if it has no events.
fn of_type(series: &[(u16, Series)], counted: u16) -> Option<&Series> {
    series.iter().find(|(of, _)| *of == counted).map(|(_, series)| series)
}
