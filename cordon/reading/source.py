"""Where a register is read from. Nothing that a source says is believed: it is recomputed from leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from cordon.units import Digest
from cordon.wire.messages import ContributionPart
from cordon.wire.proofs import Opening


@dataclass(frozen=True, slots=True)
class Head:
    """The newest checkpoint that a source has, and what it shows about an older size."""

    note: bytes
    consistency: tuple[Digest, ...]
    """From the old size to the note's; empty where there is none."""
    frontier: tuple[Digest, ...]
    """Roots of the complete subtrees of the old size; empty where they cannot be had."""


class Source(Protocol):
    """A copy of one register."""

    @property
    def opens_at_once(self) -> bool:
        """Whether the reader is owed every opened payload at once, without embargo."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether it is the coordinator itself, which never has less than it had; else a copy."""
        ...

    def head(self, old_size: int) -> Head:
        """The newest checkpoint, and how it continues the register of `old_size` leaves.

        Raises:
            Unavailable: the source cannot be reached.
            Malformed: what it sends is no register.
        """
        ...

    def leaves(self, start: int, end: int) -> Iterator[list[bytes]]:
        """Leaves from `start` on, below `end`, in pages; fewer where the source does not have them."""
        ...

    def openings(self, indices: Iterable[int]) -> Iterator[Opening]:
        """What is served of these leaves' openings, in any order."""
        ...

    def kept(self, query_hash: Digest, attempt: int) -> Iterator[ContributionPart] | None:
        """An attempt's kept contributions, empty where they are not kept any more; None: never had here."""
        ...

    def differing(self, start: int, hashes: list[Digest]) -> int | None:
        """The first of consecutive leaves whose hash is not the one that the source's tree has there.

        It is asked only to say where a discrepancy lies, and may not know: None.
        """
        ...
