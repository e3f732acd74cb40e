"""Computes what another release would have answered to recorded requests, as `proffer replay --release` does.

    python tests/golden/what_if.py DECISIONS.parquet --before 1=WORKSPACE --before 2=WORKSPACE --after WORKSPACE

DECISIONS.parquet is an export. What was answered is read from it (records.py). What would have been answered is decided
by reference.py, which shares no code with the server. A workspace is that of a release; the highest version of each of
its models counts. Prints the tables as one JSON object with the names of `--format json`.

A decision in which two offers come nearer to each other than the tolerance, without being equal, is refused: its order
would depend on the last bits of a model. Start reading at `main`.
"""

import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.dont_write_bytecode = True

import argparse
import collections
import datetime as dt
import json
import math
from pathlib import Path

from rank import too_close
from records import UTC, Release, decision_pb2, decisions, numbered
from reference import Workspace

# The moves that are listed.
MOVES = 20


class Side:
    """A decision as one of the releases made it."""

    def __init__(self, shown, withheld, segment):
        # Best first: id, whether it is the fallback, expected value, margin.
        self.shown = shown
        # Offer → (stage, reason).
        self.withheld = withheld
        # Number and name; None without one.
        self.segment = segment

    @property
    def slate(self):
        return [offer for offer, *_ in self.shown]

    @property
    def first(self):
        return self.slate[0] if self.shown else None


def recorded(record, workspace, release):
    """The decision that a record holds."""
    shown = []
    for offer in record.offers:
        factors = offer.factors
        money = (factors.propensity * factors.value, factors.margin) if offer.HasField("factors") else (0.0, 0.0)
        shown.append((offer.offer_id, offer.fallback, *money))
    withheld = {}
    found = record.candidates
    for offer, stage, reason in zip(release.candidates(record), found.stages, found.reasons, strict=True):
        if (stage, reason) != (0, 0):
            stage = decision_pb2.WithheldStage.Name(stage).removeprefix("WITHHELD_STAGE_").lower()
            reason = decision_pb2.WithheldReason.Name(reason).removeprefix("WITHHELD_REASON_")
            withheld[offer] = (stage, reason)
    segment = None
    if record.HasField("segment"):
        segment = (record.segment.id, workspace.segmentation.segments[record.segment.id]["name"])
    return Side(shown, withheld, segment)


def decided(record, workspace, release):
    """The decision of another release for the same request."""
    values = {entity: release.values(entity, getattr(record, entity)) for entity in ("customer", "context")}

    def of(entity, source):
        return {name: value for name, known, value in values[entity] if known == source}

    moment = dt.datetime.fromtimestamp(0, UTC) + dt.timedelta(microseconds=record.decided_at)
    if record.HasField("as_of"):
        moment = record.as_of.ToDatetime(UTC)
    # Not as the store has them today: the customer is as they were recorded.
    workspace.customers = {record.customer_id: of("customer", "store")}
    answer = workspace.rank(
        {
            "placement": record.placement,
            "channel": record.channel,
            "customer_id": record.customer_id,
            "consents": list(record.consents),
            "features": of("customer", "request"),
            "context": of("context", "request"),
            "candidate_offer_ids": list(record.candidate_offer_ids),
            "exclude_offer_ids": list(record.exclude_offer_ids),
            "count": record.count,
            "as_of": moment.isoformat(),
        }
    )
    passed = sum(reason in ("CONFLICTS_WITH", "CATEGORY_LIMIT") for _, reason in answer["rejected"].values())
    if too_close(answer["keys"], len(answer["offers"]) + passed):
        raise SystemExit(f"{record.decision_id} of {record.customer_id}: two offers are too near; take another request")
    shown = []
    for offer in answer["offers"]:
        money = (0.0, 0.0) if offer["fallback"] else (offer["propensity"] * offer["value"], offer["margin"])
        shown.append((offer["offer_id"], offer["fallback"], *money))
    return Side(shown, answer["rejected"], (answer["segment"]["id"], answer["segment"]["name"]))


class Totals:
    """Counts and sums over decisions."""

    def __init__(self):
        self.counts = dict.fromkeys(("decisions", "first_changes", "slate_changes", "segment_changes"), 0)
        self.sides = {"before": collections.Counter(), "after": collections.Counter()}
        self.money = collections.defaultdict(list)

    def add(self, before, after):
        self.counts["decisions"] += 1
        self.counts["first_changes"] += before.first != after.first
        self.counts["slate_changes"] += before.slate != after.slate
        self.counts["segment_changes"] += number_of(before) != number_of(after)
        for name, side in (("before", before), ("after", after)):
            self.sides[name]["fallbacks"] += any(fallback for _, fallback, *_ in side.shown)
            self.sides[name]["empty"] += not side.shown
            self.sides[name]["offers"] += len(side.shown)
            for *_, value, margin in side.shown:
                self.money[name, "expected_value"].append(value)
                self.money[name, "margin"].append(margin)

    def table(self):
        both = {
            name: {side: counter[name] for side, counter in self.sides.items()}
            for name in ("fallbacks", "empty", "offers")
        }
        money = {
            name: {side: math.fsum(self.money[side, name]) for side in self.sides}
            for name in ("expected_value", "margin")
        }
        return self.counts | both | money


def number_of(side):
    return None if side.segment is None else side.segment[0]


def tables(pairs, before, after):
    """The tables of all decisions. `before`: the workspaces by release; `after`: the other release's."""
    everything = Totals()
    placements, segments = collections.defaultdict(Totals), collections.defaultdict(Totals)
    offers = collections.defaultdict(lambda: collections.defaultdict(lambda: {"before": 0, "after": 0}))
    money = collections.defaultdict(list)
    withheld = collections.defaultdict(lambda: {"before": 0, "after": 0})
    moves = collections.Counter()
    for placement, one, other in pairs:
        everything.add(one, other)
        placements[placement].add(one, other)
        segments[one.segment or other.segment].add(one, other)
        if one.first != other.first:
            moves[one.first, other.first] += 1
        for name, side in (("before", one), ("after", other)):
            for place, (offer, _, value, margin) in enumerate(side.shown):
                offers[offer]["shown"][name] += 1
                offers[offer]["first"][name] += place == 0
                money[offer, "expected_value", name].append(value)
                money[offer, "margin", name].append(margin)
            for offer, (stage, reason) in side.withheld.items():
                withheld[offer, stage, reason][name] += 1
                # A withheld offer has a row, even if it is never shown.
                offers[offer]
    names = {}
    for workspace in [*(before[number] for number in sorted(before)), after]:
        names |= {offer: terms.get("name", "") for offer, terms in workspace.offers.items()}
    listed = sorted(set(after.offers) | set(offers))
    reasons = collections.defaultdict(lambda: {"before": 0, "after": 0})
    for (_, stage, reason), decisions_of in withheld.items():
        for name, count in decisions_of.items():
            reasons[stage, reason][name] += count
    ordered = sorted(moves.items(), key=lambda item: (-item[1], [(id is not None, id or "") for id in item[0]]))

    def by_number(key):
        return STAGES.index(key[-2]), REASONS.index(key[-1])

    def named(offer):
        return None if offer is None else {"offer": offer, "name": names[offer]}

    def sums(offer):
        return {
            name: {side: math.fsum(money[offer, name, side]) for side in ("before", "after")}
            for name in ("expected_value", "margin")
        }

    return {
        "all": everything.table(),
        "placements": [{"placement": id} | placements[id].table() for id in sorted(placements)],
        "segments": [
            {"segment": segment and segment[0], "name": segment[1] if segment else ""} | segments[segment].table()
            for segment in sorted(segments, key=lambda segment: (segment is not None, segment))
        ],
        "offers": [
            {"offer": offer, "name": names[offer]}
            | {name: dict(offers[offer][name]) for name in ("shown", "first")}
            | sums(offer)
            for offer in listed
        ],
        "withheld": [
            {"offer": key[0], "name": names[key[0]], "stage": key[1], "reason": key[2], "decisions": withheld[key]}
            for key in sorted(withheld, key=lambda key: (key[0], by_number(key)))
        ],
        "reasons": [
            {"stage": key[0], "reason": key[1], "offers": reasons[key]} for key in sorted(reasons, key=by_number)
        ],
        "moves": [
            {"from": named(one), "to": named(other), "decisions": count} for (one, other), count in ordered[:MOVES]
        ],
        "other_moves": sum(count for _, count in ordered[MOVES:]),
    }


def words(enum, prefix):
    """The names of an enum in the order of their numbers, without what they begin with."""
    return [name.removeprefix(prefix) for name, _ in sorted(enum.items(), key=lambda item: item[1])]


STAGES = [stage.lower() for stage in words(decision_pb2.WithheldStage, "WITHHELD_STAGE_")]
REASONS = words(decision_pb2.WithheldReason, "WITHHELD_REASON_")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path)
    parser.add_argument("--before", action="append", required=True, metavar="N=WORKSPACE", type=numbered)
    parser.add_argument("--after", required=True, metavar="WORKSPACE", type=Path)
    arguments = parser.parse_args()
    before = {number: Workspace(directory) for number, directory in arguments.before}
    releases = {number: Release(directory) for number, directory in arguments.before}
    after = Workspace(arguments.after)
    records = decisions(arguments.records)
    excluded = {"without_decision": 0, "gone_placements": collections.Counter()}
    pairs = []
    for record in records:
        if record.HasField("error"):
            excluded["without_decision"] += 1
        elif record.placement not in after.placements:
            excluded["gone_placements"][record.placement] += 1
        else:
            release = releases[record.release]
            sides = recorded(record, before[record.release], release), decided(record, after, release)
            pairs.append((record.placement, *sides))
    found = {
        "records": len(records),
        "releases": collections.Counter(str(record.release) for record in records),
        "effect": tables(pairs, before, after),
        "excluded": excluded,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
