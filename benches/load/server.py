"""The server under load: started with its own store or found at an address, monitored, stopped.

Start reading at `Server`.
"""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import tomllib
from pathlib import Path

from report import Inconclusive

# How long a server may take to start or to stop, in seconds.
PATIENCE = 30

# Limits on customers and on offers: their keys, and where they stand in the files of a workspace.
LIMITS = {"policy.toml": ("contact_limit", "suppression"), "offers.toml": ("cap_customer", "cap_total", "budget")}


class Server:
    """A server: `grpc` and `admin` are its addresses, `process` its process id. Unknown values are None."""

    def __init__(self, options, scratch, log):
        self.child, self.admin, self.options, self.log = None, options.ADMIN, options, log
        if options.ADDRESS:
            self.grpc = options.ADDRESS
            if not listens(self.grpc):
                raise Inconclusive(f"no server answers at ADDRESS={self.grpc}")
            self.process = listener(self.grpc)
        else:
            try:
                self.start(scratch)
            except BaseException:
                self.stop()
                raise

    def start(self, scratch):
        """Serves a new store of the workspace on free ports, and waits until it is ready."""
        store = scratch / "store"
        command_line(self.options, "init", "--store", store, "--from", unlimited(self.options.MODELS, scratch))
        with self.log.open("w") as log:
            self.child = subprocess.Popen(
                [self.options.PROFFER, "serve", "--store", store, "--data", scratch / "data", "--listen", "127.0.0.1:0",
                 "--admin", "127.0.0.1:0", "--log-format", "text", "--log-filter", "info"],
                stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, "PROFFER_SERVER_DRAIN_DELAY": "0s"})
        self.process = self.child.pid
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.child.poll() is None:
            if found := re.search(r"grpc=(\S+) admin=(\S+) ", self.log.read_text()):
                self.grpc, self.admin = found.groups()
                if page(self.admin, "/readyz") is not None:
                    return
            time.sleep(0.02)
        end = "\n  ".join(self.log.read_text().splitlines()[-3:])
        raise Inconclusive(f"the server did not become ready; the end of {self.log}:\n  {end}")

    def stop(self):
        """Stops the server if it was started here, by its process id."""
        if self.child is None:
            return
        # Another signal now would leave it running.
        for also in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(also, signal.SIG_IGN)
        self.child.terminate()
        try:
            self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def trouble(self):
        """Problems of a server that was started here."""
        code = self.child.poll() if self.child else None
        return [] if code is None else [f"the server ended during the run, exit code {code}"]

    def metric(self, name):
        """The sum of a metric over its labels; 0 before its first use, None if metrics cannot be read."""
        text = page(self.admin, "/metrics") if self.admin else None
        if text is None:
            return None
        return sum(map(float, re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)", text, re.MULTILINE)))

    def variants(self):
        """Customers decided so far, by experiment and variant; empty if metrics cannot be read."""
        text = page(self.admin, "/metrics") if self.admin else None
        pattern = r'^proffer_experiment_decisions_total{experiment="([^"]*)",variant="([^"]*)"} (\S+)'
        return {(one, other): float(count) for one, other, count in re.findall(pattern, text or "", re.MULTILINE)}

    def memory(self):
        """Resident bytes; None if unknown."""
        if self.process:
            try:
                status = Path(f"/proc/{self.process}/status").read_text()
                return 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])
            except (OSError, TypeError):
                pass
        return self.metric("process_resident_memory_bytes") or None

    def files(self):
        """Open file descriptors; None if unknown."""
        try:
            return len(os.listdir(f"/proc/{self.process}/fd")) if self.process else None
        except OSError:
            return None

    def cpu(self):
        """CPU seconds so far; None if unknown."""
        try:
            fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            return None


def unlimited(workspace, scratch):
    """A copy of a workspace without limits: requests are for the same customers again and again, so that contact limits
    would leave little to decide."""
    copy = shutil.copytree(workspace, scratch / "workspace")
    for name, keys in LIMITS.items():
        path, any_of = copy / name, "|".join(keys)
        table = rf"^\[+ *(?:offer\. *)?(?:{any_of})\b[^\n]*\n.*?(?=^\[|\Z)"
        text = re.sub(table, "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        text = re.sub(rf"^ *(?:{any_of})\b[^\n]*\n", "", text, flags=re.MULTILINE)
        path.write_text(text)
        found = tomllib.loads(text)
        if left := [key for part in (found, *found.get("offer", [])) for key in keys if key in part]:
            raise Inconclusive(f"{workspace / name}: `{left[0]}` cannot be left out; name a workspace without limits")
    return copy


def command_line(options, *words):
    """Runs `proffer` with these arguments; returns its output."""
    done = subprocess.run([options.PROFFER, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Inconclusive(f"proffer {' '.join(map(str, words[:2]))} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def listens(where):
    """Whether the address accepts connections."""
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except OSError:
        return False
    return True


def page(where, path):
    """A page of the admin address; None unless it answers 200."""
    try:
        connection = http.client.HTTPConnection(where, timeout=3)
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
    except (OSError, http.client.HTTPException):
        return None
    return text if answer.status == 200 else None


def listener(where):
    """The local process that listens on the address; None if it is elsewhere or not accessible."""
    host, _, port = where.rpartition(":")
    if host not in ("127.0.0.1", "localhost", "[::1]"):
        return None
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else []:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == int(port):
                sockets.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(file) in sockets for file in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:
            continue
    return None
