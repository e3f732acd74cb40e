"""The models, rows and workspace for all measurements, made from fixed seeds.

Start reading at `make`. The files that it writes:

    workspace/       the input of `proffer init --from`: 10,000 customers, 100 offers, 40 rules, two models
    model.txt        the trees as LightGBM saves them; model.bst is the same for MLServer
    customers.f32    10,000 × 24, offers.f32 100 × 8, mixed.f32 16,000 × 32: row-major little-endian floats
"""

import csv
import shutil
import warnings

import lightgbm
import numpy as np
import onnx
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from report import ranking_is_right
from rules import expected, rules_of

CUSTOMERS, OFFERS = 10_000, 100
CUSTOMER, OFFER = 24, 8
WIDTH = CUSTOMER + OFFER
TREES, LEAVES = 500, 31
# Offers per decision.
COUNT = 5
TRAINING_ROWS = 30_000
# Rows per call, and number of different calls, of the second comparison.
MIXED_ROWS, MIXED_CALLS = 1000, 16
SEED = 20_261_120

CUSTOMER_NAMES = [f"c{index:02}" for index in range(CUSTOMER)]
OFFER_NAMES = [f"o{index}" for index in range(OFFER)]


class Made:
    """All data in memory. The propensity of an offer is multiplied by `value`."""

    def __init__(self, folder):
        self.folder = folder
        random = np.random.default_rng(SEED)
        self.customers = customers_of(random, CUSTOMERS)
        self.offers = offers_of(random)
        self.value = np.round(random.uniform(5, 150, OFFERS), 2)
        self.rules = rules_of(random, self.customers, OFFERS)
        pairs = random.integers(0, OFFERS, MIXED_ROWS * MIXED_CALLS)
        self.mixed = np.hstack([customers_of(random, len(pairs)), self.offers[pairs]])
        self.random = random

    def pairs(self, customer):
        """A customer paired with each offer: 100 × 32."""
        return np.hstack([np.tile(self.customers[customer], (OFFERS, 1)), self.offers])

    def is_ranked(self, customer, offers, scores):
        """Whether `offers` are correct for this customer; `scores` are those of all offers."""
        wanted = expected(scores, self.value, self.rules, self.customers[customer], COUNT)
        return ranking_is_right(offers, wanted, scores, offer_of)


def customers_of(random, count):
    """Amounts, fractions and counts, one third each.

    All are integers or dyadic fractions, and so are the thresholds between them. The export to ONNX rounds thresholds
    to 32 bits. One that is too close to a value would send that value down a different branch than in LightGBM.
    """
    amounts = np.round(random.lognormal(6, 1.2, (count, CUSTOMER // 3)))
    shares = np.round(1024 * random.beta(1.5, 2.5, (count, CUSTOMER // 3))) / 1024
    counts = random.negative_binomial(2, 0.1, (count, CUSTOMER // 3))
    return np.hstack([amounts, shares, counts]).astype(np.float32)


def offers_of(random):
    return (random.integers(0, 1025, (OFFERS, OFFER)) / 1024).astype(np.float32)


def make(folder):
    """Trains the models, exports and writes everything; returns the data."""
    warnings.filterwarnings("ignore")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = Made(folder)
    rows, answers = responses(made)
    booster = trees(rows, answers)
    booster.save_model(folder / "model.txt")
    shutil.copy(folder / "model.txt", folder / "model.bst")
    workspace = folder / "workspace"
    floats = [("features", FloatTensorType([None, WIDTH]))]
    save(workspace, "trees", convert_lightgbm(booster, initial_types=floats, target_opset=15, zipmap=False))
    save(workspace, "logistic", logistic(rows, answers))
    for name in ("customers", "offers", "mixed"):
        getattr(made, name).astype("<f4").tofile(folder / f"{name}.f32")
    write_texts(made, workspace)
    return made


def responses(made):
    """Customers with offers, and whether they accepted: interactions that require trees with many leaves."""
    random = made.random
    customers = customers_of(random, TRAINING_ROWS)
    offers = made.offers[random.integers(0, OFFERS, TRAINING_ROWS)]
    ranks = (customers.argsort(axis=0).argsort(axis=0) / TRAINING_ROWS - 0.5) * 2
    weights = random.normal(0, 1, (CUSTOMER, OFFER))
    signal = np.einsum("ni,ij,nj->n", ranks, weights, offers - 0.5)
    signal += np.sin(3 * ranks).sum(axis=1) * 0.3 + (ranks[:, ::2] * ranks[:, 1::2]).sum(axis=1)
    chance = 1 / (1 + np.exp(2.5 - 0.6 * signal))
    return np.hstack([customers, offers]), (random.random(TRAINING_ROWS) < chance).astype(int)


def trees(rows, answers):
    settings = {
        "objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.03, "min_data_in_leaf": 20, "max_bin": 255,
        "seed": SEED, "deterministic": True, "force_row_wise": True, "num_threads": 2, "verbose": -1,
    }  # fmt: skip
    booster = lightgbm.train(settings, lightgbm.Dataset(rows, answers), TREES)
    shape = [tree["num_leaves"] for tree in booster.dump_model()["tree_info"]]
    if shape != [LEAVES] * TREES:
        raise ValueError(f"not {TREES} trees of {LEAVES} leaves: {len(shape)} of {min(shape)} to {max(shape)}")
    return booster


def logistic(rows, answers):
    """A regression on the raw values: the scales are folded into its weights."""
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    model = LogisticRegression(max_iter=500).fit((rows - mean) / scale, answers)
    model.intercept_ = model.intercept_ - (model.coef_ * mean / scale).sum(axis=1)
    model.coef_ = model.coef_ / scale
    return to_onnx(model, rows[:1], options={id(model): {"zipmap": False}}, target_opset=15)


def save(workspace, name, graph):
    folder = workspace / name / "1"
    folder.mkdir(parents=True)
    onnx.save(graph, folder / "model.onnx")
    inputs = ", ".join(f'"{name}"' for name in CUSTOMER_NAMES + OFFER_NAMES)
    output = '[output]\nname = "probabilities"\nclass = 1\n'
    text = f'kind = "propensity"\nlayout = "pairwise"\ninputs = [{inputs}]\n\n{output}'
    (folder / "model.toml").write_text(text)


def write_texts(made, workspace):
    feature = '[[feature]]\nname = "{}"\ntype = "float"\nentity = "{}"\ndefault = 0.0\nrange = [0.0, {}]\n'
    features = [feature.format(name, "customer", "1000000.0") for name in CUSTOMER_NAMES]
    features += [feature.format(name, "offer", "1.0") for name in OFFER_NAMES]
    (workspace / "features.toml").write_text("\n".join(features))
    offers = []
    for index, row in enumerate(made.offers):
        values = ", ".join(f"{name} = {value}" for name, value in zip(OFFER_NAMES, row))
        rule = made.rules.get(index)
        rule = f'eligibility = "{rule.text(CUSTOMER_NAMES)}"\n' if rule else ""
        offers.append(
            f'[[offer]]\nid = "{offer_id(index)}"\nname = "Offer {index}"\ncategory = "cards"\nplacements = ["all"]\n'
            f"value = {made.value[index]}\n{rule}features = {{ {values} }}\n"
        )
    (workspace / "offers.toml").write_text("\n".join(offers))
    (workspace / "policy.toml").write_text(
        '[[category]]\nid = "cards"\n\n[[placement]]\nid = "all"\ndescription = "Every offer"\n'
        'channels = ["app"]\ncount = 5\nstrategy = "priority"\nmodel = "trees"\n'
    )
    with (workspace / "customers.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["customer_id", *CUSTOMER_NAMES])
        # str() gives the shortest text that parses to the same float.
        lines.writerows([customer_id(index), *map(str, row)] for index, row in enumerate(made.customers))


def customer_id(index):
    return f"C{index:05}"


def offer_id(index):
    return f"offer_{index:03}"


# The index of an offer by id, or None.
offer_of = {offer_id(index): index for index in range(OFFERS)}.get
