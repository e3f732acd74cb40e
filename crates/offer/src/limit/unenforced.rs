//! Limits are read and checked, and this version does not enforce them: whoever loads a release refuses them.

use crate::reading::Entries;
use document::{Problems, Table};

/// The keys of limits in `[[offer]]`, `[[placement]]` and at the top of the policy.
const OF_OFFER: [&str; 4] = ["class", "cap_customer", "cap_total", "budget"];
const OF_PLACEMENT: [&str; 1] = ["attribution"];
const OF_POLICY: [&str; 4] = ["contact_limit", "suppression", "outcome", "attribution"];

/// A problem for each limit of both files.
pub(crate) fn unenforced(
    (offers_file, offers): (&str, &Entries<'_, '_>),
    (policy_file, policy, placements): (&str, &Table<'_, '_>, &Entries<'_, '_>),
) -> Problems {
    let mut problems = Problems::new();
    let mut refuse = |file: &str, label: &str, table: &Table<'_, '_>, keys: &[&str]| {
        for key in keys.iter().filter(|key| table.has(key)) {
            problems.push_with(file, Some(table.line(key)), || {
                format!("{label}{key}: not enforced by this version; remove it")
            });
        }
    };
    for (id, table) in offers.iter() {
        refuse(offers_file, &format!("offer `{id}`: "), table, &OF_OFFER);
    }
    refuse(policy_file, "", policy, &OF_POLICY);
    for (id, table) in placements.iter() {
        refuse(policy_file, &format!("placement `{id}`: "), table, &OF_PLACEMENT);
    }
    problems
}
