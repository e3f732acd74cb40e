"""Assigns customers to arms with the SDK of GrowthBook and by the definitions of other systems, and compares.

    python tests/golden/assignments.py ASSIGNMENTS.jsonl

A line is an experiment and whom it assigned where:

    {"scheme": …, "seed": …, "coverage": …, "weights": […], "group": [name, start, end] or null,
     "ids": […], "arms": [index of the variant or null, …]}

`growthbook` and `growthbook_1` are run by the SDK as an application runs them, with the seed, the coverage, the weights
and the namespace of the experiment. The others are worked out here with the packages mmh3 and hashlib; flagd and Eppo
have no coverage, so theirs must be 1. Prints how many assignments agree, by scheme, as JSON; exits with 1 at the first
difference.
"""

import hashlib
import json
import sys
from fractions import Fraction

import mmh3
from growthbook import Experiment, GrowthBook

GROWTHBOOK_VERSIONS = {"growthbook": 2, "growthbook_1": 1}
UNLEASH_VARIANTS = 86028157


def growthbook(case, customer):
    experiment = Experiment(
        key="experiment",
        variations=list(range(len(case["weights"]))),
        weights=case["weights"],
        coverage=case["coverage"],
        seed=case["seed"],
        hashVersion=GROWTHBOOK_VERSIONS[case["scheme"]],
        namespace=tuple(case["group"]) if case["group"] else None,
    )
    result = GrowthBook(attributes={"id": customer}).run(experiment)
    return result.variationId if result.inExperiment else None


def first(weights, holds):
    """The first variant whose weights up to and including its own satisfy `holds`; weights are as written."""
    total = Fraction(0)
    for index, weight in enumerate(weights):
        total += Fraction(repr(weight))
        if weight > 0 and holds(total):
            return index
    return None


def unleash(case, customer):
    def normalised(buckets, seed):
        return mmh3.hash(f"{case['seed']}:{customer}", seed, signed=False) % buckets + 1

    if normalised(100, 0) > Fraction(repr(case["coverage"])) * 100:
        return None
    target = normalised(1000, UNLEASH_VARIANTS)
    return first(case["weights"], lambda total: total * 1000 >= target)


def flagd(case, customer):
    total_weight = 1000
    bucket = (mmh3.hash(case["seed"] + customer, signed=False) * total_weight) >> 32
    return first(case["weights"], lambda total: bucket < total * total_weight)


def eppo(case, customer):
    digest = hashlib.md5(f"{case['seed']}-{customer}".encode()).hexdigest()
    shard = int(digest[:8], 16) % 10000
    return first(case["weights"], lambda total: shard < total * 10000)


SYSTEMS = {"growthbook": growthbook, "growthbook_1": growthbook, "unleash": unleash, "flagd": flagd, "eppo": eppo}


def main(path):
    agreed = {}
    with open(path, encoding="utf-8") as lines:
        for case in map(json.loads, lines):
            scheme = case["scheme"]
            if scheme not in GROWTHBOOK_VERSIONS:
                assert case["group"] is None, "only GrowthBook has namespaces"
            if scheme in ("flagd", "eppo"):
                assert case["coverage"] == 1, f"{scheme} has no coverage"
            for customer, arm in zip(case["ids"], case["arms"], strict=True):
                expected = SYSTEMS[scheme](case, customer)
                if expected != arm:
                    sys.exit(f"{scheme}: customer {customer!r} is in {arm}, and {expected} by the other system: {case['seed']}")
            agreed[scheme] = agreed.get(scheme, 0) + len(case["ids"])
    print(json.dumps(agreed, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1])
