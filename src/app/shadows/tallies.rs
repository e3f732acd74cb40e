//! What this server has found out about its shadows since it started.
//!
//! Numbers of different models do not belong into one mean. So the statistics of a shadow start anew when a release
//! changes what the shadow is, or pins other models.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::shed::Shed;
use crate::grpc::{FoundShadow, ShadowReports, ShadowStanding};
use document::suggestion;
use experiment::{Exploration, Shadow, Strategy};
use release::{LoadedShadow, Publisher, RegistryError, Release};
use shadow::{Comparison, Names, Tally};
use telemetry::Metrics;

/// The shadows that statistics are kept of: twice as many as a policy may have.
const KEPT: usize = 16;

/// How often a shadow may take too much CPU time before it is not compared any more.
const OVERRUNS: u32 = 3;

/// Why such a shadow is not compared.
const OVERRAN: &str = "its decisions took more than 10 s of CPU time three times in a row, so it is not compared any \
                       more; change the shadow or its model, or restart the server";

/// What this server has found out about its shadows.
pub(super) struct Tallies {
    kept: Mutex<Kept>,
    publisher: Publisher,
    metrics: Arc<Metrics>,
    shed: Arc<Shed>,
}

/// Statistics that began at one moment. What comes late is not counted in those that began since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(u64);

struct Kept {
    shadows: BTreeMap<Arc<str>, Found>,
    /// Since when what is not among them has been counted.
    since: DateTime<Utc>,
    /// Whether one was dropped to make room.
    has_dropped: bool,
    /// The last generation.
    last: u64,
}

/// What is known of one shadow.
struct Found {
    generation: Generation,
    identity: Identity,
    /// A release in which it is that.
    release: u64,
    since: DateTime<Utc>,
    tally: Tally,
    /// What was counted as shed when the tally was last told.
    shed: u64,
    /// How often it took too much CPU time since it was last compared.
    overruns: u32,
}

/// What the statistics of a shadow are about. Names, since an index means something else once the policy has another
/// category.
#[derive(Debug, Clone, PartialEq)]
struct Identity {
    models: Vec<(String, u64)>,
    strategy: Option<Strategy>,
    exploration: Option<Exploration>,
    category_weights: Vec<(String, f64)>,
    context_weights: Vec<(String, f64)>,
    pins: BTreeMap<String, u64>,
}

impl Tallies {
    pub(super) fn new(publisher: Publisher, metrics: Arc<Metrics>, shed: Arc<Shed>) -> Self {
        let kept = Kept { shadows: BTreeMap::new(), since: Utc::now(), has_dropped: false, last: 0 };
        Self { kept: Mutex::new(kept), publisher, metrics, shed }
    }

    /// The statistics in which comparisons with the shadow by this release are counted. There are none if they come
    /// late, and the shadow has become another one since.
    pub(super) fn takes(&self, shadow: &str, release: &Release) -> Option<Generation> {
        let shadow = release.experiments().shadows.iter().find(|one| &*one.id == shadow)?;
        Some(self.find_in(&mut self.lock(), shadow, release)?.generation)
    }

    /// Counts a comparison, unless its statistics are gone.
    pub(super) fn add(&self, comparison: &Comparison, generation: Generation) {
        let mut kept = self.lock();
        let found = kept.shadows.get_mut(comparison.shadow.as_str());
        if let Some(found) = found.filter(|found| found.generation == generation) {
            found.overruns = 0;
            found.tally.add(comparison);
        }
    }

    /// Notes that a shadow took too much CPU time. Returns whether it is not to be compared any more, from now on.
    pub(super) fn overran(&self, shadow: &str, generation: Generation) -> bool {
        let mut kept = self.lock();
        let found = kept.shadows.get_mut(shadow).filter(|found| found.generation == generation);
        found.is_some_and(|found| {
            found.overruns += 1;
            found.overruns == OVERRUNS
        })
    }

    /// Whether a shadow is not to be compared any more.
    pub(super) fn is_set_aside(&self, shadow: &str, release: &Release) -> bool {
        let shadow = release.experiments().shadows.iter().find(|one| &*one.id == shadow);
        let mut kept = self.lock();
        let found = shadow.and_then(|shadow| self.find_in(&mut kept, shadow, release));
        found.is_some_and(|found| found.is_set_aside())
    }

    /// Forgets the examples of all shadows.
    pub(super) fn forget_examples(&self) {
        self.lock().shadows.values_mut().for_each(|found| found.tally.forget_examples());
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
                kept.last += 1;
                let (generation, tally) = (Generation(kept.last), Tally::default());
                let found = Found { generation, identity, release: number, since, tally, shed, overruns: 0 };
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
        self.shed.book();
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
        let (changes, policy) = (&shadow.changes, &release.catalog().policy);
        let models = changes.models.iter().map(|model| (model.name.clone(), model.version));
        let category =
            |(index, weight): &(usize, f64)| Some((policy.categories.get(*index)?.id.clone(), *weight));
        let context =
            |(index, weight): &(usize, f64)| Some((policy.context_weights.get(*index)?.id.clone(), *weight));
        Self {
            models: models.collect(),
            strategy: changes.strategy,
            exploration: changes.exploration,
            category_weights: changes.category_weights.iter().filter_map(category).collect(),
            context_weights: changes.context_weights.iter().filter_map(context).collect(),
            pins: release.pins().clone(),
        }
    }
}

impl Found {
    fn is_set_aside(&self) -> bool {
        self.overruns >= OVERRUNS
    }

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
        let is_set_aside = standing == ShadowStanding::Ready && found.is_set_aside();
        let standing = if is_set_aside { ShadowStanding::Unavailable(OVERRAN.to_owned()) } else { standing };
        self.shed.book();
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
