"""Computes the statistics of exported comparisons with shadows, as `proffer shadow report --format json` has them.

    python tests/golden/shadow_statistics.py SHADOWS.jsonl
    python tests/golden/shadow_statistics.py SHADOWS.jsonl --report REPORT.json

SHADOWS.jsonl is an export of events of kind `shadow` as JSON Lines; its columns are those of docs/reference/records.md.
Every number is computed from all pairs with numpy and SciPy, or from the formula of its source, and shares no code with
the server. Prints one JSON object with the names of the report: by shadow `all`, `placements`, `segments`, `cells`,
`errors` and `examples`.

With `--report`, compares a report on the same decisions instead, of a server or of records, and prints how many numbers
it has compared. Each number of one must be in the other; only what the export does not have is left out (`BESIDE`).
Ends with 1 where anything differs.

The report counts in buckets where this script sorts, so two numbers differ by what the report says: quantiles by 1/128
of themselves or 2⁻³⁰, and the statistic of Kolmogorov and Smirnov lies between its `ks` and its `ks_at_most`. All
others, also the PSI, are equal but for rounding. Start reading at `figures`, and at `Comparison` for `--report`.
"""

import argparse
import collections
import json
import math
import sys

import numpy as np
from scipy import special, stats

P = 0.9  # of rank-biased overlap
SIDES = ("champion", "shadow")
LOW, HIGH = 0.025, 0.975
Z = stats.norm.ppf(HIGH)
EXAMPLES, OFFERS, REASON_LETTERS = 20, 30, 200
# What quantiles may be off, relative and near 0; all others only by rounding.
OFF, EXACT = (1 / 128, 2.0**-30), (0.0, 0.0)
# What a report has beside the numbers of its pairs: names, words, what only a server knows, and a picture.
BESIDE = {"name", "segment_name", "method", "shed", "counted_since", "bars"}
SHOWN = 20  # differences
NAN = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Side:
    """What the champion or the shadow decided: offer → (rank, score, priority), and the ids shown, best first."""

    def __init__(self, line, side):
        columns = [line[f"{side}_{what}"] for what in ("ranks", "scores", "priorities")]
        found = zip(line["offer_ids"], *columns)
        self.ranked = {offer: (rank, number(score), number(priority)) for offer, rank, score, priority in found if rank}
        self.shown = line[f"{side}_shown"]
        self.micros = line[f"{side}_us"]
        self.withheld_alone = line[f"withheld_by_{side}_only"]

    @property
    def ranking(self):
        return sorted(self.ranked, key=lambda offer: self.ranked[offer][0])

    @property
    def scores(self):
        return [score for score in map(self.score, self.ranked) if not math.isnan(score)]

    def score(self, offer):
        """NaN if there is none, or none that can be."""
        score = self.ranked[offer][1] if offer in self.ranked else math.nan
        return score if 0 <= score <= 1 else math.nan


class Decision:
    """A line of the export."""

    def __init__(self, line):
        self.id, self.placement, self.segment = line["decision_id"], line["placement"], line["segment_id"]
        self.error = line["error"]
        self.champion, self.shadow = Side(line, "champion"), Side(line, "shadow")
        self.offers = line["offer_ids"]
        self.values = {offer: number(value) for offer, value in zip(self.offers, line["values"])}
        self.rbo = overlap_at_all_depths(self.champion.ranking, self.shadow.ranking)

    @property
    def both(self):
        """The offers that both ranked."""
        return [offer for offer in self.champion.ranked if offer in self.shadow.ranked]

    @property
    def changes(self):
        changes = [self.shadow.score(offer) - self.champion.score(offer) for offer in self.both]
        return [change for change in changes if not math.isnan(change)]

    @property
    def tau_b(self):
        pairs = [(self.champion.ranked[offer][2], self.shadow.ranked[offer][2]) for offer in self.both]
        pairs = [pair for pair in pairs if not any(map(math.isnan, pair))]
        if any(len({pair[side] for pair in pairs}) < 2 for side in (0, 1)):
            return None
        return float(stats.kendalltau(*zip(*pairs)).statistic)

    def value(self, shown, yardstick):
        """The expected value of what is shown, and whether each offer has a score and a value."""
        values = [yardstick.score(offer) * self.values.get(offer, math.nan) for offer in shown]
        known = [value for value in values if math.isfinite(value)]
        return sum(known), len(known) == len(values)


def number(value):
    return NAN[value] if isinstance(value, str) else float(value)


def overlap_at_all_depths(one, other):
    """Rank-biased overlap, extrapolated: equation 32 of Webber, Moffat & Zobel (2010), as it is printed."""
    short, long = sorted((one, other), key=len)
    s, l = len(short), len(long)
    if l == 0:
        return None
    if s == 0:
        return 0.0
    x = [0] + [len(set(short[:depth]) & set(long[:depth])) for depth in range(1, l + 1)]
    first = sum(x[d] / d * P**d for d in range(1, l + 1))
    second = sum(x[s] * (d - s) / (s * d) * P**d for d in range(s + 1, l + 1))
    return (1 - P) / P * (first + second) + ((x[l] - x[s]) / l + x[s] / s) * P**l


def wilson(count, n):
    interval = stats.binomtest(count, n).proportion_ci(method="wilson")
    return [float(interval.low), float(interval.high)]


def share(flags):
    n, count = len(flags), sum(flags)
    return {"n": n, "count": count, "share": count / n, "interval": wilson(count, n)} if n else None


def around(middle, error):
    return [float(middle - Z * error), float(middle + Z * error)]


def spread(values):
    """The deviation of a sample and the interval of the mean."""
    if len(values) < 2:
        return None, None
    deviation = float(np.std(values, ddof=1))
    return deviation, around(np.mean(values), deviation / math.sqrt(len(values)))


def mean(values, least):
    """The interval ends where values of least..1 do."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    deviation, interval = spread(values)
    interval = interval and [max(interval[0], least), min(interval[1], 1.0)]
    return {"n": len(values), "mean": float(np.mean(values)), "deviation": deviation, "interval": interval}


def quantile(ordered, q):
    """The least value that at least the share q of the values does not exceed."""
    return ordered[min(max(math.ceil(q * len(ordered) - 1e-9), 1), len(ordered)) - 1]


def with_interval(ordered, q, decisions):
    """A quantile, and between which of the values of so many decisions it lies whatever the distribution is."""
    low, high = int(stats.binom.ppf(LOW, decisions, q)), int(stats.binom.ppf(HIGH, decisions, q)) + 1
    limits = [quantile(ordered, rank / decisions) for rank in (low, high)] if low > 0 and high <= decisions else None
    return {"value": quantile(ordered, q), "interval": limits}


def score_change(decisions):
    by_decision = [decision.changes for decision in decisions if decision.changes]
    changes = sorted(change for found in by_decision for change in found)
    if not changes:
        return None
    deviation, _ = spread(changes)
    n, interval = len(by_decision), None
    if n > 1:
        # The delta method for a ratio of sums over decisions.
        sums, sizes = np.array([sum(found) for found in by_decision]), np.array([len(found) for found in by_decision])
        ratio = sums.sum() / sizes.sum()
        residuals = sums - ratio * sizes
        error = math.sqrt((residuals**2).sum() / (n - 1) / n) / sizes.mean()
        interval = around(ratio, error)
    quantiles = {f"p{round(100 * q)}": with_interval(changes, q, n) for q in (0.01, 0.5, 0.99)}
    return {
        "pairs": len(changes),
        "decisions": n,
        "mean": float(np.mean(changes)),
        "interval": interval,
        "deviation": deviation,
        **quantiles,
    }


def lowered(score):
    """The lower limit of the bucket of a score: 128 equal buckets per power of two, and one for all below 2⁻¹⁶."""
    if score < 2.0**-16 * (1 + 1 / 128):
        return 0.0
    mantissa, exponent = math.frexp(score)
    return math.floor(mantissa * 256) / 256 * 2.0**exponent


def probability(ks, n, m):
    """That two samples of so many independent scores of one distribution are so far apart, or farther."""
    return float(special.kolmogorov(math.sqrt(n / (n + m) * m) * ks))


def score_shift(decisions):
    champion = np.clip([score for decision in decisions for score in decision.champion.scores], 0, 1)
    shadow = np.clip([score for decision in decisions for score in decision.shadow.scores], 0, 1)
    n, m = len(champion), len(shadow)
    if not n or not m:
        return None
    ordered = np.sort(champion)
    edges = [lowered(float(ordered[decile * n // 10])) for decile in range(1, 10)]

    def counts(scores):
        return np.bincount(np.searchsorted(edges, scores, side="right"), minlength=10)

    expected, found = ((counts(scores) + 0.5) / (counts(scores) + 0.5).sum() for scores in (champion, shadow))
    ks = float(stats.ks_2samp(champion, shadow, method="asymp").statistic)
    return {
        "champion_scores": n,
        "shadow_scores": m,
        "psi": float(((found - expected) * np.log(found / expected)).sum()),
        "psi_by_chance": (int(np.count_nonzero(counts(champion))) - 1) * (1 / n + 1 / m),
        "edges": edges,
        "ks": ks,
        "ks_p_value": probability(ks, n, m),
    }


def value(decisions, yardstick):
    if not decisions:
        return None
    champion, shadow = (
        np.array([one.value(getattr(one, side).shown, getattr(one, yardstick))[0] for one in decisions])
        for side in ("champion", "shadow")
    )
    deviation, interval = spread(shadow - champion)
    return {
        "n": len(decisions),
        "champion": float(champion.mean()),
        "shadow": float(shadow.mean()),
        "change": float((shadow - champion).mean()),
        "deviation": deviation,
        "interval": interval,
    }


def is_valued(decision):
    sides = (decision.champion, decision.shadow)
    return all(decision.value(side.shown, yardstick)[1] for side in sides for yardstick in sides)


def span(micros):
    if not micros:
        return None
    ordered = sorted(map(float, micros))
    return {"n": len(micros), **{f"p{round(100 * q)}": with_interval(ordered, q, len(micros)) for q in (0.5, 0.99)}}


def figures(all_decisions):
    """The statistics of some decisions."""
    decisions = [decision for decision in all_decisions if not decision.error]
    showing = [decision for decision in decisions if decision.champion.shown or decision.shadow.shown]
    slates = [(decision.champion.shown, decision.shadow.shown) for decision in showing]
    differs = [bool(decision.champion.withheld_alone or decision.shadow.withheld_alone) for decision in decisions]
    return {
        "compared": len(decisions),
        "failed": len(all_decisions) - len(decisions),
        "empty": len(decisions) - len(showing),
        "first_agrees": share([one[:1] == other[:1] for one, other in slates]),
        "overlap": mean([len(set(one) & set(other)) / max(len(one), len(other)) for one, other in slates], 0.0),
        "tau_b": mean([decision.tau_b for decision in decisions], -1.0),
        "rbo": mean([decision.rbo for decision in decisions], 0.0),
        "score_change": score_change(decisions),
        "score_shift": score_shift(decisions),
        "value_by_champion": value(decisions, "champion"),
        "value_by_shadow": value(decisions, "shadow"),
        "unvalued": sum(not is_valued(decision) for decision in decisions),
        "withheld_differs": share(differs),
        "champion_us": span([decision.champion.micros for decision in decisions]),
        "shadow_us": span([decision.shadow.micros for decision in decisions]),
    }


def grouped(decisions, key):
    groups = collections.defaultdict(list)
    for decision in decisions:
        groups[key(decision)].append(decision)
    # Without a segment comes first.
    return sorted(groups.items(), key=lambda group: (group[0] is not None, group[0]))


def crossed(decisions):
    """By placement and segment, where there are several of both."""
    placements, segments = ({getattr(decision, of) for decision in decisions} for of in ("placement", "segment"))
    if len(placements) < 2 or len(segments) < 2:
        return []
    return [
        {"placement": placement, "segment": segment, **figures(here)}
        for placement, found in grouped(decisions, lambda decision: decision.placement)
        for segment, here in grouped(found, lambda decision: decision.segment)
    ]


def finite(value):
    return value if math.isfinite(value) else None


def example(decision):
    """A decision with the offers that are nearest to the top of either ranking."""
    sides = {"champion": decision.champion, "shadow": decision.shadow}
    shown = [offer for side in sides.values() for offer in side.shown]
    offers = list(dict.fromkeys(decision.offers + shown))

    def place(side, offer):
        if offer not in side.ranked:
            return None
        rank, score, priority = side.ranked[offer]
        return {"rank": rank, "score": finite(score), "priority": finite(priority)}

    best = {offer: min(side.ranked.get(offer, (math.inf,))[0] for side in sides.values()) for offer in offers}
    kept = sorted(offers, key=best.get)[:OFFERS]
    return {
        "decision_id": decision.id,
        "placement": decision.placement,
        "segment": decision.segment,
        "rbo": decision.rbo,
        "tau_b": decision.tau_b,
        "offers": [
            {
                "offer_id": offer,
                "value": finite(decision.values.get(offer, 0.0)),
                **{name: place(side, offer) for name, side in sides.items()},
                **{f"{name}_shows": offer in side.shown for name, side in sides.items()},
            }
            for offer in kept
        ],
        "more_offers": len(offers) - len(kept),
    }


def report(shadow, decisions):
    reasons = collections.Counter(decision.error[:REASON_LETTERS] for decision in decisions if decision.error)
    apart = [decision for decision in decisions if not decision.error and decision.rbo is not None]
    # Equal but for rounding is no example.
    apart = [decision for decision in apart if decision.rbo < 1 - 1e-12]
    apart.sort(key=lambda decision: (round(decision.rbo, 12), decision.id))
    return {
        "shadow": shadow,
        "all": figures(decisions),
        "placements": [
            {"placement": placement, **figures(found)}
            for placement, found in grouped(decisions, lambda decision: decision.placement)
        ],
        "segments": [
            {"segment": segment, **figures(found)}
            for segment, found in grouped(decisions, lambda decision: decision.segment)
        ],
        "cells": crossed(decisions),
        "errors": dict(sorted(reasons.items())),
        "examples": [example(decision) for decision in apart[:EXAMPLES]],
    }


def origin(lines):
    """What a report says of the decisions beside statistics: when, by which releases, and with which models."""
    # The report has milliseconds.
    times = sorted(line["decided_at"][: len("2026-12-01T00:00:00.000")] + "Z" for line in lines)
    pairs = collections.Counter(json.dumps([line["record"][f"{side}_models"] for side in SIDES]) for line in lines)
    return {
        "first_decided_at": times[0],
        "last_decided_at": times[-1],
        "releases": collections.Counter(str(line["release"]) for line in lines),
        "models": pairs,
        # There is room for all.
        "beyond": 0,
        "other_errors": 0,
    }


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Comparison:
    """A report beside what is computed here."""

    def __init__(self):
        self.numbers, self.wrong = 0, []

    def assert_that(self, is_right, path, found, expected):
        if not is_right:
            self.wrong.append(f"{path}: {found!r} is not {expected!r}")

    def check(self, path, found, expected, off=EXACT):
        """Everything below a path; `off` is what a number may be off, relative and at least."""
        if is_number(found) and is_number(expected):
            self.numbers += 1
            allowed = max(off[0] * abs(expected), off[1]) + 1e-10 * max(abs(expected), 0.1)
            self.assert_that(abs(found - expected) <= allowed, path, found, expected)
        elif isinstance(found, dict) and isinstance(expected, dict):
            self.check_members(path, found, expected, off)
        elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
            for at, (one, other) in enumerate(zip(found, expected)):
                self.check(f"{path}/{at}", one, other, off)
        else:
            self.assert_that(type(found) is type(expected) and found == expected, path, found, expected)

    def check_members(self, path, found, expected, off):
        names = (found.keys() | expected.keys()) - BESIDE
        if "ks" in expected:
            self.check_distance(path, found, expected)
            names -= {"ks", "ks_at_most", "ks_p_value"}
        for name in sorted(names):
            here = f"{path}/{name}"
            if name in found and name in expected:
                self.check(here, found[name], expected[name], OFF if name in ("p1", "p50", "p99") else off)
            else:
                self.wrong.append(f"{here} is in one of both alone")

    def check_distance(self, path, found, expected):
        """The exact distance of two distributions lies between what it is at the limits of buckets, and its bound."""
        low, high, exact = found["ks"], found["ks_at_most"], expected["ks"]
        self.assert_that(low - 1e-12 <= exact <= high + 1e-12, f"{path}/ks", (low, high), exact)
        self.numbers += 2
        p_value = probability(low, expected["champion_scores"], expected["shadow_scores"])
        self.check(f"{path}/ks_p_value", found["ks_p_value"], p_value)

    def check_report(self, found, lines_of):
        self.check("/left_out", found["left_out"], 0)
        self.check("/shadows", [one["shadow"] for one in found["shadows"]], sorted(lines_of))
        for one in found["shadows"]:
            lines, path = lines_of.get(one["shadow"], []), f"/{one['shadow']}"
            if not lines:
                continue
            counts = [error["decisions"] for error in one["errors"]]
            self.check(f"{path}/errors", counts, sorted(counts, reverse=True))
            expected = {**report(one["shadow"], [Decision(line) for line in lines]), **origin(lines)}
            by_id = {line["decision_id"]: line for line in lines}
            for shown in expected["examples"]:
                line = by_id[shown["decision_id"]]
                shown["decided_at"] = origin([line])["first_decided_at"]
                shown["release"] = line["release"]
            errors = {error["reason"]: error["decisions"] for error in one["errors"]}
            models = {json.dumps([pair[side] for side in SIDES]): pair["decisions"] for pair in one["models"]}
            self.check(path, {**one, "errors": errors, "models": models}, expected)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shadows", help="the export, JSON Lines")
    parser.add_argument("--report", help="a report with --format json, which is compared")
    arguments = parser.parse_args()
    lines_of = collections.defaultdict(list)
    with open(arguments.shadows, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            # What is left of an erased person has no shadow.
            if line.get("shadow"):
                lines_of[line["shadow"]].append(line)
    if arguments.report:
        comparison = Comparison()
        with open(arguments.report, encoding="utf-8") as found:
            comparison.check_report(json.load(found), lines_of)
        print(f"{comparison.numbers} numbers")
        more = len(comparison.wrong) - SHOWN
        told = comparison.wrong[:SHOWN] + [f"and {more} more"] * (more > 0)
        sys.exit("\n".join(told) or None)
    shadows = [report(shadow, list(map(Decision, lines))) for shadow, lines in sorted(lines_of.items())]
    json.dump({"shadows": shadows}, sys.stdout, indent=2, allow_nan=False)
    print()


if __name__ == "__main__":
    main()
