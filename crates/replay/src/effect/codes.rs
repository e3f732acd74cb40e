//! Why an offer was withheld, as a number.

use decision::{Reason, Stage};

/// A stage and a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Code {
    stage: u8,
    reason: u8,
}

impl Code {
    /// That of a decision.
    pub(crate) fn new(stage: Stage, reason: Reason) -> Self {
        Self { stage: stage as u8, reason: reason as u8 }
    }

    /// That of a record, where both numbers are those of the wire: one more than ours, and 0 for an offer that is
    /// shown. `None` for numbers of a later version.
    pub(crate) fn of_record(stage: u8, reason: u8) -> Option<Self> {
        let (stage, reason) = (stage.checked_sub(1)?, reason.checked_sub(1)?);
        let known = usize::from(stage) < Stage::ALL.len() && usize::from(reason) < Reason::ALL.len();
        known.then_some(Self { stage, reason })
    }

    /// The stage, as on the wire.
    pub(crate) fn stage(self) -> &'static str {
        Stage::ALL.get(usize::from(self.stage)).map_or("", |stage| stage.as_str())
    }

    /// The reason, as on the wire.
    pub(crate) fn reason(self) -> &'static str {
        Reason::ALL.get(usize::from(self.reason)).map_or("", |reason| reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_records_are_those_of_decisions() {
        for (stage_number, stage) in (1..).zip(Stage::ALL) {
            for (reason_number, reason) in (1..).zip(Reason::ALL) {
                let code = Code::of_record(stage_number, reason_number).unwrap();
                assert_eq!(code, Code::new(*stage, *reason));
                assert_eq!((code.stage(), code.reason()), (stage.as_str(), reason.as_str()));
            }
        }
    }

    #[test]
    fn codes_of_a_later_version_are_unknown() {
        assert_eq!(Code::of_record(0, 1), None);
        assert_eq!(Code::of_record(1, 0), None);
        assert_eq!(Code::of_record(200, 1), None);
        assert_eq!(Code::of_record(1, 200), None);
    }
}
