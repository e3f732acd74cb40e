#!/usr/bin/env python3
"""Ranks offers for every customer of a workspace, and waits until its shadows are compared.

    rank.py WORKSPACE [--server 127.0.0.1:50051] [--placement app_home]

WORKSPACE is what the server was made of; its customers.csv says who there is. The calls are no faster than the shadow, so
that none of the decisions is left out for want of time. Prints what became of them for each shadow of the policy. Exits
with 1 if something is not compared after a minute, and with 2 if the server rejected a call or was unreachable.
"""

import argparse
import csv
import sys
import time
import tomllib
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "proto"))
# Compiled while they are imported, so that no generated code can be out of date.
decision, decision_grpc = grpc.protos_and_services("proffer/v1/decision.proto")
experiment, experiment_grpc = grpc.protos_and_services("proffer/v1/experiment.proto")

# The customers of a call, and those that are asked for before the shadows must have caught up.
CALL, PAUSE = 20, 1000
CALL_SECONDS, PATIENCE_SECONDS = 30, 60


class Shadows:
    """What a server says of the shadows of a policy."""

    def __init__(self, channel, ids):
        self.service = experiment_grpc.ExperimentServiceStub(channel)
        self.ids = ids
        self.before = self.ends()

    def ends(self):
        """By shadow: decisions that were compared, that failed, and that were left out."""
        found = {}
        for shadow in self.ids:
            request = experiment.GetShadowReportRequest(shadow=shadow)
            report = self.service.GetShadowReport(request, timeout=CALL_SECONDS).report
            found[shadow] = [report.all.compared, report.all.failed, report.shed]
        return found

    def counted(self, shadow, now):
        return [after - before for after, before in zip(now[shadow], self.before[shadow])]

    def wait(self, decisions, share):
        """Waits until shadows that sample every decision have come to an end with so many."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            now = self.ends()
            if all(share[shadow] < 1 or sum(self.counted(shadow, now)) >= decisions for shadow in self.ids):
                return now
            if time.monotonic() > until:
                raise SystemExit("not every decision is compared after a minute")
            time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--server", default="127.0.0.1:50051", help="default: %(default)s")
    parser.add_argument("--placement", default="app_home", help="default: %(default)s")
    options = parser.parse_args()
    with (options.workspace / "customers.csv").open(newline="") as file:
        customers = [row["customer_id"] for row in csv.DictReader(file)]
    policy = tomllib.loads((options.workspace / "policy.toml").read_text())
    share = {shadow["id"]: shadow["sample"] for shadow in policy.get("shadow", [])}
    if not share:
        raise SystemExit(f"{options.workspace / 'policy.toml'} has no [[shadow]]")
    channel = grpc.insecure_channel(options.server)
    decisions = decision_grpc.DecisionServiceStub(channel)
    shadows = Shadows(channel, list(share))
    failed = 0
    for start in range(0, len(customers), CALL):
        chosen = customers[start : start + CALL]
        request = decision.RankRequest(placement=options.placement)
        request.customers.extend(decision.Customer(customer_id=customer) for customer in chosen)
        answer = decisions.Rank(request, timeout=CALL_SECONDS)
        failed += sum(result.HasField("error") for result in answer.results)
        if (start + CALL) % PAUSE == 0:
            shadows.wait(start + len(chosen) - failed, share)
    now = shadows.wait(len(customers) - failed, share)
    print(f"{len(customers):,} customers, {failed} of them without a decision")
    for shadow in share:
        compared, without, shed = shadows.counted(shadow, now)
        print(f"{shadow}: {compared:,} decisions compared, {without:,} failed, {shed:,} left out for want of time")


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)
        sys.exit(2)
