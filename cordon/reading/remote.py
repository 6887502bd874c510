"""A coordinator as a source, over the channel that its members use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cordon.errors import Malformed, Refused
from cordon.reading.source import Head
from cordon.units import Digest
from cordon.wire import services
from cordon.wire.channel import Channel
from cordon.wire.messages import ContributionPart
from cordon.wire.proofs import KeptRequest, LeavesRequest, Opening, ProofRequest

CALL_SECONDS = 60.0
STREAM_SECONDS = 3600.0
PROOFS = 64
"""Leaves that are asked to be shown at once."""
NEAR = 64
"""Leaves that may lie between two wanted openings of one request."""


class CoordinatorSource:
    """A coordinator's register; to auditors it opens everything at once."""

    def __init__(self, channel: Channel, *, opens_at_once: bool) -> None:
        """Read through a channel.

        Args:
            opens_at_once: whether the caller is an auditor.
        """
        self._channel = channel
        self._opens_at_once = opens_at_once

    @property
    def opens_at_once(self) -> bool:
        return self._opens_at_once

    @property
    def is_live(self) -> bool:
        return True

    def head(self, old_size: int) -> Head:
        try:
            proof = self._channel.call(services.PROVE, ProofRequest(old_size), timeout=CALL_SECONDS)
        except Refused:
            # It has fewer leaves than it had; its newest checkpoint is the evidence.
            proof = self._channel.call(services.PROVE, ProofRequest(0), timeout=CALL_SECONDS)
        return Head(proof.note, proof.consistency, proof.frontier)

    def leaves(self, start: int, end: int) -> Iterator[list[bytes]]:
        if start >= end:
            return
        at = start
        for page in self._channel.stream(services.LEAVES, LeavesRequest(start, end), timeout=STREAM_SECONDS):
            if page.start != at or not 0 < len(page.leaves) <= end - at:
                raise Malformed("the coordinator's pages of leaves do not follow one another")
            at += len(page.leaves)
            yield list(page.leaves)

    def openings(self, indices: Iterable[int]) -> Iterator[Opening]:
        wanted = sorted(indices)
        for start, end in _ranges(wanted):
            request = LeavesRequest(start, end)
            yield from self._channel.stream(services.OPENINGS, request, timeout=STREAM_SECONDS)

    def kept(self, query_hash: Digest, attempt: int) -> Iterator[ContributionPart] | None:
        return self._kept(KeptRequest(query_hash, attempt))

    def _kept(self, request: KeptRequest) -> Iterator[ContributionPart]:
        try:
            yield from self._channel.stream(services.KEPT, request, timeout=STREAM_SECONDS)
        except Refused:
            # Not kept any more.
            return

    def differing(self, start: int, hashes: list[Digest]) -> int | None:
        for first in range(0, len(hashes), PROOFS):
            part = hashes[first : first + PROOFS]
            proof = self._channel.call(services.PROVE, ProofRequest(0, tuple(part)), timeout=CALL_SECONDS)
            there = {(inclusion.index, inclusion.leaf_hash) for inclusion in proof.inclusions}
            for at, digest in enumerate(part, start=start + first):
                if (at, digest) not in there:
                    return at
        return None


def _ranges(wanted: list[int]) -> Iterator[tuple[int, int]]:
    """Few ranges that cover all of `wanted`, which is sorted."""
    start = last = -1
    for index in wanted:
        if start >= 0 and index - last > NEAR:
            yield start, last + 1
            start = -1
        start, last = (index if start < 0 else start), index
    if start >= 0:
        yield start, last + 1
