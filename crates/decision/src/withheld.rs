//! A withheld offer before its texts are rendered. Most calls only count these.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};

use super::scoring::Unscored;
use super::{Reason, Stage, WithheldOffer};
use offer::{OfferIndex, OfferLibrary, Rule, RuleError};

/// An offer that is withheld, and why.
pub(super) struct Withheld<'a> {
    pub offer: OfferIndex,
    pub stage: Stage,
    pub reason: Reason,
    /// The rule that withholds it, if one does.
    pub rule: Option<&'a Rule>,
    pub detail: Detail<'a>,
}

/// The detail that explains the reason to readers.
pub(super) enum Detail<'a> {
    Nothing,
    /// The missing consent, the better offer, or the category at its limit.
    Name(&'a str),
    ValidFrom(DateTime<Utc>),
    ValidUntil(DateTime<Utc>),
    /// The channels on which it may be shown.
    Channels(&'a [String]),
    Error(RuleError),
    Unscored(Unscored),
    Priority(f64),
    Margin(f64),
}

impl<'a> Withheld<'a> {
    /// An offer that no rule withholds.
    pub(crate) fn new(offer: OfferIndex, stage: Stage, reason: Reason, detail: Detail<'a>) -> Self {
        Self { offer, stage, reason, rule: None, detail }
    }

    /// Renders the explanation.
    pub(crate) fn explained(&self, library: &OfferLibrary) -> WithheldOffer {
        WithheldOffer {
            offer_id: Arc::clone(&library.get(self.offer).id),
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
