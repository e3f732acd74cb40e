"""What ten offers of a public data set came to, as an experiment of ten arms.

    python tests/golden/starbucks_arms.py DATA

DATA has transcript.json.gz and portfolio.json of the Starbucks rewards programme. Whoever received an offer was in the
arm of that offer: each of the 76,277 receipts is a unit, since a customer received several. Prints JSON: `units`, each
with offer, hour, and the hour of its completion or null; and what follows from them: `counts` and `completed` by offer,
`chi_squared` and `p` of the counts against equal weights.

A completion belongs to the latest receipt of that offer by that customer before it, if the offer was still valid, and
counts once.
"""

import collections
import gzip
import json
import sys
from pathlib import Path

from scipy import stats


def lines(path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with opened as file:
        return [json.loads(line) for line in file if line.strip()]


def main(data):
    offers = {line["id"]: line for line in lines(data / "portfolio.json")}
    units, latest = [], {}
    for event in lines(data / "transcript.json.gz"):
        kind, value = event["event"], event["value"]
        if kind not in ("offer received", "offer completed"):
            continue
        offer = value.get("offer id") or value["offer_id"]
        key = (event["person"], offer)
        if kind == "offer received":
            latest[key] = len(units)
            units.append([offer, event["time"], None])
        elif key in latest:
            unit = units[latest[key]]
            is_valid = event["time"] <= unit[1] + 24 * offers[offer]["duration"]
            if is_valid and unit[2] is None:
                unit[2] = event["time"]
    counts = collections.Counter(offer for offer, _, _ in units)
    completed = collections.Counter(offer for offer, _, hour in units if hour is not None)
    names = sorted(offers)
    tested = stats.chisquare([counts[name] for name in names])
    print(json.dumps({
        "units": units,
        "counts": {name: counts[name] for name in names},
        "completed": {name: completed[name] for name in names},
        "chi_squared": tested.statistic,
        "p": tested.pvalue,
    }))


main(Path(sys.argv[1]))
