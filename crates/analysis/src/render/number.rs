//! Numbers of a report: the one place that rounds them, and that writes their exact value beside what is shown.

use report::{numbers, percent};

use super::words::{NONE, escape};
use crate::report::{Kind, Limits};

/// A number as the report has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Exact {
    /// A count.
    Whole(u64),
    /// Any other.
    Real(f64),
}

impl From<u64> for Exact {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Exact {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl Exact {
    fn real(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Real(value) => value,
        }
    }

    /// As JSON has it; `None` for what JSON has no number for.
    fn json(self) -> Option<String> {
        match self {
            Self::Whole(value) => Some(value.to_string()),
            Self::Real(value) => serde_json::Number::from_f64(value).map(|number| number.to_string()),
        }
    }
}

/// How a number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A count: `8,950`.
    Count,
    /// The number of a thing: `8950`.
    Id,
    /// A share of a whole, to a tenth of a per cent.
    Share,
    /// A level such as α, as short as it can be: `1.25 %`.
    Level,
    /// A p value.
    P,
    /// A value of a metric.
    Value(Kind),
    /// A sum: a count, or an amount of money.
    Sum,
    /// A difference between values of a metric, with its sign.
    Difference(Kind),
    /// A difference between values of a metric, without sign.
    Distance(Kind),
    /// A difference as a share of a value, with its sign.
    Relative,
    /// Any other number, to three digits.
    Plain,
    /// Seconds, in the greatest unit of which there are two.
    Age,
}

/// A number as people read it.
pub(super) fn shown(exact: impl Into<Exact>, style: Style) -> String {
    let exact = exact.into();
    let value = exact.real();
    // Also one that is too large for a percentage.
    if !(100.0 * value).is_finite() {
        return NONE.to_owned();
    }
    match style {
        Style::Count => match exact {
            Exact::Whole(value) => numbers::count(value),
            Exact::Real(value) => numbers::fixed(value, 0),
        },
        Style::Id => match exact {
            Exact::Whole(value) => value.to_string(),
            Exact::Real(value) => value.to_string(),
        },
        Style::Share => percent::percent(value),
        Style::Level => format!("{} %", numbers::short(100.0 * value)),
        Style::P if value < 0.000_1 => "< 0.0001".to_owned(),
        Style::P => format!("{value:.4}"),
        Style::Value(kind) => of_kind(value, kind, " %"),
        Style::Sum if value.fract() == 0.0 => numbers::fixed(value, 0),
        Style::Sum => numbers::fixed(value, 2),
        Style::Difference(kind) => with_sign(value, &of_kind(value.abs(), kind, " pp")),
        Style::Distance(kind) => of_kind(value, kind, " pp"),
        Style::Relative => with_sign(value, &format!("{} %", numbers::fixed(100.0 * value.abs(), 1))),
        Style::Plain => numbers::short(value),
        Style::Age => age(exact),
    }
}

/// A number of a page, with its exact value.
pub(super) fn number(exact: impl Into<Exact>, style: Style) -> String {
    let exact = exact.into();
    let text = escape(&shown(exact, style)).replace(' ', "\u{a0}");
    match exact.json() {
        Some(json) => format!("<span data-value=\"{json}\">{text}</span>"),
        None => text,
    }
}

/// The attribute that says which number a mark of a picture stands for; empty for none.
pub(super) fn attribute(exact: impl Into<Exact>) -> String {
    exact.into().json().map_or_else(String::new, |json| format!(" data-value=\"{json}\""))
}

/// A number of a page that may be missing.
pub(super) fn number_or_none(value: Option<f64>, style: Style) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| number(value, style))
}

/// A number of a text that may be missing.
pub(super) fn shown_or_none(value: Option<f64>, style: Style) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| shown(value, style))
}

/// An interval of a page.
pub(super) fn interval(limits: Option<Limits>, style: Style) -> String {
    let Some(Limits { low, high }) = limits else { return NONE.to_owned() };
    format!("{} to {}", number(low, style), number(high, style))
}

/// An interval of a text. The unit stands once.
pub(super) fn interval_shown(limits: Option<Limits>, style: Style) -> String {
    let Some(Limits { low, high }) = limits else { return NONE.to_owned() };
    let (low, high) = (shown(low, style), shown(high, style));
    let low = match high.rsplit_once(' ') {
        Some((_, unit)) => low.strip_suffix(unit).map_or(low.as_str(), str::trim_end),
        None => low.as_str(),
    };
    format!("{low} to {high}")
}

/// A value of a metric; a share in per cent, or in what `unit` says.
fn of_kind(value: f64, kind: Kind, unit: &str) -> String {
    match kind {
        Kind::Share => format!("{}{unit}", numbers::fixed(100.0 * value, 2)),
        Kind::Money => numbers::fixed(value, 2),
        Kind::Number => numbers::fixed(value, 4),
    }
}

fn with_sign(value: f64, size: &str) -> String {
    if value == 0.0 {
        size.to_owned()
    } else if value < 0.0 {
        format!("−{size}")
    } else {
        format!("+{size}")
    }
}

fn age(exact: Exact) -> String {
    let seconds = match exact {
        Exact::Whole(seconds) => seconds,
        Exact::Real(seconds) => seconds.max(0.0) as u64,
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
