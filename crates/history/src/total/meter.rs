//! How far one limit of an offer over all customers is used.
//!
//! [`Meter`] is what gates read; [`Running`] is what the ledger keeps of it under its lock: the sum of the events that
//! count now, the sum of the open reservations, and the bucket of a budget that is paced.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::board::Board;
use super::bucket::{Bucket, Left};
use super::reservations::Reservations;
use super::{Measure, Series, Spend, Sum, TotalLimit};
use crate::moment::{Millis, NEVER};
use crate::window::Window;

/// A limit, as a release defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub limit: TotalLimit,
    /// The type that is counted.
    pub counted: u16,
    pub window: Window,
    /// The most in the window: a number, or millionths of money.
    pub most: i64,
    /// What one more takes.
    pub asks: i64,
    pub measure: Measure,
    /// The end of all time, for a budget that is paced until then.
    pub until: Option<Millis>,
    pub is_paced: bool,
    /// How long a decision reserves; 0 where decisions are counted.
    pub reserve: Millis,
}

/// From which moment on a limit has room for one more, if nothing else happens until then.
#[derive(Debug)]
pub(crate) struct Meter {
    rule: Rule,
    frees: AtomicI64,
    board: Arc<Board>,
    /// Its bit is set while `frees` is not 0.
    slot: usize,
}

/// The use of a limit at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MeterUse {
    pub confirmed: i64,
    pub reserved: i64,
}

impl Meter {
    /// One that has room.
    pub(super) fn new(rule: Rule, board: Arc<Board>) -> Self {
        let slot = board.take_slot();
        Self { rule, frees: AtomicI64::new(0), board, slot }
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    pub(crate) fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The first moment at which there is room; 0 where there is, and [`NEVER`] where there will be none.
    pub(crate) fn frees(&self) -> Millis {
        self.frees.load(Ordering::Acquire)
    }

    /// Called under the lock of the ledger alone.
    fn publish(&self, frees: Millis) {
        let before = self.frees.load(Ordering::Relaxed);
        if before == frees {
            return;
        }
        self.frees.store(frees, Ordering::Release);
        match (before, frees) {
            (0, _) => self.board.set(self.slot),
            (_, 0) => self.board.clear(self.slot),
            _ => {}
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.board.give_back(self.slot);
    }
}

/// A meter with its sums.
#[derive(Debug)]
pub(super) struct Running {
    pub meter: Arc<Meter>,
    /// The first moment that counts, and the first one behind the period.
    from: Millis,
    until: Millis,
    confirmed: i64,
    reserved: i64,
    bucket: Option<Bucket>,
    /// Whether something changed since it was published. The passing of time changes nothing that was not foreseen.
    is_changed: bool,
}

impl Running {
    /// A meter that starts with what the ledger knows. `saved`: its bucket before a restart.
    pub(super) fn new(
        meter: Meter,
        series: Option<&Series>,
        reservations: &Reservations,
        saved: Option<Bucket>,
        now: Millis,
    ) -> Self {
        let rule = meter.rule();
        let reserved = reservations.of(rule.limit, rule.counted).map(|hold| amount(rule, hold.spend)).sum();
        let meter = Arc::new(meter);
        let mut running =
            Self { meter, from: 0, until: 0, confirmed: 0, reserved, bucket: None, is_changed: true };
        (running.from, running.until) = running.bounds(now);
        running.recount(series);
        if running.rule().is_paced {
            running.bucket = Some(saved.unwrap_or_else(|| running.first_bucket()));
        }
        running.publish(series, reservations, now);
        running
    }

    pub(super) fn rule(&self) -> &Rule {
        self.meter.rule()
    }

    pub(super) fn bucket(&self) -> Option<Bucket> {
        self.bucket
    }

    pub(super) fn usage(&self) -> MeterUse {
        MeterUse { confirmed: self.confirmed, reserved: self.reserved }
    }

    /// What one event or reservation takes of the limit.
    pub(super) fn amount(&self, spend: Spend) -> i64 {
        amount(self.rule(), spend)
    }

    /// Whether more is used than the limit allows.
    pub(super) fn is_over(&self) -> bool {
        self.room() < 0
    }

    /// Moves the window to `now`.
    pub(super) fn roll(&mut self, series: Option<&Series>, now: Millis) {
        let is_calendar = matches!(self.rule().window, Window::Calendar(_));
        // The usual case, without a look at the calendar.
        if is_calendar && (self.from..self.until).contains(&now) {
            return;
        }
        let (from, until) = self.bounds(now);
        if from == self.from && until == self.until {
            return;
        }
        let sum = |range| series.map_or(0, |series| series.sum(range).of(self.rule().measure));
        if until == NEVER {
            // A sliding window: what left it, or came back since the clock was set back.
            let (left, back) = (sum(self.from..from), sum(from..self.from));
            self.is_changed |= back != 0;
            self.confirmed = self.confirmed.saturating_sub(left).saturating_add(back);
            (self.from, self.until) = (from, until);
            return;
        }
        (self.from, self.until) = (from, until);
        self.recount(series);
        // A period that was begun before is not begun again by a clock that was set back and forth.
        if self.bucket.is_some_and(|bucket| bucket.at < from) {
            self.bucket = Some(self.first_bucket());
        }
    }

    /// Adds up the events of the window again.
    pub(super) fn recount(&mut self, series: Option<&Series>) {
        self.is_changed = true;
        let of_window = |series: &Series| match self.rule().window {
            Window::All => series.lifetime,
            Window::Sliding(_) | Window::Calendar(_) => series.sum(self.from..NEVER),
        };
        self.confirmed = series.map(of_window).unwrap_or_default().of(self.rule().measure);
    }

    /// Whether there is room for one more at `now`, to which the window was moved.
    pub(super) fn has_room(&self, now: Millis) -> bool {
        let asks = self.rule().asks;
        self.room() >= asks && self.bucket.is_none_or(|bucket| bucket.tokens(now, self.left()) >= asks)
    }

    /// Counts an event of `at`.
    pub(super) fn confirm(&mut self, at: Millis, sum: Sum, now: Millis) {
        self.settle(now);
        if at >= self.from {
            self.confirmed = self.confirmed.saturating_add(sum.of(self.rule().measure));
        }
    }

    /// Takes back an event of `at`.
    pub(super) fn retract(&mut self, at: Millis, sum: Sum, now: Millis) {
        self.settle(now);
        if at >= self.from {
            self.confirmed = self.confirmed.saturating_sub(sum.of(self.rule().measure)).max(0);
        }
    }

    /// Adds a reservation, or takes one off if `amount` is less than 0.
    pub(super) fn reserve(&mut self, amount: i64, now: Millis) {
        self.settle(now);
        self.reserved = self.reserved.saturating_add(amount);
    }

    /// Takes tokens for what was just confirmed or reserved, or gives them back if `amount` is less than 0.
    pub(super) fn take_tokens(&mut self, amount: i64) {
        self.is_changed = true;
        if let Some(bucket) = &mut self.bucket {
            bucket.give_back(-amount);
        }
    }

    /// Publishes from when on there is room, if something changed.
    pub(super) fn publish_changes(
        &mut self,
        series: Option<&Series>,
        reservations: &Reservations,
        now: Millis,
    ) {
        if std::mem::take(&mut self.is_changed) {
            self.publish(series, reservations, now);
        }
    }

    /// Publishes from when on there is room.
    pub(super) fn publish(&self, series: Option<&Series>, reservations: &Reservations, now: Millis) {
        let frees = if self.has_room(now) { 0 } else { self.first_with_room(series, reservations) };
        self.meter.publish(frees);
    }

    /// What is left of the limit.
    fn room(&self) -> i64 {
        self.rule().most.saturating_sub(self.confirmed).saturating_sub(self.reserved)
    }

    fn left(&self) -> Left {
        Left { room: self.room(), end: self.until }
    }

    /// Counts the tokens at `now`, before sums change.
    pub(super) fn settle(&mut self, now: Millis) {
        self.is_changed = true;
        let left = self.left();
        if let Some(bucket) = &mut self.bucket {
            bucket.settle(now, left);
        }
    }

    /// The first moment that counts at `now`, and the end of the period.
    fn bounds(&self, now: Millis) -> (Millis, Millis) {
        let rule = self.rule();
        match &rule.window {
            Window::Sliding(_) => (rule.window.first(now), NEVER),
            Window::Calendar(calendar) => calendar.bounds(now),
            Window::All => (0, rule.until.unwrap_or(NEVER)),
        }
    }

    fn first_bucket(&self) -> Bucket {
        first_bucket(self.rule(), self.from)
    }

    /// The first moment at which there is room, if nothing else happens. There is none now.
    fn first_with_room(&self, series: Option<&Series>, reservations: &Reservations) -> Millis {
        let rule = self.rule();
        if rule.asks > rule.most {
            return NEVER;
        }
        let lapses = || {
            let holds = reservations.of(rule.limit, rule.counted);
            holds.map(|hold| (hold.until, amount(rule, hold.spend)))
        };
        if let Some(bucket) = self.bucket {
            return self.first_paced(bucket, series, lapses());
        }
        let excess = rule.asks - self.room();
        let of_point = |sum: Sum| sum.of(rule.measure);
        match &rule.window {
            Window::All => first_below(excess, lapses(), std::iter::empty()),
            Window::Sliding(length) => {
                let points = series.into_iter().flat_map(|series| series.in_range(self.from..NEVER));
                first_below(excess, lapses(), points.map(|point| (point.at + length, of_point(point.sum))))
            }
            Window::Calendar(calendar) => {
                // A clock that was ahead has left events of later periods.
                let later = || {
                    let points = series.into_iter().flat_map(|series| series.in_range(self.until..NEVER));
                    points.map(|point| (calendar.bounds(point.at).1, of_point(point.sum)))
                };
                let of_period = self.confirmed - later().map(|(_, amount)| amount).sum::<i64>();
                first_below(excess, lapses(), std::iter::once((self.until, of_period)).chain(later()))
            }
        }
    }

    /// The same for a budget that is paced: lapses and new periods change how fast its bucket fills.
    fn first_paced(
        &self,
        mut bucket: Bucket,
        series: Option<&Series>,
        lapses: impl Iterator<Item = (Millis, i64)>,
    ) -> Millis {
        let (rule, mut left, mut reserved) = (self.rule(), self.left(), self.reserved);
        let mut lapses = lapses.peekable();
        // With every reservation lapsed, a period that begins has room, unless a clock that was ahead has used it.
        let (mut fresh_periods, mut since) = (0, 0);
        while fresh_periods < MOST_PERIODS {
            let lapse = lapses.peek().map_or(NEVER, |(until, _)| *until);
            if let Some(first) = bucket.first(rule.asks, left).filter(|first| *first < lapse) {
                return first.max(since);
            }
            if lapse < left.end {
                let amount = lapses.next().map_or(0, |(_, amount)| amount);
                bucket.settle(lapse, left);
                bucket.give_back(amount);
                left.room = left.room.saturating_add(amount);
                reserved -= amount;
                since = lapse;
                continue;
            }
            let Window::Calendar(calendar) = &rule.window else {
                // Behind the end of all time nothing is held back.
                let excess = rule.asks.saturating_sub(left.room);
                return if excess <= 0 { left.end } else { first_below(excess, lapses, std::iter::empty()) };
            };
            if left.end == NEVER {
                return NEVER;
            }
            let (from, until) = calendar.bounds(left.end);
            let confirmed = series.map_or(0, |series| series.sum(from..NEVER).of(rule.measure));
            left = Left { room: rule.most.saturating_sub(confirmed).saturating_sub(reserved), end: until };
            bucket = first_bucket(rule, from);
            fresh_periods += 1;
        }
        NEVER
    }
}

/// How many periods ahead a moment is looked for.
const MOST_PERIODS: usize = 100;

/// What an event or a reservation takes of a limit.
fn amount(rule: &Rule, spend: Spend) -> i64 {
    Sum::one(spend).of(rule.measure)
}

/// The bucket of a period that begins at `from`: 1 % of the budget, or one spending.
fn first_bucket(rule: &Rule, from: Millis) -> Bucket {
    Bucket::at_start(from, rule.asks, (rule.most / 100).max(rule.asks))
}

/// The first moment at which two lists of (moment, amount), each sorted, have freed `excess`; [`NEVER`] if they do
/// not.
fn first_below(
    mut excess: i64,
    lapses: impl Iterator<Item = (Millis, i64)>,
    leaving: impl Iterator<Item = (Millis, i64)>,
) -> Millis {
    let (mut lapses, mut leaving) = (lapses.peekable(), leaving.peekable());
    loop {
        let at = |next: Option<&(Millis, i64)>| next.map_or(NEVER, |(at, _)| *at);
        let (lapse, leave) = (at(lapses.peek()), at(leaving.peek()));
        let next = if lapse <= leave { lapses.next() } else { leaving.next() };
        let Some((at, amount)) = next else { return NEVER };
        excess = excess.saturating_sub(amount);
        if excess <= 0 {
            return at;
        }
    }
}
