//! What the report of an identity replay says.

use document::agreeing;
use report::numbers;

use super::outline::{Block, Cell, Grid, Kind, Outline, Part};
use super::words::counted;
use crate::identity::Replayed;
use crate::rescore::Rescored;

/// Where the table of differences stands: a page begins with it, a terminal ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    DifferencesFirst,
    DifferencesLast,
}

/// What holds for every replay.
const LIMITS: [&str; 5] = [
    "Decision ids, raw scores, what limits looked at and what they refused at the end are taken from the records; all \
     else of an answer is worked out again and compared byte for byte. Durations are not compared.",
    "What was asked, for whom and with which values is taken from the records: a change of the customer's id, or of a \
     value that decides nothing, is not found here. `proffer events verify` checks sealed files and logs for changes.",
    "Records of an error have no answer to work out again.",
    "Nothing is reserved or recorded, and exploration is off.",
    "Every record is decided at its own time, with the release that it names.",
];

/// The report.
pub(super) fn outline(replayed: &Replayed, order: Order) -> Outline {
    let identical = replayed.is_identical() && replayed.answers() > 0;
    let found = [
        Part::new("differences", "What differs", differences(replayed)),
        Part::new("failures", "What could not be worked out again", failures(replayed)),
    ];
    let rest = [
        Part::new("scores", "Scores today and as recorded", scores(replayed)),
        Part::new("releases", "Releases", releases(replayed)),
        Part::new("limits", "Assumptions and limits", limits()),
    ];
    let parts = match order {
        Order::DifferencesFirst => found.into_iter().chain(rest).collect(),
        Order::DifferencesLast => rest.into_iter().chain(found.into_iter().rev()).collect(),
    };
    let beyond = replayed.rescored.as_ref().map_or(0, Rescored::beyond);
    Outline {
        title: "Replay of decisions".to_owned(),
        source: source(replayed),
        lead: lead(replayed, beyond),
        warnings: Vec::new(),
        tiles: tiles(replayed, beyond),
        parts,
        verdict: identical.then(|| format!("{} identical", numbers::count(replayed.identical))),
    }
}

fn source(replayed: &Replayed) -> String {
    format!(
        "{} of {}, decided again and compared",
        counted(replayed.records(), "record"),
        counted(replayed.releases.len() as u64, "release")
    )
}

fn lead(replayed: &Replayed, beyond: u64) -> String {
    let Replayed { identical, differing, failed, without_decision, .. } = replayed;
    if replayed.records() == 0 {
        return "There were no records to replay.".to_owned();
    }
    let mut sentences = vec![match (replayed.answers(), differing, failed) {
        (0, ..) => "There was no answer to work out again.".to_owned(),
        (1, 0, 0) => "The answer is the same, byte for byte.".to_owned(),
        (1, 1, _) => "The answer is another one.".to_owned(),
        (1, ..) => "The answer could not be worked out again.".to_owned(),
        (answers, 0, 0) => format!("All {} answers are the same, byte for byte.", numbers::count(answers)),
        (answers, ..) => format!(
            "Of {} answers, {} {} the same, byte for byte; {} {}, and {} could not be worked out again.",
            numbers::count(answers),
            numbers::count(*identical),
            agreeing(*identical, "is", "are"),
            numbers::count(*differing),
            agreeing(*differing, "differs", "differ"),
            numbers::count(*failed)
        ),
    }];
    if *without_decision > 0 {
        let have = agreeing(*without_decision, "has", "have");
        sentences
            .push(format!("{} {have} an error instead of an answer.", counted(*without_decision, "record")));
    }
    match (&replayed.rescored, beyond) {
        (None, _) => {}
        (Some(_), 0) => sentences.push("The models score as they did.".to_owned()),
        (Some(_), beyond) => sentences.push(format!(
            "{} {} further from the recorded one than it may be.",
            counted(beyond, "score"),
            agreeing(beyond, "is", "are")
        )),
    }
    sentences.join(" ")
}

fn tiles(replayed: &Replayed, beyond: u64) -> Vec<(String, String)> {
    let tile = |count: u64, what: &str| (numbers::count(count), what.to_owned());
    let mut tiles = vec![
        tile(replayed.records(), "records"),
        tile(replayed.identical, "identical"),
        tile(replayed.differing, "with another answer"),
        tile(replayed.failed, "could not be worked out again"),
        tile(replayed.without_decision, "with an error instead of an answer"),
    ];
    if replayed.rescored.is_some() {
        tiles.push(tile(beyond, "scores beyond their bound"));
    }
    tiles
}

fn grid(columns: &[(&'static str, Kind)], rows: Vec<Vec<Cell>>) -> Block {
    Block::Grid(Grid { columns: columns.to_vec(), rows })
}

fn differences(replayed: &Replayed) -> Vec<Block> {
    if replayed.differences.is_empty() {
        return Vec::new();
    }
    let rows = replayed.differences.iter().flat_map(|one| {
        one.fields.iter().enumerate().map(|(at, field)| {
            // The decision stands once, before the first of its fields.
            let (id, release) = match at {
                0 => (one.decision_id.clone(), one.release.to_string()),
                _ => (String::new(), String::new()),
            };
            vec![
                id.into(),
                release.into(),
                field.field.as_str().into(),
                field.recorded.as_str().into(),
                field.replayed.as_str().into(),
            ]
        })
    });
    let columns = [
        ("decision", Kind::Words),
        ("release", Kind::Number),
        ("field", Kind::Words),
        ("recorded", Kind::Words),
        ("decided again", Kind::Words),
    ];
    let mut blocks = first_of(replayed.differences.len(), replayed.differing, "records that differ");
    blocks.push(grid(&columns, rows.collect()));
    blocks
}

fn failures(replayed: &Replayed) -> Vec<Block> {
    if replayed.failures.is_empty() {
        return Vec::new();
    }
    let rows =
        replayed.failures.iter().map(|one| vec![one.decision_id.as_str().into(), one.reason.as_str().into()]);
    let mut blocks = first_of(replayed.failures.len(), replayed.failed, "records that failed");
    blocks.push(grid(&[("decision", Kind::Words), ("why", Kind::Words)], rows.collect()));
    blocks
}

fn first_of(shown: usize, all: u64, what: &str) -> Vec<Block> {
    if shown as u64 >= all {
        return Vec::new();
    }
    vec![Block::Text(format!("The first {shown} of {} {what}.", numbers::count(all)))]
}

fn scores(replayed: &Replayed) -> Vec<Block> {
    let Some(rescored) = replayed.rescored.as_ref().filter(|rescored| !rescored.models.is_empty()) else {
        return Vec::new();
    };
    let rows = rescored.models.iter().map(|(model, scores)| {
        vec![
            model.as_str().into(),
            scores.engine.as_str().into(),
            numbers::count(scores.equal).into(),
            numbers::count(scores.close).into(),
            numbers::count(scores.beyond).into(),
            numbers::quantity(f64::from(scores.largest)).into(),
        ]
    });
    let columns = [
        ("model", Kind::Words),
        ("engine", Kind::Words),
        ("same bits", Kind::Number),
        ("within the bound", Kind::Number),
        ("beyond", Kind::Number),
        ("largest difference", Kind::Number),
    ];
    vec![
        grid(&columns, rows.collect()),
        Block::Text(
            "The native engine must score with the same bits, ONNX Runtime within 0.00001 × max(1, |score|), which is \
             also what the largest difference is relative to."
                .to_owned(),
        ),
    ]
}

fn releases(replayed: &Replayed) -> Vec<Block> {
    if replayed.releases.is_empty() {
        return Vec::new();
    }
    let rows = replayed
        .releases
        .iter()
        .map(|(release, records)| vec![Cell::from(release.to_string()), numbers::count(*records).into()]);
    vec![grid(&[("release", Kind::Words), ("records", Kind::Number)], rows.collect())]
}

fn limits() -> Vec<Block> {
    vec![Block::List(LIMITS.map(str::to_owned).into())]
}
