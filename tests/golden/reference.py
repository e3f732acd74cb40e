"""An independent implementation of the decision, to compare the server with; they share no code.

It decides for one customer at a time, slowly, in the order of the design: features, segment, candidates, gates, scores,
arbitration, slate, fallback. Rules run in the `cel-python` package, models in Python's onnxruntime, segments in numpy.
Start reading at `Workspace.rank`.
"""

import csv
import datetime as dt
import json
import math
import tomllib
from pathlib import Path

import celpy
import numpy as np
import onnxruntime
from celpy import celtypes

UTC = dt.timezone.utc
GATES = [
    # gate, the result of its rule that lets the offer pass, the reason otherwise
    ("exclusion", False, "EXCLUDED"),
    ("eligibility", True, "INELIGIBLE"),
    ("applicability", True, "NOT_APPLICABLE"),
    ("suitability", True, "UNSUITABLE"),
]


def as_float32(value):
    """The nearest 32-bit float, as a Python float."""
    return float(np.float32(value))


def widened(value):
    """The shortest decimal that rounds to a 32-bit float, as a Python float: rules calculate with it."""
    return float(str(np.float32(value)))


class Rule:
    """A CEL rule; floats are doubles, and those of features the shortest decimals."""

    environment = celpy.Environment()

    def __init__(self, source):
        self.program = self.environment.program(self.environment.compile(source))

    def evaluate(self, variables):
        """True or False; None if the rule fails or gives another type."""
        try:
            value = self.program.evaluate(variables)
        except celpy.CELEvalError:
            return None
        return bool(value) if isinstance(value, (bool, celtypes.BoolType)) else None


def widened_floats(values):
    """Feature values as rules see them."""
    return {name: widened(value) if isinstance(value, float) else value for name, value in values.items()}


def cel_map(values):
    """An entity as rules see it; missing values are absent."""
    kinds = {bool: celtypes.BoolType, int: celtypes.IntType, float: celtypes.DoubleType, str: celtypes.StringType}
    known = {name: value for name, value in values.items() if value is not None}
    return celtypes.MapType({celtypes.StringType(name): kinds[type(value)](value) for name, value in known.items()})


class Model:
    """A scoring model from the directory of a version: raw scores and their calibration."""

    def __init__(self, directory):
        self.manifest = tomllib.loads((directory / "model.toml").read_text())
        self.layout = self.manifest["layout"]
        self.sessions = {}
        for path in sorted(directory.glob("*.onnx")):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            providers = ["CPUExecutionProvider"]
            self.sessions[path.stem] = onnxruntime.InferenceSession(path, options, providers=providers)

    def scores(self, base, offers, types):
        """The raw score of each offer; None if it cannot be scored.

        `base`: values of customer and context features and `segment`; `offers`: id → values of the offer features.
        """
        if self.layout == "multi_offer":
            columns = self.run("model", [base], types)
            position = {offer: index for index, offer in enumerate(self.manifest["offers"])}
            row = [None] * len(position) if columns is None else columns[0]
            return {offer: row[position[offer]] if offer in position else None for offer in offers}
        if self.layout == "per_offer":
            return {offer: self.one(offer, base, types) for offer in offers}
        answers = {}
        for offer, values in offers.items():
            answers[offer] = self.one("model", base | values, types)
        return answers

    def one(self, session, values, types):
        """The single score of one row."""
        if session not in self.sessions:
            return None
        columns = self.run(session, [values], types)
        return None if columns is None else self.score_column(columns)[0]

    def score_column(self, columns):
        """The scores of the class in the manifest, or else of the last or only class."""
        wanted = self.manifest.get("output", {}).get("class")
        if isinstance(columns[0], dict):
            return [row[wanted if wanted is not None else max(row)] for row in columns]
        return [row[wanted if wanted is not None else -1] for row in columns]

    def run(self, session, rows, types):
        """The score output for the rows; None if a value is missing that the model requires."""
        session = self.sessions[session]
        per_feature = self.manifest.get("inputs_layout") == "per_feature"
        names = [tensor.name for tensor in session.get_inputs()] if per_feature else self.manifest["inputs"]
        if any(row[name] is None for row in rows for name in names) and not self.manifest.get("accepts_missing"):
            return None
        if per_feature:
            kinds = {"float": np.float32, "int": np.int64, "bool": np.bool_, "string": object}
            feed = {
                name: np.array([[np.nan if row[name] is None else row[name]] for row in rows], kinds[types[name]])
                for name in names
            }
        else:
            matrix = [[np.nan if row[name] is None else float(row[name]) for name in names] for row in rows]
            feed = {session.get_inputs()[0].name: np.array(matrix, np.float32)}
        wanted = self.manifest.get("output", {}).get("name")
        return session.run([wanted] if wanted else None, feed)[0]

    def calibrate(self, score):
        """The propensity of a raw score, in 64 bits."""
        calibration = self.manifest.get("calibration", {"method": "none"})
        score = float(score)
        match calibration["method"]:
            case "platt":
                return 1 / (1 + math.exp(-(calibration["a"] * score + calibration["b"])))
            case "isotonic":
                return float(np.interp(score, calibration["x"], calibration["y"]))
            case _:
                return score


class Segmentation:
    """segments.json."""

    def __init__(self, path):
        artefact = json.loads(path.read_text())
        self.features = artefact["features"]
        self.components = np.array(artefact["pca"]) if artefact.get("pca") is not None else None
        self.segments = artefact["segments"]
        self.centroids = np.array([segment["centroid"] for segment in self.segments])

    def points(self, raw):
        """Coordinates (rows, dimensions) of raw values (rows, features), with NaN for missing ones."""
        columns = []
        for feature, column in zip(self.features, np.asarray(raw, np.float32).astype(np.float64).T):
            column = np.where(np.isfinite(column), column, feature["impute"])
            if feature.get("winsor") is not None:
                column = np.clip(column, *feature["winsor"])
            if feature["log1p"]:
                column = np.log1p(np.maximum(column, 0))
            columns.append((column - feature["mean"]) / feature["deviation"])
        points = np.column_stack(columns)
        return points if self.components is None else points @ self.components.T

    def assign(self, values):
        """Id, name, distance and margin for one customer."""
        raw = [math.nan if values[feature["name"]] is None else values[feature["name"]] for feature in self.features]
        distances = np.sqrt(((self.points([raw])[0] - self.centroids) ** 2).sum(axis=1))
        nearest = int(np.argmin(distances))
        first, second = np.sort(distances)[:2]
        name = self.segments[nearest]["name"]
        return {"id": nearest, "name": name, "distance": float(first), "margin": float((second - first) / second)}


class Experiment:
    """An experiment of policy.toml with the scheme `growthbook` and variants that change the strategy."""

    # What it is judged by (`metric`) decides nothing.
    KEYS = {"id", "placements", "coverage", "when", "seed", "variant", "metric"}
    VARIANT_KEYS = {"id", "weight", "strategy"}

    def __init__(self, table):
        unknown = set(table) - self.KEYS | {key for one in table["variant"] for key in set(one) - self.VARIANT_KEYS}
        if unknown:
            raise SystemExit(f"experiment {table['id']}: this implementation does not know {', '.join(sorted(unknown))}")
        self.id, self.variants, self.coverage = table["id"], table["variant"], table["coverage"]
        self.seed = table.get("seed", table["id"])
        self.placements = table.get("placements")
        self.rule = Rule(table["when"]) if "when" in table else None

    def variant(self, placement, customer_id, variables):
        """The variant that the customer is in at a placement; None if there is none."""
        if self.placements is not None and placement not in self.placements or not customer_id:
            return None
        bucket = fnv1a(str(fnv1a(self.seed + customer_id))) % 10_000
        start = 0.0
        for variant in self.variants:
            if round(10_000 * start) <= bucket < round(10_000 * (start + self.coverage * variant["weight"])):
                # Who may take part is asked last; a rule that fails lets nobody in.
                return variant if self.rule is None or self.rule.evaluate(variables) is True else None
            start += variant["weight"]
        return None


def fnv1a(text):
    """FNV-1a of 32 bits, of UTF-16 code units as GrowthBook's JavaScript has them."""
    found, units = 0x811C9DC5, text.encode("utf-16-le")
    for low, high in zip(units[::2], units[1::2]):
        found = ((found ^ (low | high << 8)) * 0x01000193) % 2**32
    return found


class Workspace:
    """A workspace directory, ready to decide."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.files = []
        self.features = tomllib.loads(self.read("features.toml"))["feature"]
        self.types = {feature["name"]: feature["type"] for feature in self.features}
        self.offers = {offer["id"]: offer for offer in tomllib.loads(self.read("offers.toml"))["offer"]}
        self.policy = tomllib.loads(self.read("policy.toml"))
        self.categories = {category["id"]: category for category in self.policy["category"]}
        self.placements = {placement["id"]: placement for placement in self.policy["placement"]}
        rows = csv.DictReader(self.read("customers.csv").splitlines())
        self.customers = {row["customer_id"]: self.parsed(row) for row in rows}
        self.models = {}
        for placement in self.placements.values():
            for name in [placement["model"]] + [scorer["model"] for scorer in placement.get("scorer", [])]:
                self.models.setdefault(name, Model(self.version(name)))
        self.segmentation = Segmentation(self.version(self.policy["segmentation"]) / "segments.json")
        self.conflicts = {
            frozenset((offer["id"], other))
            for offer in self.offers.values()
            for other in offer.get("conflicts_with", [])
        }
        for offer in self.offers.values():
            offer["rules"] = {gate: Rule(offer[gate]) for gate, *_ in GATES if gate in offer}
        for weight in self.policy.get("context_weight", []):
            weight["rule"] = Rule(weight["when"])
        self.experiments = [Experiment(table) for table in self.policy.get("experiment", [])]

    def read(self, name):
        """Reads a text file of the workspace, and notes it as a source of the answers."""
        self.files.append(self.directory / name)
        return self.files[-1].read_text()

    def version(self, model):
        """The directory of the highest version of a model that no variant and no shadow names; its files are noted as
        sources of the answers."""
        variants = [variant for experiment in self.policy.get("experiment", []) for variant in experiment["variant"]]
        named = {one.get("models", {}).get(model) for one in variants + self.policy.get("shadow", [])}
        versions = [path for path in (self.directory / model).iterdir() if path.name.isdigit()]
        highest = max((path for path in versions if int(path.name) not in named), key=lambda path: int(path.name))
        self.files += sorted(path for path in highest.iterdir() if path.is_file())
        return highest

    def parsed(self, row):
        """Feature values of a line of customers.csv."""
        return {name: self.typed(name, text) for name, text in row.items() if name in self.types and text != ""}

    def typed(self, name, value):
        """A value of the feature's type; floats are rounded to 32 bits. None and NaN are missing."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        match self.types[name]:
            case "float":
                return as_float32(value)
            case "int":
                return int(value)
            case "bool":
                return value if isinstance(value, bool) else {"true": True, "false": False}[value]
            case _:
                return str(value)

    def known(self, entity, *sources):
        """Values of all features of an entity, from the first source with a value, or else None."""
        names = [feature["name"] for feature in self.features if feature["entity"] == entity]
        values = {name: [self.typed(name, source.get(name)) for source in sources] for name in names}
        return {name: next((value for value in found if value is not None), None) for name, found in values.items()}

    def resolve(self, entity, *sources):
        """Values of all features of an entity, from the first source with a value, or else the default or None."""
        defaults = {feature["name"]: feature.get("default") for feature in self.features}
        return self.known(entity, *sources, defaults)

    def rank(self, request):
        """Decides for the customer of a request, with the keys of `request` in rankings.json.

        Returns the segment, the offers in order, the withheld offers as id → (stage, reason), the variants as
        experiment → variant, and the sort keys of the arbitration, in order.
        """
        placement = self.placements[request["placement"]]
        channel = request.get("channel") or placement["channels"][0]
        now = dt.datetime.fromisoformat(request["as_of"])
        stored = self.customers.get(request["customer_id"], {})
        asked = dict(request.get("features", {}))
        # A stored opt-out wins over the request.
        asked |= {name: False for name, value in stored.items() if name.startswith("consent_") and value is False}
        customer = self.resolve("customer", asked, stored)
        context = self.resolve("context", request.get("context", {}))
        # Unknown values are imputed as in training; the defaults are for rules and models.
        segment = self.segmentation.assign(self.known("customer", asked, stored))

        listed = request.get("candidate_offer_ids") or list(self.offers)
        excluded = request.get("exclude_offer_ids", [])
        candidates = [
            offer
            for offer in self.offers.values()
            if placement["id"] in offer["placements"] and offer["id"] in listed and offer["id"] not in excluded
        ]
        opted = {
            name.removeprefix("consent_"): value for name, value in customer.items() if name.startswith("consent_")
        }
        granted = set(request.get("consents", [])) | {name for name, value in opted.items() if value is True}
        granted -= {name for name, value in opted.items() if value is False}
        seen = {name: cel_map(widened_floats(values)) for name, values in (("customer", customer), ("context", context))}
        seen["segment"] = cel_map({"id": segment["id"], "name": segment["name"]})

        rejected, variables, features = {}, {}, {}
        survivors = []
        for offer in candidates:
            offer_id = offer["id"]
            features[offer_id] = self.resolve("offer", offer.get("features", {}))
            money = {name: float(offer.get(name, 0.0)) for name in ("value", "cost", "weight")}
            own = widened_floats(features[offer_id]) | money | {"id": offer_id, "category": offer["category"]}
            variables[offer_id] = seen | {"offer": cel_map(own)}
            withheld = self.first_gates(offer, granted, opted, now, channel) or self.rules(offer, variables[offer_id])
            if withheld:
                rejected[offer_id] = withheld
            else:
                survivors.append(offer)

        scores = self.scores(placement, survivors, customer | context | {"segment": segment["id"]}, features)
        ranked = []
        for offer in survivors:
            model, score = scores[offer["id"]]
            propensity = None if score is None or not math.isfinite(score) else self.models[model].calibrate(score)
            if propensity is None or not 0 <= propensity <= 1:
                rejected[offer["id"]] = ("score", "MODEL_UNAVAILABLE")
                continue
            entry = self.factors(offer, propensity, variables[offer["id"]])
            ranked.append(entry | {"score": float(score), "model": model})
        drawn = {one.id: one.variant(placement["id"], request["customer_id"], seen) for one in self.experiments}
        variants = {experiment: variant for experiment, variant in drawn.items() if variant is not None}
        strategies = [variant["strategy"] for variant in variants.values() if "strategy" in variant]
        key = (strategies + [placement["strategy"]])[0]
        ranked.sort(key=lambda entry: (-entry[key], entry["offer_id"]))
        keys = [entry[key] for entry in ranked]

        count = request.get("count") or placement["count"]
        chosen = self.slate(ranked, count, placement.get("max_per_category"), rejected)
        fallback = self.offers.get(placement.get("fallback"))
        if not chosen and fallback and not self.first_gates(fallback, granted, opted, now, channel):
            chosen = [{"offer_id": fallback["id"], "priority": 0.0, "fallback": True}]
        named = {experiment: variant["id"] for experiment, variant in variants.items()}
        return {"segment": segment, "offers": chosen, "rejected": rejected, "variants": named, "keys": keys}

    def first_gates(self, offer, granted, opted, now, channel):
        """Consent, validity and channel: (stage, reason) of the first gate that fails; None if all pass."""
        for consent in offer.get("consents", []):
            if consent not in granted:
                return "consent", "OPTED_OUT" if opted.get(consent) is False else "CONSENT_MISSING"
        if "valid_from" in offer and now < moment(offer["valid_from"]):
            return "validity", "NOT_YET_VALID"
        if "valid_until" in offer and now >= moment(offer["valid_until"]):
            return "validity", "EXPIRED"
        if offer.get("channels") and channel not in offer["channels"]:
            return "channel", "CHANNEL_NOT_ALLOWED"
        return None

    def rules(self, offer, variables):
        """Exclusion, eligibility, applicability and suitability, in this order."""
        for gate, passes, reason in GATES:
            if gate in offer["rules"]:
                answer = offer["rules"][gate].evaluate(variables)
                if answer is not passes:
                    return gate, "RULE_ERROR" if answer is None else reason
        return None

    def scores(self, placement, offers, base, features):
        """Id → (model, raw score or None), by the first scorer that lists the offer, or else the placement's model."""
        by_model = {}
        for offer in offers:
            claims = [
                scorer["model"]
                for scorer in placement.get("scorer", [])
                if offer["category"] in scorer.get("categories", []) or offer["id"] in scorer.get("offers", [])
            ]
            by_model.setdefault((claims + [placement["model"]])[0], []).append(offer["id"])
        types = self.types | {"segment": "int"}
        answers = {}
        for model, ids in by_model.items():
            scored = self.models[model].scores(base, {offer: features[offer] for offer in ids}, types)
            answers |= {offer: (model, scored[offer]) for offer in ids}
        return answers

    def factors(self, offer, propensity, variables):
        """The factors of the priority, in 64 bits."""
        percent = 0.0
        for weight in self.policy.get("context_weight", []):
            everything = "categories" not in weight and "offers" not in weight
            named = offer["category"] in weight.get("categories", []) or offer["id"] in weight.get("offers", [])
            if (everything or named) and weight["rule"].evaluate(variables) is True:
                percent += weight["percent"]
        context_weight = max(1 + percent / 100, 0.0)
        lever = 1 + (self.categories[offer["category"]].get("weight", 0.0) + offer.get("weight", 0.0)) / 100
        value, cost = float(offer["value"]), float(offer.get("cost", 0.0))
        return {
            "offer_id": offer["id"],
            "priority": propensity * context_weight * value * lever,
            "propensity": propensity,
            "context_weight": context_weight,
            "value": value,
            "lever": lever,
            "margin": propensity * value - cost,
            "fallback": False,
        }

    def slate(self, ranked, count, per_category, rejected):
        """Chooses up to `count` of the sorted offers; adds the others to `rejected`, with the reason."""
        chosen = []
        for entry in ranked:
            offer_id, category = entry["offer_id"], self.offers[entry["offer_id"]]["category"]
            same_category = sum(self.offers[other["offer_id"]]["category"] == category for other in chosen)
            if len(chosen) == count:
                rejected[offer_id] = ("arbitration", "OUTRANKED")
            elif any(frozenset((offer_id, other["offer_id"])) in self.conflicts for other in chosen):
                rejected[offer_id] = ("slate", "CONFLICTS_WITH")
            elif per_category is not None and same_category >= per_category:
                rejected[offer_id] = ("slate", "CATEGORY_LIMIT")
            else:
                chosen.append(entry)
        return chosen


def moment(value):
    """A TOML date or time as a datetime; UTC if it has no zone."""
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    return value if value.tzinfo else value.replace(tzinfo=UTC)
