//! The promoter: swap after swap, refusals in between, and stretches in which nothing is swapped.

use std::time::Duration;

use tonic::{Code, Status};

use super::history::Publication;
use super::load::Observer;
use super::machine::Memory;
use super::pipeline::{Draft, Pipeline};
use super::releases::{Stock, bad_version, failed_gates};
use crate::harness::wire;

/// Swaps of the first round: memory is compared with what it was after them.
pub(super) const FIRST: usize = 10;

/// How long a release may take until it has answered a call.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the promoter does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Promotes a release that was never promoted.
    Swap,
    /// Asks for something that must be refused.
    Refusal(Refusal),
}

/// Why a promotion must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A version that it pins was damaged on disk since the release was made.
    Damaged,
    /// A version that it would pin fails its gates, so that there is no such release.
    Gates,
    /// Another release is current than the caller believes.
    Stale,
    /// There is no such release.
    Unknown,
}

/// The order in which refusals come, again and again.
const REFUSALS: [Refusal; 5] =
    [Refusal::Damaged, Refusal::Gates, Refusal::Damaged, Refusal::Stale, Refusal::Unknown];

/// How many of so many refusals are of a damaged release.
pub(super) fn damaged(refusals: usize) -> usize {
    REFUSALS.iter().cycle().take(refusals).filter(|refusal| **refusal == Refusal::Damaged).count()
}

/// Cuts swaps into rounds, the first of [`FIRST`], and spreads the refusals over them.
pub(super) fn rounds(swaps: usize, refusals: usize, per_round: usize) -> Vec<Vec<Step>> {
    let mut steps = REFUSALS.into_iter().cycle().map(Step::Refusal);
    let mut rounds = vec![Vec::new()];
    let (mut left, mut refused) = (FIRST, 0);
    for swap in 1..=swaps {
        if left == 0 {
            rounds.push(Vec::new());
            left = per_round;
        }
        let round = rounds.last_mut().expect("there is a first round");
        round.push(Step::Swap);
        left -= 1;
        let due = swap * refusals / swaps;
        round.extend(steps.by_ref().take(due - refused));
        refused = due;
    }
    rounds
}

/// How fast the promoter goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// From the begin of a step to the begin of the next, at least.
    pub step: Duration,
    /// All rounds together. A round that is done early is followed by a quiet stretch.
    pub length: Duration,
    /// The least quiet stretch.
    pub quiet: Duration,
}

/// A promotion, refused or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub step: Step,
    pub began: Duration,
    pub answered: Duration,
}

/// What the promoter did.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub publications: Vec<Publication>,
    pub attempts: Vec<Attempt>,
    /// At the end of each round's quiet stretch: how many swaps there were, and the server's memory.
    pub memory: Vec<(usize, Memory)>,
}

/// Promotes on a connection of its own.
pub(super) struct Promoter<'a> {
    pub pipeline: Pipeline,
    pub observer: &'a Observer,
    pub stock: Stock,
    /// The server.
    pub process: u32,
    log: Log,
    current: wire::Current,
    bad: usize,
}

impl<'a> Promoter<'a> {
    /// `current` is what serves already: publication 0.
    pub(super) fn new(
        pipeline: Pipeline,
        observer: &'a Observer,
        stock: Stock,
        process: u32,
        current: wire::Current,
    ) -> Self {
        let first = Publication { release: current.release, sent: Duration::ZERO, answered: Duration::ZERO };
        let log = Log { publications: vec![first], ..Log::default() };
        Self { pipeline, observer, stock, process, log, current, bad: 0 }
    }

    /// Takes every step.
    ///
    /// # Errors
    /// The first thing that is not as it should be, with what was done until then.
    pub(super) async fn run(mut self, rounds: &[Vec<Step>], pace: Pace) -> (Log, Result<(), String>) {
        let began = self.observer.now();
        for (number, round) in rounds.iter().enumerate() {
            if let Err(why) = self.round(round, pace).await {
                return (self.log, Err(why));
            }
            let due = began + pace.length.mul_f64((number + 1) as f64 / rounds.len() as f64);
            tokio::time::sleep(due.saturating_sub(self.observer.now()).max(pace.quiet)).await;
            let swaps = self.log.publications.len() - 1;
            self.log.memory.extend(Memory::of(self.process).map(|memory| (swaps, memory)));
        }
        (self.log, Ok(()))
    }

    async fn round(&mut self, round: &[Step], pace: Pace) -> Result<(), String> {
        for step in round {
            let began = self.observer.now();
            match step {
                Step::Swap => self.swap().await,
                Step::Refusal(refusal) => self.be_refused(*refusal).await,
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
        let release = self.stock.swaps.pop_front().ok_or("no release is left")?;
        let expected = self.current.release;
        let sent = self.observer.now();
        let promoted = self.pipeline.promote(release, Some(expected)).await;
        let answered = self.observer.now();
        self.log.attempts.push(Attempt { step: Step::Swap, began: sent, answered });
        self.log.publications.push(Publication { release, sent, answered });
        let promoted = promoted.map_err(|status| told(&status))?;
        let current = promoted.current.clone().unwrap_or_default();
        let as_it_should = current.release == release
            && current.previous == expected
            && current.sequence == self.current.sequence + 1
            && promoted.overtaken_by == 0
            // Each swap loads and retires.
            && !promoted.warm;
        if !as_it_should {
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

    /// Asks for something that must be refused, and sees that nothing has moved.
    async fn be_refused(&mut self, refusal: Refusal) -> Result<(), String> {
        let began = self.observer.now();
        let refused = match refusal {
            Refusal::Damaged => {
                let release = self.stock.damaged.pop_front().ok_or("no damaged release is left")?;
                self.pipeline.promote(release, None).await.map(|answer| format!("{answer:?}"))
            }
            Refusal::Gates => self.push_a_bad_version().await?,
            Refusal::Stale => {
                let stale = self.current.previous;
                let spare = self.stock.spare;
                self.pipeline.promote(spare, Some(stale)).await.map(|answer| format!("{answer:?}"))
            }
            Refusal::Unknown => {
                self.pipeline.promote(u64::from(u32::MAX), None).await.map(|answer| format!("{answer:?}"))
            }
        };
        let answered = self.observer.now();
        self.log.attempts.push(Attempt { step: Step::Refusal(refusal), began, answered });
        let expected = match refusal {
            Refusal::Damaged | Refusal::Gates => Code::FailedPrecondition,
            Refusal::Stale => Code::Aborted,
            Refusal::Unknown => Code::NotFound,
        };
        match refused {
            Ok(answer) => return Err(format!("not refused: {answer}")),
            Err(status) if status.code() != expected || status.message().is_empty() => {
                return Err(format!("not {expected:?} but {}", told(&status)));
            }
            Err(_) => {}
        }
        let (current, serving) = self.pipeline.current().await.map_err(|status| told(&status))?;
        if current != self.current || serving.release != current.release {
            return Err(format!("current was {:?}, is {current:?}, served is {serving:?}", self.current));
        }
        Ok(())
    }

    /// Pushes a version that fails a gate, and asks for a release of it.
    async fn push_a_bad_version(&mut self) -> Result<Result<String, Status>, String> {
        let catalogue = &self.observer.catalogue;
        let set = &catalogue.sets[0];
        let (model, version) = bad_version(set, self.bad);
        self.bad += 1;
        let pushed = self.pipeline.push(model, &version).await.map_err(|status| told(&status))?;
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

fn told(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_spread_over_the_swaps_and_every_kind_comes() {
        for (swaps, refusals, per_round) in [(1000, 100, 30), (30, 6, 10), (25, 0, 5), (3, 3, 1)] {
            let rounds = rounds(swaps, refusals, per_round);
            let steps: Vec<Step> = rounds.iter().flatten().copied().collect();
            let count = |wanted: fn(&&Step) -> bool| steps.iter().filter(wanted).count();
            assert_eq!(count(|step| **step == Step::Swap), swaps);
            assert_eq!(count(|step| **step != Step::Swap), refusals);
            assert_eq!(count(|step| **step == Step::Refusal(Refusal::Damaged)), damaged(refusals));
            for kind in REFUSALS {
                assert!(refusals < 5 || steps.contains(&Step::Refusal(kind)), "{kind:?}");
            }
            let swaps_of = |round: &Vec<Step>| round.iter().filter(|step| **step == Step::Swap).count();
            assert_eq!(swaps_of(&rounds[0]), swaps.min(FIRST));
            assert!(rounds[1..].iter().all(|round| (1..=per_round).contains(&swaps_of(round))));
            assert!(steps.windows(2).all(|pair| pair.contains(&Step::Swap)));
        }
    }
}
