"""Writes rankings.json: requests to the sample workspace, and the decisions of an independent implementation.

    pip install -r tests/requirements.txt
    python tests/golden/rank.py                rewrites rankings.json
    python tests/golden/rank.py --check        checks that rankings.json is current
    python tests/golden/rank.py --everybody    ranks every sample customer in every placement, by id alone

The file lists its source files with their SHA-256. If they have changed, a test must say that rankings.json has to be
rewritten, not that the server is wrong.

A case is one customer: `request` is the request to the server, `expected` its answer. A null in `features` is a missing
value in the request. `rejected` groups offer ids by `stage:REASON`, `variants` has the variant of each experiment that
the customer is in. A fallback has priority 0 and no factors, because it was not scored. If a gate withheld it as a
candidate, it is also in `rejected`, with the reason of that gate.

Limits are not part of it: they withhold nothing from a customer whose first decision this is, and no customer has two
cases at a placement.

A case is left out if two offers differ by less than the tolerance, but are not equal: their order would depend on the
last bits of a model. Start reading at `cases`; the decision itself is in reference.py.
"""

import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.dont_write_bytecode = True

import argparse
import collections
import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

from reference import Workspace

HERE = Path(__file__).resolve().parent
TARGET = HERE / "rankings.json"
SEED, CUSTOMERS = 4105, 150
TOLERANCE = 1e-5
AS_OF = "2026-10-15T09:00:00+00:00"
# Times on both sides of the validity windows, and exactly on their bounds (from: inclusive, until: exclusive).
MOMENTS = [
    "2025-08-31T23:59:59+00:00", "2026-05-01T00:00:00+00:00", "2026-08-31T23:59:59+00:00", "2026-09-01T00:00:00+00:00",
    "2026-11-20T00:00:00+00:00", "2026-11-30T23:59:59+00:00", "2026-12-01T00:00:00+00:00", "2027-01-20T18:30:00+00:00",
    "2027-03-31T21:59:59+00:00", "2027-03-31T22:00:00+00:00", "2027-03-01T06:00:00+00:00", "2030-06-15T12:00:00+00:00",
]  # fmt: skip
# Features that are missing for some customers.
GAPS = ["credit_limit", "age", "foreign_spend_share", "months_since_last_offer", "minimum_payments"]
# Customers who are not in the file. The arms of these depend on whether bytes, code units or characters are hashed.
STRANGERS = [f"{name}-{number}" for name in ("Zoë", "Ωμέγα", "Жанна", "日本", "👩🏽") for number in range(4)]
# Reasons that must occur at least once, so that a changed workspace does not weaken the test.
REASONS = {
    "CONSENT_MISSING", "OPTED_OUT", "NOT_YET_VALID", "EXPIRED", "CHANNEL_NOT_ALLOWED", "EXCLUDED", "INELIGIBLE",
    "NOT_APPLICABLE", "UNSUITABLE", "RULE_ERROR", "MODEL_UNAVAILABLE", "CONFLICTS_WITH", "CATEGORY_LIMIT", "OUTRANKED",
}  # fmt: skip


def cases(workspace):
    """The requests: 150 customers in each placement, half of them by id alone, the others with variations."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    ids = list(workspace.customers)
    # Customers with missing values are rare and interesting: they are nearly half of the sample.
    gaps = [[id for id in ids if name not in workspace.customers[id]] for name in GAPS]
    chosen = [str(id) for missing in gaps for id in rng.choice(missing, min(15, len(missing)), replace=False)]
    rest = [id for id in ids if id not in chosen]
    chosen = list(dict.fromkeys(chosen))
    chosen += [str(id) for id in rng.choice(rest, CUSTOMERS - 2 - len(chosen), replace=False)]
    chosen += ["unknown-customer", "C999999"]  # not in the file: only defaults and missing values
    for number, customer in enumerate(chosen):
        for placement in workspace.placements:
            request = {"placement": placement, "customer_id": customer, "as_of": AS_OF}
            yield request | (variation(workspace, rng, placement) if number % 2 else {})
    # Ids that are not ASCII, where customers are drawn by their id.
    drawn = [experiment.placements or list(workspace.placements) for experiment in workspace.experiments]
    for placement in sorted(set().union(*drawn)):
        for customer in STRANGERS:
            yield {"placement": placement, "customer_id": customer, "as_of": AS_OF}


def variation(workspace, rng, placement):
    """Optional parts of a request, each with a probability."""

    def some(chance):
        return rng.random() < chance

    def pick(values, most):
        return [str(value) for value in rng.permutation(values)[: rng.integers(1, most + 1)]]

    shown = [id for id, offer in workspace.offers.items() if placement in offer["placements"]]
    fallback = workspace.placements[placement]["fallback"]
    parts = {}
    if some(0.4):
        parts["channel"] = str(rng.choice(workspace.placements[placement]["channels"]))
    if some(0.7):
        moment = {
            "month": int(rng.integers(1, 13)),
            "hour": int(rng.integers(0, 24)),
            "page": str(rng.choice(["home", "statement", "travel", "card", "support"])),
            "days_since_login": int(rng.integers(0, 120)),
        }
        parts["context"] = {name: moment[name] for name in pick(list(moment), 4)}
    if some(0.5):
        parts["features"] = {name: overridden(rng, name) for name in pick(OVERRIDES, 6)}
    if some(0.35):
        parts["consents"] = pick(["marketing", "profiling", "partners"], 3)
    if some(0.2):
        parts["exclude_offer_ids"] = pick([id for id in shown if id != fallback], 6)
    if some(0.15):
        parts["candidate_offer_ids"] = pick(shown, 5)
    if some(0.4):
        parts["count"] = int(rng.choice([1, 2, 5, 10, 40]))
    if some(0.4):
        parts["as_of"] = str(rng.choice(MOMENTS))
    return parts


OVERRIDES = [
    "balance", "purchases", "purchases_frequency", "cash_advance", "cash_advance_trx", "credit_limit", "age", "tenure",
    "prc_full_payment", "late_payments_12m", "foreign_spend_share", "has_travel_card", "has_insurance", "digital_active",
    "income_band", "consent_marketing", "consent_profiling", "consent_partners", "months_since_last_offer",
]  # fmt: skip


def overridden(rng, name):
    """A value for a feature of the request; one in ten is null. Some lie exactly on the bound of a rule."""
    if rng.random() < 0.1:
        return None
    match name:
        case "balance" | "purchases" | "cash_advance":
            return round(float(np.exp(rng.normal(6.5, 1.5))), 2)
        case "credit_limit":
            return float(rng.choice([500.0, 2000.0, 2999.5, 3000.0, 5000.0, 8000.0, 20000.0]))
        case "purchases_frequency":
            return float(rng.choice([0.0, 0.0999, 0.1, 0.25, 0.8333]))
        case "prc_full_payment":
            return float(rng.choice([0.0, 0.25, 0.4999, 0.5, 1.0]))
        case "foreign_spend_share":
            return float(rng.choice([0.0, 0.02, 0.05, 0.0999, 0.1, 0.6]))
        case "age":
            return int(rng.choice([18, 21, 40, 41, 45, 55, 58, 63, 80]))
        case "tenure":
            return int(rng.integers(6, 13))
        case "income_band":
            return str(rng.choice(["low", "middle", "upper", "high", "unknown", "never heard of"]))
        case "late_payments_12m":
            return int(rng.integers(0, 5))
        case "cash_advance_trx" | "months_since_last_offer":
            return int(rng.integers(0, 20))
        case _:
            return bool(rng.random() < 0.5)


def expected(answer):
    """The answer in the form of the file."""
    groups = collections.defaultdict(list)
    for offer, (stage, reason) in sorted(answer["rejected"].items()):
        groups[f"{stage}:{reason}"].append(offer)
    offers = [{name: shortened(value) for name, value in offer.items()} for offer in answer["offers"]]
    segment = {name: shortened(value) for name, value in answer["segment"].items()}
    rejected = dict(sorted(groups.items()))
    return {"segment": segment, "variants": answer["variants"], "offers": offers, "rejected": rejected}


def shortened(value):
    """Nine significant digits: more than the tolerance requires, fewer than differ between processors."""
    return float(f"{value:.9g}") if isinstance(value, float) else value


def too_close(keys, depth):
    """Whether two neighbouring keys that decide the slate differ by less than the tolerance, but are not equal."""
    pairs = zip(keys[:depth], keys[1 : depth + 1])
    return any(0 < first - second <= 2 * TOLERANCE * max(1.0, abs(first)) for first, second in pairs)


def write(workspace):
    """The content of rankings.json."""
    lines, counts = [], collections.Counter()
    left_out = 0
    for request in cases(workspace):
        answer = workspace.rank(request)
        # The selection ends when the slate is full, so later offers cannot change it.
        chosen = len(answer["offers"])
        skipped = sum(reason in ("CONFLICTS_WITH", "CATEGORY_LIMIT") for _, reason in answer["rejected"].values())
        if too_close(answer["keys"], chosen + skipped):
            left_out += 1
            continue
        lines.append(json.dumps({"request": request, "expected": expected(answer)}, ensure_ascii=False))
        counts.update(reason for _, reason in answer["rejected"].values())
        counts["FALLBACK"] += any(offer["fallback"] for offer in answer["offers"])
        counts["NOTHING"] += not answer["offers"]
        counts.update(f"variant {experiment}={variant}" for experiment, variant in answer["variants"].items())
    arms = {f"variant {one.id}={variant['id']}" for one in workspace.experiments for variant in one.variants}
    missing = (REASONS | arms | {"FALLBACK"}) - {name for name, count in counts.items() if count}
    if missing:
        raise SystemExit(f"no case has {', '.join(sorted(missing))}")
    print(f"{len(lines)} cases, {left_out} left out as too close", dict(counts.most_common()), file=sys.stderr)
    head = {
        "about": "Made by tests/golden/rank.py; see there. Customers and responses are simulated.",
        "versions": {name: version(name) for name in ("cel-python", "numpy", "onnxruntime")},
        "tolerance": TOLERANCE,
        "files": {
            path.relative_to(workspace.directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(workspace.files)
        },
    }
    return json.dumps(head, indent=1)[:-2] + ',\n "cases": [\n' + ",\n".join(lines) + "\n]}\n"


def everybody(workspace, moments):
    """Ranks every sample customer in every placement; fails if one gets no offer."""
    for as_of in moments:
        for placement in workspace.placements:
            shown, fallbacks = collections.Counter(), 0
            for customer in workspace.customers:
                answer = workspace.rank({"placement": placement, "customer_id": customer, "as_of": as_of})
                if not answer["offers"]:
                    raise SystemExit(f"{placement} at {as_of}: no offer for {customer}")
                fallbacks += answer["offers"][0]["fallback"]
                shown.update(offer["offer_id"] for offer in answer["offers"])
            print(f"{placement} at {as_of}: {fallbacks} fallbacks; shown {dict(shown.most_common())}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=HERE.parent.parent / "models")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if rankings.json is not current")
    parser.add_argument("--everybody", nargs="*", metavar="AS_OF", help="rank all sample customers by id alone")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace)
    if arguments.everybody is not None:
        everybody(workspace, arguments.everybody or [AS_OF])
    elif arguments.check:
        if TARGET.read_text() != write(workspace):
            raise SystemExit("rankings.json does not match this workspace; run rank.py to rewrite it")
    else:
        TARGET.write_text(write(workspace))


if __name__ == "__main__":
    main()
