//! A withheld offer before its texts are rendered. Most calls only count these.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

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
    /// Shown so often, of so many until it is mature.
    New {
        impressions: u64,
        mature_at: u64,
    },
    /// The limit without room.
    Limit(LimitDetail<'a>),
}

/// A limit that withholds an offer at `now`.
#[derive(Debug, Clone, Copy)]
pub(super) struct LimitDetail<'a> {
    /// The id of the suppression or contact limit; of a limit of the offer, its key.
    pub id: &'a str,
    /// When it has room again if nothing else happens; `None`: never.
    pub frees_at: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
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
            Self::New { impressions, mature_at } => {
                format!("new: shown in {impressions} decisions, mature at {mature_at}")
            }
            Self::Limit(LimitDetail { id, frees_at: Some(moment), now }) => {
                format!("{id}: frees in {}, at {}", in_words(*moment - *now), date(moment))
            }
            Self::Limit(LimitDetail { id, frees_at: None, .. }) => format!("{id}: does not free"),
        }
    }
}

/// A length of time in its two largest units, rounded up to the smaller one: `3 d 4 h`.
#[must_use]
pub fn in_words(length: TimeDelta) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let millis = length.num_milliseconds().max(0);
    let seconds = millis / 1_000 + i64::from(millis % 1_000 > 0);
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let smaller = UNITS.get(largest + 1).map_or(1, |(unit, _)| *unit);
    // Rounding up may reach the next larger unit, as 59 min 60 s; the largest unit is chosen anew then.
    let seconds = (seconds + smaller - 1) / smaller * smaller;
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let (unit, name) = UNITS[largest];
    match UNITS.get(largest + 1) {
        Some((smaller, smaller_name)) if seconds % unit >= *smaller => {
            format!("{} {name} {} {smaller_name}", seconds / unit, seconds % unit / smaller)
        }
        _ => format!("{} {name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_rounded_up_and_never_says_too_little() {
        let words = |millis: i64| in_words(TimeDelta::milliseconds(millis));
        assert_eq!(words(1), "1 s");
        assert_eq!(words(59_001), "1 min");
        assert_eq!(words(61_000), "1 min 1 s");
        assert_eq!(words(3_599_001), "1 h");
        assert_eq!(words(3_660_000), "1 h 1 min");
        assert_eq!(words(86_400_000 - 1), "1 d");
        assert_eq!(words(3 * 86_400_000 + 4 * 3_600_000), "3 d 4 h");
        assert_eq!(words(3 * 86_400_000 + 3 * 3_600_000 + 1), "3 d 4 h");
        assert_eq!(words(-5), "0 s");
    }
}
