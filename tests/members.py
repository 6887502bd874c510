"""A federation in one process: the real classes of every party, joined by calls instead of sockets.

Keys, manifest, contracts, snapshots, ledgers and store are real and lie in a folder; everything that
passes between parties is encoded and decoded as on the wire. What is different: time is a number that
a test moves, nothing runs beside anything else, and a test may stand in for a party or kill one.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from coordinator.config import CoordinatorConfig
from coordinator.presence import Connection, Presence
from coordinator.queries import Queries
from coordinator.service import SETTLE_SECONDS, Coordinator
from coordinator.store import Store, create_store
from cordon.analyst.client import Client
from cordon.analyst.compose import compose, cost_of_epsilon, plan_statement
from cordon.analyst.federation import Federation
from cordon.analyst.profile import read_profile
from cordon.catalogue import Catalogue, read_catalogue
from cordon.configfile import read_config
from cordon.contract import Contract
from cordon.envelope import Envelope, KeySigner
from cordon.errors import CordonError
from cordon.identity import Identity, Role
from cordon.keyfile import read_certificate, read_seal_key, read_signing_key
from cordon.manifest import Manifest, read_manifest
from cordon.query.sql import parse_sql
from cordon.units import Digest
from cordon.wire import codec, services
from cordon.wire.messages import (
    PROTOCOL_VERSION,
    Closed,
    ContributionHead,
    Decide,
    Fixed,
    HeldContract,
    Hello,
    NodeAnswer,
    Prepare,
    Submission,
    Task,
    Vouched,
    VouchFor,
)
from cordon.wire.signed import sign
from demo.layout import Design, Layout, lay_out
from demo.nominals import write_nominals
from node.aggregate import Snapshot
from node.config import NodeConfig
from node.gate import Gate
from node.ledger import Contribution, Ledger
from node.ledgerfile import create_ledger
from node.load import load
from node.mapping import Mapping
from node.policy import Policy
from node.service import PATIENCE_SECONDS, state_budgets
from node.snapshot import snapshot_path
from node.standing import RegisterLink
from node.tasks import Snapshots, Tasks, Tools

FORCES = ("essex", "kent", "norfolk", "suffolk", "surrey")
PURPOSE = "research"
COUNT = "SELECT role, COUNT(*) FROM nominals GROUP BY role"
PERSONS = 40


class Killed(Exception):
    """A process was killed here, as by a power cut."""


@dataclass
class Member:
    """One force's node without its wire."""

    force: str
    config: NodeConfig
    tasks: Tasks
    ledger: Ledger
    gate: Gate
    link: RegisterLink
    said: list[str] = field(default_factory=list)
    """What was wrong while its ledger was to be opened, as it would stand in its log."""
    held: list[Any] = field(default_factory=list)
    """Tasks that wait until the ledger is open."""
    sent: dict[tuple[Digest, int], list[tuple[bytes, ...]]] = field(default_factory=dict)
    """Everything that ever left for an attempt: receipt and ciphertexts, each time it was sent."""

    @property
    def identity(self) -> Identity:
        """As its TLS certificate names it."""
        return Identity(Role.FORCE, self.force)

    @property
    def held_contracts(self) -> tuple[HeldContract, ...]:
        """What it says that it holds."""
        return tuple(snapshot.held for _, snapshot in sorted(self.tasks.snapshots.items()))


class Members:
    """The parties, and the calls between them."""

    def __init__(
        self,
        root: Path,
        *,
        forces: tuple[str, ...] = FORCES,
        policies: dict[str, str] | None = None,
        budget: str = "10",
        persons: int = PERSONS,
        colluders: int | None = 1,
        analysts: tuple[str, ...] = ("alice", "bob"),
        cooldown_seconds: int = 0,
    ) -> None:
        design = Design(
            forces=forces,
            policies=policies or {},
            budgets=dict.fromkeys(("stop_records", "crime_records", "nominal_records"), budget),
            colluders=colluders,
            timing={"cooldown_seconds": cooldown_seconds},
        )
        self.now = float(int(time.time()))
        self.layout = _copied(root, design, analysts, persons)
        self.loop = asyncio.new_event_loop()
        self.log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda _l, _m, event: str(event)])
        self.skew: dict[str, int] = {}
        """Seconds by which a force's clock is ahead."""
        self.silent: set[str] = set()
        """Forces that receive tasks and answer nothing."""
        self.on_task: Callable[[str, Any], Any | None] = lambda _force, task: task
        """May change, or with None lose, a task on its way."""
        self.on_answer: Callable[[str, NodeAnswer], NodeAnswer | None] = lambda _force, answer: answer
        self.on_reply: Callable[[str, Any, Any], Any] = lambda _name, _request, reply: reply
        """May change what a party is answered: (who asked, what, the coordinator's reply)."""
        self.on_contribution: Callable[[str, Contribution], Contribution | None] = lambda _force, made: made
        self.connections: dict[str, Connection] = {}
        self.connected_at: dict[str, float] = {}
        self.members = {force: self.start_node(force) for force in forces}
        self.start_coordinator()

    # Starting and stopping

    def start_node(self, force: str) -> Member:
        """A node as it is after a start: everything from its files, nothing remembered."""
        config = read_config(self.layout.node_config(force), NodeConfig)
        manifest, _ = read_manifest(config.manifest, config.governance_keys)
        catalogue = _catalogue(manifest)
        policy = read_config(config.policy, Policy)
        gate = Gate(force, manifest, catalogue, policy, read_seal_key(config.seal_key))
        ledger = Ledger(config.ledger, force=force)
        ledger.accept_manifest(manifest.version, manifest.digest, int(self.now))
        signer = KeySigner(read_signing_key(config.signing_key))
        clock = lambda: int(self.now) + self.skew.get(force, 0)  # noqa: E731 - as short as it gets
        state_budgets(policy, manifest, ledger, signer, force, clock())
        link = RegisterLink(force=force, manifest=manifest, ledger=ledger, signer=signer, clock=clock, log=self.log)
        tools = Tools(
            force=force, gate=gate, catalogue=catalogue, ledger=ledger,
            signer=signer, pause_file=config.pause_file, standing=link.standing, clock=clock,
        )  # fmt: skip
        return Member(force, config, Tasks(tools, _snapshots(config.state, catalogue)), ledger, gate, link)

    def restart_node(self, force: str) -> None:
        """Kill a node, start it again, and let it connect."""
        before = self.members[force]
        self.presence.leave(self.connections[force])
        self.coordinator.vouching.left(force)
        before.ledger.close()
        self.members[force] = self.start_node(force)
        self.members[force].sent = before.sent
        self.connect(force)

    @property
    def _store_path(self) -> Path:
        return self.layout.coordinator_config.parent / "store.sqlite"

    def start_coordinator(self, *, settling: float = 0.0) -> None:
        """A coordinator as it is after a start; every node connects, and is given `settling` seconds for it."""
        config = read_config(self.layout.coordinator_config, CoordinatorConfig)
        manifest, envelope = read_manifest(config.manifest, config.governance_keys)
        self.manifest, self.manifest_envelope = manifest, envelope
        self.catalogue = _catalogue(manifest)
        self.store = Store(self._store_path, federation=manifest.federation)
        self.presence = Presence()
        self.queries = Queries(
            store=self.store, manifest=(manifest, envelope), catalogue=self.catalogue,
            signer=KeySigner(read_signing_key(config.signing_key)), presence=self.presence,
            clock=lambda: self.now, settled_at=self.now + settling, log=self.log,
        )  # fmt: skip
        self.coordinator = Coordinator(
            self.queries, self.presence, self.store, (manifest, envelope), self.catalogue,
            KeySigner(read_signing_key(config.signing_key)), clock=lambda: self.now,
        )  # fmt: skip
        self.run(self.queries.begin())
        for force in self.members:
            self.connect(force)
        self.open_ledgers()

    def restart_coordinator(self) -> None:
        """Kill the coordinator and start it from what is durable."""
        self.store.close()
        self.start_coordinator(settling=SETTLE_SECONDS)

    def connect(self, force: str) -> None:
        """A node dials out: it is offered every task that waits for it."""
        self.connected_at[force] = self.now
        challenge = self.members[force].link.challenge()
        self.connections[force] = self.presence.join(force, self._hello(force, challenge))
        self.coordinator.vouching.joined(force, challenge)
        self.run(self.queries.welcome(force))

    def _hello(self, force: str, challenge: bytes) -> Envelope:
        member = self.members[force]
        hello = Hello(
            force=force, protocol_version=PROTOCOL_VERSION, features=(), contracts=member.held_contracts,
            manifest_version=self.manifest.version, manifest_hash=self.manifest.digest,
            checkpoint=member.link.accepted, ledger_sequence=member.ledger.sequence,
            challenge=challenge, sent_at=int(self.now),
        )  # fmt: skip
        return sign(hello, KeySigner(read_signing_key(member.config.signing_key)))

    def open_ledgers(self) -> None:
        """Let forces that have started be vouched for, as far as enough others are connected; nothing else moves."""
        self.coordinator.vouching.ask()
        moved = True
        while moved:
            moved = sum(self._pass_vouches(force) for force in list(self.connections)) > 0
        # All of them have accepted the same checkpoint, unless a test sees to it.
        for force in self.connections:
            if self.members[force].link.is_open:
                with suppress(CordonError):
                    self.members[force].link.refresh(self.channel(force))

    def _pass_vouches(self, force: str) -> bool:
        queue, moved = self.connections[force].queue, False
        for _ in range(queue.qsize()):
            encoded = queue.get_nowait()
            task = None if encoded is None else codec.decode(Task, encoded.data)  # type: ignore[arg-type]
            if isinstance(task, VouchFor | Vouched):
                self.handle(force, task)
                moved = True
            else:
                queue.put_nowait(encoded)
        return moved

    def channel(self, force: str) -> InProcess:
        """A node's channel to the coordinator."""
        return InProcess(self, self.members[force].identity)

    def disconnect(self, force: str) -> None:
        """A node's connection breaks, and it does not come back by itself."""
        self.presence.leave(self.connections.pop(force))
        self.coordinator.vouching.left(force)

    def close(self) -> None:
        """Close every file."""
        self.store.close()
        for member in self.members.values():
            member.ledger.close()
        self.loop.close()

    # Asking

    def client(self, analyst: str = "alice") -> Client:
        """An analyst's client; what it sends reaches the coordinator by a call."""
        client = Client(read_profile(self.layout.profile(analyst)), clock=lambda: self.now)
        client._channel.close()
        client._channel = InProcess(self, Identity(Role.ANALYST, analyst))  # type: ignore[assignment]
        return client

    @property
    def federation(self) -> Federation:
        """What analysts know."""
        holdings = {force: self.members[force].held_contracts for force in self.connections}
        return Federation(self.manifest, self.catalogue, holdings)

    def ask(
        self, sql: str = COUNT, epsilon: str = "1", *, analyst: str = "alice", attempts: int | None = None,
        wait_seconds: int = 0, add_contributions: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Ask a question and open its answer."""
        federation = self.federation
        statement = parse_sql(sql, federation.versions, list(self.manifest.by_id))
        cost = cost_of_epsilon(Fraction(epsilon), self.manifest, attempts)
        return self.client(analyst).ask(
            statement, cost, federation, purpose=PURPOSE, wait_seconds=wait_seconds,
            add_contributions=add_contributions, on_event=lambda _: None,
        )  # fmt: skip

    def run(self, work: Any) -> Any:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(work)

    # Passing things on

    def deliver(self) -> bool:
        """Hand every waiting task to its node, and its answers back; False where none waited."""
        moved = False
        self.coordinator.vouching.ask()
        for force in list(self.connections):
            queue = self.connections[force].queue
            while not queue.empty():
                encoded = queue.get_nowait()
                if encoded is None:
                    break
                moved = True
                task = self.on_task(force, codec.decode(Task, encoded.data))  # type: ignore[arg-type]
                if task is not None and force not in self.silent:
                    self.handle(force, task)
        return moved

    def handle(self, force: str, task: Any) -> None:
        """What `node.service` does with a task, and the coordinator with what comes of it."""
        member = self.members[force]
        if isinstance(task, VouchFor | Vouched):
            self._handle_vouches(member, task)
        elif isinstance(task, Decide | Prepare) and not member.link.is_open:
            member.held.append(task)
        elif isinstance(task, Decide):
            self.answer(force, member.tasks.decide(task))
        elif isinstance(task, Prepare):
            self.answer(force, member.tasks.prepare(task))
        elif isinstance(task, Fixed):
            made = member.tasks.contribute(task)
            if isinstance(made, NodeAnswer):
                self.answer(force, made)
            else:
                self.send(force, (task.query_hash, task.attempt), made)
        elif isinstance(task, Closed):
            member.tasks.close(task.query_hash, task.failures)

    def _handle_vouches(self, member: Member, task: VouchFor | Vouched) -> None:
        channel = self.channel(member.force)
        try:
            if isinstance(task, VouchFor):
                member.link.vouch(channel, task)
            else:
                member.link.vouched(channel, task)
        except CordonError as error:
            member.said.append(str(error))
        self._let_go(member)

    def _let_go(self, member: Member) -> None:
        if member.link.is_open:
            held, member.held = member.held, []
            for waiting in held:
                self.handle(member.force, waiting)

    def answer(self, force: str, answer: NodeAnswer) -> None:
        """A node's answer reaches the coordinator."""
        if answer.decision is None and answer.ready is None:
            return
        passed = self.on_answer(force, codec.decode(NodeAnswer, codec.encode(answer)))
        if passed is not None:
            self.run(self.queries.answer(passed, self.members[force].identity))

    def send(self, force: str, name: tuple[Digest, int], made: Contribution) -> None:
        """A node's contribution leaves it, and reaches the coordinator."""
        left = (codec.encode_envelope(made.receipt), *made.ciphertexts)
        self.members[force].sent.setdefault(name, []).append(left)
        passed = self.on_contribution(force, made)
        if passed is None:
            return

        async def parts() -> Any:
            yield ContributionHead(passed.receipt, len(passed.ciphertexts))
            for chunk in passed.ciphertexts:
                yield chunk

        self.run(self.coordinator.contribute(parts(), self.members[force].identity))

    def settle(self, *, seconds: float = 600.0, step: float = 1.0) -> None:
        """Let everything happen that is due, then time pass, until no query is open or `seconds` are over."""
        end = self.now + seconds
        while self.now < end:
            while self.deliver():
                pass
            if not self.store.open_queries():
                return
            self.now += step
            self.run(self.queries.pass_time())
            self.keep_links()

    def keep_links(self) -> None:
        """Every connected node deposits, and has shown, what lies in its outbox."""
        for force in list(self.connections):
            member = self.members[force]
            if not member.link.is_open and self.now - self.connected_at[force] > PATIENCE_SECONDS:
                self.connect(force)
            try:
                member.link.keep(self.channel(force))
                self._let_go(member)
            except CordonError as error:
                member.said.append(str(error))


_templates: dict[str, Layout] = {}
_folder = Path(tempfile.mkdtemp(prefix="cordon-members-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)


def _copied(root: Path, design: Design, analysts: tuple[str, ...], persons: int) -> Layout:
    """A laid-out federation; the first of its kind is made, the others are copies of it."""
    name = f"{design}{analysts}{persons}"
    if name not in _templates:
        _templates[name] = _made(_folder / str(len(_templates)), design, analysts, persons)
    template = _templates[name]
    shutil.copytree(template.root, root, symlinks=True)
    return Layout(root, design, template.governance_keys)


def _made(root: Path, design: Design, analysts: tuple[str, ...], persons: int) -> Layout:
    layout = lay_out(root, design, analysts)
    now = int(time.time())
    for number, force in enumerate(design.forces):
        settings = read_config(layout.node_config(force), NodeConfig)
        shutil.copytree(_loaded(layout, number, persons), settings.state, symlinks=True, dirs_exist_ok=True)
        create_ledger(settings.ledger, force=force, now=now)
    create_store(layout.coordinator_config.parent / "store.sqlite", federation="Demonstration", now=now)
    return layout


_loads: dict[tuple[tuple[str, ...], int, int], Path] = {}


def _loaded(layout: Layout, number: int, persons: int) -> Path:
    """A force's state folder after a load, which policies, budgets and analysts have no part in."""
    forces = layout.design.forces
    name = (forces, number, persons)
    if name not in _loads:
        settings = read_config(layout.node_config(forces[number]), NodeConfig)
        records = layout.force_folder(forces[number]) / "records" / "nominals.csv"
        write_nominals(records, number=number, forces=len(forces), persons=persons)
        manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
        mapping = read_config(layout.force_folder(forces[number]) / "nominals.toml", Mapping)
        state = _folder / f"loaded{len(_loads)}"
        state.mkdir(mode=0o700)
        load(mapping, _catalogue(manifest)["nominals", 1][0], state, progress=lambda _: None)
        _loads[name] = state
    return _loads[name]


_catalogues: dict[Digest, Catalogue] = {}
_opened: dict[tuple[bytes, Digest], Snapshot] = {}


def _catalogue(manifest: Manifest) -> Catalogue:
    """The contracts that a manifest lists; the bundled files do not change while tests run."""
    if manifest.digest not in _catalogues:
        _catalogues[manifest.digest] = read_catalogue(manifest)
    return _catalogues[manifest.digest]


def _snapshots(state: Path, catalogue: Catalogue) -> Snapshots:
    """What `node.service.open_snapshots` opens, but files of the same bytes only once: hundreds of nodes start here."""
    paths = {name: snapshot_path(state, *name) for name in catalogue}
    return {name: _snapshot(path, catalogue[name][0]) for name, path in paths.items() if path.is_file()}


def _snapshot(path: Path, contract: Contract) -> Snapshot:
    name = hashlib.sha256(path.read_bytes()).digest(), contract.digest
    if name not in _opened:
        # From a copy of its own, for what is opened once outlives the folder of the test that was first.
        _opened[name] = Snapshot(Path(shutil.copy(path, _folder / f"{len(_opened)}.duckdb")), contract)
    return _opened[name]


class Analyst:
    """What an analyst has, to misuse it."""

    def __init__(self, members, name="alice"):
        folder = members.layout.profile(name).parent
        self.members = members
        self.identity = Identity(Role.ANALYST, name)
        self.signer = KeySigner(read_signing_key(folder / "signing.key"))
        self.certificate = read_certificate(folder / "signing.pem").public_bytes(Encoding.DER)

    def compose(self, sql=COUNT, epsilon="1", attempts=1, now=None):
        """A genuine query."""
        members = self.members
        federation = members.federation
        statement = parse_sql(sql, federation.versions, list(members.manifest.by_id))
        contract = federation.contract_of(statement.question)
        cost = cost_of_epsilon(Fraction(epsilon), members.manifest, attempts)
        plan = plan_statement(statement, cost.rho, contract, members.manifest)
        return compose(
            plan, cost, members.manifest, purpose=PURPOSE, signer=self.signer,
            wait_seconds=0, now=int(members.now if now is None else now),
        )  # fmt: skip

    def signed(self, query):
        """Any query, signed."""
        return sign(query, self.signer)

    def submit(self, envelope, public_key, certificate=None):
        """Hand a query to the coordinator."""
        submission = Submission(envelope, certificate or self.certificate, public_key, wait=False)
        return self.members.run(self.members.queries.submit(submission, self.identity))


class InProcess:
    """Stands in for an analyst's channel: encodes, calls the coordinator, decodes."""

    def __init__(self, members: Members, caller: Identity) -> None:
        self._members = members
        self._caller = caller
        self.replace: dict[str, Callable[[list[Any]], list[Any]]] = {}
        """By method: what a lying coordinator sends instead."""

    def call(self, method: services.Method, request: Any, *, timeout: float) -> Any:
        """One request, one response."""
        del timeout
        handler = self._members.coordinator.handlers[method]
        sent = codec.decode(method.request, codec.encode(request, method.request))
        response = self._members.run(handler(sent, self._caller))
        reply = codec.decode(method.response, codec.encode(response, method.response))
        return self._members.on_reply(self._caller.name, sent, reply)

    def stream(self, method: services.Method, request: Any, *, timeout: float | None = None) -> Iterator[Any]:
        """One request, many responses; a query is played to its end first."""
        del timeout
        members = self._members
        sent = codec.decode(method.request, codec.encode(request, method.request))
        if method is services.SUBMIT:
            query_hash = members.run(members.queries.submit(sent, self._caller))
            members.settle()
            responses = members.run(_collected(members.queries.follow(query_hash)))
        elif method is services.FOLLOW:
            members.queries.own(sent.query_hash, self._caller)
            members.settle()
            responses = members.run(_collected(members.queries.follow(sent.query_hash)))
        else:
            responses = members.run(_collected(members.coordinator.handlers[method](sent, self._caller)))
        encoded = [codec.encode(response, method.response) for response in responses]
        decoded = [codec.decode(method.response, data) for data in encoded]
        return iter(self.replace.get(method.name, lambda items: items)(decoded))

    def close(self) -> None:
        """Nothing is open."""


async def _collected(responses: Any) -> list[Any]:
    return [response async for response in responses]
