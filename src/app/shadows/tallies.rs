//! What this server has found out about its shadows since it started.
//!
//! Numbers of different models do not belong into one mean. So the statistics of a shadow start anew when a release
//! changes what the shadow is, or pins other models.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::grpc::{FoundShadow, ShadowReports, ShadowStanding};
use document::suggestion;
use experiment::{Changes, Shadow};
use release::{LoadedShadow, Publisher, RegistryError, Release};
use shadow::{Comparison, Names, Tally};
use telemetry::Metrics;

/// The shadows that statistics are kept of: twice as many as a policy may have.
const KEPT: usize = 16;

/// What this server has found out about its shadows.
pub(super) struct Tallies {
    kept: Mutex<Kept>,
    publisher: Publisher,
    metrics: Arc<Metrics>,
}

struct Kept {
    shadows: BTreeMap<Arc<str>, Found>,
    /// Since when what is not among them has been counted.
    since: DateTime<Utc>,
    /// Whether one was dropped to make room.
    has_dropped: bool,
}

/// What is known of one shadow.
struct Found {
    identity: Identity,
    /// A release in which it is that.
    release: u64,
    since: DateTime<Utc>,
    tally: Tally,
    /// What was counted as shed when the tally was last told.
    shed: u64,
}

/// What the statistics of a shadow are about.
#[derive(Debug, Clone, PartialEq)]
struct Identity {
    /// Without the lines of its file.
    changes: Changes,
    pins: BTreeMap<String, u64>,
}

impl Tallies {
    pub(super) fn new(publisher: Publisher, metrics: Arc<Metrics>) -> Self {
        let kept = Kept { shadows: BTreeMap::new(), since: Utc::now(), has_dropped: false };
        Self { kept: Mutex::new(kept), publisher, metrics }
    }

    /// Whether comparisons with the shadow by this release are to be counted. They are not if they come late, and the
    /// shadow has become another one since.
    pub(super) fn takes(&self, shadow: &str, release: &Release) -> bool {
        let shadow = release.experiments().shadows.iter().find(|one| &*one.id == shadow);
        shadow.is_some_and(|shadow| self.find_in(&mut self.lock(), shadow, release).is_some())
    }

    /// Counts a comparison.
    pub(super) fn add(&self, comparison: &Comparison) {
        if let Some(found) = self.lock().shadows.get_mut(comparison.shadow.as_str()) {
            found.tally.add(comparison);
        }
    }

    /// What is known of the shadow of a release. What was known of another one of that id is dropped, unless another
    /// release serves.
    fn find_in<'k>(&self, kept: &'k mut Kept, shadow: &Shadow, release: &Release) -> Option<&'k mut Found> {
        let number = release.number();
        let known = kept.shadows.get(&shadow.id).map(|known| (known.release, &known.identity));
        if known.is_none_or(|(of, _)| of != number) {
            let identity = Identity::of(shadow, release);
            let is_same = known.is_some_and(|(_, known)| *known == identity);
            let is_known = known.is_some();
            if is_known && !is_same && self.serving().is_none_or(|serving| serving.number() != number) {
                return None;
            }
            if !is_same {
                let is_first = !is_known && !kept.has_dropped;
                let (since, shed) = if is_first { (kept.since, 0) } else { (Utc::now(), self.shed(shadow)) };
                let found = Found { identity, release: number, since, tally: Tally::default(), shed };
                kept.shadows.insert(Arc::clone(&shadow.id), found);
                kept.make_room(&shadow.id);
            }
        }
        let found = kept.shadows.get_mut(&shadow.id)?;
        found.release = number;
        Some(found)
    }

    /// How many decisions of a shadow were not compared so far.
    fn shed(&self, shadow: &Shadow) -> u64 {
        self.metrics.shadow_shed(&shadow.id).get()
    }

    fn serving(&self) -> Option<Arc<Release>> {
        self.publisher.serving().map(|snapshot| Arc::clone(&snapshot.release))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Drops the oldest but `newest` where there are too many.
    fn make_room(&mut self, newest: &str) {
        if self.shadows.len() <= KEPT {
            return;
        }
        let others = self.shadows.iter().filter(|(id, _)| &***id != newest);
        let oldest = others.min_by_key(|(_, found)| found.since).map(|(id, _)| Arc::clone(id));
        if let Some(oldest) = oldest {
            self.shadows.remove(&oldest);
            self.has_dropped = true;
        }
    }
}

impl Identity {
    fn of(shadow: &Shadow, release: &Release) -> Self {
        let mut changes = shadow.changes.clone();
        changes.models.iter_mut().for_each(|model| model.line = 0);
        Self { changes, pins: release.pins().clone() }
    }
}

impl Found {
    /// The report, with what was shed until now: `shed` so far.
    fn report(&mut self, id: &str, shed: u64, names: &Names) -> Option<shadow::Report> {
        self.tally.shed(id, shed.saturating_sub(self.shed));
        self.shed = shed;
        let report = self.tally.report(names);
        (!report.shadows.is_empty()).then_some(report)
    }
}

impl ShadowReports for Tallies {
    fn find(&self, id: &str) -> Result<FoundShadow, RegistryError> {
        let serving = self.serving();
        let unknown = |release: Option<&Release>| {
            let shadows = release.map(|release| release.experiments().shadows.as_slice()).unwrap_or_default();
            let hint = suggestion(id, shadows.iter().map(|shadow| &*shadow.id));
            RegistryError::NotFound(format!(
                "the release that serves has no shadow `{id}`, and none was compared here{hint}"
            ))
        };
        let release = serving.as_deref();
        let in_release = release.and_then(|release| {
            let mut shadows = release.experiments().shadows.iter().zip(release.shadows());
            shadows.find(|(shadow, _)| &*shadow.id == id)
        });
        let standing = match in_release {
            Some((_, LoadedShadow::Ready { .. })) => ShadowStanding::Ready,
            Some((_, LoadedShadow::Unavailable { reason })) => {
                ShadowStanding::Unavailable(reason.to_string())
            }
            None => ShadowStanding::Absent,
        };
        let names = release.map(names).unwrap_or_default();
        let mut kept = self.lock();
        let found = match in_release.zip(release) {
            Some(((shadow, _), release)) => self.find_in(&mut kept, shadow, release),
            None => kept.shadows.get_mut(id),
        };
        let found = found.ok_or_else(|| unknown(release))?;
        // It is an id of a policy.
        let shed = self.metrics.shadow_shed(id).get();
        let report = found.report(id, shed, &names).ok_or_else(|| unknown(release))?;
        let release = release.map_or(0, Release::number);
        Ok(FoundShadow { release, standing, since: found.since, report })
    }
}

impl fmt::Debug for Tallies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tallies").field("shadows", &self.lock().shadows.len()).finish_non_exhaustive()
    }
}

/// What people call the offers and the segments of a release.
fn names(release: &Release) -> Names {
    let offers = release.catalog().library.offers().iter();
    let segments = release.segmentation().map(|segmenter| segmenter.names().iter().enumerate());
    Names {
        offers: offers.map(|offer| (offer.id.to_string(), offer.name.clone())).collect(),
        segments: segments
            .into_iter()
            .flatten()
            .map(|(number, name)| (number as i64, name.to_string()))
            .collect(),
    }
}
