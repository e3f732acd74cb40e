"""Computes the statistics of 50 experiments with other programs, for crates/statistics/tests/oracles.rs.

    pip install numpy==2.4.6 scipy==1.17.1 pandas==2.3.3 pydantic packaging tea-tasting==1.14.0
    pip install --no-deps gbstats==0.8.0
    python tests/golden/experiment_statistics.py > crates/statistics/tests/oracles.json

The units of an experiment follow from its number by a hash of 64 bits, which the test has, too. `gbstats` (of GrowthBook)
gives confidence sequences, Welch's test, CUPED, quotients and relative differences; `tea-tasting` gives the same again
where it has it, and this script fails where the two differ; SciPy gives χ².
"""

import json
import math
import sys

import numpy as np
import pandas as pd
import tea_tasting as tt
from gbstats.frequentist import tests as gb
from gbstats.models import statistics as gs
from scipy import stats

EXPERIMENTS, MASK = 50, (1 << 64) - 1


def uniform(number):
    x = (number * 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return ((x ^ (x >> 31)) >> 11) / 2**53


def arm(offset, size, lift):
    """For each unit: what it did before, its value, its tries and how many of them hit."""
    units = []
    for at in range(size):
        base = offset + 4 * at
        before, tries = 10 * uniform(base), 1 + int(5 * uniform(base + 2))
        hits = sum(uniform(base + 3 + 1_000_003 * (one + 1)) < 0.2 + lift / 20 for one in range(tries))
        units.append((before, 0.8 * before + 3 * uniform(base + 1) + lift, tries, hits))
    return np.array(units)


def mean(values):
    return gs.SampleMeanStatistic(n=len(values), sum=values.sum(), sum_squares=(values**2).sum())


def adjusted(units, theta):
    before, value = units[:, 0], units[:, 1]
    return gs.RegressionAdjustedStatistic(len(units), mean(value), mean(before), (value * before).sum(), theta)


def ratio(units):
    tries, hits = units[:, 2], units[:, 3]
    return gs.RatioStatistic(len(units), mean(hits), mean(tries), (tries * hits).sum())


def results(arms, alpha, planned):
    found = {}
    for kind in ("absolute", "relative"):
        config = {"difference_type": kind, "alpha": alpha}
        fixed = gb.TwoSidedTTest(*arms, gb.FrequentistConfig(**config)).compute_result()
        sequence = gb.SequentialTwoSidedTTest(
            *arms, gb.SequentialConfig(**config, sequential_tuning_parameter=planned)
        ).compute_result()
        found[kind] = {
            "delta": fixed.expected,
            "fixed": [*fixed.ci, fixed.p_value],
            "sequence": [*sequence.ci, sequence.p_value],
        }
    return found


def near(one, other, what):
    if not math.isclose(one, other, rel_tol=1e-7, abs_tol=1e-9):
        sys.exit(f"gbstats and tea-tasting differ in {what}: {one} and {other}")


def again(units, found, alpha):
    """Compares with tea-tasting."""
    columns = {"variant": np.repeat([0, 1], [len(one) for one in units])}
    for at, name in enumerate(("before", "value", "tries", "hits")):
        columns[name] = np.concatenate([one[:, at] for one in units])
    level = {"confidence_level": 1 - alpha}
    experiment = tt.Experiment(
        mean=tt.Mean("value", **level),
        adjusted=tt.Mean("value", "before", **level),
        ratio=tt.RatioOfMeans("hits", "tries", **level),
    )
    result = experiment.analyze(pd.DataFrame(columns))
    for name in ("mean", "adjusted", "ratio"):
        one, (low, high, p) = result[name], found[name]["absolute"]["fixed"]
        near(one.effect_size, found[name]["absolute"]["delta"], name)
        near(one.effect_size_ci_lower, low, name)
        near(one.effect_size_ci_upper, high, name)
        near(one.pvalue, p, name)


def experiment(number):
    alpha, planned = (0.05, 0.01, 0.1)[number % 3], 1_000 + 400 * number
    sizes, lift = [200 + 23 * number, 150 + 31 * (number * 7 % EXPERIMENTS)], (number % 7 - 3) * 0.05
    offset = 1 + 1_000_000_000 * number
    units = [arm(offset, sizes[0], 0.0), arm(offset + 10_000_001, sizes[1], lift)]
    theta = gs.compute_theta(*[adjusted(one, 0) for one in units])
    found = {
        "mean": results([mean(one[:, 1]) for one in units], alpha, planned),
        "adjusted": results([adjusted(one, theta) for one in units], alpha, planned),
        "ratio": results([ratio(one) for one in units], alpha, planned),
    }
    again(units, found, alpha)
    weights = [1.0, 0.8 + 0.01 * number]
    expected = np.array(weights) / sum(weights) * sum(sizes)
    chi = stats.chisquare(sizes, expected)
    return {
        "alpha": alpha,
        "planned": planned,
        "sizes": sizes,
        "lift": lift,
        "offset": offset,
        "theta": theta,
        **found,
        "weights": weights,
        "chi_squared": [chi.statistic, chi.pvalue],
    }


print("[\n" + ",\n".join(json.dumps(experiment(number)) for number in range(EXPERIMENTS)) + "\n]")
