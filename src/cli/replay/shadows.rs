//! `proffer replay --shadow`: what shadows would have decided for recorded requests.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::{ReplayArgs, Style};
use crate::cli::Failure;
use crate::cli::printing::{print, print_contents, say};
use document::{Problems, agreeing, plural};
use event::SealedError;
use event::proto::DecisionRecord;
use release::{LoadedShadow, Snapshot};
use replay::{Excluded, Named, ReplayedShadows, ShadowOptions, replay_shadows, shadow_names};

/// A release whose shadows are run.
pub(super) struct Shadows<'a> {
    named: &'a Named,
    /// Whether it is a release of the store as it is, and not one with other files.
    is_stored: bool,
    options: ShadowOptions<'a>,
}

impl<'a> Shadows<'a> {
    /// Those that `args` want. Says which cannot decide.
    ///
    /// # Errors
    /// When there is none, or none that can decide.
    pub(super) fn new(
        args: &'a ReplayArgs,
        wanted: Option<&'a str>,
        named: &'a Named,
    ) -> Result<Self, Failure> {
        let release = &named.snapshot.release;
        let all = release.experiments().shadows.iter().zip(release.shadows());
        let all: Vec<(&str, &LoadedShadow)> = all.map(|(shadow, loaded)| (&*shadow.id, loaded)).collect();
        let ready = checked(&all, wanted, &named.name)?;
        if ready == 0 {
            return Err(Failure::new(format!("no shadow of {} can decide", named.name)));
        }
        let options = ShadowOptions {
            shadow: wanted,
            sampled: args.sampled,
            threads: args.report.threads,
            ..ShadowOptions::default()
        };
        Ok(Self { named, is_stored: args.offers.is_none() && args.policy.is_none(), options })
    }

    /// Runs them over what `source` passes on. `releases` loads those that decided.
    pub(super) fn replay(
        &self,
        source: impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), SealedError>,
        releases: impl Fn(u64) -> Result<Arc<Snapshot>, String> + Sync,
        progress: impl FnMut(u64),
    ) -> Result<ReplayedShadows, Failure> {
        let snapshot = &self.named.snapshot;
        let base = |number| {
            if self.is_stored && number == snapshot.release.number() {
                return Ok(Arc::clone(snapshot));
            }
            releases(number)
        };
        Ok(replay_shadows(source, base, snapshot, self.options, progress)?)
    }

    /// Prints the report, and on standard error what is not in it.
    pub(super) fn print(
        &self,
        args: &ReplayArgs,
        replayed: &ReplayedShadows,
        inputs: &[&Path],
    ) -> Result<(), Failure> {
        remarks(replayed, &self.named.name).into_iter().for_each(say);
        if replayed.decisions() == 0 {
            return Err(Failure::new("no recorded decision was compared with a shadow"));
        }
        let report = replayed.tally.report(&shadow_names(&self.named.snapshot.release));
        args.report.write_html(
            || report.html(),
            inputs,
            || match args.report.style() {
                Style::Text => print(report.text().trim_end()),
                Style::Json | Style::JsonLine => print_contents(&report.json()?),
            },
        )
    }
}

/// How many of the shadows that are wanted can decide.
fn checked(all: &[(&str, &LoadedShadow)], wanted: Option<&str>, name: &str) -> Result<usize, Failure> {
    if all.is_empty() {
        return Err(Failure::new(format!(
            "{name} has no shadows; name a release that has with --release, or a policy.toml that has with --policy"
        )));
    }
    if let Some(id) = wanted
        && !all.iter().any(|(known, _)| *known == id)
    {
        let known: Vec<&str> = all.iter().map(|(known, _)| *known).collect();
        return Err(Failure::new(format!("{name} has no shadow `{id}`; it has {}", known.join(", "))));
    }
    let mut ready = 0;
    for (id, loaded) in all.iter().filter(|(known, _)| wanted.is_none_or(|id| *known == id)) {
        match loaded {
            LoadedShadow::Ready { .. } => ready += 1,
            LoadedShadow::Unavailable { reason } => say(unavailable(id, reason)),
        }
    }
    Ok(ready)
}

fn unavailable(id: &str, reason: &Problems) -> String {
    format!("shadow `{id}` cannot decide, and is left out:\n{reason}")
}

/// What is not in the report, a line each. `name` is that of the release whose shadows were run.
fn remarks(replayed: &ReplayedShadows, name: &str) -> Vec<String> {
    let ReplayedShadows { records, excluded, held_out, without_shadow, .. } = replayed;
    let Excluded { without_decision, gone_placements, new_placements: _, failed, failures } = excluded;
    let mut lines = Vec::new();
    let mut count = |count: u64, why: String| {
        if count > 0 {
            let of = format!("{} of {records}", plural(count, "record"));
            lines.push(format!("{of} {} not compared: {why}", agreeing(count, "is", "are")));
        }
    };
    count(*without_decision, "an error was answered".to_owned());
    let placements: Vec<&str> = gone_placements.keys().map(String::as_str).collect();
    count(gone_placements.values().sum(), format!("{name} has no placement {}", placements.join(", ")));
    count(*without_shadow, "no shadow holds at the placement, or samples the decision".to_owned());
    count(*held_out, "the customer is held out, and nothing is ranked for them".to_owned());
    let first = failures.first().map(|first| format!(", as {}: {}", first.id, first.reason));
    count(*failed, format!("{name} cannot decide again{}", first.unwrap_or_default()));
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn what_is_wanted_must_be_there() {
        let ready = LoadedShadow::Ready { replacements: Vec::new() };
        let mut reason = Problems::new();
        reason.push("policy.toml", Some(7), "gone".to_owned());
        let broken = LoadedShadow::Unavailable { reason };
        let all = [("good", &ready), ("bad", &broken)];
        assert_eq!(checked(&all, None, "release 4").unwrap(), 1);
        assert_eq!(checked(&all, Some("good"), "release 4").unwrap(), 1);
        assert_eq!(checked(&all, Some("bad"), "release 4").unwrap(), 0);
        let message = checked(&all, Some("other"), "release 4").unwrap_err().message;
        assert_eq!(message, "release 4 has no shadow `other`; it has good, bad");
        let message = checked(&[], None, "release 4").unwrap_err().message;
        assert!(message.starts_with("release 4 has no shadows"), "{message}");
    }

    #[test]
    fn what_is_not_compared_is_said() {
        let mut excluded =
            Excluded { without_decision: 1, failed: 2, failures: BTreeSet::new(), ..Excluded::default() };
        excluded.gone_placements = BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 1)]);
        let replayed = ReplayedShadows {
            records: 20,
            excluded,
            held_out: 0,
            without_shadow: 5,
            ..ReplayedShadows::default()
        };
        assert_eq!(replayed.decisions(), 8);
        assert_eq!(
            remarks(&replayed, "release 5"),
            [
                "1 record of 20 is not compared: an error was answered",
                "4 records of 20 are not compared: release 5 has no placement a, b",
                "5 records of 20 are not compared: no shadow holds at the placement, or samples the decision",
                "2 records of 20 are not compared: release 5 cannot decide again",
            ]
        );
    }
}
