"""Servers as child processes on free loopback ports: started, awaited, monitored, stopped.

Start reading at `Child`.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

# How long a server may take to start or to stop, in seconds.
PATIENCE = 60

# Each worker of MLServer answers one request at a time, so there is one per core, with one LightGBM thread each.
MLSERVER_WORKERS = 2


class BenchError(Exception):
    """An error that aborts the run."""


class Child:
    """A child process, with its `address` once it serves."""

    def __init__(self, name, command, folder, **environment):
        self.name, self.address = name, None
        self.log = folder / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder,
                env={**os.environ, **environment},
            )  # fmt: skip

    def line(self):
        """Reads the next line of JSON that it prints."""
        text = self.process.stdout.readline()
        if not text:
            raise BenchError(f"{self.name} ended:\n{self.end_of_log()}")
        return json.loads(text)

    def ask(self, words):
        """Writes a line and reads one."""
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.line()

    def wait_until(self, ready):
        """Waits until `ready` returns a true value, and returns it."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.process.poll() is None:
            if found := ready():
                return found
            time.sleep(0.05)
        raise BenchError(f"{self.name} does not serve:\n{self.end_of_log()}")

    def end_of_log(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])

    def pids(self):
        """Its process and all descendants."""
        return [self.process.pid, *descendants(self.process.pid)]

    def stop(self):
        """Stops it, and kills any descendants that are left, by their process ids."""
        below = descendants(self.process.pid)
        self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        for pid in below:
            if is_running(pid):
                os.kill(pid, 9)


def proffer(program, workspace, folder, **environment):
    """Proffer, with a store of the workspace."""
    store = folder / "store"
    done = subprocess.run(
        [program, "init", "--store", store, "--from", workspace],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"proffer init failed: {done.stderr.strip()}")
    print(done.stdout.strip().rpartition(": ")[2])
    serve = [program, "serve", "--store", store, "--data", folder / "data", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    child = Child("proffer", [*serve, "--log-format", "text", "--log-filter", "info"], folder,
                  PROFFER_SERVER_DRAIN_DELAY="0s", **environment)
    with stopped_on_error(child):
        found = child.wait_until(lambda: re.search(r"grpc=(\S+) admin=(\S+) ", child.log.read_text()))
        child.address, admin = found.groups()
        child.wait_until(lambda: page(admin, "/readyz"))
    return child


def plain(program, words, folder, **environment):
    """One of the servers of `main.rs`."""
    child = Child(words[0], [program, *words, "--bench"], folder, **environment)
    with stopped_on_error(child):
        child.address = child.line()["address"]
    return child


def mlserver(folder, workers=MLSERVER_WORKERS):
    """MLServer with its LightGBM runtime."""
    grpc, http = free_ports(2)
    settings = {
        "host": "127.0.0.1", "grpc_port": grpc, "http_port": http, "metrics_endpoint": None, "debug": False,
        "parallel_workers": workers,
    }  # fmt: skip
    model = {"name": "trees", "implementation": "mlserver_lightgbm.LightGBMModel", "parameters": {"uri": "./model.bst"}}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    script = Path(sys.executable).with_name("mlserver")
    child = Child("mlserver", [sys.executable, script, "start", folder], folder, OMP_NUM_THREADS="1")
    with stopped_on_error(child):
        child.wait_until(lambda: page(f"127.0.0.1:{http}", "/v2/models/trees/ready"))
    child.address = f"127.0.0.1:{grpc}"
    return child


class stopped_on_error:
    """Stops a child that fails to start."""

    def __init__(self, child):
        self.child = child

    def __enter__(self):
        return self.child

    def __exit__(self, kind, _error, _traceback):
        if kind is not None:
            self.child.stop()


def free_ports(count):
    """Free ports; all are held until the last is found, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return ports


def page(address, path):
    """Whether a page answers 200."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def stat(pid):
    """The fields of a process after its name; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_running(pid):
    return stat(pid)[:1] not in ([], ["Z"])


def descendants(pid):
    """All descendants of a process."""
    parents = {int(entry.name): int(fields[1]) for entry in Path("/proc").glob("[0-9]*") if (fields := stat(entry.name))}
    found, pending = [], [pid]
    while pending:
        parent = pending.pop()
        children = [child for child, of in parents.items() if of == parent]
        found += children
        pending += children
    return found


class Watch:
    """Measures the CPU usage of other programs during the measurement."""

    def __init__(self):
        self.began, self.before = time.monotonic(), self.elsewhere()

    @staticmethod
    def elsewhere():
        """CPU seconds of everything except this process and its descendants."""
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        ticks = os.sysconf("SC_CLK_TCK")
        everything = (sum(fields) - fields[3] - fields[4]) / ticks
        running = sum(int(of[11]) + int(of[12]) for pid in descendants(os.getpid()) if (of := stat(pid))) / ticks
        # Finished children are included in `times`.
        return everything - running - sum(os.times()[:4])

    def others(self):
        """The usage of all cores, in percent."""
        spent = (time.monotonic() - self.began) * (os.cpu_count() or 1)
        return max(0.0, 100 * (self.elsewhere() - self.before) / spent)
