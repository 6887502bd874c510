"""A federation of real processes for tests: coordinator, nodes and command lines over gRPC and mutual TLS."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cordon.analyst.client import Client
from cordon.analyst.compose import cost_of_epsilon
from cordon.analyst.profile import read_profile
from cordon.cli import run
from cordon.errors import CordonError
from cordon.estimate.interval import REACH_95
from cordon.query.sql import parse_sql
from cordon.register.leaf import Decision
from cordon.wire.channel import Credentials
from cordon.wire.messages import Decided, Event, Submitted
from cordon.wire.signed import peek
from demo.layout import Layout
from demo.processes import Federation
from demo.records import truth
from node.ledger import Ledger

COMMAND_SECONDS = 60.0
WAIT_SECONDS = 45.0
PURPOSE = "strategic_assessment"
FORCES = ("city-of-london", "cumbria", "gloucestershire", "northern-ireland", "west-yorkshire")
ONE_PURPOSE, NO_STOPS, NO_CRIMES = "cumbria", "northern-ireland", "west-yorkshire"
"""One declines by its policy; two do not hold one of the open data sets each."""

BEHIND_PROXY = "gloucestershire"
"""Reaches the coordinator through the test's own CONNECT proxy only."""

HOLD_EVENTS = {
    "city-of-london": (1,), "cumbria": (1,), "gloucestershire": (1, 2), "northern-ireland": (1, 2), "west-yorkshire": (2,),
}  # fmt: skip
"""Versions of the data set `events` that each force holds."""

EVENTS = {"red": 400, "green": 200, "blue": 100}
"""Records of `events` at every force; its first version knows no green."""

EVENTS_BUDGET = "3"


@dataclass(frozen=True)
class Finished:
    """A command line that has ended."""

    code: int
    out: str
    err: str


def run_cordon(*arguments: str, seconds: float = COMMAND_SECONDS, **environment: str) -> Finished:
    """Run the real command line to its end; a hang fails and names the command."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cordon", *arguments],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=_environment() | environment,
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(f"cordon {' '.join(arguments)} still runs after {seconds:.0f} s") from None
    return Finished(done.returncode, done.stdout, done.stderr)


def call_cordon(*arguments: str) -> Finished:
    """Run the command line in this process, which saves an interpreter's start.

    For what a command says and does; what only a process of its own shows (its exit, its streams, its signals, what
    it leaves open) needs `run_cordon`, and each party has a test that uses it.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, _environment(), clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
        warnings.catch_warnings(action="ignore", category=ResourceWarning),
    ):
        code = run(list(arguments))
    return Finished(code, out.getvalue(), err.getvalue())


def start_cordon(*arguments: str) -> subprocess.Popen[str]:
    """Start the real command line and do not wait for it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So it is where the tests are a background job, and every child would ignore Ctrl-C as well.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [sys.executable, "-m", "cordon", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return plain | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def wait_until(claim: str, holds: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Wait until something holds; a claim that never holds fails by name."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s it does not hold that {claim}")
        time.sleep(0.02)


def tree_digest(folder: Path) -> str:
    """Digest of every file below a folder, names included; lock files say nothing and are left out."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"):
        total.update(f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


class Asking(threading.Thread):
    """One question, asked through the client beside the test, which sees every event as it arrives."""

    def __init__(
        self, live: Live, sql: str, *, epsilon: str = "1/2", attempts: int = 2, wait: int = 0, purpose: str = PURPOSE
    ) -> None:
        """Begin to ask."""
        super().__init__(name=f"asking {sql}", daemon=True)
        self._live, self._sql, self._epsilon, self._attempts, self._wait = live, sql, epsilon, attempts, wait
        self._purpose = purpose
        self.events: list[Event] = []
        self.answer: dict[str, Any] | None = None
        self.error: CordonError | None = None
        self.start()

    def run(self) -> None:
        """Ask to the end."""
        try:
            with self._live.client() as client:
                known = client.federation()
                statement = parse_sql(self._sql, known.versions, list(known.manifest.by_id))
                cost = cost_of_epsilon(Fraction(self._epsilon), known.manifest, self._attempts)
                self.answer = client.ask(
                    statement, cost, known, purpose=self._purpose, wait_seconds=self._wait, on_event=self.events.append
                )
        except CordonError as error:
            self.error = error

    def ended(self, seconds: float = COMMAND_SECONDS) -> dict[str, Any]:
        """The answer; a hang or an error fails."""
        self.join(seconds)
        if self.is_alive():
            raise AssertionError(f"no end of {self._sql!r} after {seconds:.0f} s; events: {self.names}")
        if self.answer is None:
            raise AssertionError(f"{self._sql!r} has no answer: {self.error!r}; events: {self.names}")
        return self.answer

    @property
    def query(self) -> bytes:
        """Hash of the query, as soon as the coordinator has it."""
        self.wait_for(Submitted)
        return next(event.query_hash for event in self.events if isinstance(event, Submitted))

    def wait_decided(self, force: str) -> None:
        """Wait until a force's decision has arrived, and its Ready note with it."""
        self.wait_for(Decided, lambda event: peek(Decision, event.decision).force == force)

    @property
    def names(self) -> list[str]:
        """Kinds of the events so far."""
        return [type(event).__name__ for event in self.events]

    def wait_for(self, kind: type[Event], holds: Callable[[Any], bool] = lambda _: True) -> None:
        """Wait for an event of a kind."""
        wait_until(
            f"{self._sql!r} has told of {kind.__name__}",
            lambda: any(isinstance(event, kind) and holds(event) for event in list(self.events)) or self._failed(),
        )

    def _failed(self) -> bool:
        if self.error is not None:
            raise AssertionError(f"{self._sql!r} has failed: {self.error!r}")
        return False


@dataclass
class Live:
    """A federation that is up, and what a test asks of it."""

    layout: Layout
    processes: Federation
    proxy: ConnectProxy | None = None
    clean: dict[str, str] = field(default_factory=dict)

    @property
    def profile(self) -> tuple[str, str]:
        """The option that names the analyst's profile."""
        return "--profile", str(self.layout.profile())

    def cordon(self, command: str, *arguments: str) -> Finished:
        """An analyst's command, in this process."""
        return call_cordon(command, *arguments, *self.profile)

    def node(self, command: str, force: str, *arguments: str) -> Finished:
        """A command of a force's own people, in this process."""
        return call_cordon("node", command, "--config", str(self.layout.node_config(force)), *arguments)

    def ask(self, sql: str, *arguments: str, epsilon: str | None = "1", purpose: str = PURPOSE) -> dict[str, Any]:
        """Ask through the command line; the answer as its JSON says it."""
        cost = ("--epsilon", epsilon) if epsilon else ()
        done = self.cordon("query", sql, *cost, "--purpose", purpose, "--format", "json", *arguments)
        assert done.code == 0, done.err
        answer: dict[str, Any] = json.loads(done.out)
        return answer

    def client(self) -> Client:
        """The analyst's client, in this process."""
        return Client(read_profile(self.layout.profile()))

    def connected(self) -> set[str]:
        """Forces that the coordinator lists as connected."""
        with self.client() as client, suppress(CordonError):
            return set(client.federation().holdings)
        return set()

    def restart_nodes(self, *forces: str) -> None:
        """Start nodes that were killed, and wait until the coordinator lists them again."""
        self.processes.start_nodes(*forces)
        self.wait_connected(*forces)

    def wait_connected(self, *forces: str) -> None:
        """Wait until these forces, or all, are connected."""
        wanted = set(forces or self.layout.design.forces)
        wait_until(f"{', '.join(sorted(wanted))} are connected", lambda: wanted <= self.connected())

    @contextmanager
    def policy(self, force: str, line: str) -> Iterator[None]:
        """A force's node under a policy with one more line at its top; the old policy after."""
        path = self.layout.force_folder(force) / "policy.toml"
        before = path.read_text(encoding="utf-8")
        path.write_text(f"{line}\n{before}", encoding="utf-8")
        self.processes.stop_nodes(force)
        try:
            self.restart_nodes(force)
            yield
        finally:
            path.write_text(before, encoding="utf-8")
            if force in self.processes.running:
                self.processes.stop_nodes(force)
            self.restart_nodes(force)

    # What only a test may look at

    def true(self, forces: Iterable[str], dataset: str, expression: str, where: str = "true", by: str = "''") -> Any:
        """Exact totals over the forces' bounded records, by key."""
        totals: dict[str, int] = {}
        for force in forces:
            for key, value in truth(self.layout, force, dataset, expression, where, by).items():
                totals[key] = totals.get(key, 0) + value
        return totals

    def ledger(self, force: str, statement: str, *values: object) -> list[Any]:
        """Rows of a force's ledger, read beside the node that writes it."""
        return _rows(self.layout.force_folder(force) / "state" / "ledger.sqlite", statement, *values)

    def store(self, statement: str, *values: object) -> list[Any]:
        """Rows of the coordinator's store, read beside the coordinator."""
        return _rows(self.layout.coordinator_config.parent / "store.sqlite", statement, *values)

    def charges(self, force: str, query: str) -> list[int]:
        """Attempts of one query that a force was charged for."""
        rows = self.ledger(
            force, "SELECT attempt FROM charge WHERE query_hash = ? ORDER BY attempt", bytes.fromhex(query)
        )
        return [row[0] for row in rows]

    def charged(self) -> dict[str, int]:
        """Number of charges in every force's ledger."""
        return {force: self.ledger(force, "SELECT count(*) FROM charge")[0][0] for force in self.layout.design.forces}

    def check_ledger(self, force: str) -> None:
        """Open a force's ledger as the node does: its chain and its charges must hold."""
        path = self.layout.force_folder(force) / "state" / "ledger.sqlite"
        Ledger(path, force=force, read_only=True).close()

    def credentials(self, party: str) -> Credentials:
        """TLS files of a party, by its folder below the layout's root."""
        folder = self.layout.root / party
        return Credentials.read(folder / "authority.pem", folder / "tls.pem", folder / "tls.key")


def _rows(path: Path, statement: str, *values: object) -> list[Any]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return database.execute(statement, values).fetchall()
    finally:
        database.close()


def sigmas_off(value: dict[str, float], true: float) -> float:
    """How many standard deviations an estimate lies from the truth, by its own interval."""
    sigma = (value["high"] - value["low"]) / 2 / REACH_95
    return abs(value["estimate"] - true) / sigma


class ConnectProxy:
    """An HTTP proxy that knows CONNECT only, one thread a direction, and can hold back what clients send."""

    def __init__(self, routes: dict[str, int]) -> None:
        """Listen.

        Args:
            routes: port of 127.0.0.1 to connect to, by the `host:port` that a client asks for.
        """
        self._routes = routes
        self.asked: list[str] = []
        """What was asked for, one entry a connection."""
        self.passing = threading.Event()
        """Cleared: what clients send stays here."""
        self.passing.set()
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def close(self) -> None:
        """Break every connection and wait for every thread."""
        self.passing.set()
        for end in [self._listener, *self._ends]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)
        for end in [self._listener, *self._ends]:
            end.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True, name="proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._ends.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            server = self._connect(client)
            if server is not None:
                self._start(self._pump, server, client, None)
                self._pump(client, server, self.passing)

    def _connect(self, client: socket.socket) -> socket.socket | None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(4096)
            if not part:
                return None
            head += part
        method, target, _ = head.decode().split(" ", 2)
        self.asked.append(target)
        if method != "CONNECT" or target not in self._routes:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            client.shutdown(socket.SHUT_RDWR)
            return None
        try:
            server = socket.create_connection(("127.0.0.1", self._routes[target]))
        except OSError:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            client.shutdown(socket.SHUT_RDWR)
            return None
        self._ends.append(server)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return server

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket, gate: threading.Event | None) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if gate is not None:
                    gate.wait()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
