//! Shadows: what challengers would have decided, compared with what was decided.
//!
//! Once the answer of a call is ready, the decisions that a shadow of the release samples become a [`ShadowJob`], which a
//! [`ShadowSink`] takes or sheds. [`compare`] does the job later, on another thread: it decides each of them twice with
//! the functions that answer calls, once as it was and once with what the shadow changes. It sees what the call saw:
//! the snapshot, features, candidates, the view of the history, arms, and the moment. Nothing of it reaches an answer,
//! the history or the metrics of decisions. Start reading at [`ShadowJob::of`] and [`compare`].

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use smallvec::SmallVec;
use uuid::Uuid;

use super::arms::Arms;
use super::limits::{Refusal, Reserved};
use super::plan::Plan;
use super::rank::{self, Again, Overlay, Whole, decide_whole};
use super::replay::{self, ReplayInput};
use super::{DecisionError, RankResult};
use experiment::Shadow;
use offer::OfferIndex;
use release::{AssignedSegment, LoadedShadow, Release, Snapshot};
use work::priority::yield_if_due;
use work::{Call, Cancellation, Worker, catch_panic};

/// About what a job takes besides its request and its history.
const BYTES_PER_JOB: usize = 4 << 10;

/// What a sampled decision takes in a job at most, besides its arms and what was refused.
const BYTES_PER_DECISION: usize = 512;

/// What a customer of the call takes in its plan at most, besides what the request has of them: the problems of their
/// row, their pseudonym, their part of the history.
const BYTES_PER_CUSTOMER: usize = 512;

/// What the reason of a side says that panicked. Its words are for the log: callers and records have this.
const PANICKED: &str = "it panicked";

/// About what an event of the history takes in the view of a call.
const BYTES_PER_EVENT: usize = 64;

/// Takes the decisions that shadows are to be compared on.
pub trait ShadowSink: Send + Sync + fmt::Debug {
    /// Takes a job if there is room for it now; otherwise drops it and counts its decisions. Returns whether it was
    /// taken. Never waits: the answer of the call is ready, and its thread is here.
    fn offer(&self, job: ShadowJob) -> bool;
}

/// The decisions of a call that shadows sample, with all that they depended on.
pub struct ShadowJob {
    plan: Arc<Plan>,
    sampled: Vec<Sampled>,
    /// About what the request takes.
    request: usize,
}

/// A decision that shadows sample.
struct Sampled {
    /// The place of the customer in the call.
    index: usize,
    decision: Uuid,
    /// The shadows, by their indices.
    shadows: SmallVec<[usize; 1]>,
    /// As they were; `None`: they are drawn again.
    arms: Option<Arms>,
    /// What was refused when the slate was reserved; `None`: the plan says so.
    refusals: Option<Vec<Refusal>>,
}

/// What a shadow would have decided beside what was decided.
#[derive(Debug, Clone)]
pub struct ShadowComparison {
    /// The id of the shadow.
    pub shadow: Arc<str>,
    /// The id of the decision.
    pub decision_id: Uuid,
    /// The id of the placement.
    pub placement: Arc<str>,
    /// The channel; empty where the placement is not shown on it.
    pub channel: Arc<str>,
    /// The customer as the call names them; empty for an anonymous visitor.
    pub customer_id: String,
    /// The segment; `None` where the release has no segmentation.
    pub segment: Option<AssignedSegment>,
    /// Both sides, or why the shadow could not decide.
    pub result: Result<Compared, String>,
}

/// Both sides of a comparison.
#[derive(Debug, Clone)]
pub struct Compared {
    /// As it was decided.
    pub champion: Decided,
    /// As the shadow decides.
    pub challenger: Decided,
}

/// What one side decides.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Every candidate that passed the gates and has a score, in the order of arbitration.
    pub ranking: Vec<RankedCandidate>,
    /// The offers shown, best first; a fallback included.
    pub shown: Vec<OfferIndex>,
    /// The candidates that were withheld before the scores, ascending.
    pub withheld_by_rules: Vec<OfferIndex>,
    /// How long deciding took on the thread that compares.
    pub took: Duration,
    /// Name and version of the models that were asked.
    pub models: Vec<(String, u64)>,
}

/// A candidate in a ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankedCandidate {
    /// The offer.
    pub offer: OfferIndex,
    /// The calibrated propensity, 0..=1. That of a new offer with a prior lies between the prior and the model's.
    pub score: f64,
    /// Propensity × context weight × value × lever.
    pub priority: f64,
    /// Money, if it is accepted. Score × value is the expected value of showing it.
    pub value: f64,
    /// Money: propensity × value − cost.
    pub margin: f64,
}

impl ShadowJob {
    /// The decisions of a call that shadows of its release sample; `None` if there is none. `request` is about what the
    /// request takes.
    ///
    /// Left out are customers who could not be decided, and those who are held out: nothing is ranked for them. Where
    /// there are limits, rows of one customer see what those before them reserved, so only the first is sampled.
    pub(super) fn of(plan: &Arc<Plan>, decided: &rank::Decided, request: usize) -> Option<Self> {
        let release = &plan.snapshot.release;
        let here: SmallVec<[usize; 8]> = release.shadows_at(plan.placement).collect();
        if here.is_empty() {
            return None;
        }
        let shadows = &release.experiments().shadows;
        let sample = |(index, result): (usize, &RankResult)| {
            if result.error.is_some() || result.held_out {
                return None;
            }
            let id = result.decision_id.as_u128();
            let sampling = here.iter().copied().filter(|shadow| shadows[*shadow].samples(id));
            let sampling: SmallVec<[usize; 1]> = sampling.collect();
            (!sampling.is_empty()).then(|| Sampled {
                index,
                decision: result.decision_id,
                shadows: sampling,
                arms: Some(Arms { held_out: false, assignments: result.assignments.clone() }),
                refusals: Some(refusals_of(plan, decided, index)),
            })
        };
        let mut sampled: Vec<Sampled> = decided.results.iter().enumerate().filter_map(sample).collect();
        if plan.limits.is_some() && plan.customers.len() > 1 {
            keep_first_rows(plan, &mut sampled);
        }
        (!sampled.is_empty()).then(|| Self { plan: Arc::clone(plan), sampled, request })
    }

    /// The job of a recorded decision, for those shadows of the release that are `wanted`; `None` if there is none.
    /// Both sides ask the models: recorded scores are those of the champion alone.
    ///
    /// # Errors
    /// When the release does not have what the request names.
    pub fn of_record(
        snapshot: &Arc<Snapshot>,
        mut input: ReplayInput,
        wanted: impl Fn(&Shadow) -> bool,
    ) -> Result<Option<Self>, DecisionError> {
        input.values.scores = None;
        let decision = input.values.decision_id.unwrap_or_default();
        let plan = replay::plan(snapshot, input)?;
        let release = &snapshot.release;
        let all = &release.experiments().shadows;
        let here = release.shadows_at(plan.placement).filter(|shadow| wanted(&all[*shadow]));
        let shadows: SmallVec<[usize; 1]> = here.collect();
        if shadows.is_empty() {
            return Ok(None);
        }
        let sampled = vec![Sampled { index: 0, decision, shadows, arms: None, refusals: None }];
        Ok(Some(Self { plan: Arc::new(plan), sampled, request: 0 }))
    }

    /// Leaves out the shadows that are not to be compared. Returns how many decisions each of them sampled.
    pub fn leave_out(&mut self, is_out: impl Fn(&Shadow) -> bool) -> Vec<(Arc<str>, usize)> {
        let all = &self.plan.snapshot.release.experiments().shadows;
        let out: Vec<bool> = all.iter().map(is_out).collect();
        let left_out: Vec<(Arc<str>, usize)> = self
            .by_shadow()
            .filter(|(id, _)| all.iter().zip(&out).any(|(shadow, out)| *out && shadow.id == **id))
            .map(|(id, count)| (Arc::clone(id), count))
            .collect();
        for sampled in &mut self.sampled {
            sampled.shadows.retain(|shadow| !out.get(*shadow).copied().unwrap_or_default());
        }
        self.sampled.retain(|sampled| !sampled.shadows.is_empty());
        left_out
    }

    /// How many decisions are sampled.
    #[must_use]
    pub fn decisions(&self) -> usize {
        self.sampled.len()
    }

    /// How many decisions each shadow samples: its id, and their number.
    pub fn by_shadow(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        let all = self.plan.snapshot.release.experiments().shadows.iter().enumerate();
        all.filter_map(move |(index, shadow)| {
            let count = self.sampled.iter().filter(|sampled| sampled.shadows.contains(&index)).count();
            (count > 0).then_some((&shadow.id, count))
        })
    }

    /// How many bytes it keeps in memory besides the snapshot, at most and roughly, so that what waits can be bounded.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let limits = self.plan.limits.as_ref();
        let events: usize = limits.map_or(0, |limits| {
            (0..self.plan.customers.len()).map(|index| limits.view.entry_count(index)).sum()
        });
        let parts = |sampled: &Sampled| {
            let arms = sampled.arms.as_ref().map_or(0, |arms| size_of_val(&arms.assignments[..]));
            arms + sampled.refusals.as_ref().map_or(0, |refusals| size_of_val(&refusals[..]))
        };
        let sampled = self.sampled.iter().map(|sampled| BYTES_PER_DECISION + parts(sampled)).sum::<usize>();
        let customers = self.plan.customers.len() * BYTES_PER_CUSTOMER;
        BYTES_PER_JOB + self.request + customers + events * BYTES_PER_EVENT + sampled
    }

    /// The snapshot that decided, whose offers the comparisons name by their indices. The job keeps it in memory.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.plan.snapshot
    }

    /// The server's clock when the call was planned.
    #[must_use]
    pub fn decided_at(&self) -> DateTime<Utc> {
        self.plan.now
    }
}

impl fmt::Debug for ShadowJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowJob").field("decisions", &self.sampled.len()).finish_non_exhaustive()
    }
}

/// The job of a call, as [`ShadowJob::of`] makes it. Should that panic, there is none, and the answer stays.
pub(super) fn sample(plan: &Arc<Plan>, decided: &rank::Decided, request: usize) -> Option<ShadowJob> {
    catch_panic(|| ShadowJob::of(plan, decided, request)).unwrap_or_else(|panic| {
        tracing::error!(panic = panic.message, "decisions could not be sampled for shadows");
        None
    })
}

/// Offers the decisions of a call whose answer is ready. Whatever the sink does with them, the answer stays.
pub(super) fn offer(sink: &dyn ShadowSink, job: ShadowJob) {
    if let Err(panic) = catch_panic(|| sink.offer(job)) {
        tracing::error!(panic = panic.message, "decisions could not be offered to shadows");
    }
}

/// What limits refused when the slate of a customer was reserved.
fn refusals_of(plan: &Plan, decided: &rank::Decided, index: usize) -> Vec<Refusal> {
    if plan.records {
        return decided.recorded.get(index).map(|decision| decision.refusals.clone()).unwrap_or_default();
    }
    let found = decided.reserved.binary_search_by_key(&index, Reserved::index);
    found.map(|at| decided.reserved[at].refusals().to_vec()).unwrap_or_default()
}

/// Keeps only the first row of each customer of the call.
fn keep_first_rows(plan: &Plan, sampled: &mut Vec<Sampled>) {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (index, customer) in plan.customers.iter().enumerate().filter(|(_, customer)| !customer.id.is_empty())
    {
        first.entry(customer.id.as_str()).or_insert(index);
    }
    sampled.retain(|one| {
        let first = first.get(plan.customers[one.index].id.as_str());
        first.is_none_or(|first| *first == one.index)
    });
}

/// Decides each decision of a job again, as it was and with each of its shadows, and passes the comparisons to `emit`,
/// in the order of the call.
///
/// A shadow that panics, or for which nothing has a score, is an error of its comparison. Where the decision itself cannot
/// be made again, there is nothing to compare, and no comparison; returns how many those are. A candidate without a
/// score is not in the ranking.
///
/// # Errors
/// When `call` ends before; what was passed on until then is whole.
pub fn compare(
    job: &ShadowJob,
    worker: &Worker,
    call: &Call,
    mut emit: impl FnMut(ShadowComparison),
) -> Result<usize, Cancellation> {
    let mut unrepeated = 0;
    let placement: Arc<str> = job.plan.placement().id.as_str().into();
    let channel: Arc<str> = job.plan.channel().unwrap_or_default().into();
    for sampled in &job.sampled {
        call.check()?;
        yield_if_due();
        let Sides { champion, challengers } = Sides::of(&job.plan, sampled, worker, call)?;
        let champion = match champion {
            Ok(side) => side,
            Err(why) => {
                tracing::debug!(decision = %sampled.decision, why, "a decision cannot be made again for shadows");
                unrepeated += 1;
                continue;
            }
        };
        // Drawn again from a record, they may be held out by the release that decides now: nothing is ranked for them.
        if champion.whole.held_out {
            continue;
        }
        for (shadow, challenger) in challengers {
            emit(ShadowComparison {
                shadow: Arc::clone(&shadow.id),
                decision_id: sampled.decision,
                placement: Arc::clone(&placement),
                channel: Arc::clone(&channel),
                customer_id: job.plan.customers[sampled.index].id.clone(),
                segment: champion.whole.segment.clone(),
                result: challenger
                    .map(|challenger| compared(&job.plan.snapshot.release, &champion, challenger)),
            });
        }
    }
    Ok(unrepeated)
}

/// One side of a comparison.
#[derive(Debug, Clone)]
struct Side {
    whole: Whole,
    took: Duration,
}

/// A decision made again.
struct Sides<'a> {
    champion: Result<Side, String>,
    /// By shadow.
    challengers: SmallVec<[(&'a Shadow, Result<Side, String>); 1]>,
}

impl<'a> Sides<'a> {
    fn of(plan: &'a Plan, sampled: &Sampled, worker: &Worker, call: &Call) -> Result<Self, Cancellation> {
        let release = &plan.snapshot.release;
        let decide = |overlay: Option<Overlay<'_>>| {
            let (arms, refusals) = (sampled.arms.as_ref(), sampled.refusals.as_deref());
            let again = Again { decision: sampled.decision, arms, refusals, overlay };
            side(|| decide_whole(plan, sampled.index, again, worker, call))
        };
        // What decides first finds the customer's data in no cache. Each side does so for half of the decisions.
        let is_first = sampled.decision.as_u128() & 1 == 0;
        let first = if is_first { Some(decide(None)?) } else { None };
        let mut challengers: SmallVec<[(&'a Shadow, Result<Side, String>); 1]> = SmallVec::new();
        for (shadow, loaded) in sampled.shadows.iter().filter_map(|shadow| shadow_of(release, *shadow)) {
            let LoadedShadow::Ready { replacements } = loaded else { continue };
            challengers.push((shadow, decide(Some(Overlay { changes: &shadow.changes, replacements }))?));
        }
        let champion = match first {
            Some(champion) => champion,
            None => decide(None)?,
        };
        Ok(Self { champion, challengers })
    }
}

fn shadow_of(release: &Release, index: usize) -> Option<(&Shadow, &LoadedShadow)> {
    release.experiments().shadows.get(index).zip(release.shadows().get(index))
}

/// Decides as one side, and contains a panic.
fn side(
    decide: impl FnOnce() -> Result<Result<Whole, String>, Cancellation>,
) -> Result<Result<Side, String>, Cancellation> {
    let began = Instant::now();
    match catch_panic(decide) {
        Ok(decided) => Ok(decided?.map(|whole| Side { whole, took: began.elapsed() })),
        Err(panic) => {
            tracing::debug!(panic = panic.message, "a decision for a shadow panicked");
            Ok(Err(PANICKED.to_owned()))
        }
    }
}

fn compared(release: &Release, champion: &Side, challenger: Side) -> Compared {
    Compared { champion: champion.clone().decided(release), challenger: challenger.decided(release) }
}

impl Side {
    fn decided(self, release: &Release) -> Decided {
        let Self { whole, took } = self;
        let Whole { ranking, shown, withheld_by_rules, models, .. } = whole;
        let asked = models.iter().map(|model| release.model(*model));
        let models = asked.map(|model| (model.name().to_owned(), model.version())).collect();
        Decided { ranking, shown, withheld_by_rules, took, models }
    }
}
