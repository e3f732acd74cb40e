"""The results of a load test: the recorded calls compared with the schedule, the latencies, and the verdict.

ghz records when each call ended, and how long it took since it was sent. If ghz itself was late, that hides waiting
time (coordinated omission), so a latency here counts from the moment when the call was due. The schedule is known: call
k is due k / rate after the first. The calls are assigned to the schedule in the order in which they were sent, and the
least late call counts as punctual. Calls that are late only by the precision of the generator's timer are punctual,
too: their latency is that of ghz.

Start reading at `calls_of` and `judge`.
"""

import math
from array import array
from datetime import datetime
from itertools import chain
from typing import NamedTuple

# A generator that sends less than this fraction of the calls per second tests a different rate.
LEAST_RATE = 0.95
# Go's timers wait for whole milliseconds, so an undisturbed ghz sends most calls up to 1.1 ms late.
TIMER = 0.00125


class Inconclusive(Exception):
    """The run allows no conclusion about the server."""


class Call(NamedTuple):
    """Times in seconds since the epoch, latencies in seconds."""

    due: float
    """The scheduled time; the time of sending if it was punctual."""
    late: float
    """The delay until it was sent."""
    latency: float
    """From the due time to its end."""
    status: str


class Limits(NamedTuple):
    """The objectives of the server."""

    p99_ms: float
    """Infinite if there is no limit."""
    errors_percent: float


class Figures(NamedTuple):
    """The figures of a set of calls."""

    asked: float
    sent: float
    """Calls per second, from the first call to the last."""
    calls: int
    late_p99: float
    """The 99th percentile of the delay of sending, in ms."""
    latencies: array
    """Latencies of the calls that were answered OK, in ms, sorted."""
    statuses: dict
    """Calls by status."""
    undecided: int
    """Calls that were answered OK without a decision."""

    @property
    def errors(self):
        """The number of failed calls."""
        return self.calls - len(self.latencies) + self.undecided

    def latency(self, share):
        """The quantile of the latencies of answered calls; infinite if there are none."""
        return quantile(self.latencies, share) if self.latencies else math.inf


QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def seconds(text):
    """Seconds since the epoch of a time as Go writes it, with up to nine decimals, which not every Python version
    parses."""
    head, rest = text[:19], text[19:]
    zone = next((at for at, letter in enumerate(rest) if letter in "+-Z"), len(rest))
    whole = datetime.fromisoformat(head + rest[zone:].replace("Z", "+00:00"))
    return whole.timestamp() + float(f"0{rest[:zone]}" if zone else 0)


def calls_of(report, rate, asked, warmup=0.0):
    """The calls of a JSON report of ghz, without those that were due within the first `warmup` seconds.

    ghz does not record calls that reached their deadline before they got a connection. The difference to `asked` counts
    as failed.
    """
    details = report.get("details") or []
    if not details:
        raise Inconclusive("ghz reports no call at all")
    if len(details) != report["count"]:
        raise Inconclusive(f"ghz kept {len(details)} of {report['count']} calls; make the run shorter")
    sent = []
    for detail in details:
        took = detail["latency"] / 1e9
        sent.append((seconds(detail["timestamp"]) - took, took, detail["status"] or "Unknown"))
    sent.sort()
    start = min(at - place / rate for place, (at, _, _) in enumerate(sent))
    calls = []
    for place, (at, took, status) in enumerate(sent):
        due = start + place / rate
        due = at if at - due <= TIMER else due
        if place >= warmup * rate:
            calls.append(Call(due, at - due, at - due + took, status))
    if not calls:
        raise Inconclusive("the run ended before its warm-up did")
    return calls + [Call(calls[-1].due, 0, 0, "NotRecorded")] * (asked - len(sent))


def quantile(ordered, share):
    """The quantile of sorted values, by nearest rank."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def figures(calls, rate, undecided=0):
    """The figures of these calls."""
    statuses = {}
    for call in calls:
        statuses[call.status] = statuses.get(call.status, 0) + 1
    answered = array("d", sorted(1000 * call.latency for call in calls if call.status == "OK"))
    sent = [call.due + call.late for call in calls]
    # The last call, too, accounts for one interval of the schedule.
    taken = max(sent) - min(sent) + 1 / rate
    return Figures(
        asked=rate,
        sent=len(calls) / taken,
        calls=len(calls),
        late_p99=1000 * quantile(sorted(call.late for call in calls), 0.99),
        latencies=answered,
        statuses=dict(sorted(statuses.items())),
        # Some of them may have been calls of the warm-up.
        undecided=min(undecided, len(answered)),
    )


def merged(parts):
    """The combined figures of several runs."""
    statuses = {}
    for part in parts:
        for status, count in part.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    calls = sum(part.calls for part in parts)
    return Figures(
        asked=parts[0].asked,
        sent=calls / sum(part.calls / part.sent for part in parts),
        calls=calls,
        late_p99=max(part.late_p99 for part in parts),
        latencies=array("d", sorted(chain.from_iterable(part.latencies for part in parts))),
        statuses=dict(sorted(statuses.items())),
        undecided=sum(part.undecided for part in parts),
    )


def judge(found, limits, other=()):
    """The verdict line and the exit code: 0 met, 1 missed. `other`: further problems, besides latencies and errors.
    Raises Inconclusive if the run cannot be judged."""
    if found.sent < LEAST_RATE * found.asked:
        raise Inconclusive(
            f"{found.sent:.1f} calls per second were sent of {found.asked:g} that were asked for: the generator could not keep "
            "up (it needs cores in addition to the server's)")
    p99, share = found.latency(0.99), 100 * found.errors / found.calls
    summary = f"p99 {milliseconds(p99)}"
    if math.isfinite(limits.p99_ms):
        summary += f" of at most {limits.p99_ms:g} ms"
    summary += f"; errors {found.errors:,} of {found.calls:,} calls"
    if found.errors:
        summary += f", {share:.3g} % of at most {limits.errors_percent:g} %"
    missed = p99 > limits.p99_ms or share > limits.errors_percent or other or not found.latencies
    return f"SLO {'missed' if missed else 'met'}: {'; '.join([summary, *other])}", int(bool(missed))


def milliseconds(value):
    """A latency with its significant digits."""
    return "none" if math.isinf(value) else f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms"


def table(found, more=()):
    """The figures as lines of text, followed by further rows."""
    rows = [("calls asked for, per second", f"{found.asked:g}"), ("calls sent, per second", f"{found.sent:.1f}"),
            ("calls measured", f"{found.calls:,}"), ("sent late, p99", milliseconds(found.late_p99))]
    rows += [(f"latency {name}", milliseconds(found.latency(share))) for name, share in QUANTILES.items()]
    rows += [(f"status {status}", f"{count:,}") for status, count in found.statuses.items()]
    if found.undecided:
        rows.append(("OK, but nothing decided", f"{found.undecided:,}"))
    return "\n".join(f"  {name:<30}{text:>14}" for name, text in [*rows, *more])


def drift(slices, memory, growth_percent, factor):
    """What grew during a soak, as text: the p99 of the last quarter of the slices compared with the first, and memory.

    `memory`: resident bytes after the warm-up and after each slice; None if unknown.
    """
    grown, quarter = [], max(1, len(slices) // 4)
    before, after = (merged(parts).latency(0.99) for parts in (slices[:quarter], slices[-quarter:]))
    if after > factor * before:
        grown.append(f"p99 of the last quarter {milliseconds(after)}, more than {factor:g} times that of the first, "
                     f"{milliseconds(before)}")
    start, ends = memory[0], memory[-quarter:]
    if start is not None and None not in ends:
        # A peak is not a leak: what counts is the level to which memory returns.
        share = 100 * (min(ends) / start - 1)
        if share > growth_percent:
            grown.append(f"memory grew by {share:.1f} % of at most {growth_percent:g} %")
    return grown
