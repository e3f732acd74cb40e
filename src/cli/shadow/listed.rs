//! The shadows of the current release, for a person and as JSON.

use std::collections::HashMap;

use clap::Args;
use serde::Serialize;

use super::policy::{self, Outline};
use crate::cli::Failure;
use crate::cli::backend::{Backend, Place};
use crate::cli::printing::{print, print_pretty_json};
use crate::cli::table::new_table;
use crate::grpc::ShadowStanding;
use crate::grpc::client::ClientError;
use release::{LoadedShadow, Release};
use telemetry::foreign;

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    place: Place,
}

/// The shadows of a release.
#[derive(Debug, PartialEq, Serialize)]
struct ShadowList {
    release: u64,
    shadows: Vec<ListedShadow>,
}

#[derive(Debug, PartialEq, Serialize)]
struct ListedShadow {
    #[serde(flatten)]
    outline: Outline,
    /// Whether it can decide.
    ready: bool,
    /// Why it cannot; empty if it can.
    reason: String,
}

pub(super) fn run(args: &ListArgs) -> Result<(), Failure> {
    let backend = Backend::open(&args.place)?;
    let files = backend.release(0)?;
    let (release, outlines) = (files.record.number, policy::shadows(&files.policy)?);
    let list = match &backend {
        Backend::Server { client, runtime } => {
            let listed = |outline: Outline| -> Result<ListedShadow, Failure> {
                let standing = match runtime.block_on(client.shadow_report(&outline.id, "")) {
                    // The server may not serve the current release yet.
                    Err(ClientError::Refused { code: "NOT_FOUND", .. }) => ShadowStanding::Absent,
                    found => found?.standing,
                };
                Ok(ListedShadow::told(outline, standing))
            };
            ShadowList { release, shadows: outlines.into_iter().map(listed).collect::<Result<_, _>>()? }
        }
        // Without shadows, nothing need be loaded.
        Backend::Store { .. } if outlines.is_empty() => ShadowList { release, shadows: Vec::new() },
        Backend::Store { deployer, .. } => {
            let loaded = deployer.release(release)?;
            ShadowList::of(outlines, &loaded)
        }
    };
    if args.place.json { print_pretty_json(&list) } else { print(list.text()) }
}

impl ShadowList {
    fn of(outlines: Vec<Outline>, release: &Release) -> Self {
        let all = release.experiments().shadows.iter().zip(release.shadows());
        let states: HashMap<&str, &LoadedShadow> = all.map(|(shadow, state)| (&*shadow.id, state)).collect();
        let listed = |outline: Outline| {
            let reason = match states.get(outline.id.as_str()) {
                Some(LoadedShadow::Ready { .. }) => String::new(),
                Some(LoadedShadow::Unavailable { reason }) => reason.to_string(),
                None => "the release does not have it".to_owned(),
            };
            ListedShadow { outline, ready: reason.is_empty(), reason }
        };
        Self { release: release.number(), shadows: outlines.into_iter().map(listed).collect() }
    }

    fn text(&self) -> String {
        let Self { release, shadows } = self;
        if shadows.is_empty() {
            return format!("release {release}, which is current, has no shadows");
        }
        let mut table = new_table(&["shadow", "state", "sample", "placements", "changes"], 2..3);
        for ListedShadow { outline: Outline { id, sample, placements, changes }, ready, .. } in shadows {
            let placements =
                if placements.is_empty() { "all placements".to_owned() } else { placements.join(", ") };
            let state = if *ready { "ready" } else { "UNAVAILABLE" };
            table.add_row([id.as_str(), state, &percent(*sample), &placements, &changes.join("; ")]);
        }
        let unavailable = shadows.iter().filter(|shadow| !shadow.ready);
        let reasons = unavailable.map(|ListedShadow { outline, reason, .. }| {
            format!("\n\n{} is not scored:\n{}", foreign::shown(&outline.id), foreign::lines(reason))
        });
        format!("{table}{}", reasons.collect::<Vec<String>>().concat())
    }
}

impl ListedShadow {
    /// As a server tells it.
    fn told(outline: Outline, standing: ShadowStanding) -> Self {
        let reason = match standing {
            ShadowStanding::Ready => String::new(),
            ShadowStanding::Unavailable(why) if why.is_empty() => "the server does not say why".to_owned(),
            ShadowStanding::Unavailable(why) => why,
            ShadowStanding::Absent => "the release that serves does not have it".to_owned(),
        };
        Self { outline, ready: reason.is_empty(), reason }
    }
}

/// A share in percent, with at most as many digits as it has.
fn percent(share: f64) -> String {
    format!("{} %", (share * 1e8).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_is_not_scored_and_why() {
        let shadow = |id: &str, standing: ShadowStanding, placements: &[&str]| {
            let outline = Outline {
                id: id.to_owned(),
                sample: 0.05,
                placements: placements.iter().map(|id| (*id).to_owned()).collect(),
                changes: vec!["models = { propensity = 8 }".to_owned(), "strategy = \"margin\"".to_owned()],
            };
            ListedShadow::told(outline, standing)
        };
        let shadows = vec![
            shadow("good", ShadowStanding::Ready, &["app_home"]),
            shadow("bad", ShadowStanding::Unavailable("policy.toml:7: gone".to_owned()), &[]),
            shadow("later", ShadowStanding::Absent, &[]),
        ];
        let text = ShadowList { release: 4, shadows }.text();
        for part in [
            "ready",
            "UNAVAILABLE",
            "5 %",
            "app_home",
            "all placements",
            "models = { propensity = 8 }; strategy = \"margin\"",
            "bad is not scored:\npolicy.toml:7: gone",
            "later is not scored:\nthe release that serves does not have it",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        let none = ShadowList { release: 4, shadows: Vec::new() };
        assert_eq!(none.text(), "release 4, which is current, has no shadows");
    }
}
