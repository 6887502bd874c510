"""The coordinator on the wire: each method of both services, and the process around them."""

from __future__ import annotations

import asyncio
import signal
import time
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog

from coordinator.admission import check_hello, must_be_analyst
from coordinator.closing import Closing
from coordinator.config import CoordinatorConfig
from coordinator.erasure import Erasures
from coordinator.notary import Notary
from coordinator.presence import Presence
from coordinator.queries import Queries
from coordinator.reading import Reading
from coordinator.store import THE_SUM, Store
from coordinator.vouching import BATCH_SECONDS, Vouching
from cordon.catalogue import Catalogue, read_catalogue
from cordon.envelope import Envelope, KeySigner, Signer
from cordon.errors import Malformed, Misconfigured, Unavailable, Untrusted
from cordon.identity import Identity, Role
from cordon.keyfile import read_signing_key
from cordon.manifest import Manifest, read_manifest
from cordon.register.leaf import Receipt
from cordon.units import Digest
from cordon.wire import messages, services
from cordon.wire.channel import Encoded, Handler, Server
from cordon.wire.messages import Accepted, CatalogueReply, ContributionHead, Event, QueryName, SumPart
from cordon.wire.signed import peek

TICK_SECONDS = 0.2
SETTLE_SECONDS = 5.0
STOP_SECONDS = 2.0
HOUSEKEEPING_SECONDS = 3600.0
ERASURE_SECONDS = 2.0
DAY_SECONDS = 86_400.0
RECEIVE_SECONDS = 60.0


class Coordinator:
    """Implements both services over one store."""

    def __init__(
        self,
        queries: Queries,
        presence: Presence,
        store: Store,
        manifest: tuple[Manifest, Envelope],
        catalogue: Catalogue,
        signer: Signer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queries = queries
        self._presence = presence
        self._store = store
        self._manifest, self._manifest_envelope = manifest
        self._catalogue = catalogue
        self._clock = clock
        self._reading = Reading(store, Notary(store.register, self._manifest, signer, clock), self._manifest, clock)
        self._closing = Closing(store, queries, self._manifest)
        self.vouching = Vouching(presence, self._manifest, clock)
        self._receiving: set[tuple[str, Digest, int]] = set()

    @property
    def handlers(self) -> dict[services.Method, Handler]:
        """The implementation of each method."""
        return {
            services.WATCH: self.watch,
            services.ANSWER: self.answer,
            services.CONTRIBUTE: self.contribute,
            services.CATALOGUE: self.catalogue,
            services.SUBMIT: self.submit,
            services.FOLLOW: self.follow,
            services.PROCEED: self.proceed,
            services.SUM: self.sum,
            services.CONTRIBUTIONS: self.contributions,
            services.VOUCH: self.vouch,
            **self._reading.handlers,
            **self._closing.handlers,
        }

    # Federation

    async def watch(self, hello: Envelope, caller: Identity) -> AsyncIterator[Encoded]:
        """A node's connection: every task that waits for it, then each new one."""
        said = check_hello(hello, caller, self._manifest, int(self._clock()))
        connection = self._presence.join(caller.name, hello)
        self.vouching.joined(caller.name, said.challenge)
        try:
            await self._queries.welcome(caller.name)
            while (task := await connection.queue.get()) is not None:
                yield task
        finally:
            if self._presence.leave(connection):
                self.vouching.left(caller.name)

    async def vouch(self, envelope: Envelope, caller: Identity) -> Accepted:
        """A node's Vouch, for those whose challenges are in it."""
        if caller.role is not Role.FORCE:
            raise Untrusted(f"{caller.uri} is not a force")
        self.vouching.vouch(envelope, caller.name)
        return Accepted()

    async def answer(self, answer: messages.NodeAnswer, caller: Identity) -> Accepted:
        """A node's decision or Ready note."""
        await self._queries.answer(answer, caller)
        return Accepted()

    async def contribute(self, parts: AsyncIterator[Any], caller: Identity) -> Accepted:
        """A node's contribution: its head, then its ciphertexts."""
        if caller.role is not Role.FORCE:
            raise Untrusted(f"{caller.uri} is not a force")
        head = await anext(parts, None)
        if not isinstance(head, ContributionHead):
            raise Malformed("a contribution begins with its head")
        # No more is held in memory than the plan of each roster that the caller is on, once at a time.
        count, size = self._queries.expected(head.receipt, caller)
        if head.ciphertexts != count:
            raise Malformed("a contribution has as many ciphertexts as the plan")
        claimed = peek(Receipt, head.receipt)
        name = (caller.name, claimed.query_hash, claimed.attempt)
        if name in self._receiving:
            raise Unavailable(f"this contribution of {caller.name} is being received already")
        self._receiving.add(name)
        try:
            async with asyncio.timeout(RECEIVE_SECONDS):
                chunks = await _received(parts, count, size)
        except TimeoutError:
            raise Unavailable("the contribution did not arrive in time") from None
        finally:
            self._receiving.discard(name)
        await self._queries.contribute(head.receipt, chunks, caller)
        return Accepted()

    # Analysis

    async def catalogue(self, _request: messages.CatalogueRequest, caller: Identity) -> CatalogueReply:
        """The signed manifest, its contracts, and who is connected."""
        must_be_analyst(caller)
        listed = [self._catalogue[item.dataset, item.version][1] for item in self._manifest.contracts]
        return CatalogueReply(self._manifest_envelope, tuple(listed), self._presence.hellos)

    async def submit(self, submission: messages.Submission, caller: Identity) -> AsyncIterator[Event]:
        """Take a query in and follow it."""
        must_be_analyst(caller)
        query_hash = await self._queries.submit(submission, caller)
        async for event in self._queries.follow(query_hash):
            yield event

    async def follow(self, name: QueryName, caller: Identity) -> AsyncIterator[Event]:
        """Follow a query of the caller's from its beginning."""
        self._queries.own(name.query_hash, caller)
        async for event in self._queries.follow(name.query_hash):
            yield event

    async def proceed(self, name: QueryName, caller: Identity) -> Accepted:
        """Go on without forces where a person still decides."""
        await self._queries.proceed(name.query_hash, caller)
        return Accepted()

    async def sum(self, name: QueryName, caller: Identity) -> AsyncIterator[SumPart]:
        """The ciphertexts of a completed query's sum."""
        stored = self._queries.completed(name.query_hash, caller)
        for chunk in self._store.ciphertexts(name.query_hash, stored.round.attempt, THE_SUM):
            yield SumPart(chunk)

    async def contributions(self, name: QueryName, caller: Identity) -> AsyncIterator[ContributionHead | bytes]:
        """Every kept contribution of a completed query, in the roster's order."""
        stored = self._queries.completed(name.query_hash, caller)
        for force in stored.round.roster:
            receipt = self._store.receipt(name.query_hash, stored.round.attempt, force)
            chunks = self._store.ciphertexts(name.query_hash, stored.round.attempt, force)
            if receipt is None:
                continue
            yield ContributionHead(receipt, len(chunks))
            for chunk in chunks:
                yield chunk


async def _received(parts: AsyncIterator[Any], count: int, size: int) -> list[bytes]:
    chunks: list[bytes] = []
    async for part in parts:
        if not isinstance(part, bytes) or len(chunks) >= count or len(part) != size:
            raise Malformed(f"expected {count} ciphertexts of {size} bytes of coefficients, and nothing else")
        chunks.append(part)
    return chunks


async def serve(config: CoordinatorConfig, log: structlog.typing.FilteringBoundLogger) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        Misconfigured: a file is missing, truncated or foreign, or the address cannot be listened on.
    """
    manifest, envelope = read_manifest(config.manifest, config.governance_keys)
    catalogue = read_catalogue(manifest, config.contracts)
    signer = KeySigner(read_signing_key(config.signing_key))
    if signer.key_id not in manifest.coordinator_keyring:
        raise Misconfigured("the manifest does not list this signing key as the coordinator's")
    credentials = config.tls.read()
    store = Store(config.store, federation=manifest.federation)
    presence = Presence()
    queries = Queries(
        store=store,
        manifest=(manifest, envelope),
        catalogue=catalogue,
        signer=signer,
        presence=presence,
        clock=time.time,
        settled_at=time.time() + SETTLE_SECONDS,
        log=log,
    )
    coordinator = Coordinator(queries, presence, store, (manifest, envelope), catalogue, signer)

    erasures = Erasures(config.erasures, store, manifest, log)

    def failed(method: str, error: BaseException) -> None:
        log.error("a call failed by a fault", phase=method, reason=type(error).__name__)
        traceback.print_exception(error)

    await queries.begin()
    server = Server(coordinator.handlers, failed=failed)
    stopping = asyncio.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(kind, stopping.set)
    port = await server.start(config.listen, credentials)
    log.info("coordinator started", address=f"{config.listen.rsplit(':', 1)[0]}:{port}", version=manifest.version)
    clockwork = asyncio.create_task(
        _run_clockwork(coordinator, queries, store, erasures, config.keep_contributions_days)
    )
    # Time stands still only by a fault, and a coordinator without time must not go on.
    clockwork.add_done_callback(lambda _: stopping.set())
    await stopping.wait()
    fault = clockwork.exception() if clockwork.done() else None
    clockwork.cancel()
    queries.stop()
    presence.close()
    await server.stop(STOP_SECONDS)
    store.close()
    log.info("coordinator stopped")
    if fault is not None:
        raise fault.exceptions[0] if isinstance(fault, BaseExceptionGroup) else fault


async def _run_clockwork(
    coordinator: Coordinator, queries: Queries, store: Store, erasures: Erasures, keep_days: int
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_gather_vouches(coordinator.vouching))
        group.create_task(_take_erasures(erasures))
        group.create_task(_pass_time(queries, store))
        group.create_task(_keep_house(store, keep_days))


async def _pass_time(queries: Queries, store: Store) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        store.check()
        await queries.pass_time()


async def _gather_vouches(vouching: Vouching) -> None:
    while True:
        await asyncio.sleep(BATCH_SECONDS)
        vouching.ask()


async def _take_erasures(erasures: Erasures) -> None:
    while True:
        await erasures.take()
        await asyncio.sleep(ERASURE_SECONDS)


async def _keep_house(store: Store, days: int) -> None:
    while True:
        before = time.time() - days * DAY_SECONDS
        await store.write(lambda before=before: store.forget_contributions(before))  # type: ignore[misc]
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
