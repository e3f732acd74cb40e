//! How often each offer was shown and withheld at each placement.
//!
//! A decision withholds a hundred offers, too many to count one by one. Every candidate of a decided customer is
//! either shown or withheld, so it suffices to count three things ([`OfferCounts`], one per placement of a release).
//! They are the customers decided among all candidates, those decided among candidates that the request named, and
//! the shown offers. The rest is arithmetic when the metrics are read ([`OfferTotals`]).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::labels::{OTHER, OfferLabels, SERIES_LIMIT};

/// The counts of one placement of one release.
#[derive(Debug)]
pub struct OfferCounts {
    placement: String,
    /// Customers decided among all candidates.
    among_all: AtomicU64,
    /// In the order of the library.
    offers: Vec<OfferCount>,
}

#[derive(Debug)]
struct OfferCount {
    /// Its position in the library.
    offer: usize,
    id: Arc<str>,
    is_candidate: bool,
    /// Customers decided among candidates that the request named, this offer included.
    among_some: AtomicU64,
    won: AtomicU64,
    shown_as_fallback: AtomicU64,
}

impl OfferCounts {
    /// `candidates`: positions in the library, ascending, with ids. The fallback need not be one of them.
    #[must_use]
    pub fn new(
        placement: impl Into<String>,
        candidates: impl IntoIterator<Item = (usize, Arc<str>)>,
        fallback: Option<(usize, Arc<str>)>,
    ) -> Self {
        let count = |(offer, id), is_candidate| OfferCount {
            offer,
            id,
            is_candidate,
            among_some: AtomicU64::default(),
            won: AtomicU64::default(),
            shown_as_fallback: AtomicU64::default(),
        };
        let mut offers: Vec<OfferCount> = candidates.into_iter().map(|one| count(one, true)).collect();
        if let Some(fallback) = fallback
            && let Err(place) = offers.binary_search_by_key(&fallback.0, |one| one.offer)
        {
            offers.insert(place, count(fallback, false));
        }
        Self { placement: placement.into(), among_all: AtomicU64::default(), offers }
    }

    /// `customers` were decided among all candidates.
    pub fn decided(&self, customers: u64) {
        self.among_all.fetch_add(customers, Ordering::Relaxed);
    }

    /// `customers` were decided among named offers, `offer` included.
    pub fn decided_among(&self, offer: usize, customers: u64) {
        if let Some(one) = self.of(offer) {
            one.among_some.fetch_add(customers, Ordering::Relaxed);
        }
    }

    /// An offer is shown in an answer. A fallback counts as shown even if it was withheld as a candidate.
    pub fn shown(&self, offer: usize, as_fallback: bool) {
        if let Some(one) = self.of(offer) {
            let count = if as_fallback { &one.shown_as_fallback } else { &one.won };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, offer: usize) -> Option<&OfferCount> {
        let place = self.offers.binary_search_by_key(&offer, |one| one.offer).ok()?;
        self.offers.get(place)
    }

    /// The totals of each offer so far, in the order of `offers`.
    fn sums(&self) -> impl Iterator<Item = Sums> {
        let among_all = self.among_all.load(Ordering::Relaxed);
        self.offers.iter().map(move |one| {
            let won = one.won.load(Ordering::Relaxed);
            let among = one.among_some.load(Ordering::Relaxed) + if one.is_candidate { among_all } else { 0 };
            Sums {
                shown: won + one.shown_as_fallback.load(Ordering::Relaxed),
                // Counts are read while calls run, so one may be ahead of the other.
                withheld: among.saturating_sub(won),
            }
        })
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    shown: u64,
    withheld: u64,
}

/// The totals of all releases that have served, including dropped ones.
#[derive(Debug, Clone, Default)]
pub(super) struct OfferTotals(Arc<Mutex<Totals>>);

#[derive(Debug, Default)]
struct Totals {
    /// In the order of first appearance, except the overflow series.
    series: Vec<Series>,
    known: HashMap<OfferLabels, usize>,
    overflow: Option<usize>,
    /// The counts of releases that may still serve, with the series of each of their offers.
    followed: Vec<(Arc<OfferCounts>, Vec<usize>)>,
}

#[derive(Debug)]
struct Series {
    labels: OfferLabels,
    /// The totals of dropped releases.
    before: Sums,
    /// The highest value reported: a counter must not decrease.
    reported: u64,
}

impl OfferTotals {
    /// Includes these counts from now on. Counts that are included already are ignored.
    pub(super) fn follow(&self, counts: &[Arc<OfferCounts>]) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.fold_dropped();
        for one in counts {
            if !totals.followed.iter().any(|(followed, _)| Arc::ptr_eq(followed, one)) {
                let series = one.offers.iter().map(|offer| totals.series_of(&one.placement, &offer.id));
                let series = series.collect();
                totals.followed.push((Arc::clone(one), series));
            }
        }
    }
}

impl Totals {
    /// The series of an offer at a placement, or the overflow series.
    fn series_of(&mut self, placement: &str, offer: &str) -> usize {
        let labels = OfferLabels { placement: placement.to_owned(), offer: offer.to_owned() };
        if let Some(known) = self.known.get(&labels) {
            return *known;
        }
        let next = self.series.len();
        if self.known.len() < SERIES_LIMIT {
            self.known.insert(labels.clone(), next);
            self.series.push(Series { labels, before: Sums::default(), reported: 0 });
            return next;
        }
        *self.overflow.get_or_insert_with(|| {
            let labels = OfferLabels { placement: OTHER.to_owned(), offer: OTHER.to_owned() };
            self.series.push(Series { labels, before: Sums::default(), reported: 0 });
            next
        })
    }

    /// Adds up and removes the counts of releases that are no longer held.
    fn fold_dropped(&mut self) {
        let Self { series, followed, .. } = self;
        followed.retain_mut(|(counts, places)| {
            let Some(counts) = Arc::get_mut(counts) else { return true };
            for (place, sums) in places.iter().zip(counts.sums()) {
                let before = &mut series[*place].before;
                before.shown += sums.shown;
                before.withheld += sums.withheld;
            }
            false
        });
    }

    /// The current totals of each series.
    fn sums(&mut self) -> Vec<(OfferLabels, Sums)> {
        self.fold_dropped();
        let mut sums: Vec<Sums> = self.series.iter().map(|series| series.before).collect();
        for (counts, places) in &self.followed {
            for (place, more) in places.iter().zip(counts.sums()) {
                sums[*place].shown += more.shown;
                sums[*place].withheld += more.withheld;
            }
        }
        let reported = self.series.iter_mut().zip(sums).map(|(series, sums)| {
            series.reported = series.reported.max(sums.withheld);
            (series.labels.clone(), Sums { withheld: series.reported, ..sums })
        });
        reported.collect()
    }
}

/// A metric: name, help, and how to get its value from the totals.
type Family = (&'static str, &'static str, fn(&Sums) -> u64);

impl Collector for OfferTotals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let sums = self.0.lock().unwrap_or_else(PoisonError::into_inner).sums();
        let families: [Family; 2] = [
            (
                "placement_offers_shown",
                "Customers to whom an offer was shown, by placement and offer.",
                |sums| sums.shown,
            ),
            (
                "placement_offers_withheld",
                "Customers from whom a candidate was withheld, for any reason, by placement and offer.",
                |sums| sums.withheld,
            ),
        ];
        for (name, help, of) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, sums) in &sums {
                ConstCounter::new(of(sums)).encode(family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(placement: &str, candidates: &[usize], fallback: Option<usize>) -> Arc<OfferCounts> {
        let offer = |index: usize| (index, Arc::from(format!("o{index}")));
        let candidates = candidates.iter().map(|index| offer(*index));
        Arc::new(OfferCounts::new(placement, candidates, fallback.map(offer)))
    }

    /// `placement/offer shown withheld`, one line per series.
    fn read(totals: &OfferTotals) -> Vec<String> {
        let sums = totals.0.lock().unwrap().sums();
        let line = |(labels, sums): &(OfferLabels, Sums)| {
            format!("{}/{} {} {}", labels.placement, labels.offer, sums.shown, sums.withheld)
        };
        sums.iter().map(line).collect()
    }

    #[test]
    fn a_candidate_that_was_not_shown_was_withheld() {
        let totals = OfferTotals::default();
        let home = counts("home", &[1, 4], Some(2));
        totals.follow(&[Arc::clone(&home)]);
        assert_eq!(read(&totals), ["home/o1 0 0", "home/o2 0 0", "home/o4 0 0"]);
        home.decided(10);
        home.decided_among(4, 3);
        (0..6).for_each(|_| home.shown(1, false));
        home.shown(4, true);
        home.shown(2, true);
        home.shown(7, false);
        assert_eq!(read(&totals), ["home/o1 6 4", "home/o2 1 0", "home/o4 1 13"]);
    }

    #[test]
    fn a_dropped_release_still_counts_and_a_returning_one_counts_once() {
        let totals = OfferTotals::default();
        let first = counts("home", &[0, 1], None);
        totals.follow(&[Arc::clone(&first)]);
        first.decided(5);
        first.shown(0, false);
        let second = counts("home", &[1], None);
        totals.follow(&[Arc::clone(&second)]);
        totals.follow(&[Arc::clone(&first)]);
        second.decided(2);
        let expected = ["home/o0 1 4", "home/o1 0 7"];
        assert_eq!(read(&totals), expected);
        drop(first);
        assert_eq!(read(&totals), expected);
        assert_eq!(totals.0.lock().unwrap().followed.len(), 1);
        drop(second);
        assert_eq!(read(&totals), expected);
        assert!(totals.0.lock().unwrap().followed.is_empty());
    }

    #[test]
    fn a_counter_does_not_decrease_and_series_are_bounded() {
        let totals = OfferTotals::default();
        let many: Vec<usize> = (0..SERIES_LIMIT + 20).collect();
        let home = counts("home", &many, None);
        totals.follow(&[Arc::clone(&home)]);
        home.decided(1);
        // Read between two counts of one call.
        assert_eq!(read(&totals)[0], "home/o0 0 1");
        home.shown(0, false);
        assert_eq!(read(&totals)[0], "home/o0 1 1");
        let lines = read(&totals);
        assert_eq!(lines.len(), SERIES_LIMIT + 1);
        assert_eq!(lines.last().unwrap(), "other/other 0 20");
    }
}
