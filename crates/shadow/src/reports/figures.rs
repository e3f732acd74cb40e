//! From the counts of a cell to its statistics.

use statistics::{Histogram, Interval, Moments, Sketch, normal, wilson};

use super::{Bars, Figures, Mean, Quantile, ScoreChange, ScoreShift, Share, Span, ValueChange};
use crate::tally::{Cell, ValueMoments};

/// The bars of the picture of scores.
const BARS: u32 = 20;

/// The share of the scores that the bars must reach.
const REACHED: f64 = 0.995;

/// Where the bars may end.
const ENDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/// The quantile of the standard normal distribution for intervals of 95 %.
fn z() -> f64 {
    normal::quantile(0.975)
}

pub(super) fn figures(cell: &Cell) -> Figures {
    Figures {
        compared: cell.compared,
        failed: cell.failed,
        empty: cell.empty,
        first_agrees: share(cell.first_agrees, cell.compared - cell.empty),
        overlap: mean(&cell.overlap, [0.0, 1.0]),
        tau_b: mean(&cell.tau_b, [-1.0, 1.0]),
        rbo: mean(&cell.rbo, [0.0, 1.0]),
        score_change: score_change(cell),
        score_shift: score_shift(cell),
        value_by_champion: value(&cell.value_by_champion),
        value_by_shadow: value(&cell.value_by_shadow),
        unvalued: cell.unvalued,
        withheld_differs: share(cell.withheld_differs, cell.compared),
        champion_us: span(&cell.champion_us),
        shadow_us: span(&cell.shadow_us),
    }
}

fn limits(interval: Interval) -> [f64; 2] {
    [interval.low, interval.high]
}

pub(super) fn share(count: u64, n: u64) -> Option<Share> {
    let interval = limits(wilson(count, n, z())?);
    Some(Share { n, count, share: count as f64 / n as f64, interval })
}

/// `least` and `most`: the values that there can be, which an interval does not exceed.
fn mean(moments: &Moments, [least, most]: [f64; 2]) -> Option<Mean> {
    Some(Mean {
        n: moments.n(),
        mean: moments.mean()?,
        deviation: moments.deviation(),
        interval: moments.interval(z()).map(|Interval { low, high }| [low.max(least), high.min(most)]),
    })
}

/// `decisions`: the independent draws among the values.
fn quantile(sketch: &Sketch, q: f64, decisions: u64) -> Option<Quantile> {
    Some(Quantile { value: sketch.quantile(q)?, interval: sketch.interval(q, z(), decisions).map(limits) })
}

fn score_change(cell: &Cell) -> Option<ScoreChange> {
    let decisions = cell.change_by_decision.n();
    let quantile = |q: f64| quantile(&cell.changes, q, decisions);
    Some(ScoreChange {
        pairs: cell.change.n(),
        decisions,
        mean: cell.change.mean()?,
        interval: cell.change_by_decision.interval(z()).map(limits),
        deviation: cell.change.deviation(),
        p1: quantile(0.01)?,
        p50: quantile(0.5)?,
        p99: quantile(0.99)?,
    })
}

fn score_shift(cell: &Cell) -> Option<ScoreShift> {
    let (champion, shadow) = (&cell.champion_scores, &cell.shadow_scores);
    let shift = champion.shift(shadow)?;
    Some(ScoreShift {
        champion_scores: champion.n(),
        shadow_scores: shadow.n(),
        psi: shift.psi,
        psi_by_chance: shift.bins.saturating_sub(1) as f64
            * (1.0 / champion.n() as f64 + 1.0 / shadow.n() as f64),
        edges: shift.edges,
        ks: shift.ks,
        ks_at_most: if has_same_scores(cell) { shift.ks } else { shift.ks_at_most },
        ks_p_value: shift.ks_p_value,
    })
}

/// Whether both gave each offer the same score. Then their distributions are the same within buckets, too.
fn has_same_scores(cell: &Cell) -> bool {
    let (pairs, changes) = (cell.change.n(), &cell.changes);
    [&cell.champion_scores, &cell.shadow_scores].iter().all(|scores| scores.n() == pairs)
        && [0.0, 1.0].iter().all(|end| changes.quantile(*end) == Some(0.0))
}

fn value(moments: &ValueMoments) -> Option<ValueChange> {
    Some(ValueChange {
        n: moments.change.n(),
        champion: moments.champion.mean()?,
        shadow: moments.shadow.mean()?,
        change: moments.change.mean()?,
        deviation: moments.change.deviation(),
        interval: moments.change.interval(z()).map(limits),
    })
}

fn span(sketch: &Sketch) -> Option<Span> {
    let quantile = |q: f64| quantile(sketch, q, sketch.n());
    Some(Span { n: sketch.n(), p50: quantile(0.5)?, p99: quantile(0.99)? })
}

/// The scores of both, up to where nearly all of them are.
pub(super) fn bars(cell: &Cell) -> Option<Bars> {
    let (champion, shadow) = (&cell.champion_scores, &cell.shadow_scores);
    let reached = champion.quantile(REACHED)?.max(shadow.quantile(REACHED)?);
    let end = ENDS.into_iter().find(|end| *end > reached).unwrap_or(1.0);
    let edges: Vec<f64> = (1..BARS).map(|edge| end * f64::from(edge) / f64::from(BARS)).collect();
    let counts = |scores: &Histogram| scores.between(&edges);
    Some(Bars { end, champion: counts(champion), shadow: counts(shadow) })
}
