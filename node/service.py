"""A force's node on the wire: one connection that it dials, tasks in, answers out.

The main thread reads tasks from the connection; a few workers answer them.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from cordon.catalogue import Catalogue, read_catalogue
from cordon.configfile import read_config
from cordon.envelope import Envelope, KeySigner, Signer
from cordon.errors import CordonError, Misconfigured, Refused, Unavailable
from cordon.keyfile import read_seal_key, read_signing_key
from cordon.manifest import Manifest, read_manifest
from cordon.wire.channel import Channel, Stream
from cordon.wire.messages import (
    PROTOCOL_VERSION,
    Closed,
    ContributionHead,
    Decide,
    Fixed,
    Hello,
    NodeAnswer,
    Prepare,
    Task,
    Vouched,
    VouchFor,
)
from cordon.wire.services import ANSWER, CONTRIBUTE, WATCH
from cordon.wire.signed import sign
from node.aggregate import Snapshot
from node.config import NodeConfig
from node.gate import Gate
from node.ledger import Contribution, Ledger
from node.leftovers import sweep
from node.outbox import statement_of
from node.pausing import is_paused
from node.policy import Policy
from node.snapshot import snapshot_path
from node.standing import RegisterLink
from node.tasks import Snapshots, Tasks, Tools

WORKERS = 4
CALL_SECONDS = 20.0
MOST_CALL_TRIES = 3
LONGEST_BACKOFF_SECONDS = 15.0
HOUSEKEEPING_SECONDS = 5.0
LINK_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""How long a closed ledger waits for Vouches on one connection."""

MOST_HELD = 2000
"""Tasks that wait for the ledger to open."""


class Node:
    """One serving node. `run` serves until `stop` is called from a signal handler or another thread."""

    def __init__(self, config: NodeConfig, log: structlog.typing.FilteringBoundLogger) -> None:
        """Read and check everything that can be wrong before anything is dialled.

        Raises:
            Misconfigured: a file is missing, truncated, foreign, or older than one accepted before.
        """
        self._config = config
        self._log = log.bind(force=config.force)
        manifest, _ = read_manifest(config.manifest, config.governance_keys)
        self._manifest = manifest
        self._catalogue = read_catalogue(manifest, config.contracts)
        self._signer = KeySigner(read_signing_key(config.signing_key))
        if config.force not in manifest.by_id or self._signer.key_id not in manifest.keyring(config.force):
            raise Misconfigured(
                f"the manifest does not list {config.force} with this signing key",
                hint="compare `force` and `signing_key` with what governance has signed",
            )
        seal_key = read_seal_key(config.seal_key)
        policy = read_config(config.policy, Policy)
        self._credentials = config.tls.read()
        sweep(config.state / "snapshots")
        self._marks = _marks(config.state, self._catalogue)
        snapshots = open_snapshots(config.state, self._catalogue)
        self._ledger = Ledger(config.ledger, force=config.force)
        self._ledger.accept_manifest(manifest.version, manifest.digest, _now())
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="task")
        state_budgets(policy, manifest, self._ledger, self._signer, config.force, _now())
        self._link = RegisterLink(
            force=config.force,
            manifest=manifest,
            ledger=self._ledger,
            signer=self._signer,
            clock=_now,
            log=self._log,
        )
        tools = Tools(
            force=config.force,
            gate=Gate(config.force, manifest, self._catalogue, policy, seal_key),
            catalogue=self._catalogue,
            ledger=self._ledger,
            signer=self._signer,
            pause_file=config.pause_file,
            standing=self._link.standing,
            clock=_now,
        )
        self._held: list[tuple[Task, float]] = []
        self._paused = is_paused(config.pause_file)
        self._tasks = Tasks(tools, snapshots)
        self._holding = threading.Lock()
        self._stopping = threading.Event()
        self._says_hello_anew = False
        self._connected_at = time.monotonic()
        self._stream: Stream | None = None
        self._channel: Channel | None = None

    def run(self) -> None:
        """Serve until `stop`; connect again for ever, with jittered exponential backoff."""
        self._log.info("node started", version=self._manifest.version)
        threading.Thread(target=self._keep_house, daemon=True, name="housekeeping").start()
        threading.Thread(target=self._keep_link, daemon=True, name="register").start()
        failures = 0
        while not self._stopping.is_set():
            # A connection that served resets the backoff: only consecutive failures grow it.
            failures = 0 if self._serve_connection() else failures + 1
            if self._says_hello_anew:
                self._says_hello_anew = False
                continue
            ceiling = min(LONGEST_BACKOFF_SECONDS, 0.5 * 2 ** min(failures, 10))
            self._stopping.wait(random.SystemRandom().uniform(ceiling / 2, ceiling))
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._ledger.close()
        self._log.info("node stopped")

    def stop(self) -> None:
        """Take no more tasks; those under way are finished."""
        self._stopping.set()
        self._break_stream()

    # The connection

    def _serve_connection(self) -> bool:
        served = False
        self._channel = channel = Channel(self._config.coordinator, self._credentials, proxy=self._config.proxy)
        try:
            self._connected_at = time.monotonic()
            self._stream = channel.stream(WATCH, self._hello())
            if self._stopping.is_set():
                return served
            for task in self._stream:
                served = True
                self._workers.submit(self._handle, task, time.monotonic())
        except CordonError as error:
            if not self._stopping.is_set():
                self._log.warning("connection lost", reason=str(error))
        finally:
            self._stream = None
        return served

    def _hello(self) -> Envelope:
        snapshots = self._tasks.snapshots
        hello = Hello(
            force=self._config.force,
            protocol_version=PROTOCOL_VERSION,
            features=("paused",) if self._paused else (),
            contracts=tuple(snapshots[name].held for name in sorted(snapshots)),
            manifest_version=self._manifest.version,
            manifest_hash=self._manifest.digest,
            checkpoint=self._link.accepted,
            ledger_sequence=self._ledger.sequence,
            challenge=self._link.challenge(),
            sent_at=_now(),
        )
        return sign(hello, self._signer)

    def _break_stream(self) -> None:
        stream = self._stream
        if stream is not None:
            stream.cancel()

    # Tasks

    def _handle(self, task: Task, arrived: float) -> None:
        kind = type(task).__name__
        try:
            self._dispatch(task, arrived)
        except CordonError as error:
            self._log.warning("task given up", kind=kind, reason=str(error))
        except Exception as error:  # noqa: BLE001 - a bug: it must be seen, and must not stop the other tasks
            self._log.error("task failed by a fault", kind=kind, reason=f"{type(error).__name__}: see standard error")
            threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))

    def _dispatch(self, task: Task, arrived: float) -> None:
        if isinstance(task, Decide | Prepare) and self._hold(task, arrived):
            return
        if isinstance(task, Decide):
            self._answer(self._tasks.decide(task))
        elif isinstance(task, Prepare):
            self._answer(self._tasks.prepare(task))
        elif isinstance(task, Fixed):
            self._contribute(task, arrived)
        elif isinstance(task, Closed):
            self._tasks.close(task.query_hash, task.failures)
        elif isinstance(task, VouchFor):
            self._link.vouch(self._live_channel(), task)
        elif isinstance(task, Vouched):
            self._link.vouched(self._live_channel(), task)
            self._let_go()

    def _hold(self, task: Task, arrived: float) -> bool:
        """Keep a task until the ledger is open; False where it is."""
        with self._holding:
            if self._link.is_open:
                return False
            # The coordinator sends what is still owed again: the oldest can be dropped.
            self._held = [*self._held[-MOST_HELD:], (task, arrived)]
            return True

    def _let_go(self) -> None:
        with self._holding:
            if not self._link.is_open:
                return
            held, self._held = self._held, []
        for task, arrived in held:
            self._workers.submit(self._handle, task, arrived)

    def _contribute(self, fixed: Fixed, arrived: float) -> None:
        made = self._tasks.contribute(fixed)
        # A decline leaves on the tick too: when it does must tell no more than that a contribution would.
        self._await_tick(arrived)
        query = fixed.query_hash.hex()[:12]
        if isinstance(made, NodeAnswer):
            self._log.warning("declined", query=query, attempt=fixed.attempt)
            self._answer(made)
            return
        self._send(made)
        self._log.info("contributed", query=query, attempt=fixed.attempt)

    def _await_tick(self, arrived: float) -> None:
        # Leaving at once would tell how long the aggregate took, which depends on records.
        tick = self._manifest.timing.release_tick_milliseconds / 1000
        whole = int((time.monotonic() - arrived) / tick) + 1
        time.sleep(max(0.0, arrived + whole * tick - time.monotonic()))

    def _send(self, contribution: Contribution) -> None:
        head = ContributionHead(contribution.receipt, len(contribution.ciphertexts))
        for tried in range(MOST_CALL_TRIES):
            try:
                self._live_channel().send(CONTRIBUTE, iter([head, *contribution.ciphertexts]), timeout=CALL_SECONDS)
                return
            except Refused as refused:
                self._log.info("contribution came too late", reason=str(refused))
                return
            except Unavailable:
                self._pause_before_retry(tried)

    def _answer(self, answer: NodeAnswer) -> None:
        if answer.decision is None and answer.ready is None:
            return
        for tried in range(MOST_CALL_TRIES):
            try:
                self._live_channel().call(ANSWER, answer, timeout=CALL_SECONDS)
                return
            except Unavailable:
                self._pause_before_retry(tried)

    def _pause_before_retry(self, tried: int) -> None:
        # When the connection comes back, the coordinator sends again every task that still waits.
        if tried + 1 == MOST_CALL_TRIES or self._stopping.wait(0.5 * 2**tried):
            raise Unavailable("the coordinator cannot be reached")

    def _live_channel(self) -> Channel:
        channel = self._channel
        if channel is None:
            raise Unavailable("there is no connection to the coordinator")
        return channel

    # Housekeeping

    def _keep_house(self) -> None:
        while not self._stopping.wait(HOUSEKEEPING_SECONDS):
            try:
                self._tasks.forget_expired()
                marks = _marks(self._config.state, self._catalogue)
                if marks != self._marks:
                    self._marks = marks
                    self._take_new_snapshots()
            except (OSError, sqlite3.Error) as error:
                # A disk that is full for a moment: the next pass does what this one could not.
                self._log.error("housekeeping failed; it is tried again", reason=type(error).__name__)

    def _keep_link(self) -> None:
        while not self._stopping.wait(LINK_SECONDS):
            try:
                self._keep_once()
            except CordonError as error:
                self._log.warning("the register could not be asked", reason=str(error))
            except (OSError, sqlite3.Error) as error:
                self._log.error("a file could not be written; it is tried again", reason=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - a bug: it must be seen, and this thread must go on
                self._log.error("a look at the register failed by a fault", reason=type(error).__name__)
                threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))

    def _keep_once(self) -> None:
        self._show_pause()
        channel = self._channel
        if channel is None or self._stream is None:
            return
        self._ask_anew()
        self._link.keep(channel)
        self._let_go()
        if self._link.is_open:
            self._take_approvals()

    def _ask_anew(self) -> None:
        if not self._link.is_open and time.monotonic() - self._connected_at > PATIENCE_SECONDS:
            # Vouches may have been lost on the way: a new Hello asks for them with a new challenge.
            self._log.info("the ledger is still closed: too few other forces have vouched; connecting anew")
            self._connected_at = time.monotonic()
            self._break_stream()

    def _show_pause(self) -> None:
        paused = is_paused(self._config.pause_file)
        if paused != self._paused:
            self._paused = paused
            self._log.info("paused" if paused else "resumed")
            # Connecting again says it in a new Hello, at once: a question may be on its way.
            self._says_hello_anew = True
            self._break_stream()

    def _take_approvals(self) -> None:
        answers = self._tasks.take_approvals(
            lambda name, why: self._log.warning("an officer's file is without effect", path=name, reason=why)
        )
        for answer in answers:
            try:
                self._answer(answer)
            except CordonError as error:
                # It is recorded: the coordinator asks again when the connection comes back.
                self._log.warning("a decision could not be sent", reason=str(error))

    def _take_new_snapshots(self) -> None:
        try:
            self._tasks.snapshots = open_snapshots(self._config.state, self._catalogue)
        except Misconfigured as error:
            self._log.error("a new snapshot cannot be used; the one before still serves", reason=str(error))
            return
        self._log.info("serving a new snapshot")
        # Connecting again says in a new Hello what is held now.
        self._break_stream()


def state_budgets(policy: Policy, manifest: Manifest, ledger: Ledger, signer: Signer, force: str, now: int) -> None:
    """Sign a budget statement for each domain whose limits are not those that were stated last."""
    for domain in sorted(policy.budget):
        limits, before = policy.limits(domain, manifest), ledger.stated(domain)
        if limits is None or (before is not None and before.limits == limits):
            continue
        number, previous = ledger.next_statement()
        statement = statement_of(
            limits,
            force=force,
            domain=domain,
            number=number,
            previous=previous,
            after_receipt=ledger.sequence,
            now=now,
        )
        ledger.state(statement, sign(statement, signer), now)


def open_snapshots(state: Path, catalogue: Catalogue) -> Snapshots:
    """Open every snapshot that a node's state folder holds of the federation's contracts.

    Raises:
        Misconfigured: one of them is truncated or for another contract.
    """
    paths = {name: snapshot_path(state, *name) for name in catalogue}
    return {name: Snapshot(path, catalogue[name][0]) for name, path in paths.items() if path.is_file()}


def _marks(state: Path, catalogue: Catalogue) -> dict[tuple[str, int], tuple[int, int]]:
    """What tells a new snapshot from the one before: inode and time of each file."""
    paths = {name: snapshot_path(state, *name) for name in catalogue}
    stats = {name: path.stat() for name, path in paths.items() if path.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def _now() -> int:
    return int(time.time())
