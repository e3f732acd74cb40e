"""Works out the history of each customer and the use of each cap from exported events, and compares what a server says.

    python tests/golden/history.py WORKSPACE DECISIONS.jsonl OUTCOMES.jsonl STATEMENTS.jsonl

A server derives its history from its log; this script derives it from the exported log, by the rules of the guide, as
slowly and plainly as they are written. They share no code. Lines of STATEMENTS are what the server said:

    {"now": …, "placement": …, "channel": …, "customers": [{"id": …, "opted_out": …, "rejected": […]}, …]}
        The answers to a dry run. For each offer, the limit that withholds it and until when must be as worked out here,
        with the events that were recorded before `now`.
    {"now": …, "room": {offer: times, …}}
        How often each offer could still be shown after `now`, until its total cap or its budget refused it.

`now` is in milliseconds since 1970. Prints a summary as JSON; exits with 1 at the first difference. Periods of the
workspace must be durations or `all`, and budgets fast: calendars and pacing are tested elsewhere. Start reading at
`History`.
"""

import argparse
import collections
import datetime as dt
import json
import re
import tomllib
from pathlib import Path

UTC = dt.timezone.utc
UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
RESERVE = "30m"
MICROS = 1_000_000

Entry = collections.namedtuple("Entry", "at decision offers placement channel type")


def length(text):
    """Milliseconds of a duration; None for all time."""
    return None if text == "all" else int(text[:-1]) * UNITS[text[-1]]


def millis(text):
    """Milliseconds since 1970 of a time of an export."""
    moment = dt.datetime.fromisoformat(text)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(milliseconds=1)


class Limits:
    """The limits of a workspace."""

    def __init__(self, directory):
        self.policy = tomllib.loads((directory / "policy.toml").read_text())
        offers = tomllib.loads((directory / "offers.toml").read_text())["offer"]
        self.offers = {offer["id"]: offer for offer in offers}
        self.placements = {placement["id"]: placement for placement in self.policy["placement"]}
        self.contacts = sorted(self.policy.get("contact_limit", []), key=lambda limit: limit["id"])
        self.suppressions = sorted(self.policy.get("suppression", []), key=lambda rule: rule["id"])

    def in_scope(self, limit, offer):
        """Whether a contact limit withholds and counts an offer."""
        terms = self.offers.get(offer)
        if terms is None or terms.get("class") in limit.get("exempt", []):
            return False
        named = "offers" in limit or "categories" in limit
        return not named or offer in limit.get("offers", []) or terms["category"] in limit.get("categories", [])


class History:
    """What the decisions and outcomes that were added add up to at the moment `now`."""

    def __init__(self, limits):
        self.limits, self.now = limits, 0
        self.of_customer = collections.defaultdict(list)
        self.opted_out = set()
        self.shown = collections.defaultdict(list)  # offer → (moment, decision)
        self.outcomes = collections.defaultdict(list)  # (offer, type) → decision
        self.seen = set()

    def add_decision(self, decision):
        at, placement = millis(decision["decided_at"]), decision["placement"]
        channel = decision["channel"] or self.limits.placements[placement]["channels"][0]
        entry = Entry(at, decision["decision_id"], decision["offer_ids"], placement, channel, "decision")
        if entry.offers and decision["customer_id"]:
            self.of_customer[decision["customer_id"]].append(entry)
        for offer in entry.offers:
            self.shown[offer].append((at, entry.decision))

    def add_outcome(self, outcome):
        if outcome["event_id"] in self.seen:
            raise SystemExit(f"the outcome {outcome['event_id']} is recorded twice")
        self.seen.add(outcome["event_id"])
        at, offer, kind = millis(outcome["occurred_at"]), outcome["offer_id"], outcome["type"]
        entry = Entry(at, outcome["decision_id"], [offer], outcome["placement"], outcome["channel"], kind)
        self.of_customer[outcome["customer_id"]].append(entry)
        self.outcomes[offer, kind].append(outcome["decision_id"])
        if kind == "opt_out":
            self.opted_out.add(outcome["customer_id"])

    def withheld(self, customer, offer, placement, channel):
        """(reason, limit, when it frees or None) of the first limit that withholds the offer; None if none does."""
        found = self.suppressed(customer, offer) or self.contacted(customer, offer, placement, channel)
        return found or self.capped(customer, offer) or self.totals(offer)

    def suppressed(self, customer, offer):
        for rule in self.limits.suppressions:
            after, terms = rule["after"], self.limits.offers
            together = {
                "offer": lambda other: other == offer,
                "category": lambda other: other in terms and terms[other]["category"] == terms[offer]["category"],
                "all": lambda other: True,
            }[rule["scope"]]
            times = sorted(
                entry.at
                for entry in self.of_customer[customer]
                if entry.type == after["outcome"] and together(entry.offers[0])
            )
            # A pause begins with each outcome that is the last of enough within the time.
            for place, last in reversed(list(enumerate(times))):
                enough = sum(last - at < length(after["within"]) for at in times[: place + 1]) >= after["times"]
                if enough:
                    frees = last + length(rule["pause"])
                    if self.now < frees:
                        return "SUPPRESSED", rule["id"], frees
                    break
        return None

    def contacted(self, customer, offer, placement, channel):
        for limit in self.limits.contacts:

            def holds(place, medium):
                return (not limit.get("placements") or place in limit["placements"]) and (
                    not limit.get("channels") or medium in limit["channels"]
                )

            if not holds(placement, channel) or not self.limits.in_scope(limit, offer):
                continue
            times = [
                entry.at
                for entry in self.of_customer[customer]
                if entry.type == limit["count"]
                and holds(entry.placement, entry.channel)
                and any(self.limits.in_scope(limit, shown) for shown in entry.offers)
            ]
            if frees := self.reached(times, limit):
                return "CONTACT_LIMIT", limit["id"], frees
        return None

    def capped(self, customer, offer):
        cap = self.limits.offers[offer].get("cap_customer")
        if cap is None:
            return None
        times = [
            entry.at
            for entry in self.of_customer[customer]
            if entry.type == cap["count"] and offer in entry.offers
        ]
        frees = self.reached(times, cap)
        return frees and ("CAP_CUSTOMER", "cap_customer", frees)

    def reached(self, times, limit):
        """When a limit that these moments reach frees; None if it is not reached."""
        within = sorted((at for at in times if at > self.now - length(limit["per"])), reverse=True)
        return within[limit["limit"] - 1] + length(limit["per"]) if len(within) >= limit["limit"] else None

    def totals(self, offer):
        for key, reason in (("cap_total", "CAP_TOTAL"), ("budget", "BUDGET")):
            if key in self.limits.offers[offer]:
                room, asks, lapses = self.room(offer, key)
                if room >= asks:
                    continue
                for until in sorted(lapses):
                    room += asks
                    if room >= asks:
                        return reason, key, until
                return reason, key, None
        return None

    def room(self, offer, key):
        """What is left of a limit over all customers, what one more takes, and when each open reservation lapses."""
        terms = self.limits.offers[offer]
        limit = terms[key]
        if limit["per"] != "all" or limit.get("pacing", "fast") != "fast":
            raise SystemExit(f"{offer}: {key}: only fast limits of all time are worked out here")
        asks = 1 if key == "cap_total" else round(terms.get(limit["spends"], 0.0) * MICROS)
        most = limit["limit"] if key == "cap_total" else round(limit["amount"] * MICROS)
        if limit["count"] == "decision":
            return most - asks * len(self.shown[offer]), asks, []
        counted = self.outcomes[offer, limit["count"]]
        reserve, settled = length(limit.get("reserve", RESERVE)), set(counted)
        lapses = [at + reserve for at, decision in self.shown[offer] if decision not in settled]
        lapses = [until for until in lapses if self.now < until]
        return most - asks * (len(counted) + len(lapses)), asks, lapses

    def times_left(self, offer):
        """How often an offer can be shown until one of its totals refuses it."""
        keys = [key for key in ("cap_total", "budget") if key in self.limits.offers[offer]]
        rooms = [self.room(offer, key) for key in keys]
        return min(max(room, 0) // asks for room, asks, _ in rooms)


DETAIL = re.compile(r"(?P<limit>[^:]+): (?:frees in .+, at (?P<at>\S+)|does not free)")


def said(rejected):
    """(reason, limit, second at which it frees or None) of an offer that a limit withholds."""
    found = DETAIL.fullmatch(rejected["detail"])
    if not found:
        raise SystemExit(f"not the detail of a limit: {rejected}")
    return rejected["reason"], found["limit"], found["at"] and millis(found["at"]) // 1000


def compare(history, statement, counts):
    """Stops where the answers to a dry run are not those of the history."""
    where = statement["placement"], statement["channel"]
    for customer in statement["customers"]:
        if customer["opted_out"] != (customer["id"] in history.opted_out):
            raise SystemExit(f"{customer['id']}: opted out is {customer['opted_out']}")
        counts["opted out"] += customer["opted_out"]
        by_limit = {one["offer"]: said(one) for one in customer["rejected"] if one["stage"] == "limits"}
        before = {one["offer"] for one in customer["rejected"] if one["stage"] == "consent"}
        for offer, terms in history.limits.offers.items():
            if where[0] not in terms["placements"] or offer in before:
                continue
            expected = history.withheld(customer["id"], offer, *where)
            if expected:
                reason, limit, frees = expected
                counts[reason] += 1
                expected = reason, limit, frees // 1000 if frees else None
            if by_limit.get(offer) != expected:
                raise SystemExit(
                    f"{customer['id']} at {where}, {statement['now']}: {offer}: the server says {by_limit.get(offer)}, "
                    f"the events say {expected}"
                )
            counts["answers"] += 1


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("workspace", "decisions", "outcomes", "statements"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    history = History(Limits(arguments.workspace))
    decisions, outcomes = lines(arguments.decisions), lines(arguments.outcomes)
    events = [(event["position"], history.add_decision, event) for event in decisions]
    events += [(event["position"], history.add_outcome, event) for event in outcomes]
    events.sort(key=lambda event: event[0], reverse=True)
    counts = collections.Counter(statements=0)
    for statement in lines(arguments.statements):
        history.now = statement["now"]
        # Nothing is recorded while a server is asked what it knows, so that any moment between two events will do.
        while events and millis(events[-1][2]["recorded_at"]) <= history.now:
            _, add, event = events.pop()
            add(event)
        if "room" in statement:
            expected = {offer: history.times_left(offer) for offer in statement["room"]}
            if statement["room"] != expected:
                raise SystemExit(f"the server had room for {statement['room']}, the events leave room for {expected}")
        else:
            compare(history, statement, counts)
        counts["statements"] += 1
    print(json.dumps(counts | {"decisions": len(decisions), "outcomes": len(outcomes)}))


if __name__ == "__main__":
    main()
