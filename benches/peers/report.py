"""The evaluation of the measurements: medians, ratios, the check of answers, and the table. Nothing is measured here.

Start reading at `Report`.
"""

import statistics
from dataclasses import dataclass, field

# The largest error of a score compared with ONNX Runtime, absolute, and of a priority, relative above 1.
TOLERANCE = 1e-4

HEADER = ["work", "by", "p50 µs", "p99 µs", "per second", "CPU µs", "ratio"]


@dataclass
class Row:
    """One line of the table. Lists have an entry per round; ratios are taken round by round, because the speed of the
    machine varies."""

    work: str
    by: str
    p50: list = field(default_factory=list)
    p99: list = field(default_factory=list)
    rate: list = field(default_factory=list)
    cpu: list = field(default_factory=list)
    # The row to compare with; the base row is its own base.
    base: "Row" = None
    missing: str = ""

    def ratio(self, base=None):
        """The speed relative to the base, by rates if there are any, else by times; None if one of them is missing."""
        base = base or self.base
        if base is None or self.missing or base.missing:
            return None
        if self.rate and base.rate:
            return statistics.median(mine / theirs for mine, theirs in zip(self.rate, base.rate))
        return statistics.median(theirs / mine for mine, theirs in zip(self.p50, base.p50))

    def cells(self):
        if self.missing:
            return [self.work, f"{self.by}: not available, {self.missing}", *[""] * 5]
        numbers = [number(statistics.median(values)) if values else "" for values in (self.p50, self.p99, self.rate, self.cpu)]
        ratio = self.ratio()
        return [self.work, self.by, *numbers, "" if ratio is None else number(ratio)]


@dataclass
class Report:
    """The rows in order, the failures, and the lines about goals."""

    rows: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    goals: list = field(default_factory=list)

    def row(self, work, by, base=None, missing=""):
        row = Row(work, by, missing=missing)
        row.base = base or row
        self.rows.append(row)
        return row

    def goal(self, what, measured, least=None, most=None):
        """A goal is reported, never enforced, because the speed of the machine does not make a run invalid."""
        wanted = f"at least {number(least)}" if most is None else f"at most {number(most)}"
        if measured is None:
            self.goals.append(f"{what}: not measured (goal {wanted})")
        else:
            met = measured >= least if most is None else measured <= most
            self.goals.append(f"{what}: {number(measured)} (goal {wanted}, {'met' if met else 'MISSED'})")

    def table(self):
        """The table in Markdown."""
        lines = [HEADER, ["---", "---", *["---:"] * 5], *(row.cells() for row in self.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value):
    """Three significant digits or an integer, with thousands separators."""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def difference(found, expected):
    """The largest difference of scores; infinite if their numbers differ."""
    if len(found) != len(expected):
        return float("inf")
    apart = [abs(float(a) - float(b)) for a, b in zip(found, expected)]
    # max() ignores a NaN unless it comes first.
    return float("inf") if any(one != one for one in apart) else max(apart, default=0.0)


def ranking_is_right(found, expected, scores, offer_of):
    """Whether offers `[id, priority, score]` are those of `rules.expected`. `scores` are those of all offers; offers
    with almost equal priorities may be swapped."""
    if len(found) != len(expected):
        return False
    for (name, priority, score), (wanted, _, _) in zip(found, expected):
        offer = offer_of(name)
        if offer is None or abs(priority - wanted) > TOLERANCE * max(1.0, wanted):
            return False
        if score is not None and abs(score - float(scores[offer])) > TOLERANCE:
            return False
    return len({name for name, _, _ in found}) == len(found)
