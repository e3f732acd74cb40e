//! The tables of all commands: no lines, a heading, numbers aligned to the right.

use std::fmt;
use std::ops::Range;

use comfy_table::{CellAlignment, ContentArrangement, presets};

use release::{GateOutcome, GateReport, Verdict};
use telemetry::foreign;

/// Rows of cells without terminal control sequences.
#[derive(Debug)]
pub(super) struct Table(comfy_table::Table);

impl Table {
    /// Adds a row; long texts are cut, and each cell is one line.
    pub(super) fn add_row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.0.add_row(cells.into_iter().map(|cell| foreign::shown(cell.as_ref()).into_owned()));
    }

    /// Adds a row of cells composed here, which may have several lines.
    fn add_composed(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.0.add_row(cells.into_iter().map(|cell| foreign::lines(cell.as_ref()).into_owned()));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An empty table with these headings; the columns of `numbers` are aligned to the right.
pub(super) fn new_table(header: &[&str], numbers: Range<usize>) -> Table {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().copied());
    for index in numbers {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Table(table)
}

/// The results of the gates, a line each, and the outcome.
pub(super) fn verdict(verdict: &Verdict) -> String {
    let mut table = new_table(&["gate", "outcome", "measured", "limit", "why"], 0..0);
    for report in &verdict.gates {
        // The outcome repeats it.
        let why = report.warning().unwrap_or(&report.why);
        table.add_composed([report.gate.as_str(), outcome(report), &report.measured, &report.limit, why]);
    }
    let against = match verdict.release {
        0 => String::new(),
        release => format!(" against release {release}"),
    };
    let said = if verdict.passed { "passed: a release can be made of it" } else { "failed: it cannot serve" };
    format!("{table}\n\n{said}; judged{against} at {}", verdict.time)
}

fn outcome(report: &GateReport) -> &'static str {
    match report.outcome {
        GateOutcome::Skipped if report.warning().is_some() => "WARNING",
        GateOutcome::Passed => "passed",
        GateOutcome::Failed => "FAILED",
        GateOutcome::Skipped => "skipped",
    }
}

/// The names of the failed gates; `None` if none failed.
pub(super) fn failed_gates(verdict: &Verdict) -> Option<String> {
    if verdict.passed {
        return None;
    }
    let failed = verdict.gates.iter().filter(|report| report.outcome == GateOutcome::Failed);
    Some(failed.map(|report| report.gate.as_str()).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    fn judged(outcomes: &[(&str, GateOutcome)]) -> Verdict {
        let report = |(gate, outcome): &(&str, GateOutcome)| GateReport {
            gate: (*gate).to_owned(),
            outcome: *outcome,
            measured: "2.5 ms".to_owned(),
            limit: "1 ms".to_owned(),
            why: format!("what {gate} says"),
        };
        Verdict {
            passed: outcomes.iter().all(|(_, outcome)| *outcome != GateOutcome::Failed),
            gates: outcomes.iter().map(report).collect(),
            release: 4,
            time: "2026-01-02T03:04:05Z".to_owned(),
        }
    }

    #[test]
    fn a_verdict_is_a_line_per_gate_and_its_meaning() {
        use GateOutcome::{Failed, Passed, Skipped};
        let mixed =
            judged(&[("loads", Passed), ("latency", Failed), ("golden", Skipped), ("engine", Failed)]);
        let text = verdict(&mixed);
        for line in [
            "loads",
            "what golden says",
            "FAILED",
            "2.5 ms",
            "failed: it cannot serve; judged against release 4",
        ] {
            assert!(text.contains(line), "no {line:?} in {text}");
        }
        assert_eq!(failed_gates(&mixed).as_deref(), Some("latency, engine"));
        let sound = judged(&[("loads", Passed), ("golden", Skipped)]);
        assert!(verdict(&sound).contains("passed: a release can be made of it"));
        assert_eq!(failed_gates(&sound), None);
    }
}
