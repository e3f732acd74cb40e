//! Charts of the inertia, the silhouette and the stability by number of segments.

use report::numbers;

use super::FigureError;
use super::canvas::{Anchor, Axes, Canvas, Drawn, SMALL, figure, rounded, ticks, width_of};
use crate::report::palette::{ACCENT, Colour, INK, MUTED, NEUTRAL, PAPER};
use crate::train::study::{Candidate, Choice, STABLE_JACCARD};

const SIZE: (f64, f64) = (480.0, 310.0);

/// The inertia by k, with the knee marked.
pub(in crate::report) fn elbow(choice: &Choice) -> Result<String, FigureError> {
    let most = greatest(choice, |candidate| candidate.inertia);
    let axes = axes(choice, rounded([0.0, most], 5), 74.0);
    figure(SIZE, "Inertia by number of segments", |canvas| {
        axes.draw_y(canvas, &ticks(axes.y, 5), numbers::short)?;
        let points = line(canvas, &axes, choice, NEUTRAL, |candidate| candidate.inertia)?;
        for (candidate, at) in choice.candidates.iter().zip(points) {
            if Some(candidate.k) == choice.knee {
                canvas.line(&ring(at, 9.5), INK, 1.6)?;
                let side = if at.0 > SIZE.0 * 0.7 { (-14.0, Anchor::End) } else { (14.0, Anchor::Start) };
                let text = format!("knee at {}", candidate.k);
                canvas.bold(&text, (at.0 + side.0, at.1 - 10.0), SMALL, INK, side.1)?;
            }
        }
        finish(canvas, &axes, choice, "inertia (sum of squared distances)")
    })
}

/// The mean silhouette by k, with two standard errors if it is that of a sample.
pub(in crate::report) fn silhouette_by_k(choice: &Choice) -> Result<String, FigureError> {
    let reach = |candidate: &Candidate| 2.0 * candidate.silhouette_error.unwrap_or(0.0);
    let most = greatest(choice, |candidate| candidate.silhouette + reach(candidate));
    let least = -greatest(choice, |candidate| reach(candidate) - candidate.silhouette);
    let axes = axes(choice, rounded([least.min(0.0), most.max(0.05)], 5), 60.0);
    figure(SIZE, "Mean silhouette by number of segments", |canvas| {
        axes.draw_y(canvas, &ticks(axes.y, 5), |tick| numbers::fixed(tick, 2))?;
        for candidate in &choice.candidates {
            if candidate.silhouette_error.is_some() {
                let (low, high) =
                    (candidate.silhouette - reach(candidate), candidate.silhouette + reach(candidate));
                let (from, to) = (axes.at(candidate.k as f64, low), axes.at(candidate.k as f64, high));
                canvas.line(&[from, to], NEUTRAL, 1.2)?;
                for end in [from, to] {
                    canvas.line(&[(end.0 - 4.0, end.1), (end.0 + 4.0, end.1)], NEUTRAL, 1.2)?;
                }
            }
        }
        line(canvas, &axes, choice, NEUTRAL, |candidate| candidate.silhouette)?;
        finish(canvas, &axes, choice, "mean silhouette (−1 to 1)")
    })
}

/// The agreement with refits on resamples by k: adjusted Rand index and lowest Jaccard similarity.
pub(in crate::report) fn stability_by_k(choice: &Choice) -> Result<String, FigureError> {
    let least =
        choice.candidates.iter().map(|candidate| candidate.stability.ari.min(candidate.stability.least()));
    let least = least.fold(0.0, f64::min);
    let axes = axes(choice, rounded([least, 1.0], 5), 60.0);
    figure(SIZE, "Stability by number of segments", |canvas| {
        axes.draw_y(canvas, &ticks(axes.y, 5), |tick| numbers::fixed(tick, 1))?;
        let [left, _, right, _] = axes.frame;
        let (_, y) = axes.at(axes.x[0], STABLE_JACCARD);
        canvas.dashed((left, y), (right, y), MUTED, 1.2)?;
        line(canvas, &axes, choice, Colour(0x8a, 0x9b, 0xb0), |candidate| candidate.stability.ari)?;
        line(canvas, &axes, choice, NEUTRAL, |candidate| candidate.stability.least())?;
        legend(canvas)?;
        finish(canvas, &axes, choice, "agreement with resamples (1 is identical)")
    })
}

fn legend(canvas: &Canvas<'_>) -> Drawn {
    let mut x = 40.0;
    let limit = format!("stable from {STABLE_JACCARD}");
    let entries = [
        (NEUTRAL, "lowest Jaccard", false),
        (Colour(0x8a, 0x9b, 0xb0), "adjusted Rand index", false),
        (MUTED, limit.as_str(), true),
    ];
    for (colour, text, dashed) in entries {
        if dashed {
            canvas.dashed((x, 12.0), (x + 20.0, 12.0), colour, 1.2)?;
        } else {
            canvas.line(&[(x, 12.0), (x + 20.0, 12.0)], colour, 2.4)?;
            canvas.disc((x + 10.0, 12.0), 3.6, colour, 1.0)?;
        }
        canvas.text(text, (x + 26.0, 12.0), SMALL, INK, Anchor::Start)?;
        x += 26.0 + width_of(text, SMALL) + 12.0;
    }
    Ok(())
}

fn greatest(choice: &Choice, value: impl Fn(&Candidate) -> f64) -> f64 {
    choice.candidates.iter().map(value).fold(f64::NEG_INFINITY, f64::max).max(-1e300)
}

fn axes(choice: &Choice, y: [f64; 2], left: f64) -> Axes {
    let ks = choice.candidates.iter().map(|candidate| candidate.k as f64);
    let (first, last) = ks.fold((f64::INFINITY, 1.0_f64), |(low, high), k| (low.min(k), high.max(k)));
    Axes { frame: [left, 34.0, SIZE.0 - 14.0, SIZE.1 - 52.0], x: [first.min(last) - 0.4, last + 0.4], y }
}

/// Draws the values as discs joined by a line, and returns their positions.
fn line(
    canvas: &Canvas<'_>,
    axes: &Axes,
    choice: &Choice,
    colour: Colour,
    value: impl Fn(&Candidate) -> f64,
) -> Result<Vec<(f64, f64)>, String> {
    let at = |candidate: &Candidate| axes.at(candidate.k as f64, value(candidate));
    let points: Vec<(f64, f64)> = choice.candidates.iter().map(at).collect();
    canvas.line(&points, colour, 2.0)?;
    for (candidate, at) in choice.candidates.iter().zip(&points) {
        canvas.disc(*at, 5.5, PAPER, 1.0)?;
        let colour = if candidate.k == choice.chosen { ACCENT } else { colour };
        canvas.disc(*at, 4.0, colour, 1.0)?;
    }
    Ok(points)
}

/// A circle as a closed line.
fn ring((x, y): (f64, f64), radius: f64) -> Vec<(f64, f64)> {
    (0..=48)
        .map(|step| f64::from(step) / 48.0 * std::f64::consts::TAU)
        .map(|turn| (x + radius * turn.cos(), y + radius * turn.sin()))
        .collect()
}

/// Draws the line at the chosen k, the values of k and the titles of the axes.
fn finish(canvas: &Canvas<'_>, axes: &Axes, choice: &Choice, y: &str) -> Drawn {
    let [_, top, _, bottom] = axes.frame;
    let (x, _) = axes.at(choice.chosen as f64, axes.y[0]);
    canvas.dashed((x, top), (x, bottom), ACCENT, 1.0)?;
    let ks: Vec<f64> = choice.candidates.iter().map(|candidate| candidate.k as f64).collect();
    let every = ks.len().div_ceil(16).max(1);
    let shown: Vec<f64> = ks.into_iter().step_by(every).collect();
    axes.draw_x(canvas, &shown, |k| format!("{k:.0}"))?;
    axes.titles(canvas, "number of segments k (dashed: chosen)", y)
}
