//! Tables as all commands print them: no lines, a heading, numbers to the right.

use std::ops::Range;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::release::{GateOutcome, GateReport, Verdict};

/// An empty table with these headings; the columns of `numbers` are aligned to the right.
pub(super) fn new_table(header: &[&str], numbers: Range<usize>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().copied());
    for index in numbers {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// What the gates said, a line each, and what it means.
pub(super) fn verdict(verdict: &Verdict) -> String {
    let mut table = new_table(&["gate", "outcome", "measured", "limit", "why"], 0..0);
    for report in &verdict.gates {
        table.add_row([report.gate.as_str(), outcome(report), &report.measured, &report.limit, &report.why]);
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
        // Nothing to judge by, and a person ought to know.
        GateOutcome::Skipped if report.why.starts_with("warning: ") => "WARNING",
        GateOutcome::Passed => "passed",
        GateOutcome::Failed => "FAILED",
        GateOutcome::Skipped => "skipped",
    }
}

/// The gates that failed, by name; `None` where none did.
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
