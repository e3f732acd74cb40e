//! The events of one offer and one type, summed by moment.
//!
//! Every event is a point at its millisecond as long as there are few. Beyond [`MOST_POINTS`], neighbours are merged
//! into the later of both, so that no event moves by more than 1/32 of its age. So about a thousand points are enough
//! for any number of events and any length of time. Events of two days are never merged while a calendar period may
//! look at them: such periods, and sums over all time, stay exact. A sliding window counts an event that was merged for
//! up to 1/32 longer, never for less.

use std::collections::VecDeque;
use std::ops::Range;

use super::Sum;
use crate::moment::Millis;
use crate::window::Window;

/// The number of points from which on neighbours are merged.
const MOST_POINTS: usize = 1_024;

/// An event may move by this part of its age.
const PART_OF_AGE: Millis = 32;

/// The age from which on no calendar period asks: 31 days and what a clock can be set back.
const CALENDAR: Millis = 32 * 86_400_000;

/// The events of one type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    /// All events, those whose points were dropped among them.
    pub lifetime: Sum,
    points: VecDeque<Point>,
    /// How many points there were after the last merge.
    merged: usize,
}

/// Events at one moment, or merged into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// The latest of them.
    pub at: Millis,
    pub sum: Sum,
}

impl Series {
    /// A series as its parts were written; the points are sorted.
    pub(crate) fn from_parts(lifetime: Sum, points: VecDeque<Point>) -> Self {
        let merged = points.len();
        Self { lifetime, points, merged }
    }

    /// The points, oldest first.
    pub(crate) fn points(&self) -> impl ExactSizeIterator<Item = &Point> {
        self.points.iter()
    }

    /// Adds an event. Returns whether points were merged, which changes the sums of sliding windows. `day` is that of
    /// the calendar.
    pub(super) fn add(&mut self, at: Millis, sum: Sum, day: &Window) -> bool {
        self.lifetime = self.lifetime.plus(sum);
        match self.points.back_mut() {
            // Most events are the latest. A search would wait for memory at each of its steps.
            Some(last) if last.at == at => last.sum = last.sum.plus(sum),
            Some(last) if last.at > at => self.add_before_last(at, sum),
            _ => self.points.push_back(Point { at, sum }),
        }
        self.is_crowded() && self.merge(day)
    }

    fn add_before_last(&mut self, at: Millis, sum: Sum) {
        let place = self.points.partition_point(|point| point.at < at);
        match self.points.get_mut(place).filter(|point| point.at == at) {
            Some(point) => point.sum = point.sum.plus(sum),
            None => self.points.insert(place, Point { at, sum }),
        }
    }

    /// Whether there are a quarter more points than the last merge left, so that one that gains little is not repeated
    /// for each event.
    fn is_crowded(&self) -> bool {
        self.points.len() > MOST_POINTS.max(self.merged / 4 * 5)
    }

    /// Adds all of another series.
    pub(super) fn add_all(&mut self, other: Self, day: &Window) {
        self.lifetime = self.lifetime.plus(other.lifetime);
        let mut points: Vec<Point> = self.points.drain(..).chain(other.points).collect();
        points.sort_by_key(|point| point.at);
        for point in points {
            match self.points.back_mut().filter(|last| last.at == point.at) {
                Some(last) => last.sum = last.sum.plus(point.sum),
                None => self.points.push_back(point),
            }
        }
        if self.is_crowded() {
            self.merge(day);
        }
    }

    /// Takes back an event that was added at `at`.
    pub(super) fn remove(&mut self, at: Millis, sum: Sum) {
        self.lifetime = self.lifetime.minus(sum);
        // A point that it was merged into is later.
        let place = self.points.partition_point(|point| point.at < at);
        if let Some(point) = self.points.get_mut(place) {
            point.sum = point.sum.minus(sum);
            if point.sum.count == 0 {
                self.points.remove(place);
            }
        }
    }

    /// The sum over the points of a range of moments; [`NEVER`](crate::moment::NEVER) as its end leaves it open.
    pub(super) fn sum(&self, range: Range<Millis>) -> Sum {
        self.in_range(range).fold(Sum::default(), |sum, point| sum.plus(point.sum))
    }

    /// The points of a range of moments, oldest first.
    pub(super) fn in_range(&self, range: Range<Millis>) -> impl Iterator<Item = &Point> {
        let first = self.points.partition_point(|point| point.at < range.start);
        self.points.range(first..).take_while(move |point| point.at < range.end)
    }

    /// Drops the points before a moment.
    pub(super) fn expire(&mut self, before: Millis) {
        let expired = self.points.partition_point(|point| point.at < before);
        self.points.drain(..expired);
    }

    /// The bytes of the points.
    pub(super) fn memory_bytes(&self) -> usize {
        self.points.capacity() * size_of::<Point>()
    }

    /// Merges pairs of neighbours, and returns whether there were any.
    fn merge(&mut self, day: &Window) -> bool {
        let (before, newest) = (self.points.len(), self.points.back().map_or(0, |point| point.at));
        let mut merged: VecDeque<Point> = VecDeque::with_capacity(before);
        // No event of the last of `merged` is older than `since`. A pass merges pairs, so that the older are the
        // coarser.
        let (mut since, mut is_pair, mut end_of_day) = (Millis::MIN, true, Millis::MIN);
        for point in &self.points {
            let last = merged.back().map_or(Millis::MIN, |last| last.at);
            let is_other_day = point.at >= end_of_day;
            if is_other_day {
                end_of_day =
                    if point.at < newest - CALENDAR { newest - CALENDAR } else { day.leaves(point.at) };
            }
            let is_far = point.at.saturating_sub(since) > (newest - point.at) / PART_OF_AGE;
            match merged.back_mut().filter(|_| !is_pair && !is_other_day && !is_far) {
                Some(last) => {
                    *last = Point { at: point.at, sum: last.sum.plus(point.sum) };
                    is_pair = true;
                }
                None => {
                    merged.push_back(*point);
                    (since, is_pair) = (last, false);
                }
            }
        }
        merged.shrink_to_fit();
        self.merged = merged.len();
        self.points = merged;
        self.merged < before
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Spend;
    use super::*;
    use crate::moment::NEVER;

    /// On 22 March 2026, a week before the clocks change in Berlin.
    const START: Millis = 196_300_000_000;

    fn day() -> Window {
        Window::new(offer::Period::Day, chrono_tz::Europe::Berlin)
    }

    fn one() -> Sum {
        Sum::one(Spend { cost_micros: 3, value_micros: 5 })
    }

    proptest! {
        #[test]
        fn sums_are_those_of_a_list(
            moments in prop::collection::vec(0..200_i64, 0..60),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            from in 0..200_i64, until in 0..220_i64, before in 0..100_i64,
        ) {
            let (mut series, mut list) = (Series::default(), moments.clone());
            for at in moments {
                series.add(at, one(), &day());
            }
            for index in removed.into_iter().take(list.len()) {
                let at = list.remove(index.index(list.len()));
                series.remove(at, one());
            }
            let count = |range: &dyn Fn(i64) -> bool| list.iter().filter(|at| range(**at)).count() as i64;
            prop_assert_eq!(series.sum(from..until).count, count(&|at| (from..until).contains(&at)));
            prop_assert_eq!(series.sum(from..NEVER).spend.cost_micros, 3 * count(&|at| at >= from));
            prop_assert_eq!(series.lifetime.count, list.len() as i64);
            series.expire(before);
            prop_assert_eq!(series.sum(0..NEVER).count, count(&|at| at >= before));
            prop_assert_eq!(series.lifetime.count, list.len() as i64);
        }
    }

    #[test]
    fn merged_points_stay_exact_for_calendars_and_count_hardly_longer() {
        let (mut series, day) = (Series::default(), day());
        let moments: Vec<Millis> = (0..400_000).map(|index| START + index * 7_001).collect();
        for at in &moments {
            series.add(*at, one(), &day);
        }
        assert!(series.points().len() <= MOST_POINTS * 5 / 4, "{}", series.points().len());
        let last = moments[moments.len() - 1];
        let since = |from: Millis| (moments.len() - moments.partition_point(|at| *at < from)) as i64;
        let mut from = START;
        while from < last {
            assert_eq!(series.sum(from..NEVER).count, since(from));
            // In the middle of a day the window seems to be longer by at most 1/32.
            let middle = from + 43_000_000;
            let count = series.sum(middle..NEVER).count;
            let longest = since(middle - (last - middle) / PART_OF_AGE);
            assert!((since(middle)..=longest).contains(&count), "{middle}: {count}, at most {longest}");
            from = day.leaves(from);
        }
        assert_eq!(series.lifetime.count, 400_000);
    }

    #[test]
    fn ten_years_take_bounded_memory() {
        let mut series = Series::default();
        for minute in 0..10 * 365 * 24 * 6 {
            series.add(minute * 600_000, one(), &day());
        }
        assert!(series.points().len() < 2_000, "{}", series.points().len());
        assert_eq!(series.lifetime.count, 10 * 365 * 24 * 6);
    }

    #[test]
    fn a_merged_event_can_be_taken_back() {
        let mut series = Series::default();
        for at in 0..5_000 {
            series.add(at, one(), &day());
        }
        for at in 0..5_000 {
            series.remove(at, one());
        }
        assert_eq!((series.lifetime, series.sum(0..NEVER)), (Sum::default(), Sum::default()));
    }
}
