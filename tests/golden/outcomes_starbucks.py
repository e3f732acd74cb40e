"""Has a server count the outcomes of a public data set, and compares its counts with those of this script.

    python tests/golden/outcomes_starbucks.py make DATA DIRECTORY --until 2026-11-30T18:00:00Z
    python tests/golden/outcomes_starbucks.py check DATA DIRECTORY

DATA has transcript.json.gz and portfolio.json of the Starbucks rewards programme: what 17,000 customers did with ten
offers in thirty days. `make` writes outcomes.csv.gz for `proffer outcomes record`, and offers.toml and policy.toml with
limits that lie exactly at the counts or one above. Lines are shuffled, and one in twenty stands there again.

`check` counts the transcript anew, and compares for each offer what was received, viewed and completed with sealed
files (DIRECTORY/events), read by pyarrow, and with an export (DIRECTORY/outcomes.csv). Answers of the server to a dry
run (DIRECTORY/answers.json) must withhold what has reached its limit, and nothing else. Prints what was compared as
JSON; exits with 1 at the first difference.
"""

import argparse
import collections
import csv
import datetime as dt
import gzip
import json
import random
import re
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds

SEED, REPEATED = 7, 20
TYPES = {"offer received": "received", "offer viewed": "impression", "offer completed": "convert"}
HOURS = 714  # of the last event; the first is at 0
# A customer who received so many offers is left in peace.
RECEIVED = 6
PERIOD = dt.timedelta(days=60)
COST = 0.5
NOBODY = "nobody"
# The end of the detail of a limit.
FREES = re.compile(r"(?:, at (\S+)|: does not free)$")


class Stream:
    """The outcomes of the transcript: what customers did with offers. Transactions are of no offer and left out."""

    def __init__(self, data):
        self.offers = sorted(line["id"] for line in lines(data / "portfolio.json"))
        self.outcomes = []  # (line, customer, offer, type, reward, hour)
        for number, event in enumerate(lines(data / "transcript.json.gz"), 1):
            if event["event"] in TYPES:
                value = event["value"]
                offer = value.get("offer id") or value["offer_id"]
                kind = TYPES[event["event"]]
                self.outcomes.append((number, event["person"], offer, kind, value.get("reward", 0), event["time"]))
        self.counts = collections.Counter((offer, kind) for _, _, offer, kind, _, _ in self.outcomes)
        self.rewards = collections.Counter()
        self.received = collections.defaultdict(list)  # customer → hours
        for _, customer, offer, kind, reward, hour in self.outcomes:
            self.rewards[offer] += reward
            if kind == "received":
                self.received[customer].append(hour)

    def limits(self):
        """Offer → (its limit in TOML, why it is withheld or None). Each counts something else, or up to something
        else."""
        found = {}
        for place, offer in enumerate(self.offers):
            viewed, completed = self.counts[offer, "impression"], self.counts[offer, "convert"]
            above, is_budget = place % 2, place // 2 % 2
            if is_budget:
                amount = COST * (viewed + above)
                text = f'budget = {{ amount = {amount}, per = "all", count = "impression", spends = "cost" }}'
                found[offer] = text, None if above else "BUDGET"
            else:
                # What is never completed is limited by views: a limit of 0 would be refused as a mistake.
                most, kind = (completed, "convert") if completed else (viewed, "impression")
                text = f'cap_total = {{ limit = {most + above}, per = "all", count = "{kind}" }}'
                found[offer] = text, None if above else "CAP_TOTAL"
        return found


def lines(path):
    """The objects of a file of JSON lines, some of which are blank."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        return [json.loads(line) for line in file if line.strip()]


def make(stream, directory, until):
    """Writes outcomes, offers and policy; returns what was written."""
    rows = []
    for number, customer, offer, kind, reward, hour in stream.outcomes:
        at = until - dt.timedelta(hours=HOURS - hour)
        rows.append([f"line-{number}", kind, customer, offer, reward or "", at.isoformat()])
    again = rows[::REPEATED]
    rows += again
    random.Random(SEED).shuffle(rows)
    with gzip.open(directory / "outcomes.csv.gz", "wt", newline="", compresslevel=1) as file:
        writer = csv.writer(file)
        writer.writerow(["event_id", "type", "customer_id", "offer_id", "value", "occurred_at"])
        writer.writerows(rows)
    offers = [
        f'[[offer]]\nid = "{offer}"\nname = "{offer}"\ncategory = "rewards"\nplacements = ["app"]\nvalue = 1.0\n'
        f"cost = {COST}\n{limit}\n"
        for offer, (limit, _) in stream.limits().items()
    ]
    (directory / "offers.toml").write_text("\n".join(offers))
    (directory / "policy.toml").write_text(
        '[[category]]\nid = "rewards"\n\n[[placement]]\nid = "app"\nchannels = ["app"]\ncount = 10\nmodel = "m"\n\n'
        '[[outcome]]\nid = "received"\nkind = "neutral"\n\n'
        f'[[contact_limit]]\nid = "received"\nlimit = {RECEIVED}\nper = "{PERIOD.days}d"\ncount = "received"\n'
    )
    # As many who have reached the limit as others, and somebody of whom nothing is known.
    often = sorted(customer for customer, hours in stream.received.items() if len(hours) >= RECEIVED)
    seldom = sorted(customer for customer, hours in stream.received.items() if len(hours) < RECEIVED)
    return {"outcomes": len(rows), "again": len(again), "customers": [*often[:300], *seldom[:300], NOBODY]}


def check(stream, directory):
    """Compares the server's counts; returns what was compared."""
    files = sorted((directory / "events").glob("outcome/date=*/*.parquet"))
    if not files:
        raise SystemExit(f"{directory / 'events'}: no sealed outcomes")
    table = ds.dataset(files, format="parquet").to_table(columns=["event_id", "offer_id", "type", "value"])
    if pc.count_distinct(table["event_id"]).as_py() != len(table):
        raise SystemExit("an outcome is recorded twice")
    grouped = table.group_by(["offer_id", "type"]).aggregate([("value", "count"), ("value", "sum")]).to_pylist()
    sealed = {(row["offer_id"], row["type"]): row["value_count"] for row in grouped}
    same("sealed files", sealed, stream.counts)
    rewards = collections.Counter()
    for row in grouped:
        rewards[row["offer_id"]] += row["value_sum"]
    same("rewards", rewards, stream.rewards)
    with open(directory / "outcomes.csv", newline="") as file:
        exported = collections.Counter((row["offer_id"], row["type"]) for row in csv.DictReader(file))
    same("export", exported, stream.counts)
    return {"outcomes": len(table), "offers": len(stream.offers)} | check_answers(stream, directory)


def check_answers(stream, directory):
    """Compares what limits withhold from customers."""
    found = json.loads((directory / "answers.json").read_text())
    until = dt.datetime.fromisoformat(found["until"])
    reached = withheld = 0
    for customer in found["customers"]:
        hours = sorted(stream.received[customer["id"]], reverse=True)
        if len(hours) >= RECEIVED:
            # It frees when the last but five leaves the period.
            frees = until - dt.timedelta(hours=HOURS - hours[RECEIVED - 1]) + PERIOD
            expected = {offer: ("CONTACT_LIMIT", f"{frees:%Y-%m-%dT%H:%M:%SZ}") for offer in stream.offers}
            reached += 1
        else:
            # All time never passes.
            reasons = {offer: reason for offer, (_, reason) in stream.limits().items() if reason}
            expected = {offer: (reason, None) for offer, reason in reasons.items()}
        said = {one["offer"]: (one["reason"], FREES.search(one["detail"])[1]) for one in customer["rejected"]}
        same(customer["id"], said, expected)
        withheld += len(said)
    return {"customers": len(found["customers"]), "reached": reached, "withheld": withheld}


def same(what, found, expected):
    if dict(found) != dict(expected):
        wrong = {key for key in {**found, **expected} if found.get(key) != expected.get(key)}
        first = min(wrong)
        raise SystemExit(f"{what}: {first}: {found.get(first)}, expected {expected.get(first)}; {len(wrong)} differ")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    for name in ("make", "check"):
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("directory", type=Path)
        if name == "make":
            command.add_argument("--until", type=dt.datetime.fromisoformat, required=True)
    arguments = parser.parse_args()
    stream = Stream(arguments.data)
    if arguments.command == "make":
        print(json.dumps(make(stream, arguments.directory, arguments.until)))
    else:
        print(json.dumps(check(stream, arguments.directory)))


if __name__ == "__main__":
    main()
