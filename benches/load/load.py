"""Load tests: varied calls at a fixed rate against a server, and a verdict on its objectives (SLO).

    make load-test RPS=500 P99_MS=20        a fixed rate for a short time: are p99 and errors within their limits?
    make soak MINUTES=30 RPS=200            the same for a long time, in slices: do memory or latencies grow?
    make load-swap RPS=300 P99_MS=50        the same while releases are created and promoted: do callers notice?

or, without make, `python3 benches/load/load.py test RPS=500 P99_MS=20`, `soak` and `swap`; `corpus CALL=score` only
writes the requests. Settings have the form NAME=VALUE; `load.py help` lists them. Exit codes: 0 met, 1 missed, 2 cannot
be judged. The last means a wrong setting, no ghz or no server, or a generator that did not keep the rate. Note that
make itself prints `Error 1` or `Error 2`, and always exits with 2.

Without ADDRESS, a server is started on free ports, with a store of the workspace MODELS, and is always stopped at the
end. Calls come from ghz (`--async`, so that a slow server does not slow their arrival), with the requests of corpus.py.
Types are learned from the server by reflection. Latencies count from the moment when a call was due (report.py). If ghz
runs on the server's machine, it takes about as much CPU time as the server; the last line of the table shows both. Near
the limit, the result then depends on ghz as much as on the server.

Start reading at `main`.
"""

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

sys.dont_write_bytecode = True

import corpus
import report
from report import Inconclusive
from server import Server
from swaps import Swaps

CHECKOUT = Path(__file__).resolve().parents[2]
VAR = CHECKOUT / "var/load"
# ghz keeps the details of this many calls at most.
MAX_CALLS = 1_000_000
# With fewer calls, the p99 is simply the maximum.
LEAST_CALLS = 100
# With fewer calls, a small variant of an experiment may well have no customer.
LEAST_CALLS_OF_VARIANTS = 1000
# The time that ghz may need in addition to the run, in seconds: to read the requests and to write the report.
PATIENCE = 30


def number(low, high, whole=False):
    def read(text):
        try:
            found = int(text) if whole else float(text)
        except ValueError:
            found = math.nan
        if not low <= found <= high:
            raise ValueError(f"a {'whole ' if whole else ''}number, {low:g} to {high:g}")
        return found
    return read


def address(text):
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("host:port, such as 127.0.0.1:50051")
    return text


def call(text):
    if text not in corpus.CALLS:
        raise ValueError(f"one of {', '.join(corpus.CALLS)}")
    return text


# Name, parser, default (one for all or by mode; a mode without one requires the setting), meaning.
SETTINGS = {
    "RPS": (number(1, 100_000, whole=True), {"soak": "200"}, "calls per second"),
    "P99_MS": (number(0.001, 60_000), {"soak": "inf"}, "limit of the 99th percentile, in ms; optional for a soak"),
    "SECONDS": (number(1, 3600), "20", "length of the measurement (test, swap)"),
    "WARMUP": (number(0, 600), {"test": "5", "swap": "5", "soak": "30"}, "seconds at the same rate before that, not measured"),
    "CALL": (call, "rank", "the kind of call: " + ", ".join(corpus.CALLS)),
    "ADDRESS": (address, "", "a running server, host:port; without it one is started"),
    "ADMIN": (address, "", "its admin address, for its memory and count of decisions"),
    "MODELS": (Path, str(CHECKOUT / "models"), "the workspace of the requests, and of the server that is started"),
    "ERRORS_PERCENT": (number(0, 100), "0", "percentage of calls that may fail"),
    "DEADLINE_MS": (number(1, 60_000, whole=True), "2000", "the deadline of each call"),
    "CONNECTIONS": (number(1, 1000, whole=True), "8", "connections over which the calls are spread"),
    "MINUTES": (number(0.1, 1440), "10", "length of a soak"),
    "SLICE": (number(1, 3600), "60", "seconds of each slice of a soak; at least four slices"),
    "GROWTH_PERCENT": (number(0, 10_000), "10", "limit of the growth of memory in a soak, after the warm-up"),
    "P99_FACTOR": (number(1, 1000), "1.5", "limit of the p99 of a soak's last quarter, relative to its first"),
    "EVERY": (number(0.1, 3600), "5", "seconds between two swaps"),
    "PROFFER": (Path, str(CHECKOUT / "target/release/proffer"), "the binary"),
    "GHZ": (Path, "", "ghz; default: as installed by `make ghz`"),
}


def settings(mode, words):
    """Parses arguments NAME=VALUE as the settings of a run; names every wrong one."""
    given, wrong, found = {}, [], {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in SETTINGS:
            wrong.append(f"{word!r} is no setting; there are {', '.join(SETTINGS)}, each as NAME=VALUE")
        given[name] = text.strip()
    for name, (read, default, meaning) in SETTINGS.items():
        default = default.get(mode) if isinstance(default, dict) else default
        text = given.get(name) or default
        if text is None and mode != "corpus":
            wrong.append(f"{name} is missing: {meaning}, for instance {name}={'500' if name == 'RPS' else '20'}")
        elif text in (None, "") or (text == default == "inf"):
            found[name] = math.inf if text == "inf" else None
        else:
            try:
                found[name] = read(text)
            except ValueError as error:
                wrong.append(f"{name}={text} must be {error}")
    if not wrong and mode != "corpus":
        wrong = too_long(mode, found)
    if wrong:
        raise Inconclusive("\n  ".join(["these settings are wrong:", *wrong]))
    return SimpleNamespace(**found)


def too_long(mode, found):
    """Problems with the length of a run."""
    name, warmup = ("SLICE", 0) if mode == "soak" else ("SECONDS", found["WARMUP"])
    if found["RPS"] * (found[name] + warmup) > MAX_CALLS:
        return [f"RPS × {name} is more than {MAX_CALLS:,} calls, which ghz does not keep: make {name} smaller"]
    if found["RPS"] * found[name] < LEAST_CALLS:
        return [f"RPS × {name} is less than {LEAST_CALLS} calls, too few for a p99: make {name} larger"]
    if mode == "soak" and 60 * found["MINUTES"] < 4 * found["SLICE"]:
        return ["MINUTES is less than four slices of SLICE seconds, too few to compare the last quarter with the first"]
    if mode == "swap" and found["SECONDS"] < 2 * found["EVERY"]:
        return ["SECONDS is less than two times EVERY: no swap would fall into the run"]
    return []


# --- The load -----------------------------------------------------------------------------------------------------


class Load:
    """Calls at a fixed rate against a server, and the CPU usage meanwhile."""

    def __init__(self, options, server):
        self.options, self.server = options, server
        self.method = corpus.CALLS[options.CALL][0]
        workspace = corpus.Workspace(options.MODELS)
        self.requests, self.done = corpus.requests(workspace, options.CALL), 0
        self.data = VAR / f"{options.CALL}.json"
        self.expected, self.before = workspace.variants, server.variants()

    def run(self, length, warmup=0.0):
        """Returns the calls of `length` seconds after `warmup` seconds. Continues with the requests where the last run
        ended."""
        options, result = self.options, VAR / "ghz.json"
        count = round(options.RPS * (length + warmup))
        corpus.write(self.data, self.requests, self.done)
        self.done += count
        result.unlink(missing_ok=True)
        before, decisions = machine(self.server), self.server.metric("proffer_decisions_total")
        # A number of calls, not a duration, which would cancel the calls in flight at its end.
        command = [options.GHZ, "--insecure", "--async", "--call", self.method, "--data-file", self.data,
                   "--disable-template-data", "--disable-template-functions", "--rps", options.RPS, "--total", count,
                   "--concurrency", options.CONNECTIONS, "--connections", options.CONNECTIONS,
                   "--timeout", f"{options.DEADLINE_MS}ms", "--connect-timeout", "5s",
                   "--format", "json", "--output", result, self.server.grpc]
        ghz = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            # A generator that needs twice the time has not kept the rate.
            _, errors = ghz.communicate(timeout=2 * (length + warmup) + options.DEADLINE_MS / 1000 + PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise Inconclusive("ghz did not end in twice the time: the generator could not keep up") from error
        finally:
            if ghz.poll() is None:
                ghz.kill()
                ghz.wait()
        if not result.is_file() or not result.stat().st_size:
            raise Inconclusive(f"ghz failed: {errors.strip() or f'exit code {ghz.returncode}'}")
        self.busy = usage(before, machine(self.server))
        found = json.loads(result.read_text())
        answered = (found.get("statusCodeDistribution") or {}).get("OK", 0)
        self.undecided = self.without_decision(decisions, answered)
        return report.calls_of(found, options.RPS, count, warmup)

    def variants(self):
        """Customers decided in each variant since the start, as rows of the table, and the variants without any.

        Only a server that was started here runs the experiments of the workspace.
        """
        if self.method.endswith("/Score") or self.options.ADDRESS:
            return [], []
        after, rows, missing = self.server.variants(), [], []
        for experiment, variants in self.expected.items():
            for variant in variants:
                count = after.get((experiment, variant), 0) - self.before.get((experiment, variant), 0)
                rows.append((f"{experiment}={variant}", f"{count:,.0f}"))
                if not count and self.done >= LEAST_CALLS_OF_VARIANTS:
                    missing.append(f"no customer was in variant {variant} of experiment {experiment}")
        return rows, missing

    def without_decision(self, before, answered):
        """The number of Ranks that were answered OK without a decision; 0 if the server's count is unknown."""
        after = self.server.metric("proffer_decisions_total")
        if self.method.endswith("/Score") or before is None or after is None:
            return 0
        return max(0, answered - round(after - before))


def machine(server):
    """CPU seconds so far: of all cores, of the server, and of ghz with this script; None if unknown."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(field) for field in fields]
    own = os.times()
    ours = own.user + own.system + own.children_user + own.children_system
    return time.monotonic(), (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), server.cpu(), ours


def usage(before, after):
    """The CPU usage of each, as text."""
    if before is None or after is None or before[2] is None or after[2] is None:
        return "unknown"
    whole = (after[0] - before[0]) * os.cpu_count()
    busy, server, ghz = (100 * (late - early) / whole for early, late in zip(before[1:], after[1:]))
    return f"{os.cpu_count()} cores: server {server:.0f} %, ghz {ghz:.0f} %, other programs {max(0, busy - server - ghz):.0f} %"


# --- The modes ----------------------------------------------------------------------------------------------------


def test(options, server):
    """A fixed rate for a short time."""
    load = Load(options, server)
    announce(options, server, f"{options.SECONDS:g} s after {options.WARMUP:g} s of warm-up")
    calls = load.run(options.SECONDS, options.WARMUP)
    found = report.figures(calls, options.RPS, load.undecided)
    variants, missing = load.variants()
    return concluded(options, found, [*variants, ("cores", load.busy)], [*server.trouble(), *missing])


def soak(options, server):
    """A fixed rate for a long time, in slices."""
    load, count = Load(options, server), int(60 * options.MINUTES / options.SLICE)
    announce(options, server, f"{count} slices of {options.SLICE:g} s after {options.WARMUP:g} s of warm-up")
    if options.WARMUP:
        load.run(options.WARMUP)
    memory, slices = [server.memory()], []
    print(f"  {'minute':>6}{'sent/s':>9}" + "".join(f"{name + ' ms':>10}" for name in report.QUANTILES)
          + f"{'errors':>8}{'memory':>11}{'files':>7}")
    for turn in range(1, count + 1):
        slices.append(report.figures(load.run(options.SLICE), options.RPS, load.undecided))
        memory.append(server.memory())
        found, files = slices[-1], server.files()
        print(f"  {turn * options.SLICE / 60:>6.2f}{found.sent:>9.1f}"
              + "".join(f"{found.latency(share):>10.2f}" for share in report.QUANTILES.values())
              + f"{found.errors:>8,}{megabytes(memory[-1]):>11}{files if files is not None else '?':>7}", flush=True)
    variants, missing = load.variants()
    more = [("memory warmed up, at the end", f"{megabytes(memory[0])}, {megabytes(memory[-1])}"), *variants,
            ("cores", load.busy)]
    if None in memory:
        print("  the memory of the server is unknown, so it is not judged (set ADMIN=host:port)")
    grown = report.drift(slices, memory, options.GROWTH_PERCENT, options.P99_FACTOR)
    return concluded(options, report.merged(slices), more, [*server.trouble(), *grown, *missing])


def swap(options, server):
    """A fixed rate while releases are created and promoted."""
    load, swaps = Load(options, server), Swaps(options, server.grpc)
    swaps.prepare()
    announce(options, server, f"{options.SECONDS:g} s after {options.WARMUP:g} s of warm-up, a swap every {options.EVERY:g} s")
    try:
        swaps.start()
        calls = load.run(options.SECONDS, options.WARMUP)
    finally:
        swaps.finish()
    found = report.figures(calls, options.RPS, load.undecided)
    # A swap that ended after the load does not count.
    swaps.made = [span for span in swaps.made if span[0] <= calls[-1].due]
    during, rest = swaps.split(calls)
    took = sorted(1000 * (end - begin) for begin, end in swaps.made)
    more = [("swaps", f"{len(swaps.made)}"), ("swaps that failed", f"{len(swaps.failed)}")]
    if took:
        more.append(("promotion p50, longest", f"{report.quantile(took, 0.5):.0f} ms, {took[-1]:.0f} ms"))
    more += [(f"latency p99 {name}", report.milliseconds(report.figures(part, options.RPS).latency(0.99)))
             for name, part in (("around a swap", during), ("otherwise", rest)) if part]
    if not swaps.made and not swaps.failed:
        raise Inconclusive("no swap fell into the run")
    variants, missing = load.variants()
    trouble = server.trouble() + [f"a swap failed: {why}" for why in swaps.failed[:1]] + missing
    return concluded(options, found, [*more, *variants, ("cores", load.busy)], trouble)


def concluded(options, found, more, other):
    """Prints the figures and the verdict; returns the exit code."""
    print(report.table(found, more))
    verdict, code = report.judge(found, report.Limits(options.P99_MS, options.ERRORS_PERCENT), other)
    if code == 1 and found.late_p99 > options.P99_MS / 4:
        print("ghz itself was late: CPU time was short, so the result depends on the machine as much as on the server")
    print(verdict)
    return code


def announce(options, server, how):
    """Prints what will be done."""
    whose = "" if options.ADDRESS else "a server of its own, "
    print(f"{options.CALL} at {options.RPS} calls per second, {options.CONNECTIONS} connections, {how}; {whose}{server.grpc}",
          flush=True)


def megabytes(value):
    return "?" if value is None else f"{value / 1e6:.1f} MB"


MODES = {"test": test, "soak": soak, "swap": swap}


def main():
    mode, *words = sys.argv[1:] or ["help"]
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)
    try:
        if mode == "corpus":
            return write_corpus(settings(mode, words))
        if mode in MODES:
            return run(MODES[mode], settings(mode, words))
    except (Inconclusive, OSError) as error:
        print(f"load: cannot be judged: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("load: cannot be judged: interrupted", file=sys.stderr)
        return 2
    if mode != "help":
        print(f"load: there is no {mode!r}, only {', '.join(MODES)}, corpus and help", file=sys.stderr)
        return 2
    print(__doc__ + "\nSettings:\n" + "\n".join(f"  {name:<16}{meaning}" for name, (_, _, meaning) in SETTINGS.items()))
    return 0


def run(mode, options):
    """Runs a mode against a server, which is always stopped."""
    options.GHZ = options.GHZ or max((CHECKOUT / "var/ghz").glob("ghz-*"), default=None)
    if not options.GHZ or not options.GHZ.is_file():
        where = f"GHZ={options.GHZ} does not exist" if options.GHZ else "ghz is not installed"
        raise Inconclusive(f"{where}: `make ghz` installs it, with Go")
    if not options.PROFFER.is_file() and (mode is swap or not options.ADDRESS):
        raise Inconclusive(f"PROFFER={options.PROFFER} does not exist: `make build` builds it")
    VAR.mkdir(parents=True, exist_ok=True)
    with (VAR / "lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="proffer-load-") as scratch:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Inconclusive("another load test is running, and they would disturb each other") from error
        server = Server(options, Path(scratch), VAR / "server.log")
        try:
            return mode(options, server)
        finally:
            server.stop()


def write_corpus(options):
    """Writes the requests of a kind of call, for inspection or other uses."""
    path = VAR / f"{options.CALL}.json"
    found = corpus.requests(corpus.Workspace(options.MODELS), options.CALL)
    corpus.write(path, found)
    print(f"{path}: {len(found):,} requests for {corpus.CALLS[options.CALL][0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
