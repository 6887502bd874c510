"""An auditor's memory does not grow with the register. Takes about eight minutes: it signs 920,000 leaves first.

The bar names 100,000 queries of 43 forces; 20,000 are made here, because making them takes longer than
verifying them. What is compared is the largest memory of the reading process at a tenth and at the whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from registers import Register

from cordon.reading.static import opened_path
from cordon.register.checkpoint import write_checkpoint
from cordon.register.leaf import Checkpoint
from cordon.register.merkle import Frontier, leaf_hash, packed
from cordon.register.tiles import WIDTH, pack_entries, tile_path, tiles_of
from cordon.wire import codec

QUERIES, FORCES = 20_000, 43
GROWTH = 1.5
"""Most that the memory at ten times the register may be, to that before: caches fill."""


class Spooled(Register):
    """A register whose leaves go to files as soon as a bundle is whole; it keeps one hash for each bundle."""

    def __init__(self, folder: Path, forces: tuple[str, ...]) -> None:
        self.folder = folder
        self.tiles: list[bytes] = []
        """Roots of the whole tiles of level 0."""
        super().__init__(forces)

    def append(self, envelope):
        super().append(envelope)
        index = len(self.tiles) * WIDTH + len(self.leaves) - 1
        if len(self.leaves) == WIDTH:
            self._put(len(self.tiles), WIDTH)
            self.tiles.append(self._root(self.leaves))
            self.leaves.clear()
        return index

    def publish_all(self):
        """Write what is not whole yet, the higher tiles and the checkpoint."""
        size = len(self.tiles) * WIDTH + len(self.leaves)
        if self.leaves:
            self._put(len(self.tiles), len(self.leaves))
        row = list(self.tiles)
        for level, number, width in tiles_of(size):
            if level:
                first = number * WIDTH * WIDTH ** (level - 1)
                span = WIDTH ** (level - 1)
                roots = [self._over(row[first + at * span : first + (at + 1) * span]) for at in range(width)]
                self._file(tile_path(level, number, width), packed(roots))
        frontier = Frontier.of(size, lambda level, at: self._node(row, level, at))
        self._note(frontier)
        for index, opening in self.openings.items():
            self._file(opened_path(index), codec.encode(opening))
        self.openings.clear()
        return size

    def _node(self, row, level, at):
        if level < 8:
            first = (at << level) % WIDTH
            return self._root(self.leaves[first : first + (1 << level)])
        return self._over(row[at << (level - 8) : (at + 1) << (level - 8)])

    def _note(self, frontier):
        public = self.coordinator.private.public_key()
        point = Checkpoint(frontier.size, frontier.root)
        self._file("checkpoint", write_checkpoint(self.origin, point, public, self.coordinator.signer, self.now))

    def _put(self, number, width):
        self._file(tile_path(None, number, width), pack_entries(self.leaves))
        self._file(tile_path(0, number, width), packed(map(leaf_hash, self.leaves)))

    def _file(self, path, data):
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)

    @staticmethod
    def _root(leaves):
        return Frontier().extended(map(leaf_hash, leaves)).root

    @staticmethod
    def _over(roots):
        return Frontier().extended(roots).root


def largest_memory(register, folder, mirror):
    """Kilobytes that `cordon audit verify` needed at most in one process, and what it printed."""
    words = [sys.executable, "-m", "cordon", "audit", "verify", str(folder), "--mirror", str(mirror), "-f", "json"]
    words += ["--jobs", "1", *(word for key in register.governance_keys for word in ("--governance-key", key))]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, out
    return usage.ru_maxrss, json.loads(out)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_memory_does_not_grow_with_the_register(tmp_path):
    """Ten times the register is verified from nothing in at most half as much memory again, without a discrepancy."""
    register = Spooled(tmp_path / "published", tuple(f"force-{at:02d}" for at in range(FORCES)))
    found = []
    for upto in (QUERIES // 10, QUERIES):
        while register.spent["force-00"].number < upto:
            register.round(decisions=False)
        size = register.publish_all()
        memory, printed = largest_memory(register, tmp_path / "published", tmp_path / f"mirror-{upto}")
        assert (printed["size"], printed["counts"]["receipts"]) == (size, upto * FORCES)
        found.append(memory)

    assert found[1] < GROWTH * found[0], found
