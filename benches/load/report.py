"""What a load test found: the calls that ghz recorded, held against the schedule, the latencies, and the verdict.

ghz says of each call when it ended and how long it took from the moment it was sent. Where ghz itself was late, that
hides what a caller would have waited (coordinated omission), so every latency here counts from the moment when the call
was due. The schedule is known: call k is due k / rate after the first. The calls in the order in which they were sent
take its places one by one, and the call that was least late counts as punctual.

Start reading at `calls_of` and `judge`.
"""

import math
from datetime import datetime
from typing import NamedTuple

# A generator that falls behind the schedule by more than this tests another rate than the one that was asked for.
LEAST_RATE = 0.95


class NotJudged(Exception):
    """The run says nothing about the server."""


class Call(NamedTuple):
    """Times in seconds since the epoch, latencies in seconds."""

    due: float
    late: float
    """How long after it was due it was sent."""
    latency: float
    """From when it was due to its end."""
    status: str


class Limits(NamedTuple):
    """What is asked of the server."""

    p99_ms: float
    """At most; infinite where nothing is asked."""
    errors_percent: float


class Figures(NamedTuple):
    """The figures of some calls; latencies in ms, of calls that were answered OK."""

    asked: float
    sent: float
    """Per second, from the first call until the last one was sent."""
    calls: int
    late_p99: float
    quantiles: dict
    statuses: dict
    """Calls by status."""

    @property
    def errors(self):
        """Calls that did not end OK."""
        return self.calls - self.statuses.get("OK", 0)

    @property
    def p99(self):
        """Infinite where no call ended OK."""
        return self.quantiles.get("p99", math.inf)


QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def seconds(text):
    """Seconds since the epoch of a time as Go writes it: with up to nine digits of a second, which not every Python reads."""
    head, rest = text[:19], text[19:]
    zone = next((at for at, letter in enumerate(rest) if letter in "+-Z"), len(rest))
    whole = datetime.fromisoformat(head + rest[zone:].replace("Z", "+00:00"))
    return whole.timestamp() + float(f"0{rest[:zone]}" if zone else 0)


def calls_of(report, rate, warmup=0.0):
    """The calls of a report of ghz (its JSON), without those that were due within the first `warmup` seconds."""
    details = report.get("details") or []
    if not details:
        raise NotJudged("ghz reports no call at all")
    if len(details) != report["count"]:
        raise NotJudged(f"ghz kept {len(details)} of {report['count']} calls; make the run shorter")
    sent = []
    for detail in details:
        took = detail["latency"] / 1e9
        sent.append((seconds(detail["timestamp"]) - took, took, detail["status"] or "Unknown"))
    sent.sort()
    start = min(at - place / rate for place, (at, _, _) in enumerate(sent))
    calls = []
    for place, (at, took, status) in enumerate(sent):
        due = start + place / rate
        if place >= warmup * rate:
            calls.append(Call(due, at - due, at - due + took, status))
    if not calls:
        raise NotJudged("the run ended before its warm-up did")
    return calls


def quantile(ordered, share):
    """The least value that at least this share of them does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def figures(calls, rate):
    """What the calls come to."""
    answered = sorted(1000 * call.latency for call in calls if call.status == "OK")
    statuses = {}
    for call in calls:
        statuses[call.status] = statuses.get(call.status, 0) + 1
    first = calls[0].due + calls[0].late
    last = max(call.due + call.late for call in calls)
    # The last call, too, stands for a stretch of the schedule.
    taken = max(last - first, 0) + 1 / rate
    return Figures(
        asked=rate,
        sent=len(calls) / taken,
        calls=len(calls),
        late_p99=1000 * quantile(sorted(call.late for call in calls), 0.99),
        quantiles={name: quantile(answered, share) for name, share in QUANTILES.items()} if answered else {},
        statuses=dict(sorted(statuses.items())),
    )


def judge(found, limits):
    """The verdict line and the exit code: 0 met, 1 missed. Raises where the run cannot be judged."""
    if found.sent < LEAST_RATE * found.asked:
        raise NotJudged(
            f"{found.sent:.1f} calls per second were sent of {found.asked:g} that were asked for: the generator could not keep up "
            "(it needs cores beside the server's)")
    missed = []
    share = 100 * found.errors / found.calls
    if share > limits.errors_percent:
        missed.append(f"errors {found.errors} of {found.calls} calls ({share:.3g} %) of at most {limits.errors_percent:g} %")
    shown = f"p99 {milliseconds(found.p99)}"
    if math.isfinite(limits.p99_ms):
        shown += f" of at most {limits.p99_ms:g} ms"
    if found.p99 > limits.p99_ms:
        missed.append(shown)
    if missed:
        return f"SLO missed: {'; '.join(missed)}", 1
    return f"SLO met: {shown}; errors {found.errors} of {found.calls}", 0


def milliseconds(value):
    """A latency with the digits that matter."""
    return "none" if math.isinf(value) else f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms"


def table(found):
    """The figures as lines of text."""
    rows = [("calls asked for, per second", f"{found.asked:g}"), ("calls sent, per second", f"{found.sent:.1f}"),
            ("calls measured", f"{found.calls:,}"), ("sent late, p99", milliseconds(found.late_p99))]
    rows += [(f"latency {name}", milliseconds(value)) for name, value in found.quantiles.items()]
    rows += [(f"status {status}", f"{count:,}") for status, count in found.statuses.items()]
    return "\n".join(f"  {name:<28}{text:>14}" for name, text in rows)


def drift(slices, memory, growth_percent, factor):
    """What a soak found to grow, as text: resident memory since the warm-up, and the p99 of the last quarter against the first.

    `slices`: the calls of each slice. `memory`: bytes after the warm-up and after each slice; None where it is unknown.
    """
    grown = []
    quarter = max(1, len(slices) // 4)
    first, last = ([call for part in parts for call in part] for parts in (slices[:quarter], slices[-quarter:]))
    before, after = (figures(calls, 1).p99 for calls in (first, last))
    if after > factor * before:
        grown.append(f"p99 of the last quarter {milliseconds(after)}, of the first {milliseconds(before)}: "
                     f"more than {factor:g} times as long")
    start, ends = memory[0], memory[-quarter:]
    if start is not None and None not in ends:
        # A peak is not a leak: what counts is what memory comes down to.
        share = 100 * (min(ends) / start - 1)
        if share > growth_percent:
            grown.append(f"memory grew by {share:.1f} % of at most {growth_percent:g} %")
    return grown
