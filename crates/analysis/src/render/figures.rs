//! Pictures, as SVG: no script, nothing from elsewhere. Colours of arms are set here, all others in the style sheet.

use report::{append, figure, numbers};

use super::number::{Style, attribute, interval_shown, shown};
use super::words::{code, escape, prose};
use crate::report::{ExposureDay, Kind, Limits, SequencePoint};

/// The size of all pictures. They scale; at this width, letters are legible on a narrow screen, too.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 252.0;

/// Where the area of the data is.
const LEFT: f64 = 62.0;
const RIGHT: f64 = WIDTH - 10.0;
const ABOVE: f64 = 32.0;
const BELOW: f64 = 206.0;

/// The colours of arms, the control first (Okabe and Ito, which those who are colour-blind can tell apart).
const COLOURS: [&str; 8] =
    ["#7b8794", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a900"];

/// Sequences of more points have smaller marks.
const MANY: usize = 45;

/// What a sequence is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn<'r> {
    pub metric: &'r str,
    pub variant: &'r str,
    pub kind: Kind,
    /// The difference at which a loss is no longer tolerated, of a guardrail.
    pub tolerated: Option<f64>,
}

/// The colour of an arm.
fn colour(arm: usize) -> &'static str {
    COLOURS[arm % COLOURS.len()]
}

/// A picture; `label` describes it to screen readers.
fn svg(label: &str, draw: impl FnOnce(&mut String)) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\" role=\"img\" aria-label=\"{}\">\n",
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

/// New customers by day: bars, with a part for each arm.
pub(super) fn exposure(days: &[ExposureDay], arms: &[&str]) -> String {
    let highest = days.iter().map(|day| day.new.iter().sum::<u64>()).max().unwrap_or(0).max(1) as f64;
    let step = step(highest / 4.0).max(1.0);
    let top = (highest / step).ceil() * step;
    let y = |value: f64| BELOW - (BELOW - ABOVE) * value / top;
    let wide = (RIGHT - LEFT) / days.len().max(1) as f64;
    // A single day is no wall.
    let bar = (wide * 0.8).min(48.0);
    let svg = svg("New customers by day and arm", |svg| {
        text(svg, "name", (2.0, 14.0), "start", "new customers");
        for tick in (0..=5).map(|tick| f64::from(tick) * step).filter(|tick| *tick <= top * (1.0 + 1e-9)) {
            line(svg, "grid", (LEFT, y(tick)), (RIGHT, y(tick)));
            text(svg, "tick", (LEFT - 6.0, y(tick) + 4.0), "end", &numbers::fixed(tick, 0));
        }
        for (at, day) in days.iter().enumerate() {
            let left = LEFT + wide * (at as f64 + 0.5) - bar / 2.0;
            let mut below = 0.0;
            for (arm, new) in day.new.iter().enumerate() {
                let above = below + *new as f64;
                let (high, size) = (y(above), y(below) - y(above));
                let value = attribute(*new);
                let title = format!(
                    "{}: {} in {}",
                    day.day,
                    shown(*new, Style::Count),
                    arms.get(arm).copied().unwrap_or_default()
                );
                append(
                    svg,
                    format_args!(
                        "<rect x=\"{left:.1}\" y=\"{high:.1}\" width=\"{bar:.1}\" height=\"{size:.1}\" \
                         fill=\"{}\"{value}><title>{}</title></rect>\n",
                        colour(arm),
                        escape(&title)
                    ),
                );
                below = above;
            }
        }
        line(svg, "axis", (LEFT, BELOW), (RIGHT, BELOW));
        labels(svg, &days.iter().map(|day| day.day.as_str()).collect::<Vec<_>>());
    });
    format!("{}{}", figure(&svg, "Customers by the day of their first exposure, in UTC."), legend(arms))
}

/// Which colour is which arm.
fn legend(arms: &[&str]) -> String {
    let mut html = String::from("<ul class=\"legend\">\n");
    for (at, arm) in arms.iter().enumerate() {
        append(
            &mut html,
            format_args!(
                "<li><span class=\"swatch\" style=\"background:{}\"></span>{}</li>\n",
                colour(at),
                code(arm)
            ),
        );
    }
    html.push_str("</ul>\n");
    html
}

/// A confidence sequence: the difference with its limits at the end of each day. Empty without a point.
pub(super) fn sequence(points: &[SequencePoint], drawn: Drawn<'_>) -> String {
    let is_number =
        |point: &&SequencePoint| [point.delta, point.low, point.high].iter().all(|of| of.is_finite());
    let points: Vec<&SequencePoint> = points.iter().filter(is_number).collect();
    if points.is_empty() {
        return String::new();
    }
    let scale = Scale::of(&points, drawn.tolerated);
    let x = |at: usize| LEFT + (RIGHT - LEFT) * (at as f64 + 0.5) / points.len() as f64;
    let label = format!("Confidence sequence of {} in {}", drawn.metric, drawn.variant);
    let svg = svg(&label, |svg| {
        text(svg, "name", (2.0, 14.0), "start", axis(drawn.kind));
        scale.draw(svg, drawn.kind);
        band(svg, &points, x, &scale);
        line(svg, "zero", (LEFT, scale.y(0.0)), (RIGHT, scale.y(0.0)));
        if let Some(tolerated) = drawn.tolerated {
            line(svg, "tolerated", (LEFT, scale.y(tolerated)), (RIGHT, scale.y(tolerated)));
        }
        marks(svg, &points, x, &scale, drawn.kind);
        line(svg, "axis", (LEFT, BELOW), (RIGHT, BELOW));
        labels(svg, &points.iter().map(|point| point.day.as_str()).collect::<Vec<_>>());
    });
    let tolerated = match drawn.tolerated {
        Some(_) => " The dashed line is the loss that is tolerated.",
        None => "",
    };
    let caption = format!(
        "`{}` of `{}` less that of the control at the end of each day, with the limits that hold however often one \
         looks. The thick line is no difference.{tolerated}",
        drawn.metric, drawn.variant
    );
    figure(&svg, &prose(&caption))
}

fn axis(kind: Kind) -> &'static str {
    match kind {
        Kind::Share => "difference in percentage points",
        Kind::Money => "difference in money",
        Kind::Number => "difference",
    }
}

/// The values that an axis has.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

impl Scale {
    /// All limits, 0, and what is tolerated.
    fn of(points: &[&SequencePoint], tolerated: Option<f64>) -> Self {
        let ends = points.iter().flat_map(|point| [point.low, point.high]).chain(tolerated);
        let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), end| (low.min(end), high.max(end)));
        let step = step((high - low) / 4.0);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    fn y(&self, value: f64) -> f64 {
        BELOW - (BELOW - ABOVE) * (value - self.low) / (self.high - self.low).max(f64::MIN_POSITIVE)
    }

    fn draw(&self, svg: &mut String, kind: Kind) {
        let factor = match kind {
            Kind::Share => 100.0,
            Kind::Money | Kind::Number => 1.0,
        };
        let first = (self.low / self.step).round() as i32;
        let last = (self.high / self.step).round() as i32;
        for tick in first..=last.min(first.saturating_add(8)) {
            let value = f64::from(tick) * self.step;
            line(svg, "grid", (LEFT, self.y(value)), (RIGHT, self.y(value)));
            let sign = if tick > 0 { "+" } else { "" };
            let label = format!("{sign}{}", numbers::short(factor * value));
            text(svg, "tick", (LEFT - 6.0, self.y(value) + 4.0), "end", &label);
        }
    }
}

/// The area between the limits; a line for one day.
fn band(svg: &mut String, points: &[&SequencePoint], x: impl Fn(usize) -> f64, scale: &Scale) {
    if let [point] = points {
        line(svg, "limits", (x(0), scale.y(point.low)), (x(0), scale.y(point.high)));
        return;
    }
    let (mut area, mut middle) = (String::new(), String::new());
    for (at, point) in points.iter().enumerate() {
        let letter = if at == 0 { 'M' } else { 'L' };
        append(&mut area, format_args!("{letter}{:.1} {:.1}", x(at), scale.y(point.high)));
        append(&mut middle, format_args!("{letter}{:.1} {:.1}", x(at), scale.y(point.delta)));
    }
    for (at, point) in points.iter().enumerate().rev() {
        append(&mut area, format_args!("L{:.1} {:.1}", x(at), scale.y(point.low)));
    }
    append(
        svg,
        format_args!("<path class=\"band\" d=\"{area}Z\"/>\n<path class=\"middle\" d=\"{middle}\"/>\n"),
    );
}

/// A mark for each number, which says what it is.
fn marks(svg: &mut String, points: &[&SequencePoint], x: impl Fn(usize) -> f64, scale: &Scale, kind: Kind) {
    let size = if points.len() > MANY { 1.6 } else { 3.0 };
    for (at, point) in points.iter().enumerate() {
        for (class, value, radius) in [
            ("limit", point.low, size / 2.0),
            ("limit", point.high, size / 2.0),
            ("point", point.delta, size),
        ] {
            let title = format!(
                "{}: {}, {}; n = {}; p = {}",
                point.day,
                shown(point.delta, Style::Difference(kind)),
                interval_shown(Some(Limits { low: point.low, high: point.high }), Style::Difference(kind)),
                shown(point.n, Style::Count),
                shown(point.p, Style::P)
            );
            append(
                svg,
                format_args!(
                    "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"{}><title>{}</title>\
                     </circle>\n",
                    x(at),
                    scale.y(value),
                    attribute(value),
                    escape(&title)
                ),
            );
        }
    }
}

/// The first day, the last, and one between.
fn labels(svg: &mut String, days: &[&str]) {
    let x = |at: usize| LEFT + (RIGHT - LEFT) * (at as f64 + 0.5) / days.len() as f64;
    let y = BELOW + 20.0;
    match days {
        [] => {}
        [day] => text(svg, "tick", (x(0), y), "middle", day),
        [first, between @ .., last] => {
            text(svg, "tick", (LEFT, y), "start", first);
            // Between days that are even in number, none is in the middle.
            if between.len() % 2 == 1 {
                let at = days.len() / 2;
                text(svg, "tick", (x(at), y), "middle", days[at]);
            }
            text(svg, "tick", (RIGHT, y), "end", last);
        }
    }
    text(svg, "tick", (f64::midpoint(LEFT, RIGHT), y + 20.0), "middle", "day, UTC");
}

/// 1, 2 or 5 times a power of ten: the least that is not below `least`.
fn step(least: f64) -> f64 {
    if !least.is_finite() || least <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= least * (1.0 - 1e-9));
    times.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (least, expected) in [(0.3, 0.5), (0.011, 0.02), (1.0, 1.0), (70.0, 100.0), (0.0, 1.0)] {
            assert!((step(least) - expected).abs() < 1e-12 * expected, "{least}: {}", step(least));
        }
    }

    #[test]
    fn no_line_leaves_the_picture() {
        let point = |low: f64, high: f64| SequencePoint {
            day: "2026-11-01".to_owned(),
            n: 300,
            delta: f64::midpoint(low, high),
            low,
            high,
            p: 0.5,
        };
        for (low, high) in [(-3.0, -1.0), (1e-9, 2e-9), (0.0, 0.0), (-1e6, 2e6)] {
            let points = [point(low, high), point(low, high)];
            let scale = Scale::of(&points.iter().collect::<Vec<_>>(), Some(low - 1e-9));
            for value in [low, high, 0.0, low - 1e-9] {
                let y = scale.y(value);
                assert!((ABOVE - 1e-6..=BELOW + 1e-6).contains(&y), "{value}: {y}");
            }
        }
    }
}
