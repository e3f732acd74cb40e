//! A drawing area in CSS pixels from the top left, on plotters' SVG backend.

use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    FontFamily, FontStyle, FontTransform, IntoTextStyle, RGBAColor, RGBColor, ShapeStyle, TextStyle,
};

use super::FigureError;
use crate::report::palette::{AXIS, Colour, GRID, INK, MUTED};

/// Drawing units per pixel: plotters rounds to whole units, and whole pixels are too coarse.
const UNITS: f64 = 8.0;

/// The usual font size, in pixels.
pub(super) const TEXT: f64 = 13.0;

/// The small font size, in pixels.
pub(super) const SMALL: f64 = 11.5;

/// How far a figure may be enlarged to fill its column.
const LARGEST: f64 = 1.18;

/// plotters divides every font size by this.
const PLOTTERS_FONT: f64 = 1.24;

/// The result of drawing; the error is that of plotters.
pub(super) type Drawn = Result<(), String>;

/// The horizontal alignment of a text to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// The drawing area of a figure.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Draws a figure of a size in pixels; `label` describes it to screen readers.
pub(super) fn figure(
    (width, height): (f64, f64),
    label: &str,
    draw: impl FnOnce(&Canvas<'_>) -> Drawn,
) -> Result<String, FigureError> {
    let size = ((width * UNITS).ceil() as u32, (height * UNITS).ceil() as u32);
    let mut svg = String::new();
    let drawn = {
        let canvas = Canvas { area: SVGBackend::with_string(&mut svg, size).into_drawing_area() };
        draw(&canvas).and_then(|()| canvas.area.present().map_err(|error| error.to_string()))
    };
    drawn.map_err(|message| FigureError { figure: label.to_owned(), message })?;
    // A fixed size would keep the element from fitting its column, and HTML needs no namespace.
    let inside = svg.split_once('>').map_or("", |(_, inside)| inside);
    let label = report::escape(label);
    Ok(format!(
        "<svg viewBox=\"0 0 {} {}\" style=\"max-width:{:.0}px\" role=\"img\" aria-label=\"{label}\">{inside}",
        size.0,
        size.1,
        width * LARGEST
    ))
}

fn units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}

fn point((x, y): (f64, f64)) -> (i32, i32) {
    (units(x), units(y))
}

fn rgb(colour: Colour) -> RGBColor {
    RGBColor(colour.0, colour.1, colour.2)
}

fn stroke(colour: Colour, width: f64) -> ShapeStyle {
    ShapeStyle { color: RGBAColor::from(rgb(colour)), filled: false, stroke_width: units(width) as u32 }
}

fn fill(colour: Colour, opacity: f64) -> ShapeStyle {
    ShapeStyle { color: RGBAColor(colour.0, colour.1, colour.2, opacity), filled: true, stroke_width: 0 }
}

/// The estimated width of a text in pixels; no font is loaded, so the estimate is generous.
pub(super) fn width_of(text: &str, size: f64) -> f64 {
    text.chars().map(width_of_letter).sum::<f64>() * size
}

/// The width of a letter relative to the font size, as in the widest fonts of the report.
fn width_of_letter(letter: char) -> f64 {
    match letter {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.3,
        ' ' | 'f' | 't' | 'r' | 'I' | '(' | ')' | '-' => 0.38,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.92,
        letter if letter.is_uppercase() => 0.7,
        letter if letter.is_ascii() => 0.59,
        // Letters of scripts from here on may be square.
        letter if (letter as u32) < 0x2e80 => 0.64,
        _ => 1.0,
    }
}

/// The text, cut and ended with an ellipsis if it is wider than `pixels`.
pub(super) fn fitted(text: &str, size: f64, pixels: f64) -> String {
    if width_of(text, size) <= pixels {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut width = width_of("…", size);
    for letter in text.chars() {
        width += width_of_letter(letter) * size;
        if width > pixels {
            break;
        }
        kept.push(letter);
    }
    kept.truncate(kept.trim_end().len());
    kept + "…"
}

impl Canvas<'_> {
    /// A filled rectangle from one corner to the opposite one.
    pub(super) fn rectangle(&self, from: (f64, f64), to: (f64, f64), colour: Colour) -> Drawn {
        self.draw(&Rectangle::new([point(from), point(to)], fill(colour, 1.0)))
    }

    /// The outline of a rectangle.
    pub(super) fn outline(&self, from: (f64, f64), to: (f64, f64), colour: Colour, width: f64) -> Drawn {
        let corners = vec![from, (to.0, from.1), to, (from.0, to.1), from];
        self.line(&corners, colour, width)
    }

    /// A line through points.
    pub(super) fn line(&self, points: &[(f64, f64)], colour: Colour, width: f64) -> Drawn {
        let points: Vec<(i32, i32)> = points.iter().map(|at| point(*at)).collect();
        self.draw(&PathElement::new(points, stroke(colour, width)))
    }

    /// A dashed straight line.
    pub(super) fn dashed(&self, from: (f64, f64), to: (f64, f64), colour: Colour, width: f64) -> Drawn {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |along: f64| {
            let share = if length > 0.0 { (along / length).min(1.0) } else { 0.0 };
            (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
        };
        let mut along = 0.0;
        while along < length {
            self.line(&[at(along), at(along + 5.0)], colour, width)?;
            along += 9.0;
        }
        Ok(())
    }

    /// A filled disc.
    pub(super) fn disc(&self, centre: (f64, f64), radius: f64, colour: Colour, opacity: f64) -> Drawn {
        self.draw(&Circle::new(point(centre), units(radius), fill(colour, opacity)))
    }

    /// A filled area.
    pub(super) fn polygon(&self, points: &[(f64, f64)], colour: Colour, opacity: f64) -> Drawn {
        let points: Vec<(i32, i32)> = points.iter().map(|at| point(*at)).collect();
        self.draw(&Polygon::new(points, fill(colour, opacity)))
    }

    /// A text, centred vertically on the point.
    pub(super) fn text(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        colour: Colour,
        anchor: Anchor,
    ) -> Drawn {
        self.styled(text, at, &style(size, colour, anchor, FontStyle::Normal))
    }

    /// A bold text.
    pub(super) fn bold(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        colour: Colour,
        anchor: Anchor,
    ) -> Drawn {
        self.styled(text, at, &style(size, colour, anchor, FontStyle::Bold))
    }

    /// A text rotated to run upwards.
    pub(super) fn upwards(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        colour: Colour,
        anchor: Anchor,
    ) -> Drawn {
        let style = style(size, colour, anchor, FontStyle::Normal).transform(FontTransform::Rotate270);
        self.styled(text, at, &style)
    }

    /// The number of a segment on a disc of its colour.
    pub(super) fn badge(&self, id: usize, centre: (f64, f64), colour: Colour) -> Drawn {
        self.disc(centre, 10.5, crate::report::palette::PAPER, 1.0)?;
        self.disc(centre, 9.0, colour, 1.0)?;
        self.bold(&id.to_string(), centre, 11.0, colour.text_on(), Anchor::Middle)
    }

    fn styled(&self, text: &str, at: (f64, f64), style: &TextStyle<'_>) -> Drawn {
        self.draw(&Text::new(text.to_owned(), point(at), style.clone()))
    }

    fn draw<'e, E>(&self, element: &'e E) -> Drawn
    where
        &'e E: plotters::element::PointCollection<'e, (i32, i32)>,
        for<'b> E: plotters::element::Drawable<SVGBackend<'b>>,
    {
        self.area.draw(element).map_err(|error| error.to_string())
    }
}

fn style(size: f64, colour: Colour, anchor: Anchor, weight: FontStyle) -> TextStyle<'static> {
    let horizontal = match anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    let font = (FontFamily::SansSerif, size * UNITS * PLOTTERS_FONT, weight);
    font.with_color(rgb(colour)).into_text_style(&(0, 0)).pos(Pos::new(horizontal, VPos::Center))
}

/// A chart area with two axes.
#[derive(Debug, Clone)]
pub(super) struct Axes {
    /// Left, top, right and bottom, in pixels.
    pub(super) frame: [f64; 4],
    /// The values at the left and the right edge.
    pub(super) x: [f64; 2],
    /// The values at the bottom and the top edge.
    pub(super) y: [f64; 2],
}

impl Axes {
    /// The position of a value, in pixels.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let [left, top, right, bottom] = self.frame;
        let along =
            |value: f64, [from, to]: [f64; 2]| if to > from { (value - from) / (to - from) } else { 0.5 };
        (left + (right - left) * along(x, self.x), bottom - (bottom - top) * along(y, self.y))
    }

    /// Draws the horizontal grid lines, their values and the bottom line.
    pub(super) fn draw_y(&self, canvas: &Canvas<'_>, ticks: &[f64], shown: impl Fn(f64) -> String) -> Drawn {
        let [left, _, right, bottom] = self.frame;
        for tick in ticks {
            let (_, y) = self.at(self.x[0], *tick);
            canvas.line(&[(left, y), (right, y)], GRID, 1.0)?;
            canvas.text(&shown(*tick), (left - 8.0, y), SMALL, MUTED, Anchor::End)?;
        }
        canvas.line(&[(left, bottom), (right, bottom)], AXIS, 1.0)
    }

    /// Draws the ticks and values of the x axis.
    pub(super) fn draw_x(&self, canvas: &Canvas<'_>, ticks: &[f64], shown: impl Fn(f64) -> String) -> Drawn {
        let bottom = self.frame[3];
        for tick in ticks {
            let (x, _) = self.at(*tick, self.y[0]);
            canvas.line(&[(x, bottom), (x, bottom + 4.0)], AXIS, 1.0)?;
            canvas.text(&shown(*tick), (x, bottom + 15.0), SMALL, MUTED, Anchor::Middle)?;
        }
        Ok(())
    }

    /// Draws the titles of the axes.
    pub(super) fn titles(&self, canvas: &Canvas<'_>, x: &str, y: &str) -> Drawn {
        let [left, top, right, bottom] = self.frame;
        canvas.text(x, (f64::midpoint(left, right), bottom + 36.0), TEXT, INK, Anchor::Middle)?;
        canvas.upwards(y, (12.0, f64::midpoint(top, bottom)), TEXT, INK, Anchor::Middle)
    }
}

/// About so many round values within a range. Source: Heckbert, "Nice numbers for graph labels" (1990).
pub(super) fn ticks([from, to]: [f64; 2], about: usize) -> Vec<f64> {
    let step = step((to - from) / about.max(1) as f64);
    let first = (from / step - 1e-9).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).take(64).map(|number| number as f64 * step).collect()
}

/// The range, widened to round values.
pub(super) fn rounded([from, to]: [f64; 2], about: usize) -> [f64; 2] {
    let step = step((to - from) / about.max(1) as f64);
    [(from / step + 1e-9).floor() * step, (to / step - 1e-9).ceil() * step]
}

/// The smallest of 1, 2 or 5 times a power of ten that is at least `wanted`.
fn step(wanted: f64) -> f64 {
    if !(wanted > 0.0 && wanted.is_finite()) {
        return 1.0;
    }
    let power = 10.0_f64.powf(wanted.log10().floor());
    let digits = wanted / power;
    let round = if digits <= 1.0 {
        1.0
    } else if digits <= 2.0 {
        2.0
    } else if digits <= 5.0 {
        5.0
    } else {
        10.0
    };
    round * power
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "round values are exact")]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_range() {
        assert_eq!(ticks([3.0, 12.0], 9), (3..=12).map(f64::from).collect::<Vec<_>>());
        assert_eq!(ticks([0.0, 95_000.0], 5), [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0]);
        assert_eq!(rounded([0.0, 95_000.0], 5), [0.0, 100_000.0]);
        assert_eq!(ticks([1.0, 1.0], 5), [1.0]);
    }

    #[test]
    fn long_texts_are_cut_and_marked() {
        assert_eq!(fitted("cash advance", 10.0, 1_000.0), "cash advance");
        assert_eq!(fitted("cash advance", 10.0, 34.0), "cash…");
        assert_eq!(fitted("größe", 10.0, 0.0), "…");
    }

    #[test]
    fn a_figure_names_nothing_outside_itself_and_escapes_its_texts() {
        let svg = figure((10.0, 10.0), "a \"b\" <c>", |canvas| {
            canvas.text("<b>&\"", (1.0, 1.0), TEXT, INK, Anchor::Start)
        })
        .unwrap();
        assert!(svg.starts_with("<svg viewBox=\"0 0 80 80\""), "{svg}");
        assert!(svg.contains("&lt;b&gt;&amp;&quot;"), "{svg}");
        assert!(svg.contains("aria-label=\"a &quot;b&quot; &lt;c&gt;\""), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(!svg.contains("http"), "{svg}");
    }
}
