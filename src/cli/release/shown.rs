//! The texts that show releases to a person.

use std::fmt::Write as _;

use crate::cli::backend::Change;
use crate::cli::table::new_table;
use release::{Current, Promotion, ReleaseDiff, ReleaseList, ReleaseRecord, ServingState};
use telemetry::foreign;

/// What a promotion or a rollback did.
pub(in crate::cli) fn say_promotion(promotion: &Promotion) -> String {
    let Current { release, previous, sequence, .. } = promotion.current;
    let mut text = format!("release {release} is current: promotion {sequence}");
    if previous != 0 {
        let _ = write!(text, ", a rollback goes to release {previous}");
    }
    if promotion.warm {
        text.push_str("; it was loaded already");
    }
    for warning in &promotion.warnings {
        let _ = write!(text, "\nwarning: {}", foreign::shown(warning));
    }
    text
}

/// A list of releases with their state.
pub(super) fn list(list: &ReleaseList) -> String {
    let mut table = new_table(&["release", "now", "made", "by", "models", "note"], 0..1);
    for record in &list.releases {
        table.add_row([
            record.number.to_string(),
            marks(record.number, list),
            record.created.clone(),
            record.author.clone(),
            record.models.len().to_string(),
            record.note.clone(),
        ]);
    }
    let mut text = table.to_string();
    if let Some(serving) = &list.serving {
        for refused in &serving.refused {
            let _ = write!(
                text,
                "\n\nrelease {} was refused at {}:\n{}",
                refused.release, refused.time, refused.reason
            );
        }
        if !serving.store_error.is_empty() {
            let _ = write!(text, "\n\nthe store cannot be followed: {}", serving.store_error);
        }
    }
    text
}

/// The state of a release: current in the store, and how the asked server uses it.
fn marks(number: u64, list: &ReleaseList) -> String {
    let mut marks = Vec::new();
    if list.current.release == number {
        marks.push("current");
    }
    if let Some(serving) = &list.serving {
        let known = [
            ("serving", serving.release == number),
            ("warm", serving.warm.contains(&number)),
            ("loading", serving.loading == number),
            ("refused", serving.refused.iter().any(|refused| refused.release == number)),
        ];
        marks.extend(known.iter().filter(|(_, holds)| *holds).map(|(mark, _)| *mark));
    }
    marks.join(", ")
}

/// Promotions and rollbacks, one a line.
pub(super) fn log(promotions: &[Current]) -> String {
    let mut table = new_table(&["promotion", "release", "rollback to", "when", "by", "reason"], 0..3);
    for Current { release, previous, sequence, author, reason, time } in promotions {
        let previous = if *previous == 0 { "–".to_owned() } else { previous.to_string() };
        table.add_row([&sequence.to_string(), &release.to_string(), &previous, time, author, reason]);
    }
    table.to_string()
}

/// One release.
pub(super) fn record(record: &ReleaseRecord) -> String {
    let mut text = format!(
        "release {}, made by {} at {}",
        record.number,
        foreign::shown(&record.author),
        record.created
    );
    if !record.note.is_empty() {
        let _ = write!(text, ": {}", foreign::shown(&record.note));
    }
    if let Some(step) = &record.step {
        let by = if step.scheduled { ", by its schedule" } else { "" };
        let _ = write!(
            text,
            "\nexperiment {}: {} from release {}, coverage {}{by}",
            foreign::shown(&step.experiment),
            step.action.word(),
            step.base,
            step.coverage
        );
        if !step.winner.is_empty() {
            let _ = write!(text, ", {} has won", foreign::shown(&step.winner));
        }
    }
    let mut table = new_table(&["model", "version"], 1..2);
    for (name, version) in &record.models {
        table.add_row([name.clone(), version.to_string()]);
    }
    let _ = write!(text, "\n\n{table}");
    let mut table = new_table(&["file", "SHA-256"], 0..0);
    for (name, sha256) in &record.hashes {
        table.add_row([name, sha256]);
    }
    let _ = write!(text, "\n\n{table}");
    text
}

/// What changes from one release to another.
pub(super) fn diff(diff: &ReleaseDiff) -> String {
    let mut text = format!("from release {} to release {}", diff.from, diff.to);
    let before = text.len();
    if !diff.models.is_empty() {
        let version = |version: u64| if version == 0 { "–".to_owned() } else { version.to_string() };
        let mut table = new_table(&["model", "from", "to"], 1..3);
        for change in &diff.models {
            table.add_row([change.name.clone(), version(change.from), version(change.to)]);
        }
        let _ = write!(text, "\n\n{table}");
    }
    let offers =
        [("added", &diff.offers_added), ("removed", &diff.offers_removed), ("changed", &diff.offers_changed)];
    for (what, offers) in offers.iter().filter(|(_, offers)| !offers.is_empty()) {
        let _ = write!(text, "\n\noffers {what}: {}", foreign::escaped(&offers.join(", ")));
    }
    for file in &diff.files {
        let _ = write!(text, "\n\n{}", file.diff.trim_end());
    }
    if text.len() == before {
        text.push_str(": nothing changes");
    }
    text
}

/// One line for a change.
pub(super) fn change(change: &Change) -> String {
    let mut parts = Vec::new();
    if let Some(state) = &change.serving {
        parts.extend(serving(state));
    }
    if let Some(current) = &change.current {
        let mut text = format!("release {} is current: promotion {}", current.release, current.sequence);
        if !current.author.is_empty() {
            let _ = write!(text, " by {}", foreign::shown(&current.author));
        }
        if !current.reason.is_empty() {
            let _ = write!(text, " ({})", one_line(&current.reason));
        }
        let _ = write!(text, " at {}", current.time);
        parts.push(text);
    }
    parts.join(" · ")
}

fn serving(state: &ServingState) -> Vec<String> {
    let mut parts = match state.release {
        0 => vec!["no release serves yet".to_owned()],
        release => vec![format!("release {release} serves")],
    };
    if state.loading != 0 {
        parts.push(format!("release {} is loading", state.loading));
    }
    if !state.warm.is_empty() {
        let warm: Vec<String> = state.warm.iter().map(u64::to_string).collect();
        parts.push(format!("warm: {}", warm.join(", ")));
    }
    if let Some(refused) = state.refused.first() {
        parts.push(format!("release {} was refused: {}", refused.release, one_line(&refused.reason)));
    }
    if !state.store_error.is_empty() {
        parts.push(format!("the store cannot be followed: {}", one_line(&state.store_error)));
    }
    parts
}

/// The first line of a text, with a sign if there are more.
fn one_line(text: &str) -> String {
    let mut lines = text.lines();
    let first = foreign::shown(lines.next().unwrap_or_default());
    if lines.next().is_some() { format!("{first} …") } else { first.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use release::{FileChange, ModelChange, RefusedRelease};

    fn current(release: u64) -> Current {
        Current {
            release,
            previous: 2,
            sequence: 9,
            author: "anna".to_owned(),
            reason: "the May\ncampaign".to_owned(),
            time: "2026-05-01T00:00:00Z".to_owned(),
        }
    }

    fn state() -> ServingState {
        ServingState {
            release: 3,
            sequence: 9,
            warm: vec![2, 1],
            loading: 5,
            refused: vec![RefusedRelease {
                release: 4,
                reason: "x: wrong\ny: wrong".to_owned(),
                time: String::new(),
            }],
            store_error: "gone".to_owned(),
            current: None,
        }
    }

    #[test]
    fn a_list_marks_what_each_release_is_and_says_why_one_was_refused() {
        let record = |number| ReleaseRecord {
            number,
            author: String::new(),
            note: String::new(),
            created: String::new(),
            models: [].into(),
            hashes: [].into(),
            step: None,
        };
        let releases = (1..=6).rev().map(record).collect();
        let mut told = ReleaseList { releases, current: current(3), serving: Some(state()) };
        let expected = ["", "loading", "refused", "current, serving", "warm", "warm"];
        for (record, expected) in told.releases.iter().zip(expected) {
            assert_eq!(marks(record.number, &told), expected, "release {}", record.number);
        }
        let text = list(&told);
        assert!(text.contains("release 4 was refused") && text.contains("x: wrong\ny: wrong"), "{text}");
        assert!(text.contains("the store cannot be followed: gone"), "{text}");
        told.serving = None;
        assert_eq!(marks(3, &told), "current");
    }

    #[test]
    fn a_change_is_one_line() {
        let line = change(&Change { serving: Some(state()), current: Some(current(3)) });
        assert_eq!(line.lines().count(), 1, "{line}");
        for part in [
            "release 3 serves",
            "release 5 is loading",
            "warm: 2, 1",
            "release 4 was refused: x: wrong …",
            "the store cannot be followed: gone",
            "promotion 9 by anna (the May …) at 2026-05-01T00:00:00Z",
        ] {
            assert!(line.contains(part), "no {part:?} in {line}");
        }
        let line = change(&Change { serving: None, current: Some(current(3)) });
        assert!(line.starts_with("release 3 is current: promotion 9"), "{line}");
    }

    #[test]
    fn a_diff_tells_every_kind_of_change_and_when_there_is_none() {
        let none = ReleaseDiff { from: 1, to: 2, ..ReleaseDiff::default() };
        assert_eq!(diff(&none), "from release 1 to release 2: nothing changes");
        let all = ReleaseDiff {
            models: vec![
                ModelChange { name: "a".to_owned(), from: 0, to: 1 },
                ModelChange { name: "b".to_owned(), from: 2, to: 3 },
            ],
            files: vec![FileChange { name: "offers.toml".to_owned(), diff: "-x\n+y\n".to_owned() }],
            offers_added: vec!["gold".to_owned()],
            offers_removed: vec!["basic".to_owned()],
            offers_changed: vec!["cash".to_owned(), "miles".to_owned()],
            ..none
        };
        let text = diff(&all);
        for part in
            ["–", "offers added: gold", "offers removed: basic", "offers changed: cash, miles", "-x\n+y"]
        {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    #[test]
    fn a_promotion_says_where_a_rollback_would_go() {
        let promotion = Promotion { current: current(3), overtaken_by: 0, warm: true, warnings: vec![] };
        let text = say_promotion(&promotion);
        assert_eq!(
            text,
            "release 3 is current: promotion 9, a rollback goes to release 2; it was loaded already"
        );
        let warnings = vec!["experiment `e` was stopped, and runs again in release 3".to_owned()];
        let text = say_promotion(&Promotion { warnings, ..promotion });
        let warning = "\nwarning: experiment `e` was stopped, and runs again in release 3";
        assert!(text.ends_with(warning), "{text}");
    }
}
