"""The requests of a load test: thousands of different ones, made from the customers, placements and models of a
workspace.

Every customer occurs equally often, in a different order each time; the context features are redrawn for each request.
The draws depend only on the seed. No two requests are equal, so no cache can answer them.

Start reading at `requests`.
"""

import csv
import json
import random
import re
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError as error:
    raise SystemExit("load: reading a workspace needs Python 3.11 or later") from error

SEED, SIZE = 20260501, 10_000
OFFERS_EACH = 10  # offers of a Score with a pairwise model
# Numbers in a request vary around those of the customer, so that a recurring customer is never the same.
SPREAD = (0.8, 1.25)
# The time for which validity is judged, so that the sample's seasonal offers neither start nor end between two runs.
AS_OF = "2026-07-01T12:00:00Z"


class Workspace:
    """The parts of requests: the schema, placements, offers, models and customers."""

    def __init__(self, directory):
        directory = Path(directory)
        missing = [name for name in ("features.toml", "offers.toml", "policy.toml", "customers.csv")
                   if not (directory / name).is_file()]
        if missing:
            raise SystemExit(f"load: {directory} is not a workspace with customers: it has no {', '.join(missing)}")
        texts = [(directory / name).read_text() for name in ("features.toml", "offers.toml", "policy.toml")]
        features, offers, policy = map(tomllib.loads, texts)
        self.features = {feature["name"]: feature for feature in features["feature"]}
        self.placements = [placement["id"] for placement in policy["placement"]]
        self.variants = running(policy)
        self.offers = [offer["id"] for offer in offers["offer"]]
        self.models = list(models(directory))
        self.words = words("".join(texts))
        with (directory / "customers.csv").open(newline="") as file:
            self.customers = list(csv.DictReader(file))
        if not self.customers:
            raise SystemExit(f"load: {directory}/customers.csv has no customers")

    def of(self, entity):
        """The features of customers, offers or the context, in the order of the schema."""
        return [feature for feature in self.features.values() if feature["entity"] == entity]


def running(policy):
    """The variants that customers are drawn into, by experiment."""
    return {
        experiment["id"]: [variant["id"] for variant in experiment["variant"] if variant["weight"] > 0]
        for experiment in policy.get("experiment", [])
        if experiment.get("state", "running") == "running" and experiment["coverage"] > 0
    }


def pinned(model):
    """The directory of the version that a release of the workspace pins: the highest of the model at `model` that no
    variant and no shadow names."""
    policy = tomllib.loads((model.parent / "policy.toml").read_text())
    variants = [variant for experiment in policy.get("experiment", []) for variant in experiment["variant"]]
    named = {one.get("models", {}).get(model.name) for one in variants + policy.get("shadow", [])}
    versions = [path for path in model.iterdir() if path.name.isdecimal() and int(path.name) not in named]
    return max(versions, key=lambda path: int(path.name))


def models(directory):
    """Name and manifest of the pinned version of each scoring model."""
    for name in sorted({path.parent.parent for path in directory.glob("*/*/model.toml")}):
        manifest = tomllib.loads((pinned(name) / "model.toml").read_text())
        if manifest["kind"] != "segmentation":
            yield name.name, manifest


def words(text):
    """The strings that rules compare each context feature with: the values that matter."""
    found = {}
    for name, word in re.findall(r'context\.(\w+) *[!=]= *"(\w+)"', text):
        found.setdefault(name, set()).add(word)
    return {name: sorted(values) for name, values in found.items()}


def moment(workspace, rng):
    """A value for every context feature, by name."""
    found = {}
    for feature in workspace.of("context"):
        name = feature["name"]
        low, high = feature.get("range", (0, 100))
        match feature["type"]:
            case "int":
                found[name] = rng.randint(low, high)
            case "float":
                found[name] = round(rng.uniform(low, high), 4)
            case "bool":
                found[name] = rng.random() < 0.5
            case "string":
                found[name] = rng.choice([feature.get("default", ""), *workspace.words.get(name, [])])
    return found


def known(workspace, customer, rng):
    """The known values of a customer, with numbers varied by SPREAD within their range."""
    found = {}
    for feature in workspace.of("customer"):
        name, text = feature["name"], customer.get(feature["name"], "")
        if text == "":
            continue
        low, high = feature.get("range", (float("-inf"), float("inf")))
        match feature["type"]:
            case "float":
                found[name] = round(min(high, max(low, float(text) * rng.uniform(*SPREAD))), 4)
            case "int":
                found[name] = min(high, max(low, round(int(text) * rng.uniform(*SPREAD))))
            case "bool":
                found[name] = text == "true"
            case "string":
                found[name] = text
    return found


def batch(values):
    """A FeatureBatch of one row: numbers and booleans dense, strings in typed columns."""
    dense = {name: float(value) for name, value in values.items() if not isinstance(value, str)}
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    columns = [{"name": name, "strings": {"values": [value]}} for name, value in texts.items()]
    return {"rows": 1, "dense": {"names": list(dense), "values": list(dense.values())}, "columns": columns}


def value(of):
    """A FeatureValue."""
    match of:
        case bool():
            return {"boolValue": of}
        case int():
            return {"int64Value": of}
        case float():
            return {"floatValue": of}
    return {"stringValue": of}


def rank(workspace, customer, rng):
    """A Rank by customer id alone."""
    return {
        "placement": rng.choice(workspace.placements),
        "customers": [{"customerId": customer["customer_id"]}],
        "context": {name: value(found) for name, found in moment(workspace, rng).items()},
        "explain": "EXPLAIN_WINNERS",
        "asOf": AS_OF,
    }


def rank_features(workspace, customer, rng):
    """A Rank with the customer's features in the request."""
    return rank(workspace, customer, rng) | {"features": batch(known(workspace, customer, rng))}


def score(workspace, customer, rng):
    """A Score of one row with a model that can score it, for a few offers if the model is pairwise."""
    values = known(workspace, customer, rng) | moment(workspace, rng)
    takes = {name: inputs for name, manifest in workspace.models
             if (inputs := row_inputs(workspace, manifest, values)) is not None}
    if not takes:
        raise SystemExit(f"load: no model of the workspace can score {customer['customer_id']}")
    name = rng.choice(list(takes))
    request = {"model": {"name": name}, "features": batch({key: values[key] for key in takes[name] if key in values})}
    if dict(workspace.models)[name].get("layout") == "pairwise":
        request["offerIds"] = rng.sample(workspace.offers, min(OFFERS_EACH, len(workspace.offers)))
    return request


def row_inputs(workspace, manifest, values):
    """The features that the model reads from a row; None if one is missing without a default."""
    # A model with a tensor per feature need not list them in its manifest; it then gets all.
    names = [name for name in manifest.get("inputs", workspace.features)
             if name in workspace.features and workspace.features[name]["entity"] != "offer"]
    missing = [name for name in names if name not in values and "default" not in workspace.features[name]]
    return None if missing and not manifest.get("accepts_missing", False) else names


# The fully qualified method, and the function that makes a request for it.
CALLS = {
    "rank": ("proffer.v1.DecisionService/Rank", rank),
    "rank-features": ("proffer.v1.DecisionService/Rank", rank_features),
    "score": ("proffer.v1.DecisionService/Score", score),
}


def requests(workspace, call, size=SIZE, seed=SEED):
    """`size` different requests for `call` in the format of ghz, or fewer if there are not as many."""
    rng = random.Random(f"{seed} {call}")
    make, order, found = CALLS[call][1], [], {}
    # A small workspace may have fewer different requests than wanted.
    for _ in range(4 * size):
        if len(found) == size:
            break
        if not order:
            order = rng.sample(workspace.customers, len(workspace.customers))
        request = make(workspace, order.pop(), rng)
        found.setdefault(json.dumps(request, sort_keys=True), request)
    return list(found.values())


def write(path, found, first=0):
    """Writes requests as a JSON array, one per line, starting with number `first`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first %= len(found)
    lines = ",\n".join(json.dumps(request) for request in found[first:] + found[:first])
    partial = path.with_suffix(".partial")
    partial.write_text(f"[{lines}]\n")
    partial.replace(path)
