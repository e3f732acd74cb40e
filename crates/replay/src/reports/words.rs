//! Numbers and codes in words.

use document::noun;
use report::numbers;

use super::outline::Cell;
use crate::effect::BeforeAfter;

/// The heading of a column of money.
pub(super) const EXPECTED_VALUE: &str = "expected value (money)";

/// The heading of a column of money.
pub(super) const MARGIN: &str = "margin (money)";

/// An amount of money: `12,345.40`. All amounts have cents, so that they can be compared.
fn money(value: f64) -> String {
    // A sum of nothing may be −0.
    numbers::fixed(if value == 0.0 { 0.0 } else { value }, 2)
}

/// `12,345.40 → 13,400.00 (+8.5 %)`.
pub(super) fn money_change(change: BeforeAfter<f64>) -> String {
    match money_relative(change) {
        relative if relative.is_empty() => money_amounts(change),
        relative => format!("{} {relative}", money_amounts(change)),
    }
}

/// `12,345.40 → 13,400.00`.
pub(super) fn money_amounts(change: BeforeAfter<f64>) -> String {
    let BeforeAfter { before, after } = change.map(money);
    if same(change) { before } else { format!("{before} → {after}") }
}

/// `12,345.40 → 13,400.00 (+8.5 %)` as a cell of a table.
pub(super) fn money_cell(change: BeforeAfter<f64>) -> Cell {
    Cell::Change { amounts: money_amounts(change), relative: money_relative(change) }
}

/// `(+8.5 %)`; empty where nothing changes or there is nothing to relate to.
fn money_relative(change: BeforeAfter<f64>) -> String {
    let relative = if same(change) { None } else { relative(change) };
    relative.map_or_else(String::new, |relative| format!("({relative})"))
}

fn same(change: BeforeAfter<f64>) -> bool {
    change.before.to_bits() == change.after.to_bits()
}

/// `120 → 90`.
pub(super) fn count_change(change: BeforeAfter<u64>) -> String {
    let BeforeAfter { before, after } = change.map(numbers::count);
    if before == after { before } else { format!("{before} → {after}") }
}

/// `+30`, `−30`, `0`.
pub(super) fn difference(change: BeforeAfter<u64>) -> String {
    let BeforeAfter { before, after } = change;
    match before.cmp(&after) {
        std::cmp::Ordering::Less => format!("+{}", numbers::count(after - before)),
        std::cmp::Ordering::Equal => "0".to_owned(),
        std::cmp::Ordering::Greater => format!("−{}", numbers::count(before - after)),
    }
}

/// `+8.5 %`; `None` where there is nothing to relate to.
pub(super) fn relative(change: BeforeAfter<f64>) -> Option<String> {
    let BeforeAfter { before, after } = change;
    if before == 0.0 {
        return None;
    }
    let percent = 100.0 * (after - before) / before.abs();
    if percent == 0.0 {
        return Some("unchanged".to_owned());
    }
    if percent.abs() < 0.05 {
        return Some("less than ±0.1 %".to_owned());
    }
    let sign = if percent < 0.0 { '−' } else { '+' };
    Some(format!("{sign}{} %", numbers::fixed(percent.abs(), 1)))
}

/// `3,120 (34.9 %)`.
pub(super) fn part(part: u64, whole: u64) -> String {
    if part == 0 { "0".to_owned() } else { format!("{} ({})", numbers::count(part), share(part, whole)) }
}

/// `34.9 %`, or a dash where there is no whole.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { numbers::share(part as f64 / whole as f64) }
}

/// `1 customer`, `8,950 customers`.
pub(super) fn counted(count: u64, one: &str) -> String {
    format!("{} {}", numbers::count(count), noun(count, one))
}

/// A reason code in words. One that is not known here is shown in lower case.
pub(super) fn reason(code: &str) -> String {
    let words = match code {
        "CONSENT_MISSING" => "consent not given",
        "OPTED_OUT" => "consent refused",
        "CHANNEL_NOT_ALLOWED" => "not for this channel",
        "EXCLUDED" => "the exclusion rule holds",
        "INELIGIBLE" => "the eligibility rule does not hold",
        "NOT_APPLICABLE" => "the applicability rule does not hold",
        "UNSUITABLE" => "the suitability rule does not hold",
        "CONFLICTS_WITH" => "conflicts with a better offer",
        "CATEGORY_LIMIT" => "enough offers of its category",
        "MODEL_UNAVAILABLE" => "no usable score",
        "RULE_ERROR" => "the rule cannot be evaluated",
        "OUTRANKED" => "better offers filled the places",
        other => return other.replace('_', " ").to_lowercase(),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change<T>(before: T, after: T) -> BeforeAfter<T> {
        BeforeAfter { before, after }
    }

    #[test]
    fn amounts_change() {
        assert_eq!(money_change(change(12_345.4, 13_400.0)), "12,345.40 → 13,400.00 (+8.5 %)");
        assert_eq!(money_change(change(80.0, 72.5)), "80.00 → 72.50 (−9.4 %)");
        assert_eq!(money_change(change(-80.0, -40.0)), "−80.00 → −40.00 (+50.0 %)");
        assert_eq!(money_change(change(994.15, 1031.0)), "994.15 → 1,031.00 (+3.7 %)");
        assert_eq!(money_change(change(0.0, 3.0)), "0.00 → 3.00");
        assert_eq!(money_change(change(-0.0, -0.0)), "0.00");
        assert_eq!(money_change(change(10_000.0, 10_000.1)), "10,000.00 → 10,000.10 (less than ±0.1 %)");
    }

    #[test]
    fn nothing_is_divided_by_0() {
        assert_eq!(relative(change(0.0, 5.0)), None);
        assert_eq!((part(0, 0), share(0, 0), share(1, 3)), ("0".into(), "–".into(), "33.3 %".into()));
    }

    #[test]
    fn counts_change() {
        assert_eq!(
            (count_change(change(1200, 90)), count_change(change(7, 7))),
            ("1,200 → 90".into(), "7".into())
        );
        assert_eq!(difference(change(1, 1500)), "+1,499");
        assert_eq!((difference(change(2, 1)), difference(change(2, 2))), ("−1".into(), "0".into()));
        assert_eq!(
            (counted(1, "customer"), counted(8950, "customer")),
            ("1 customer".into(), "8,950 customers".into())
        );
    }

    #[test]
    fn every_reason_has_words() {
        for known in decision::Reason::ALL {
            let words = reason(known.as_str());
            assert!(!words.is_empty() && !words.contains('_'), "{words}");
        }
        assert_eq!(reason("CAP_TOTAL"), "cap total");
    }
}
