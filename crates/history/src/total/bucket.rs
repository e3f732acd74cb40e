//! Even pacing: a token bucket whose tokens are money.
//!
//! What is left of a budget and not yet in the bucket flows into it at the rate at which it would be all there at the
//! end of the period: rate = (left − tokens) / (end − now). So what is not asked for in time is spread over the time
//! that is left. The bucket holds at most 1 % of the budget, or one spending where that is more, which bounds bursts.
//! A reservation that lapses gives its tokens back at once, since its share of the time has passed.
//! With nothing taken, what is outside shrinks as a straight line to 0 at the end; so every moment has a closed form,
//! in whole numbers and rounded against the spender.

use crate::moment::Millis;

/// The tokens of one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// When the tokens were counted.
    pub at: Millis,
    /// Millionths of money; below 0 after a spending that asked for none.
    pub tokens: i64,
    /// The most tokens.
    pub most: i64,
}

/// What is left of a budget, without what is reserved, and when its period ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub room: i64,
    pub end: Millis,
}

impl Bucket {
    /// The bucket at the first moment of a period: one spending can begin at once.
    pub(super) fn at_start(from: Millis, asks: i64, most: i64) -> Self {
        Self { at: from, tokens: asks.min(most), most }
    }

    /// The tokens at `now`.
    pub(super) fn tokens(&self, now: Millis, left: Left) -> i64 {
        if left.room <= self.tokens {
            return left.room;
        }
        let span = left.end.saturating_sub(self.at).max(0);
        let remaining = left.end.saturating_sub(now).clamp(0, span);
        // What is not yet in the bucket. Both numbers are below 2⁶⁴, so their product fits.
        let outside = (i128::from(left.room) - i128::from(self.tokens)).unsigned_abs();
        let kept = match span {
            0 => 0,
            _ => (outside * u128::from(remaining.unsigned_abs())).div_ceil(u128::from(span.unsigned_abs())),
        };
        let tokens = i128::from(left.room) - kept as i128;
        // The room fits, and the rest is less.
        (tokens as i64).min(self.most)
    }

    /// Counts the tokens at `now`. Must precede every change of what is left. A clock that was set back counts nothing.
    pub(super) fn settle(&mut self, now: Millis, left: Left) {
        let tokens = self.tokens(now, left);
        let is_growing = tokens < self.most && tokens < left.room;
        // From the moment on at which the last whole token was there: what came since is not lost.
        let since = if is_growing { self.first(tokens, left) } else { None };
        self.at = self.at.max(since.unwrap_or(now).min(now).min(left.end));
        self.tokens = tokens;
    }

    /// Gives back what a spending took.
    pub(super) fn give_back(&mut self, amount: i64) {
        self.tokens = self.tokens.saturating_add(amount).min(self.most);
    }

    /// The first moment before the end at which there are `asks` tokens.
    pub(super) fn first(&self, asks: i64, left: Left) -> Option<Millis> {
        if self.tokens(self.at, left) >= asks {
            return Some(self.at);
        }
        let span = left.end.saturating_sub(self.at);
        let spare = u128::try_from(i128::from(left.room) - i128::from(asks)).ok()?;
        if span <= 0 || asks > self.most {
            return None;
        }
        // asks > tokens, so that `spare` is less than `outside`, and the quotient less than the span.
        let outside = (i128::from(left.room) - i128::from(self.tokens)).unsigned_abs().max(1);
        let remaining = spare * u128::from(span.unsigned_abs()) / outside;
        Some(left.end - remaining as Millis).filter(|moment| *moment < left.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_untouched_budget_is_half_in_the_bucket_at_half_time() {
        let bucket = Bucket { at: 0, tokens: 0, most: 1_000 };
        let left = Left { room: 1_000, end: 10_000 };
        assert_eq!([0, 1, 10, 5_000, 10_000].map(|now| bucket.tokens(now, left)), [0, 0, 1, 500, 1_000]);
        assert_eq!(bucket.first(500, left), Some(5_000));
        assert_eq!(bucket.first(1_001, left), None);
    }

    #[test]
    fn what_is_left_is_spread_over_the_time_that_is_left() {
        // Nothing was asked for until half time: the bucket is full, and the rest flows at 90 per 500.
        let mut bucket = Bucket { at: 0, tokens: 0, most: 10 };
        let left = Left { room: 100, end: 1_000 };
        bucket.settle(500, left);
        assert_eq!(bucket.tokens, 10);
        bucket.tokens -= 10;
        assert_eq!(bucket.first(9, Left { room: 90, ..left }), Some(550));
    }

    proptest! {
        #[test]
        fn the_first_moment_is_exact(
            at in 0..1_000_000_000_i64,
            span in 1..3_000_000_000_i64,
            tokens in -1_000..2_000_i64,
            room in -1_000..1_000_000_000_000_000_000_i64,
            asks in 0..3_000_i64,
            later in 0..3_000_000_000_i64,
        ) {
            let bucket = Bucket { at, tokens, most: 10_000 };
            let left = Left { room, end: at + span };
            match bucket.first(asks, left) {
                Some(first) => {
                    prop_assert!(bucket.tokens(first, left) >= asks);
                    prop_assert!(first == at || bucket.tokens(first - 1, left) < asks);
                    let later = (first + later).min(left.end);
                    prop_assert!(bucket.tokens(later, left) >= asks, "tokens never go by themselves");
                }
                None => prop_assert!(bucket.tokens(left.end - 1, left) < asks),
            }
        }

        #[test]
        fn when_it_is_counted_changes_at_most_the_rounding(
            room in 0..1_000_000_000_i64, moments in prop::collection::vec(0..1_000_000_i64, 1..20),
        ) {
            let left = Left { room, end: 1_000_000 };
            let fresh = Bucket { at: 0, tokens: 0, most: i64::MAX };
            let mut counted = fresh;
            let mut moments = moments;
            moments.sort_unstable();
            for moment in &moments {
                counted.settle(*moment, left);
            }
            let last = moments[moments.len() - 1];
            let exact = fresh.tokens(last, left);
            prop_assert!((0..=moments.len() as i64).contains(&(exact - counted.tokens)), "{}", exact);
        }
    }
}
