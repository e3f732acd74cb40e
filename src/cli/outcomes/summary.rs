//! What became of the outcomes of a file.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::Failure;
use crate::grpc::client::OutcomeAnswer;
use document::{agreeing, grouped, plural};

/// Outcomes by verdict.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    accepted: u64,
    /// Of those that are accepted.
    late: u64,
    unattributed: u64,
    limit_overshoot: u64,
    duplicates: u64,
    refused: u64,
    /// Of those that are refused, by the code of the problem.
    problems: BTreeMap<String, u64>,
    /// Lines that could not be read.
    unread: u64,
}

impl Summary {
    /// Counts an answer. Returns what is wrong if the outcome was refused.
    pub(super) fn count(&mut self, answer: OutcomeAnswer) -> Option<String> {
        match answer {
            OutcomeAnswer::Accepted { attributed, late, limit_overshoot } => {
                self.accepted += 1;
                self.late += u64::from(late);
                self.unattributed += u64::from(!attributed);
                self.limit_overshoot += u64::from(limit_overshoot);
                None
            }
            OutcomeAnswer::Duplicate => {
                self.duplicates += 1;
                None
            }
            OutcomeAnswer::Refused { problem, field, message } => {
                self.refused += 1;
                let text = format!("`{field}` {message} ({problem})");
                *self.problems.entry(problem).or_default() += 1;
                Some(text)
            }
        }
    }

    /// Counts lines that could not be read.
    pub(super) fn unread(&mut self, lines: u64) {
        self.unread += lines;
    }

    /// How many outcomes have their verdict.
    pub(super) fn told(&self) -> u64 {
        self.accepted + self.duplicates + self.refused
    }

    /// As lines for a person.
    pub(super) fn text(&self, file: &str) -> String {
        let number = |count: u64| grouped(&count.to_string());
        let mut text = format!(
            "{file}: {} accepted, {} known already, {} refused",
            number(self.accepted),
            number(self.duplicates),
            number(self.refused)
        );
        if self.unread > 0 {
            text.extend([", ", &number(self.unread), " not read"]);
        }
        let of_accepted = [
            (self.late, "late"),
            (self.unattributed, "without a known decision"),
            (self.limit_overshoot, "beyond a cap or a budget"),
        ];
        let parts: Vec<String> = of_accepted
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", number(*count)))
            .collect();
        if !parts.is_empty() {
            text.extend(["\nof those accepted: ", &parts.join(", ")]);
        }
        if !self.problems.is_empty() {
            let problems: Vec<String> = self
                .problems
                .iter()
                .map(|(problem, count)| format!("{} {problem}", number(*count)))
                .collect();
            text.extend(["\nof those refused: ", &problems.join(", ")]);
        }
        text
    }

    /// Why the command fails, if it does.
    pub(super) fn failure(&self) -> Option<Failure> {
        let parts = [(self.refused, "outcome", "refused"), (self.unread, "line", "not read")];
        let told: Vec<String> = parts
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, what, how)| {
                format!("{} {} {how}", plural(*count, what), agreeing(*count, "was", "were"))
            })
            .collect();
        (!told.is_empty()).then(|| Failure::new(told.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_every_verdict_and_fails_for_what_was_refused() {
        let mut summary = Summary::default();
        let accepted = |attributed, late| OutcomeAnswer::Accepted { attributed, late, limit_overshoot: late };
        assert_eq!(summary.count(accepted(true, false)), None);
        assert_eq!(summary.text("x.csv"), "x.csv: 1 accepted, 0 known already, 0 refused");
        assert!(summary.failure().is_none());
        summary.count(accepted(false, true));
        summary.count(OutcomeAnswer::Duplicate);
        let refused = OutcomeAnswer::Refused {
            problem: "TOO_OLD".to_owned(),
            field: "occurred_at".to_owned(),
            message: "is too long ago".to_owned(),
        };
        assert_eq!(summary.count(refused).unwrap(), "`occurred_at` is too long ago (TOO_OLD)");
        summary.unread(2);
        assert_eq!(summary.told(), 4);
        let text = "x.csv: 2 accepted, 1 known already, 1 refused, 2 not read\n\
                    of those accepted: 1 late, 1 without a known decision, 1 beyond a cap or a budget\n\
                    of those refused: 1 TOO_OLD";
        assert_eq!(summary.text("x.csv"), text);
        assert_eq!(summary.failure().unwrap().message, "1 outcome was refused, 2 lines were not read");
    }
}
