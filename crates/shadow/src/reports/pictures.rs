//! The pictures, as SVG: no script, nothing from elsewhere. Colours are those of the style sheet.

use report::{append, numbers};

use super::page::escape;
use super::{Bars, ScoreChange, Share};

/// The segments that a picture has.
pub(super) const MOST_SEGMENTS: usize = 30;

/// The width of all pictures, in pixels.
const WIDTH: f64 = 560.0;

/// The letters of a name that fit beside a picture.
const LETTERS: usize = 22;

/// A picture of a height; `label` describes it to screen readers.
fn svg(height: f64, label: &str, draw: impl FnOnce(&mut String)) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n",
        escape(label)
    );
    draw(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

fn line(svg: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    append(
        svg,
        format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
        ),
    );
}

fn bar(svg: &mut String, class: &str, (left, top): (f64, f64), (right, bottom): (f64, f64)) {
    let (width, height) = ((right - left).max(0.0), (bottom - top).max(0.0));
    append(
        svg,
        format_args!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>\n"
        ),
    );
}

/// A text; `anchor` is `start`, `middle` or `end`.
fn text(svg: &mut String, class: &str, (x, y): (f64, f64), anchor: &str, shown: &str) {
    append(
        svg,
        format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
            escape(shown)
        ),
    );
}

/// The shares of the scores of both by bar: bars of the champion, the outline of the shadow.
pub(super) fn scores(bars: &Bars) -> String {
    let shares = |counts: &[u64]| -> Vec<f64> {
        let all = counts.iter().sum::<u64>().max(1) as f64;
        counts.iter().map(|count| *count as f64 / all).collect()
    };
    let (champion, shadow) = (shares(&bars.champion), shares(&bars.shadow));
    let highest = champion.iter().chain(&shadow).copied().fold(0.0, f64::max);
    let step = step(highest / 4.0);
    let top = (highest / step).ceil().max(1.0) * step;
    let (left, right, above, below) = (58.0, WIDTH - 14.0, 12.0, 232.0);
    let x = |at: usize| left + (right - left) * at as f64 / champion.len().max(1) as f64;
    let y = |share: f64| below - (below - above) * share / top;
    svg(274.0, "Scores of the champion and of the shadow", |svg| {
        for tick in (0..=6).map(|tick| f64::from(tick) * step).filter(|tick| *tick <= top * (1.0 + 1e-9)) {
            line(svg, "grid", (left, y(tick)), (right, y(tick)));
            let shown = format!("{} %", numbers::short(100.0 * tick));
            text(svg, "", (left - 8.0, y(tick) + 4.0), "end", &shown);
        }
        for (at, share) in champion.iter().enumerate() {
            bar(svg, "champion", (x(at) + 1.0, y(*share)), (x(at + 1) - 1.0, below));
        }
        let mut path = format!("<path class=\"shadow\" d=\"M{left:.1} {below:.1}");
        for (at, share) in shadow.iter().enumerate() {
            append(&mut path, format_args!("V{:.1}H{:.1}", y(*share), x(at + 1)));
        }
        append(svg, format_args!("{path}V{below:.1}\"/>\n"));
        line(svg, "axis", (left, below), (right, below));
        for quarter in 0..=4 {
            let part = f64::from(quarter) / 4.0;
            let shown = numbers::short(bars.end * part);
            let anchor = if quarter == 4 { "end" } else { "middle" };
            text(svg, "", (left + (right - left) * part, below + 18.0), anchor, &shown);
        }
        text(svg, "", (f64::midpoint(left, right), below + 38.0), "middle", "score");
    })
}

/// Where 98 % of the changes of scores are, and the median.
pub(super) fn change(change: &ScoreChange) -> String {
    let (low, middle, high) = (change.p1.value, change.p50.value, change.p99.value);
    let size = low.abs().max(high.abs());
    let end = if size > 0.0 { (size / step(size / 4.0)).ceil() * step(size / 4.0) } else { 1.0 };
    let (left, right, above, below) = (30.0, WIDTH - 30.0, 20.0, 96.0);
    let x = |value: f64| left + (right - left) * (value / end + 1.0) / 2.0;
    svg(138.0, "Changes of scores", |svg| {
        for tick in [-1.0, -0.5, 0.0, 0.5, 1.0] {
            line(svg, "grid", (x(tick * end), above), (x(tick * end), below));
            let sign = if tick > 0.0 { "+" } else { "" };
            let shown = format!("{sign}{}", numbers::short(tick * end));
            text(svg, "", (x(tick * end), below + 18.0), "middle", &shown);
        }
        bar(svg, "range", (x(low), above + 18.0), (x(high).max(x(low) + 2.0), below - 18.0));
        bar(svg, "point", (x(middle) - 1.5, above + 12.0), (x(middle) + 1.5, below - 12.0));
        line(svg, "axis", (left, below), (right, below));
        text(svg, "", (WIDTH / 2.0, below + 38.0), "middle", "score of the shadow − score of the champion");
    })
}

/// A share of each segment with its interval.
pub(super) fn agreement(segments: &[(String, Share)]) -> String {
    let (left, right, above, height) = (176.0, WIDTH - 66.0, 10.0, 28.0);
    let below = above + height * segments.len() as f64;
    let x = |share: f64| left + (right - left) * share;
    svg(below + 44.0, "Agreement on the first offer by segment", |svg| {
        for quarter in 0..=4 {
            let share = f64::from(quarter) / 4.0;
            line(svg, "grid", (x(share), above), (x(share), below));
            text(svg, "", (x(share), below + 18.0), "middle", &format!("{} %", 25 * quarter));
        }
        for (at, (name, found)) in segments.iter().enumerate() {
            let middle = above + height * (at as f64 + 0.5);
            let [low, high] = found.interval;
            text(svg, "name", (left - 12.0, middle + 4.0), "end", &cut(name));
            bar(svg, "range", (x(low), middle - 6.0), (x(high).max(x(low) + 1.0), middle + 6.0));
            let point = x(found.share);
            append(
                svg,
                format_args!("<circle class=\"point\" cx=\"{point:.1}\" cy=\"{middle:.1}\" r=\"4\"/>\n"),
            );
            text(svg, "", (right + 10.0, middle + 4.0), "start", &numbers::share(found.share));
        }
        line(svg, "axis", (left, below), (right, below));
        text(
            svg,
            "",
            (f64::midpoint(left, right), below + 38.0),
            "middle",
            "decisions with the same first offer",
        );
    })
}

/// The first letters of a name, with an ellipsis if that is not all.
fn cut(name: &str) -> String {
    match name.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", name[..end].trim_end()),
        None => name.to_owned(),
    }
}

/// The smallest of 1, 2 or 5 times a power of ten that is at least `wanted`.
fn step(wanted: f64) -> f64 {
    if !(wanted > 0.0 && wanted.is_finite()) {
        return 1.0;
    }
    let power = 10.0_f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|digits| digits * power)
        .into_iter()
        .find(|step| *step >= wanted)
        .unwrap_or(10.0 * power)
}
