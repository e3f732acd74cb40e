//! An offer that is withheld, as deciding knows it: most callers only count these, so they become texts for those who ask why.

use chrono::{DateTime, SecondsFormat, Utc};

use super::scoring::Unscored;
use super::{Reason, Rejection, Stage};
use crate::offer::{Rule, RuleError};

/// An offer that is withheld, and why.
pub(super) struct Withheld<'a> {
    /// Its position in the library.
    pub offer: usize,
    pub stage: Stage,
    pub reason: Reason,
    /// The rule that withholds it.
    pub rule: Option<&'a Rule>,
    pub detail: Detail<'a>,
}

/// What people are told besides the reason.
pub(super) enum Detail<'a> {
    Nothing,
    /// The consent that is not given, the offer that is better, the category that has enough.
    Name(&'a str),
    ValidFrom(DateTime<Utc>),
    ValidUntil(DateTime<Utc>),
    /// Those it may be shown in.
    Channels(&'a [String]),
    Error(RuleError),
    Unscored(Unscored),
    Priority(f64),
    Margin(f64),
}

impl<'a> Withheld<'a> {
    /// An offer that no rule withholds.
    pub fn new(offer: usize, stage: Stage, reason: Reason, detail: Detail<'a>) -> Self {
        Self { offer, stage, reason, rule: None, detail }
    }

    /// The same in words.
    pub fn rejection(&self) -> Rejection {
        Rejection {
            stage: self.stage,
            reason: self.reason,
            rule: self.rule.map(Rule::shared_source),
            detail: self.detail.text(),
        }
    }
}

impl Detail<'_> {
    fn text(&self) -> String {
        let date = |moment: &DateTime<Utc>| moment.to_rfc3339_opts(SecondsFormat::Secs, true);
        match self {
            Self::Nothing => String::new(),
            Self::Name(name) => (*name).to_owned(),
            Self::ValidFrom(moment) => format!("valid from {}", date(moment)),
            Self::ValidUntil(moment) => format!("valid until {}", date(moment)),
            Self::Channels(channels) => channels.join(", "),
            Self::Error(error) => error.to_string(),
            Self::Unscored(why) => why.to_string(),
            Self::Priority(priority) => format!("priority {priority:.4}"),
            Self::Margin(margin) => format!("margin {margin:.4}"),
        }
    }
}
