//! The promoter: swap after swap, with rejected promotions and quiet intervals in between.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::{Code, Status};

use super::history::Publication;
use super::load::Observer;
use super::machine::Memory;
use super::memory::Sample;
use super::metric;
use super::pipeline::{Draft, Pipeline};
use super::releases::{Releases, bad_version, failed_gates};
use crate::binary::Process;
use crate::harness::wire;

/// Swaps of the first round, after which memory is looked at for the first time.
const FIRST: usize = 10;

/// How long a release may take to answer its first call.
const PATIENCE: Duration = Duration::from_secs(20);

/// A step of the promoter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Promote a release for the first time.
    Swap,
    /// Make a call that must be rejected.
    Rejection(Rejection),
}

/// Why a promotion must be rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    /// A pinned version was damaged on disk after the release was created.
    Damaged,
    /// A version that it should pin fails its gates, so the release cannot be created.
    Gates,
    /// The current release differs from the one that the caller expects.
    Stale,
    /// There is no such release.
    Unknown,
}

/// The order of rejections, which repeats.
const REJECTIONS: [Rejection; 5] =
    [Rejection::Damaged, Rejection::Gates, Rejection::Damaged, Rejection::Stale, Rejection::Unknown];

/// How many of the first `rejections` are caused by a damaged release.
pub(super) fn damaged(rejections: usize) -> usize {
    REJECTIONS.iter().cycle().take(rejections).filter(|rejection| **rejection == Rejection::Damaged).count()
}

/// Divides the swaps into rounds, the first of [`FIRST`], and spreads the rejections over them.
pub(super) fn rounds(swaps: usize, rejections: usize, per_round: usize) -> Vec<Vec<Step>> {
    let mut steps = REJECTIONS.into_iter().cycle().map(Step::Rejection);
    let mut rounds = vec![Vec::new()];
    let (mut left, mut rejected) = (FIRST, 0);
    for swap in 1..=swaps {
        if left == 0 {
            rounds.push(Vec::new());
            left = per_round;
        }
        let round = rounds.last_mut().expect("there is a first round");
        round.push(Step::Swap);
        left -= 1;
        let due = swap * rejections / swaps;
        round.extend(steps.by_ref().take(due - rejected));
        rejected = due;
    }
    rounds
}

/// The pace of the promoter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The least time from the start of a step to the start of the next.
    pub step: Duration,
    /// The length of all rounds together. A round that ends early is followed by a quiet interval.
    pub length: Duration,
    /// The least length of a quiet interval.
    pub quiet: Duration,
}

/// A promotion, successful or rejected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub step: Step,
    pub began: Duration,
    pub answered: Duration,
}

/// The record of the promoter.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub publications: Vec<Publication>,
    pub attempts: Vec<Attempt>,
    /// The server's memory at the end of each quiet interval.
    pub memory: Vec<Sample>,
}

/// Promotes on its own connection.
pub(super) struct Promoter<'a> {
    pub pipeline: Pipeline,
    pub observer: &'a Observer,
    pub releases: Releases,
    pub server: &'a Process,
    log: Log,
    current: wire::Current,
    bad: usize,
}

impl<'a> Promoter<'a> {
    /// `current` is the release that already serves: publication 0.
    pub(super) fn new(
        pipeline: Pipeline,
        observer: &'a Observer,
        releases: Releases,
        server: &'a Process,
        current: wire::Current,
    ) -> Self {
        let first = Publication { release: current.release, sent: Duration::ZERO, answered: Duration::ZERO };
        let log = Log { publications: vec![first], ..Log::default() };
        Self { pipeline, observer, releases, server, log, current, bad: 0 }
    }

    /// Performs all steps.
    ///
    /// # Errors
    /// The first unexpected result, with the record until then.
    pub(super) async fn run(mut self, rounds: &[Vec<Step>], pace: Pace) -> (Log, Result<(), String>) {
        let began = self.observer.now();
        for (number, round) in rounds.iter().enumerate() {
            if let Err(why) = self.round(round, pace).await {
                return (self.log, Err(why));
            }
            let due = began + pace.length.mul_f64((number + 1) as f64 / rounds.len() as f64);
            tokio::time::sleep(due.saturating_sub(self.observer.now()).max(pace.quiet)).await;
            let swaps = self.log.publications.len() - 1;
            let history = history_bytes(self.server.admin) / 1e6;
            let memory = Memory::of(self.server.id());
            self.log.memory.extend(memory.map(|memory| Sample { swaps, memory, history }));
        }
        (self.log, Ok(()))
    }

    async fn round(&mut self, round: &[Step], pace: Pace) -> Result<(), String> {
        for step in round {
            let began = self.observer.now();
            match step {
                Step::Swap => self.swap().await,
                Step::Rejection(rejection) => self.be_rejected(*rejection).await,
            }
            .map_err(|why| format!("{step:?} after {} publications: {why}", self.log.publications.len()))?;
            if self.observer.failures() > 0 {
                return Err("calls fail".to_owned());
            }
            tokio::time::sleep((began + pace.step).saturating_sub(self.observer.now())).await;
        }
        Ok(())
    }

    /// Promotes the next release and waits until it has answered a call.
    async fn swap(&mut self) -> Result<(), String> {
        let release = self.releases.swaps.pop_front().ok_or("no release is left")?;
        let expected = self.current.release;
        let sent = self.observer.now();
        let promoted = self.pipeline.promote(release, Some(expected)).await;
        let answered = self.observer.now();
        self.log.attempts.push(Attempt { step: Step::Swap, began: sent, answered });
        self.log.publications.push(Publication { release, sent, answered });
        let promoted = promoted.map_err(|status| describe(&status))?;
        let current = promoted.current.clone().unwrap_or_default();
        let as_expected = current.release == release
            && current.previous == expected
            && current.sequence == self.current.sequence + 1
            && promoted.overtaken_by == 0
            // Each swap must load a release and retire another.
            && !promoted.warm;
        if !as_expected {
            return Err(format!("after {:?} the answer is {promoted:?}", self.current));
        }
        self.current = current;
        self.wait_until_seen().await
    }

    async fn wait_until_seen(&self) -> Result<(), String> {
        let order = self.log.publications.len() - 1;
        let patience = self.observer.now() + PATIENCE;
        while self.observer.newest() < order {
            if self.observer.now() > patience {
                return Err("the release answers no call".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Makes a call that must be rejected, and checks that nothing has changed.
    async fn be_rejected(&mut self, rejection: Rejection) -> Result<(), String> {
        let began = self.observer.now();
        let rejected = match rejection {
            Rejection::Damaged => {
                let release = self.releases.damaged.pop_front().ok_or("no damaged release is left")?;
                self.pipeline.promote(release, None).await.map(|answer| format!("{answer:?}"))
            }
            Rejection::Gates => self.push_a_bad_version().await?,
            Rejection::Stale => {
                let stale = self.current.previous;
                let spare = self.releases.spare;
                self.pipeline.promote(spare, Some(stale)).await.map(|answer| format!("{answer:?}"))
            }
            Rejection::Unknown => {
                self.pipeline.promote(u64::from(u32::MAX), None).await.map(|answer| format!("{answer:?}"))
            }
        };
        let answered = self.observer.now();
        self.log.attempts.push(Attempt { step: Step::Rejection(rejection), began, answered });
        let expected = match rejection {
            Rejection::Damaged | Rejection::Gates => Code::FailedPrecondition,
            Rejection::Stale => Code::Aborted,
            Rejection::Unknown => Code::NotFound,
        };
        match rejected {
            Ok(answer) => return Err(format!("not rejected: {answer}")),
            Err(status) if status.code() != expected || status.message().is_empty() => {
                return Err(format!("not {expected:?} but {}", describe(&status)));
            }
            Err(_) => {}
        }
        let (current, serving) = self.pipeline.current().await.map_err(|status| describe(&status))?;
        if current != self.current || serving.release != current.release {
            return Err(format!(
                "current was {:?} and is now {current:?}, serving is {serving:?}",
                self.current
            ));
        }
        Ok(())
    }

    /// Pushes a version that fails a gate, and tries to create a release of it.
    async fn push_a_bad_version(&mut self) -> Result<Result<String, Status>, String> {
        let catalogue = &self.observer.catalogue;
        let set = &catalogue.sets[0];
        let (model, version) = bad_version(set, self.bad);
        self.bad += 1;
        let pushed = self.pipeline.push(model, &version).await.map_err(|status| describe(&status))?;
        let verdict = pushed.verdict.unwrap_or_default();
        if verdict.passed || failed_gates(&verdict).is_empty() {
            return Err(format!("version {} of {model} passed: {verdict:?}", pushed.version));
        }
        let mut models = catalogue.versions[0].clone();
        models.insert(model.to_owned(), pushed.version);
        let draft = Draft { models: &models, offers: set.offers("bad"), policy: set.policy.clone() };
        Ok(self.pipeline.create(draft).await.map(|release| format!("release {release}")))
    }
}

/// The size of the history of customers, by the server's own count.
fn history_bytes(admin: SocketAddr) -> f64 {
    metric(admin, "proffer_history_bytes")
}

fn describe(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_are_spread_over_the_swaps_and_include_every_kind() {
        for (swaps, rejections, per_round) in [(1000, 100, 30), (30, 6, 10), (25, 0, 5), (3, 3, 1)] {
            let rounds = rounds(swaps, rejections, per_round);
            let steps: Vec<Step> = rounds.iter().flatten().copied().collect();
            let count = |wanted: fn(&&Step) -> bool| steps.iter().filter(wanted).count();
            assert_eq!(count(|step| **step == Step::Swap), swaps);
            assert_eq!(count(|step| **step != Step::Swap), rejections);
            assert_eq!(count(|step| **step == Step::Rejection(Rejection::Damaged)), damaged(rejections));
            for kind in REJECTIONS {
                assert!(rejections < 5 || steps.contains(&Step::Rejection(kind)), "{kind:?}");
            }
            let swaps_of = |round: &Vec<Step>| round.iter().filter(|step| **step == Step::Swap).count();
            assert_eq!(swaps_of(&rounds[0]), swaps.min(FIRST));
            assert!(rounds[1..].iter().all(|round| (1..=per_round).contains(&swaps_of(round))));
            assert!(steps.windows(2).all(|pair| pair.contains(&Step::Swap)));
        }
    }
}
