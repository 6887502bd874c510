"""A made register behind the real channel: TLS, codec and paging are real, and only the coordinator is stood in for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from registers import Register

from cordon.errors import Refused
from cordon.identity import Identity, Role, certify
from cordon.keyfile import write_certificate, write_private_key
from cordon.reading.static import claimed_size
from cordon.register.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash
from cordon.units import Digest
from cordon.wire import services
from cordon.wire.channel import Credentials, Server
from cordon.wire.messages import ContributionHead
from cordon.wire.proofs import Inclusion, KeptRequest, LeafPage, LeavesRequest, Proof, ProofRequest

PAGE = 7


class Coordinator:
    """Serves a register as it is when it is asked."""

    def __init__(self, register: Register) -> None:
        self.register = register
        self.refuse_kept = False
        self.behind = 0
        """Seconds by which its checkpoints are old."""

    def handlers(self) -> dict[services.Method, Any]:
        """The implementation of each method."""
        return {
            services.PROVE: self.prove,
            services.LEAVES: self.leaves,
            services.OPENINGS: self.openings,
            services.KEPT: self.kept,
        }

    async def prove(self, request: ProofRequest, _caller: Identity) -> Proof:
        """The newest checkpoint and how it continues."""
        note = self.register.note(after=int(time.time()) - self.register.now - self.behind)
        size = claimed_size(note)
        if request.old_size > size:
            raise Refused("the register is smaller")
        hashes = [leaf_hash(leaf) for leaf in self.register.leaves]

        def node(level: int, at: int) -> Digest:
            return Frontier().extended(hashes[at << level : (at + 1) << level]).root

        shown = consistency_proof(request.old_size, size, node)
        places = [(digest, hashes.index(digest)) for digest in request.leaf_hashes if digest in hashes]
        inclusions = tuple(Inclusion(digest, at, inclusion_proof(at, size, node)) for digest, at in places)
        return Proof(note, shown, Frontier.of(request.old_size, node).peaks, inclusions)

    async def leaves(self, request: LeavesRequest, _caller: Identity) -> AsyncIterator[LeafPage]:
        """Leaves in small pages."""
        for start in range(request.start, request.end, PAGE):
            yield LeafPage(start, tuple(self.register.leaves[start : min(start + PAGE, request.end)]))

    async def openings(self, request: LeavesRequest, caller: Identity) -> AsyncIterator[Any]:
        """Every opening of a range."""
        assert caller.role is Role.AUDITOR
        for index in range(request.start, request.end):
            if index in self.register.openings:
                yield self.register.openings[index]

    async def kept(self, request: KeptRequest, _caller: Identity) -> AsyncIterator[Any]:
        """Kept contributions."""
        if self.refuse_kept:
            raise Refused("not kept any more")
        for envelope, chunks in self.register.kept.get((request.query_hash, request.attempt), []):
            yield ContributionHead(envelope, len(chunks))
            for chunk in chunks:
                yield chunk


@contextlib.contextmanager
def serving(coordinator: Coordinator, folder: Path) -> Iterator[Path]:
    """Serve on a free port of this machine; gives the path of an auditor's profile."""
    register = coordinator.register
    folder.mkdir()
    write_certificate(folder / "authority.pem", register._authority)
    for name, identity, hosts in (
        ("coordinator", Identity(Role.COORDINATOR, "main"), ("127.0.0.1",)),
        ("auditor", Identity(Role.AUDITOR, "erin"), ()),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        write_private_key(folder / f"{name}.key", key)
        made = certify(
            identity,
            key.public_key(),
            authority=register._authority,
            private=register._authority_key,
            hosts=tuple(hosts),
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    credentials = Credentials.read(folder / "authority.pem", folder / "coordinator.pem", folder / "coordinator.key")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    failures: list[str] = []

    async def start() -> tuple[Server, int]:
        server = Server(coordinator.handlers(), failed=lambda path, error: failures.append(f"{path}: {error!r}"))
        return server, await server.start("127.0.0.1:0", credentials)

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    profile = folder / "auditor.toml"
    keys = ", ".join(f'"{key}"' for key in register.governance_keys)
    profile.write_text(
        f'coordinator = "127.0.0.1:{port}"\ngovernance_keys = [{keys}]\nmirror = "mirror"\n'
        '[tls]\nauthority = "authority.pem"\ncertificate = "auditor.pem"\nkey = "auditor.key"\n',
        encoding="utf-8",
    )
    try:
        yield profile
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert failures == []
