//! Assignment: the arms of a customer at a placement.
//!
//! A customer is held out, or else in at most one variant of each experiment, and in at most one experiment of each
//! group. In the order of precedence: a variant that the request forces with the role for it, which the holdout does
//! not stop either; the holdout; a variant whose file lists the customer; the draw, if the customer is in the
//! experiment's part of its group, covered and eligible. What is forced skips coverage, the group's draw and
//! eligibility. Within a group it displaces the other experiments.

use chrono::{DateTime, Utc};

use crate::hash::{Fnv, Subject, UNITS};
use crate::holdout::HoldoutDraw;
use crate::split::OUTSIDE;
use crate::{Experiment, Experiments, State};

/// A customer's arm of one experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The experiment, an index into [`Experiments::all`].
    pub experiment: usize,
    /// The variant, an index into its variants.
    pub variant: usize,
    /// How it came about.
    pub how: How,
}

/// How an assignment came about. Statistics count what was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By the hash of the id.
    Drawn,
    /// The file lists the customer.
    Listed,
    /// The request asked for it.
    Requested,
}

/// Where a customer stands as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Experiments may reach them.
    Open,
    /// Nothing but the fallback reaches them, reason `HOLDOUT`.
    HeldOut,
    /// Without an id they are in no arm, and not held out.
    Unidentified,
}

/// The variants that a request forces; none by default. The caller checks the role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forced(Vec<(usize, usize)>);

impl Forced {
    /// Whether nothing is forced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a variant cannot be forced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForceError {
    /// There is no such experiment.
    #[error("unknown experiment `{experiment}`")]
    UnknownExperiment {
        /// As asked for.
        experiment: String,
    },
    /// The experiment has no such variant.
    #[error("experiment `{experiment}` has no variant `{variant}`")]
    UnknownVariant {
        /// As asked for.
        experiment: String,
        /// As asked for.
        variant: String,
    },
    /// It is paused or stopped.
    #[error("experiment `{experiment}` is paused or stopped, so no variant can be forced")]
    Inactive {
        /// As asked for.
        experiment: String,
    },
    /// Two variants of one experiment, or of experiments that exclude each other.
    #[error("variants of `{first}` and `{second}` exclude each other; force one of them")]
    Exclusive {
        /// The experiment that was asked for first.
        first: String,
        /// The other; the same if two of its variants were asked for.
        second: String,
    },
}

/// The customers that the file puts into a variant: (id, experiment, variant), sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed(Vec<(Box<str>, usize, usize)>);

impl Listed {
    pub(crate) fn new<R>(all: &[Experiment<R>]) -> Self {
        let mut listed = Vec::new();
        for (experiment, Experiment { state, variants, .. }) in all.iter().enumerate() {
            if state.may_force() {
                for (variant, ids) in variants.iter().map(|variant| &variant.listed).enumerate() {
                    listed.extend(ids.iter().map(|id| (id.as_str().into(), experiment, variant)));
                }
            }
        }
        listed.sort_unstable();
        Self(listed)
    }

    fn of(&self, id: &str) -> &[(Box<str>, usize, usize)] {
        let start = self.0.partition_point(|(listed, ..)| &**listed < id);
        let rest = self.0.get(start..).unwrap_or_default();
        let count = rest.iter().take_while(|(listed, ..)| &**listed == id).count();
        rest.get(..count).unwrap_or_default()
    }
}

/// Up to four experiments at a placement: their hashes are computed at once, since each step of one waits for its last.
#[derive(Debug, Clone)]
pub(crate) struct Four {
    /// Indices of the experiments.
    experiments: Vec<usize>,
    /// The states of our own scheme after the seeds.
    seeded: [Fnv; 4],
    /// Whether one of them has our own scheme.
    is_native: bool,
}

impl Four {
    /// The experiments of `all` that may assign at a placement.
    pub(crate) fn at<R>(placement: usize, all: &[Experiment<R>]) -> Vec<Self> {
        let is_here = |one: &Experiment<R>| one.state.may_force() && one.is_at(placement);
        let here: Vec<usize> =
            all.iter().enumerate().filter(|(_, one)| is_here(one)).map(|(index, _)| index).collect();
        let four = |experiments: &[usize]| {
            let states = experiments.iter().map(|index| all[*index].split.seeded());
            let mut four = Self {
                experiments: experiments.to_vec(),
                seeded: [Fnv::default(); 4],
                is_native: states.clone().any(|state| state.is_some()),
            };
            four.seeded.iter_mut().zip(states).for_each(|(place, state)| *place = state.unwrap_or_default());
            four
        };
        here.chunks(4).map(four).collect()
    }
}

/// How many fours are drawn before what depends on them: a branch that was mispredicted stops hashes that are under way.
const FOURS: usize = 4;

/// The draws of one call: its placement, its moment and what it forces. It takes no memory of its own.
pub struct Draws<'a, R> {
    experiments: &'a Experiments<R>,
    holdout: Option<HoldoutDraw>,
    /// The holdout of another month, whose customers are held out as well.
    other_holdout: Option<HoldoutDraw>,
    /// The experiments at the placement.
    here: &'a [Four],
    /// What the request forces. Experiments that are not at the placement are ignored.
    forced: &'a Forced,
    /// Whether an experiment at the placement is forced.
    lifts_holdout: bool,
}

impl<R> Experiments<R> {
    /// The draws for a call at `placement`. `now` only says which month's holdout counts; [`Draws::held_out_at`] adds
    /// another one.
    ///
    /// # Panics
    /// If the placement is not one of the policy.
    #[must_use]
    pub fn at<'a>(&'a self, placement: usize, now: DateTime<Utc>, forced: &'a Forced) -> Draws<'a, R> {
        let here = &self.at_placement[placement];
        let lifts_holdout = forced.0.iter().any(|(experiment, _)| is_among(here, *experiment));
        let holdout = self.holdout.as_ref().map(|holdout| holdout.at(now));
        Draws { experiments: self, holdout, other_holdout: None, here, forced, lifts_holdout }
    }

    /// Looks up the variants that a request forces, as pairs of experiment and variant. Call it only for a caller with
    /// the role.
    ///
    /// # Errors
    /// A name is unknown, the experiment is paused or stopped, or two of them exclude each other.
    pub fn force<'n>(
        &self,
        wanted: impl IntoIterator<Item = (&'n str, &'n str)>,
    ) -> Result<Forced, ForceError> {
        let mut forced: Vec<(usize, usize)> = Vec::new();
        for (experiment, variant) in wanted {
            let Some((index, found)) = self.find(experiment) else {
                return Err(ForceError::UnknownExperiment { experiment: experiment.to_owned() });
            };
            let Some((variant, _)) = found.find_variant(variant) else {
                let (experiment, variant) = (experiment.to_owned(), variant.to_owned());
                return Err(ForceError::UnknownVariant { experiment, variant });
            };
            if !found.state.may_force() {
                return Err(ForceError::Inactive { experiment: experiment.to_owned() });
            }
            let group = found.group.as_ref().map(|group| group.index);
            let excludes = |other: usize| other == index || group.is_some() && self.group_of(other) == group;
            if let Some((other, _)) = forced.iter().find(|(other, _)| excludes(*other)) {
                let first = self.all[*other].id.clone();
                return Err(ForceError::Exclusive { first, second: experiment.to_owned() });
            }
            forced.push((index, variant));
        }
        Ok(Forced(forced))
    }

    fn group_of(&self, experiment: usize) -> Option<usize> {
        self.all[experiment].group.as_ref().map(|group| group.index)
    }
}

/// Whether an experiment is among those of a placement.
fn is_among(here: &[Four], experiment: usize) -> bool {
    here.iter().any(|four| four.experiments.contains(&experiment))
}

impl<R> Draws<'_, R> {
    /// The same draws, which also hold out whom the month of `moment` holds out. So nobody leaves the holdout because a
    /// caller asks about another month.
    #[must_use]
    pub fn held_out_at(mut self, moment: DateTime<Utc>) -> Self {
        let other = self.experiments.holdout.as_ref().map(|holdout| holdout.at(moment));
        self.other_holdout = if other == self.holdout { None } else { other };
        self
    }

    /// Writes the arms of the customer with this id into `arms`, in the order of the experiments.
    ///
    /// `eligible` says whether the rule of an experiment holds. It is asked last, and only for a customer whose arm
    /// depends on it. A caller that knows the answer from the first exposure gives that.
    pub fn assign(
        &self,
        id: &str,
        mut eligible: impl FnMut(usize, &R) -> bool,
        arms: &mut Vec<Assignment>,
    ) -> Standing {
        arms.clear();
        if id.is_empty() {
            return Standing::Unidentified;
        }
        let mut room = [0; UNITS];
        let subject = Subject::new(id, &mut room);
        let holdouts = [self.holdout, self.other_holdout];
        let is_held_out = holdouts.into_iter().flatten().any(|holdout| holdout.has(&subject));
        if is_held_out && !self.lifts_holdout {
            return Standing::HeldOut;
        }
        let listed = self.experiments.listed.of(id);
        let is_forced = self.lifts_holdout || !listed.is_empty();
        for fours in self.here.chunks(FOURS) {
            let drawn = self.drawn(fours, &subject);
            let experiments =
                fours.iter().zip(&drawn).flat_map(|(four, drawn)| four.experiments.iter().zip(drawn));
            for (&index, number) in experiments {
                let claim = if is_forced { self.forced_of(index, listed) } else { Claim::Free };
                let (variant, how) = match (claim, number.checked_sub(1)) {
                    (Claim::Forced { variant, how }, _) => (variant, how),
                    (Claim::Free, Some(variant)) => (variant.into(), How::Drawn),
                    (Claim::Free, None) | (Claim::Displaced, _) => continue,
                };
                // What the request forces is all that reaches a customer who is held out.
                if is_held_out && how != How::Requested {
                    continue;
                }
                let when = self.experiments.all[index].when.as_ref();
                if how != How::Drawn || when.is_none_or(|when| eligible(index, &when.rule)) {
                    arms.push(Assignment { experiment: index, variant, how });
                }
            }
        }
        Standing::Open
    }

    /// The variants that the hashes give, counted from 1; 0 for none.
    fn drawn(&self, fours: &[Four], subject: &Subject<'_>) -> [[u8; 4]; FOURS] {
        let mut groups = GroupMemo::default();
        let mut drawn = [[0; 4]; FOURS];
        for (four, drawn) in fours.iter().zip(&mut drawn) {
            let mut states = four.seeded;
            if four.is_native {
                subject.append_to(&mut states);
            }
            for ((number, state), index) in drawn.iter_mut().zip(states).zip(&four.experiments) {
                let experiment = &self.experiments.all[*index];
                *number = experiment.split.number_of(experiment.bucket(state, subject, &mut groups));
            }
        }
        drawn
    }

    /// What is forced for an experiment.
    fn forced_of(&self, experiment: usize, listed: &[(Box<str>, usize, usize)]) -> Claim {
        let group = self.experiments.group_of(experiment);
        let is_rival = |other: usize| {
            other == experiment || group.is_some() && self.experiments.group_of(other) == group
        };
        let requested = self.forced.0.iter().filter(|(other, _)| is_among(self.here, *other));
        let requested = requested.map(|(other, variant)| (*other, *variant, How::Requested));
        let listed = listed.iter().map(|(_, other, variant)| (*other, *variant, How::Listed));
        match requested.chain(listed).find(|(other, ..)| is_rival(*other)) {
            None => Claim::Free,
            Some((other, variant, how)) if other == experiment => Claim::Forced { variant, how },
            Some(_) => Claim::Displaced,
        }
    }
}

/// What is forced for an experiment, or for the others of its group.
enum Claim {
    Free,
    Forced {
        variant: usize,
        how: How,
    },
    /// Another experiment of the group has the customer.
    Displaced,
}

/// A customer's bucket of the group that was asked last: often there is but one.
#[derive(Default)]
struct GroupMemo(Option<(usize, u64)>);

impl<R> Experiment<R> {
    /// The bucket by the hash of the id, before eligibility; [`OUTSIDE`] if the experiment does not draw. `state` is that
    /// after seed and id.
    fn bucket(&self, state: Fnv, subject: &Subject<'_>, groups: &mut GroupMemo) -> u64 {
        if self.state != State::Running {
            return OUTSIDE;
        }
        let bucket = self.split.bucket_after(state, subject);
        let Some(group) = &self.group else { return bucket };
        if groups.0.is_none_or(|(index, _)| index != group.index) {
            groups.0 = Some((group.index, group.part.bucket(subject)));
        }
        let is_in = groups.0.is_some_and(|(_, bucket)| group.part.has(bucket));
        // Without a branch.
        bucket | u64::from(is_in).wrapping_sub(1)
    }
}
