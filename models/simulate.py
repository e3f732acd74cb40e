"""Simulated customers, and how they respond to offers.

None of the customers is real. The behaviour columns are drawn to resemble the quartiles, fractions of zeros and means
published for the data set CC GENERAL (`PUBLISHED` below). `--report` prints both side by side; no row of that data set
is used. The other columns and all responses are invented, with explicit rules.

    python models/simulate.py             writes models/customers.csv (2,000 customers)
    python models/simulate.py --report    compares the marginals with the published ones

Customers come from six kinds of card use. Within a kind, one latent "size" drives limit, spending and payments, so that
the columns are consistent. Purchases are the sum of the one-off and the instalment part, frequencies are whole months
over the tenure, and minimum payments follow the balance.

The responses follow a utility model, `utility`, which is the ground truth of this workspace: train.py sees only draws
from it. Start reading there.
"""

import argparse
import csv
import tomllib
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SAMPLE_SEED, SAMPLE_SIZE = 20260101, 2000

# Published statistics of CC GENERAL: mean, quartiles, fraction of zeros.
PUBLISHED = {
    "balance": (1564.47, 128.28, 873.39, 2054.14, 0.01),
    "balance_frequency": (0.877, 0.889, 1.0, 1.0, 0.01),
    "purchases": (1003.20, 39.64, 361.28, 1110.13, 0.23),
    "oneoff_purchases": (592.44, 0.0, 38.0, 577.41, 0.48),
    "installments_purchases": (411.07, 0.0, 89.0, 468.64, 0.44),
    "cash_advance": (978.87, 0.0, 0.0, 1113.82, 0.52),
    "purchases_frequency": (0.490, 0.083, 0.5, 0.917, 0.23),
    "oneoff_purchases_frequency": (0.202, 0.0, 0.083, 0.3, 0.48),
    "purchases_installments_frequency": (0.364, 0.0, 0.167, 0.75, 0.44),
    "cash_advance_frequency": (0.135, 0.0, 0.0, 0.222, 0.52),
    "cash_advance_trx": (3.25, 0.0, 0.0, 4.0, 0.52),
    "purchases_trx": (14.71, 1.0, 7.0, 17.0, 0.23),
    "credit_limit": (4494.45, 1600.0, 3000.0, 6500.0, 0.0),
    "payments": (1733.14, 383.28, 856.90, 1901.13, 0.03),
    "minimum_payments": (864.21, 169.12, 312.34, 825.49, 0.0),
    "prc_full_payment": (0.154, 0.0, 0.0, 0.143, 0.66),
    "tenure": (11.52, 12.0, 12.0, 12.0, 0.0),
}

# The kinds of card use. Columns: fraction of customers; shift of the latent size; monthly probabilities of a one-off
# purchase, an instalment purchase and a cash advance (0 = never); log of the usual monthly amount of each; fraction of
# the limit carried as balance (log); fraction of customers who pay in full; fraction of spending abroad.
KINDS = [
    # name            share  size  one-off inst.  cash  ln o   ln i   ln c    balance full  abroad
    ("instalments", 0.23, -0.35, 0.03, 0.70, 0.03, 3.9, 3.80, 5.0, -2.60, 0.65, 0.04),
    ("one-off", 0.15, 0.00, 0.30, 0.04, 0.04, 4.75, 3.4, 5.0, -1.60, 0.35, 0.10),
    ("big spenders", 0.17, 0.65, 0.62, 0.72, 0.05, 5.15, 4.5, 5.0, -1.60, 0.50, 0.14),
    ("cash", 0.24, 0.00, 0.01, 0.01, 0.30, 4.0, 3.4, 6.15, -0.60, 0.06, 0.03),
    ("cash and cards", 0.15, 0.15, 0.26, 0.40, 0.22, 4.4, 3.9, 5.85, -0.50, 0.08, 0.06),
    ("rare users", 0.06, -0.30, 0.04, 0.02, 0.02, 4.2, 3.6, 5.2, -3.00, 0.15, 0.05),
]

INCOME_BANDS = ["low", "middle", "upper", "high"]
CHANNELS = ["app", "web", "phone", "branch"]
PAGES = ["home", "statement", "travel", "card", "support"]


def schema():
    """The features of features.toml, in its order."""
    return tomllib.loads((HERE / "features.toml").read_text())["feature"]


def offers():
    """The offers of offers.toml, in its order."""
    return tomllib.loads((HERE / "offers.toml").read_text())["offer"]


def customers(count, seed):
    """Draws `count` customers.

    Returns the columns as in the file: rounded, with missing values as NaN (float), "" (string) or -1 (bool and int).
    Latent columns have names that begin with `_`; only `utility` may read them.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    kinds = np.array([kind[1:] for kind in KINDS])
    kind = rng.choice(len(KINDS), size=count, p=kinds[:, 0])
    shift, often_o, often_i, often_c, ln_o, ln_i, ln_c, carried, full, abroad = kinds[kind, 1:].T
    size = rng.normal(shift, 0.8)

    tenure = np.where(rng.random(count) < 0.85, 12, rng.integers(6, 12, count))
    limit = np.clip(np.exp(8.02 + 0.8 * size + rng.normal(0, 0.5, count)), 50, 30000)
    limit = np.where(limit > 1000, np.round(limit / 500) * 500, np.round(limit / 50) * 50)

    def habit(often):
        """Months of the tenure with an event, with an individual probability around that of the kind."""
        spread = 3.0
        personal = rng.beta(spread * often + 0.05, spread * (1 - often) + 0.05)
        personal = np.where(often > 0, personal, 0.0)
        return rng.binomial(tenure, personal)

    months_o, months_i, months_c = habit(often_o), habit(often_i), habit(often_c)
    both = np.minimum(months_o + months_i, tenure)
    months_p = np.maximum(np.maximum(months_o, months_i), rng.binomial(both, 0.93))

    def amount(months, log_amount, sigma):
        per_month = np.exp(log_amount + 0.55 * size + rng.normal(0, sigma, count))
        return months * per_month

    oneoff = amount(months_o, ln_o, 0.85)
    instalments = amount(months_i, ln_i, 0.65)
    cash = amount(months_c, ln_c, 0.85)
    purchases = oneoff + instalments
    purchases_trx = rng.poisson(months_o * np.exp(0.45 + 0.5 * size)) + rng.poisson(
        months_i * np.exp(0.45 + 0.5 * size)
    )
    purchases_trx = np.maximum(purchases_trx, np.maximum(months_o, months_i))
    cash_trx = np.maximum(months_c, rng.poisson(months_c * np.exp(0.35 + rng.normal(0, 0.5, count))))

    balance = limit * np.minimum(np.exp(carried + rng.normal(0, 1.05, count)), 1.1)
    pays_full = (rng.random(count) < full * np.where(purchases > 0, 1.15, 0.4)).astype(float)
    months_full = rng.binomial(tenure, np.where(pays_full > 0, rng.beta(1.1, 1.3, count), 0.0))
    balance = np.where(months_full > tenure / 2, balance * 0.5, balance)
    balance_months = np.where(
        balance > 25, tenure - (rng.random(count) < 0.3) * rng.integers(1, 5, count), rng.integers(1, 8, count)
    )
    balance_months = np.clip(balance_months, 0, tenure)
    payments = (0.80 * purchases + 0.75 * cash + 0.18 * balance + 120) * np.exp(rng.normal(0, 0.55, count))
    payments = np.where(rng.random(count) < 0.027, 0.0, payments)
    minimum = (110 + 0.30 * balance) * np.exp(rng.normal(0, 0.55, count))
    minimum = np.where(rng.random(count) < 0.02, minimum * rng.uniform(5, 25, count), minimum)

    # Demographics: income depends on the size, age slightly on income, and use of the app on age.
    wealth = 0.75 * (size - size.mean()) + rng.normal(0, 0.6, count)
    income = np.searchsorted([-0.75, 0.15, 0.95], wealth)
    age = np.clip(np.round(43 + 4.5 * wealth + rng.normal(0, 12.5, count)), 18, 88).astype(int)
    digital = rng.random(count) < 1 / (1 + np.exp(0.055 * (age - 62)))
    foreign = np.clip(rng.beta(0.9, np.maximum(0.9 / abroad - 0.9, 0.5)) * np.exp(0.25 * wealth), 0, 1)
    travel_card = rng.random(count) < np.clip(0.04 + 0.9 * foreign + 0.05 * income, 0, 0.7)
    insured = rng.random(count) < np.clip(0.08 + 0.004 * (age - 30) + 0.04 * income, 0.02, 0.5)
    strain = balance / limit
    late = rng.poisson(np.clip(0.05 + 0.8 * strain * (months_full == 0), 0, 1.6))
    since = rng.integers(0, 25, count)
    never = rng.random(count) < 0.24
    home = np.where(
        digital,
        rng.choice(4, count, p=[0.66, 0.26, 0.05, 0.03]),
        rng.choice(4, count, p=[0.04, 0.12, 0.40, 0.44]),
    )

    def consent(granted, refused):
        draw = rng.random(count)
        return np.where(draw < granted, 1, np.where(draw < granted + refused, 0, -1))

    def months(values):
        return np.round(values / tenure, 4)

    def missing(share, like):
        gone = rng.random(count) < share
        return np.where(gone, np.nan, like)

    oneoff, instalments = np.round(oneoff, 2), np.round(instalments, 2)
    columns = {
        "balance": np.round(balance, 2),
        "balance_frequency": months(balance_months),
        "purchases": np.round(oneoff + instalments, 2),
        "oneoff_purchases": oneoff,
        "installments_purchases": instalments,
        "cash_advance": np.round(cash, 2),
        "purchases_frequency": months(months_p),
        "oneoff_purchases_frequency": months(months_o),
        "purchases_installments_frequency": months(months_i),
        "cash_advance_frequency": months(months_c),
        "cash_advance_trx": np.minimum(cash_trx, 150),
        "purchases_trx": np.minimum(purchases_trx, 400),
        "credit_limit": missing(0.004, limit),
        "payments": np.round(payments, 2),
        "minimum_payments": missing(0.035, np.round(minimum, 2)),
        "prc_full_payment": months(months_full),
        "tenure": tenure,
        "age": np.where(rng.random(count) < 0.025, -1, age),
        "months_since_last_offer": np.where(never, -1, since),
        "has_travel_card": travel_card.astype(int),
        "has_insurance": insured.astype(int),
        "digital_active": digital.astype(int),
        "foreign_spend_share": np.where(purchases > 0, missing(0.02, np.round(foreign, 3)), np.nan),
        "late_payments_12m": np.minimum(late, 12),
        "income_band": np.where(rng.random(count) < 0.05, "", np.array(INCOME_BANDS)[income]),
        "home_channel": np.array(CHANNELS)[home],
        "consent_marketing": consent(0.78, 0.15),
        "consent_profiling": consent(0.70, 0.17),
        "consent_partners": consent(0.52, 0.30),
        "_kind": kind,
        "_age": age,
        "_income": income,
        "_foreign": foreign,
        "_limit": limit,
        "_openness": rng.normal(0, 0.45, count),
    }
    return columns


def contexts(count, rng):
    """Draws the contexts in which offers are shown; names as in features.toml."""
    return {
        "month": rng.integers(1, 13, count),
        "hour": np.clip(np.round(rng.normal(15, 4.5, count)), 0, 23).astype(int),
        "page": np.array(PAGES)[rng.choice(5, count, p=[0.46, 0.20, 0.10, 0.14, 0.10])],
        "days_since_login": np.minimum(rng.geometric(0.12, count) - 1, 365),
    }


def utility(who, offer, when):
    """The log-odds of accepting: the ground truth that the models try to learn.

    `who`: columns of `customers`, including latent ones; `offer`: columns by offer feature, plus `category`; `when`:
    columns of `contexts`. All have the same length, as has the result, which is float64.

    utility = appetite of the category
            + travel      travel_benefit × (2.8 abroad − 0.9 holds a travel card + 0.35 income + 0.5 May to August
                          + 0.6 on the travel page)
            + rewards     0.30 reward_rate × (ln(1 + purchases) − 5.6) / 1.6, doubled by purchases in most months
            + relief      promo_months / 12 × (1.3 used share of the limit + 0.25 takes cash − 0.55 pays in full − 0.45)
                          × (1 − promo_apr / 24)
            + protection  protection_level × (0.030 (age − 45) − 1.4 insured + 0.25 cash or late payments)
            + bonus       0.55 × welcome_bonus / 100
            − fee         annual_fee / 100 × max(1.0 − 0.22 income, 0.2)
            + digital     0.8 digital_only × (digitally active − 0.6)
            − fatigue     0.9 exp(−months since the last offer / 3), none without an offer before
            − absence     0.02 × days since the last login, at most 30
            + evening     0.15 from 18 to 22 o'clock
            + help        financial_health: 0.35 × late payments (at most 3), 0.8 on the support page
            + openness    individual, normal with deviation 0.45, not visible to models
    """
    income = who["_income"]
    used = np.minimum(who["balance"] / who["_limit"], 1.2)
    full = who["prc_full_payment"]
    cash = who["cash_advance"] > 0
    late = np.minimum(who["late_payments_12m"], 3)
    category = offer["category"]
    appetite = {
        "travel": -3.3,
        "cashback": -2.6,
        "balance_transfer": -3.0,
        "installments": -2.9,
        "insurance": -3.0,
        "financial_health": -2.5,
    }
    total = np.vectorize(appetite.get)(category).astype(np.float64)
    season = (when["month"] >= 5) & (when["month"] <= 8)
    total += offer["travel_benefit"] * (
        2.8 * who["_foreign"]
        - 0.9 * who["has_travel_card"]
        + 0.35 * income
        + 0.5 * season
        + 0.6 * (when["page"] == "travel")
    )
    steady = 1 + (who["purchases_frequency"] > 0.7)
    total += 0.30 * offer["reward_rate"] * steady * (np.log1p(who["purchases"]) - 5.6) / 1.6
    total += (
        (offer["promo_months"] / 12) * (1.3 * used + 0.25 * cash - 0.55 * full - 0.45) * (1 - offer["promo_apr"] / 24)
    )
    total += offer["protection_level"] * (
        0.030 * (who["_age"] - 45) - 1.4 * who["has_insurance"] + 0.25 * (cash | (late > 0))
    )
    total += 0.55 * offer["welcome_bonus"] / 100
    total -= offer["annual_fee"] / 100 * np.maximum(1.0 - 0.22 * income, 0.2)
    total += 0.8 * offer["digital_only"] * (who["digital_active"] - 0.6)
    since = who["months_since_last_offer"]
    total -= np.where(since < 0, 0.0, 0.9 * np.exp(-np.maximum(since, 0) / 3))
    total -= 0.02 * np.minimum(when["days_since_login"], 30)
    total += 0.15 * ((when["hour"] >= 18) & (when["hour"] <= 22))
    total += (category == "financial_health") * (0.35 * late + 0.8 * (when["page"] == "support"))
    return total + who["_openness"]


def responses(count_customers, per_customer, seed):
    """Shows `per_customer` uniformly drawn offers to each of `count_customers` newly drawn customers.

    Returns (customer columns, index of the customer, index of the offer, context columns, accepted 0/1), all but the
    first with one entry per impression.
    """
    who = customers(count_customers, seed)
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    library = offers()
    rows = count_customers * per_customer
    customer = np.repeat(np.arange(count_customers), per_customer)
    shown = rng.integers(0, len(library), rows)
    when = contexts(rows, rng)
    offer = {name: column[shown] for name, column in offer_columns(library).items()}
    log_odds = utility({name: column[customer] for name, column in who.items()}, offer, when)
    accepted = (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int8)
    return who, customer, shown, when, accepted


def offer_columns(library):
    """The offer features and the category of each offer, as columns."""
    features = [feature for feature in schema() if feature["entity"] == "offer"]
    columns = {
        feature["name"]: np.array(
            [float(offer.get("features", {}).get(feature["name"], feature["default"])) for offer in library]
        )
        for feature in features
    }
    columns["category"] = np.array([offer["category"] for offer in library])
    return columns


def as_text(feature, value):
    """One field of customers.csv; empty if the value is missing."""
    match feature["type"]:
        case "float":
            return "" if np.isnan(value) else f"{value:.4f}".rstrip("0").rstrip(".")
        case "int":
            return "" if value < 0 else str(int(value))
        case "bool":
            return ["false", "true", ""][int(value)]
        case _:
            return str(value)


def write_sample():
    who = customers(SAMPLE_SIZE, SAMPLE_SEED)
    features = [feature for feature in schema() if feature["entity"] == "customer"]
    with (HERE / "customers.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["customer_id"] + [feature["name"] for feature in features])
        for row in range(SAMPLE_SIZE):
            fields = [as_text(feature, who[feature["name"]][row]) for feature in features]
            writer.writerow([f"C{row + 1:06d}"] + fields)


def report():
    """Prints the marginals of the sample next to the published ones."""
    who = customers(SAMPLE_SIZE, SAMPLE_SEED)
    print(f"{'':34}{'mean':>18}{'25 %':>18}{'50 %':>18}{'75 %':>18}{'zeros':>12}")
    for name, published in PUBLISHED.items():
        column = who[name].astype(float)
        column = column[~np.isnan(column)]
        own = (column.mean(), *np.quantile(column, [0.25, 0.5, 0.75]), (column == 0).mean())
        cells = "".join(f"{ours:9.4g} {theirs:8.4g}" for ours, theirs in zip(own, published))
        print(f"{name:34}{cells}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="compare with the published statistics without writing")
    report() if parser.parse_args().report else write_sample()
