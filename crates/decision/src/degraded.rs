//! What a decision did without, and what of the call it could not use.

use std::fmt::Write as _;

use feature::{Feature, ValueRef};

/// The most names of one kind that an answer lists, per call or customer. One more entry gives the number of the
/// others. The names come from the caller, and every result of a call repeats those of the call.
const MAX_NAMES: usize = 8;

/// The most bytes of a name that are repeated to the caller.
const MAX_NAME_BYTES: usize = 64;

/// Something that a decision did without. Features are given by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Degraded<'a> {
    /// The feature is missing and its default is used.
    Default(&'a str),
    /// The feature is missing and has no default.
    Missing(&'a str),
    OutOfRange(&'a str),
    UnknownCustomer,
    /// The customer refuses this consent, even if the call claims it.
    OptedOut(&'a str),
    /// The customer opted out of all marketing.
    OptedOutOfAll,
    /// A consent of the call that no offer asks for.
    UnknownConsent(&'a str),
    MoreUnknownConsents(usize),
    /// An entry for the whole call, already as text.
    OfCall(&'a str),
}

impl<'a> Degraded<'a> {
    /// What is wrong with the `value` of `feature`, if anything.
    pub(crate) fn of(feature: &'a Feature, value: ValueRef<'_>) -> Option<Self> {
        let name = &feature.name;
        match (value, &feature.default) {
            (ValueRef::Missing, Some(_)) => Some(Self::Default(name)),
            (ValueRef::Missing, None) => Some(Self::Missing(name)),
            _ => feature.is_out_of_range(value).then_some(Self::OutOfRange(name)),
        }
    }

    /// The entry as it is sent.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Default(name) => ["default:", name].concat(),
            Self::Missing(name) => ["missing:", name].concat(),
            Self::OutOfRange(name) => ["out_of_range:", name].concat(),
            Self::UnknownCustomer => "unknown_customer".to_owned(),
            Self::OptedOut(name) => ["opted_out:", name].concat(),
            Self::OptedOutOfAll => "opted_out".to_owned(),
            Self::UnknownConsent(name) => named(UNKNOWN_CONSENT, name),
            Self::MoreUnknownConsents(count) => more(UNKNOWN_CONSENT, count),
            Self::OfCall(text) => text.to_owned(),
        }
    }
}

const UNKNOWN_CONSENT: &str = "unknown_consent";

/// Adds the consents that a call names for a customer and no offer requires, each once.
pub(super) fn unknown_consents<'a>(
    claimed: &'a [String],
    is_known: impl Fn(&str) -> bool,
    degraded: &mut Vec<Degraded<'a>>,
) {
    let (mut listed, mut beyond) = (0, 0);
    for consent in claimed.iter().filter(|consent| !is_known(consent)) {
        let entry = Degraded::UnknownConsent(consent);
        if degraded.contains(&entry) {
            continue;
        }
        if listed < MAX_NAMES {
            degraded.push(entry);
            listed += 1;
        } else {
            beyond += 1;
        }
    }
    if beyond > 0 {
        degraded.push(Degraded::MoreUnknownConsents(beyond));
    }
}

/// Appends an entry for each distinct name, in sorted order, up to the limit.
pub(super) fn list<'n>(kind: &str, names: impl IntoIterator<Item = &'n str>, entries: &mut Vec<String>) {
    let mut names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        return;
    }
    names.sort_unstable();
    names.dedup();
    entries.extend(names.iter().take(MAX_NAMES).map(|name| named(kind, name)));
    if names.len() > MAX_NAMES {
        entries.push(more(kind, names.len() - MAX_NAMES));
    }
}

fn more(kind: &str, count: usize) -> String {
    format!("{kind}:… {count} more")
}

/// `<kind>:<name>`, with the name truncated and its control characters replaced: it is shown on terminals and in logs.
fn named(kind: &str, name: &str) -> String {
    let mut text = String::with_capacity(kind.len() + 1 + name.len().min(MAX_NAME_BYTES) + '…'.len_utf8());
    let _ = write!(text, "{kind}:");
    let end =
        if name.len() <= MAX_NAME_BYTES { name.len() } else { name.floor_char_boundary(MAX_NAME_BYTES) };
    text.extend(name[..end].chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }));
    if end < name.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_from_callers_are_repeated_within_bounds(names in prop::collection::vec(any::<String>(), 0..40)) {
            let mut entries = Vec::new();
            list("unknown_offer", names.iter().map(String::as_str), &mut entries);
            let mut degraded = Vec::new();
            unknown_consents(&names, |_| false, &mut degraded);
            prop_assert_eq!(entries.is_empty(), names.is_empty());
            prop_assert_eq!(degraded.is_empty(), names.is_empty());
            entries.extend(degraded.iter().map(|one| one.text()));
            prop_assert!(entries.len() <= 2 * (MAX_NAMES + 1));
            for entry in entries {
                // A control character becomes one of three bytes.
                prop_assert!(entry.len() <= "unknown_consent:…".len() + 3 * MAX_NAME_BYTES, "{}", entry);
                prop_assert!(!entry.chars().any(char::is_control), "{:?}", entry);
            }
        }
    }

    #[test]
    fn usual_names_are_repeated_as_they_are() {
        let mut entries = Vec::new();
        list("unknown_offer", ["b", "a", "b"], &mut entries);
        assert_eq!(entries, ["unknown_offer:a", "unknown_offer:b"]);
        let names: Vec<String> = (0..20).map(|at| format!("o{at:02}")).collect();
        entries.clear();
        list("unknown_offer", names.iter().map(String::as_str), &mut entries);
        assert_eq!(entries.len(), 9);
        assert_eq!(entries[7..], ["unknown_offer:o07", "unknown_offer:… 12 more"]);
    }
}
