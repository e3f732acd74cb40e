#!/usr/bin/env python3
"""Plays an hour of the sample bank against a running Proffer: customers come, are shown offers, and respond.

    play.py                 the hour in a minute
    play.py --seconds 0     as fast as the server answers
    play.py --server ADDR   another server than 127.0.0.1:50051

Decisions and outcomes are recorded as those of any client, so that there is something to look at afterwards: limits
that withhold offers, metrics, `proffer decision list`, `proffer events export --kind outcome`. At the end it prints
what was shown, what became of the outcomes, and how much each limit withheld.

The customers are simulated: see `Bank.respond`. Exits with 2 if the server rejected a call or was
unreachable. Start reading at `main`.
"""

import argparse
import collections
import csv
import datetime as dt
import heapq
import itertools
import json
import random
import re
import sys
import time
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "proto"))
# Compiled while they are imported, so that no generated code can be out of date.
decision, decision_grpc = grpc.protos_and_services("proffer/v1/decision.proto")
feedback, feedback_grpc = grpc.protos_and_services("proffer/v1/feedback.proto")

HOUR = 3600.0
CALL_SECONDS = 30
UTC = dt.timezone.utc
# Offers are judged valid as of this moment, in the season of the offer with a budget. Limits look at the server's
# clock.
AS_OF = "2027-01-15T10:00:00+00:00"

# How often each placement is asked for, and how often what it shows is seen.
VISITS = {"app_home": 0.65, "email_monthly": 0.2, "call_center": 0.15}
SEEN = {"app_home": 0.9, "email_monthly": 0.5, "call_center": 1.0}
PAGES = {
    "app_home": ["home", "home", "statement", "travel", "card"],
    "email_monthly": ["home"],
    "call_center": ["support", "card"],
}

LOOKS = 0.12  # clicks by those who do not accept
DISMISSES = 0.2  # by those who saw an offer and did not click
CONVERTS = 0.6  # of those who accept
OPTS_OUT = 0.01  # of those who see an e-mail
# A share of the reports is sent twice, as by a client that did not get the answer.
REPEATS = 0.02

# `<limit>: frees in <time>, at <moment>`, or `<limit>: does not free`. The limit is an id of the policy, or a key of
# the offer.
OF_OFFER = ("cap_customer", "cap_total", "budget")
DETAIL = re.compile(r"(?P<limit>[^:]+): (?:frees in .*, at (?P<at>\S+)|does not free)")


class Bank:
    """The customers, the server, and what happened so far. Times are seconds of the hour that is played."""

    def __init__(self, options):
        self.random = random.Random(options.seed)
        self.seconds, self.as_of = options.seconds, dt.datetime.fromisoformat(options.as_of)
        with (ROOT / "models/customers.csv").open(newline="") as file:
            known = [row["customer_id"] for row in csv.DictReader(file)]
        self.customers = self.random.sample(known, options.customers)
        # A few come often, most once or twice.
        self.habits = list(itertools.accumulate(1 / (rank + 30) for rank in range(len(self.customers))))
        channel = grpc.insecure_channel(options.server)
        self.decisions = decision_grpc.DecisionServiceStub(channel)
        self.feedback = feedback_grpc.FeedbackServiceStub(channel)
        self.queue, self.order = [], itertools.count()
        self.due = []  # outcomes that are reported with the next call
        self.visits = 0
        self.shown = collections.Counter()  # (placement, offer)
        self.empty = collections.Counter()  # placement
        self.verdicts = collections.Counter()  # (type, verdict)
        self.withheld = {}  # limit → [offers withheld, decisions concerned, {(customer, offer): when it frees}]

    def play(self, visits):
        """Plays the hour, with about so many visits, and then what is still to be answered."""
        at = self.random.expovariate(visits / HOUR)
        while at < HOUR:
            self.plan(at, self.visit)
            at += self.random.expovariate(visits / HOUR)
        began = time.monotonic()
        while self.queue:
            at, _, act = heapq.heappop(self.queue)
            if at > HOUR:
                break
            time.sleep(max(0.0, began + at / HOUR * self.seconds - time.monotonic()))
            act(at)
        self.report()

    def plan(self, at, act):
        heapq.heappush(self.queue, (at, next(self.order), act))

    def visit(self, at):
        """A customer is shown something, and responds later."""
        # What happened before is counted before the next decision.
        self.report()
        customer = self.random.choices(self.customers, cum_weights=self.habits)[0]
        placement = self.random.choices(list(VISITS), list(VISITS.values()))[0]
        request = decision.RankRequest(
            placement=placement,
            customers=[decision.Customer(customer_id=customer)],
            explain=decision.EXPLAIN_ALL,
        )
        request.as_of.FromDatetime(self.as_of)
        request.context["month"].int64_value = self.as_of.month
        request.context["hour"].int64_value = self.as_of.hour
        request.context["page"].string_value = self.random.choice(PAGES[placement])
        result = self.decisions.Rank(request, timeout=CALL_SECONDS).results[0]
        self.visits += 1
        self.empty[placement] += not result.offers
        for offer in result.offers:
            self.shown[placement, offer.offer_id] += 1
            self.respond(at, placement, result, offer)
        self.note(customer, result)

    def respond(self, at, placement, result, offer):
        """What a customer does with an offer. They accept with the probability that the model predicts."""
        draw = self.random.random
        if draw() >= SEEN[placement]:
            return
        later = at + 1 + 4 * draw()
        self.plan_outcome(later, result, offer, "impression")
        propensity = offer.factors.propensity if offer.HasField("factors") else 0.01
        accepts = draw() < min(1.0, propensity / SEEN[placement])
        if accepts or draw() < LOOKS:
            self.plan_outcome(later + 30 * draw(), result, offer, "click")
        elif draw() < DISMISSES:
            self.plan_outcome(later + 10 * draw(), result, offer, "dismiss")
        if accepts:
            later += 60 + 240 * draw()
            self.plan_outcome(later, result, offer, "accept")
            if draw() < CONVERTS:
                value = offer.factors.value
                self.plan_outcome(later + 1800 * draw(), result, offer, "convert", value)
        if placement == "email_monthly" and offer.rank == 1 and draw() < OPTS_OUT:
            self.plan_outcome(later + 60 * draw(), result, offer, "opt_out")

    def plan_outcome(self, at, result, offer, kind, value=0.0):
        outcome = feedback.Outcome(
            # The same whenever it is reported, so that it is counted once.
            event_id=f"{result.decision_id}/{offer.offer_id}/{kind}",
            decision_id=result.decision_id,
            offer_id=offer.offer_id,
            type=kind,
            value=value,
        )

        def happens(_):
            outcome.occurred_at.GetCurrentTime()
            self.due.append(outcome)

        self.plan(at, happens)

    def report(self):
        """Reports what has happened since the last call; sometimes twice."""
        if not self.due:
            return
        times = 2 if self.random.random() < REPEATS else 1
        for first in range(0, len(self.due), 1000):
            request = feedback.RecordOutcomesRequest(outcomes=self.due[first : first + 1000])
            for _ in range(times):
                answer = self.feedback.RecordOutcomes(request, timeout=CALL_SECONDS)
                for outcome, verdict in zip(request.outcomes, answer.verdicts, strict=True):
                    name = feedback.OutcomeVerdict.Verdict.Name(verdict.verdict)
                    self.verdicts[outcome.type, name.removeprefix("VERDICT_")] += 1
        self.due.clear()

    def note(self, customer, result):
        """Remembers what limits withheld, and until when."""
        stages = (decision.WITHHELD_STAGE_LIMITS, decision.WITHHELD_STAGE_RESERVATION)
        limits = set()
        for rejected in result.rejected:
            if rejected.withheld_stage not in stages or not (found := DETAIL.fullmatch(rejected.detail)):
                continue
            limit = found["limit"]
            if limit in OF_OFFER:
                limit += f" of {rejected.offer_id}"
            offers, decisions, frees = self.withheld.setdefault(limit, [0, 0, {}])
            frees[customer, rejected.offer_id] = found["at"] and dt.datetime.fromisoformat(found["at"])
            self.withheld[limit] = [offers + 1, decisions + (limit not in limits), frees]
            limits.add(limit)

    def summary(self):
        """What happened, as texts and numbers."""
        now = dt.datetime.now(UTC)
        shown = collections.defaultdict(dict)
        for (placement, offer), times in self.shown.items():
            shown[offer][placement] = times
        outcomes = collections.defaultdict(dict)
        for (kind, verdict), times in self.verdicts.items():
            outcomes[kind][verdict] = times
        limits = {}
        for limit, (offers, decisions, frees) in sorted(self.withheld.items()):
            ahead = [at for at in frees.values() if at and at > now]
            limits[limit] = {
                "offers": offers,
                "decisions": decisions,
                "next_frees_at": min(ahead).isoformat() if ahead else None,
            }
        most_first = sorted(shown.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        return {
            "visits": self.visits,
            "empty": dict(self.empty),
            "shown": dict(most_first),
            "outcomes": dict(outcomes),
            "limits": limits,
        }


def printed(summary):
    """The tables of a summary."""
    now = dt.datetime.now(UTC)
    lines = [f"{summary['visits']:,} visits of an hour"]
    rows = [[offer, *(counts.get(placement, 0) for placement in VISITS)] for offer, counts in summary["shown"].items()]
    rest = [sum(column) for column in zip(*(row[1:] for row in rows[12:]))]
    rows = rows[:12] + ([[f"{len(rows) - 12} others", *rest]] if rest else [])
    rows.append(["nothing", *(summary["empty"].get(placement, 0) for placement in VISITS)])
    lines += ["", *table(["shown", *VISITS], rows)]
    verdicts = ["ACCEPTED", "DUPLICATE", "REFUSED"]
    rows = [[kind, *(counts.get(verdict, 0) for verdict in verdicts)] for kind, counts in summary["outcomes"].items()]
    lines += ["", *table(["outcomes", *verdicts], rows)]
    rows = []
    for limit, found in summary["limits"].items():
        at = found["next_frees_at"]
        frees = f"{at:.19}Z, in {in_words(dt.datetime.fromisoformat(at) - now)}" if at else "-"
        rows.append([limit, found["offers"], found["decisions"], frees])
    lines += ["", *table(["withheld by", "offers", "in decisions", "next free at"], rows)]
    return "\n".join(lines)


def table(head, rows):
    """Lines of a table: the first column and texts to the left, numbers to the right."""
    texts = [head, *([cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    # The head of a column stands over its cells.
    left = [column == 0 or any(isinstance(row[column], str) for row in rows) for column in range(len(head))]
    for row in texts:
        cells = [cell.ljust(width) if to_left else cell.rjust(width) for cell, width, to_left in zip(row, widths, left)]
        yield "  ".join(cells).rstrip()


def in_words(length):
    """A length of time in its two largest units."""
    minutes = max(0, round(length.total_seconds() / 60))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:50051", metavar="ADDR", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the hour takes (default: %(default)s)")
    parser.add_argument("--visits", type=int, default=2400, help="visits in the hour (default: %(default)s)")
    parser.add_argument("--customers", type=int, default=300, help="who come, up to 2,000 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of visits and responses (default: %(default)s)")
    parser.add_argument("--as-of", default=AS_OF, metavar="TIME", help="when offers are valid (default: %(default)s)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the summary as JSON")
    return parser.parse_args()


def main():
    options = arguments()
    bank = Bank(options)
    print(f"an hour in {options.seconds:g} s; offers as of {options.as_of}", flush=True)
    try:
        bank.play(options.visits)
    except grpc.RpcError as error:
        print(f"{options.server}: {error.code().name}: {error.details()}", file=sys.stderr)
        return 2
    summary = bank.summary()
    print(printed(summary))
    if options.report:
        options.report.write_text(json.dumps(summary, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
