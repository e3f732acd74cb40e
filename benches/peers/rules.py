"""Eligibility rules of three terms, as text for the server and as a function for the check of its answers.

Nearly every customer passes each rule, so the model scores nearly all offers. Rules that withhold half of the offers
would halve the measured work. Start reading at `rules_of`.
"""

RULES, TERMS = 40, 3
# The fraction of customers that pass a single term.
PASSING = 0.995


class Rule:
    """`terms` are (feature, operator, bound), all of which must hold."""

    def __init__(self, terms):
        self.terms = terms

    def text(self, names):
        return " && ".join(f"customer.{names[feature]} {operator} {bound}" for feature, operator, bound in self.terms)

    def holds(self, row):
        return all(row[at] <= bound if operator == "<=" else row[at] >= bound for at, operator, bound in self.terms)


def rules_of(random, customers, offers):
    """A rule for each of the first offers of a shuffle, by the offer's number. Bounds are feature values of customers,
    as floats."""
    rules = {}
    for offer in sorted(random.permutation(offers)[:RULES].tolist()):
        terms = []
        for feature in random.choice(customers.shape[1], TERMS, replace=False).tolist():
            column = sorted(customers[:, feature].tolist())
            if random.random() < 0.5:
                terms.append((feature, "<=", column[int(PASSING * (len(column) - 1))]))
            else:
                terms.append((feature, ">=", column[int((1 - PASSING) * (len(column) - 1))]))
        rules[offer] = Rule(terms)
    return rules


def expected(scores, value, rules, row, count):
    """The highest priorities of a customer, best first, as (priority, offer, score)."""
    eligible = [offer for offer in range(len(scores)) if offer not in rules or rules[offer].holds(row)]
    priorities = {offer: float(scores[offer]) * float(value[offer]) for offer in eligible}
    ranked = sorted(eligible, key=lambda offer: (-priorities[offer], offer))
    return [(priorities[offer], offer, float(scores[offer])) for offer in ranked[:count]]
