//! Time windows, and the latencies of the calls that overlap them.

use std::time::Duration;

/// An interval of the run, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub from: Duration,
    pub to: Duration,
}

impl Window {
    pub(super) fn length(self) -> Duration {
        self.to.saturating_sub(self.from)
    }

    fn overlaps(self, from: Duration, to: Duration) -> bool {
        from <= self.to && to >= self.from
    }
}

/// Disjoint windows, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Windows(Vec<Window>);

impl Windows {
    /// The union of `windows`.
    pub(super) fn union(windows: impl IntoIterator<Item = Window>) -> Self {
        let mut windows: Vec<Window> = windows.into_iter().collect();
        windows.sort_by_key(|window| window.from);
        let mut merged: Vec<Window> = Vec::new();
        for window in windows {
            match merged.last_mut() {
                Some(last) if window.from <= last.to => last.to = last.to.max(window.to),
                _ => merged.push(window),
            }
        }
        Self(merged)
    }

    /// Whether any window overlaps `from..=to`.
    pub(super) fn overlap(&self, from: Duration, to: Duration) -> bool {
        let after = self.0.partition_point(|window| window.from <= to);
        self.0[..after].last().is_some_and(|window| window.overlaps(from, to))
    }

    /// The total length.
    pub(super) fn length(&self) -> Duration {
        self.0.iter().map(|window| window.length()).sum()
    }

    /// The gaps between consecutive windows.
    pub(super) fn gaps(&self) -> impl Iterator<Item = Window> {
        self.0.windows(2).map(|pair| Window { from: pair[0].to, to: pair[1].from })
    }
}

/// Latencies, ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies(Vec<Duration>);

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(latencies: I) -> Self {
        let mut latencies: Vec<Duration> = latencies.into_iter().collect();
        latencies.sort_unstable();
        Self(latencies)
    }
}

impl Latencies {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The quantile of the latencies by nearest rank, in µs; NaN if there are none.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    }

    /// The longest latency, in µs; NaN if there is none.
    pub(super) fn longest(&self) -> f64 {
        self.quantile(1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(from: u64, to: u64) -> Window {
        Window { from: Duration::from_millis(from), to: Duration::from_millis(to) }
    }

    #[test]
    fn windows_that_overlap_become_one() {
        let union = Windows::union([window(50, 60), window(0, 10), window(5, 20), window(60, 70)]);
        assert_eq!(union, Windows(vec![window(0, 20), window(50, 70)]));
        assert_eq!(union.length(), Duration::from_millis(40));
        assert_eq!(union.gaps().collect::<Vec<_>>(), [window(20, 50)]);
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let latencies: Latencies = (1..=200).rev().map(Duration::from_micros).collect();
        let near = |share, micros: f64| (latencies.quantile(share) - micros).abs() < 1e-6;
        assert!(near(0.5, 100.0) && near(0.99, 198.0) && near(0.999, 200.0) && near(0.0, 1.0));
        assert!(Latencies::default().quantile(0.5).is_nan());
    }

    proptest! {
        #[test]
        fn a_call_overlaps_the_union_if_it_overlaps_a_window(
            windows in prop::collection::vec((0..1000_u64, 0..50_u64), 0..20),
            from in 0..1000_u64,
            length in 0..40_u64,
        ) {
            let windows: Vec<Window> = windows.into_iter().map(|(from, length)| window(from, from + length)).collect();
            let call = window(from, from + length);
            let any = windows.iter().any(|window| window.overlaps(call.from, call.to));
            prop_assert_eq!(Windows::union(windows).overlap(call.from, call.to), any);
        }
    }
}
