"""What the same phases cost with noise, masks and BFV taken out: for measurement only, protects nothing.

`python -m bench.clear node serve --config …` is a node that sends its exact cells in the clear, in the shape
of a ciphertext, so that everything else (messages, signatures, charges, adding) stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import cordon.analyst.client
import cordon.analyst.compose
import node.contribute
from cordon.cli import run
from cordon.query.plan import ParameterSet, Plan
from cordon.sealing.ciphertext import POLYNOMIALS, pack, packed_size, unpack
from cordon.sealing.keystream import Cells


class ClearSealer:
    """Packs residues where a ciphertext's first coefficients would be."""

    def __init__(self, _public_key: bytes, parameters: ParameterSet) -> None:
        self._parameters = parameters

    def seal(self, vector: Cells) -> list[bytes]:
        """One block of bytes for each N cells."""
        parameters, chunks = self._parameters, []
        for at in range(0, len(vector), parameters.slots):
            part = vector[at : at + parameters.slots]
            polynomials = np.zeros((POLYNOMIALS, len(parameters.moduli), parameters.slots), dtype=np.uint64)
            polynomials[0, 0, : len(part)] = part
            chunks.append(pack(polynomials, parameters.moduli))
        return chunks


class ClearOpener:
    """Reads what ClearSealer packed, after it was added up."""

    def __init__(self, parameters: ParameterSet, _secret: bytes | None = None) -> None:
        self._parameters = parameters

    @property
    def secret(self) -> bytes:
        """There is none."""
        return b""

    def public_key(self) -> bytes:
        """Of the right size."""
        return bytes(packed_size(self._parameters, self._parameters.key_moduli))

    def open(self, chunks: list[bytes]) -> Cells:
        """The added residues."""
        parameters = self._parameters
        parts = [unpack(chunk, parameters, parameters.moduli)[0, 0] for chunk in chunks]
        return np.concatenate(parts) % np.uint64(parameters.modulus)


def scaled(cells: list[int], plan: Plan, _roster: int) -> list[int]:
    """Fixed point without noise."""
    return [cell * block.scale for block in plan.blocks for cell in cells[block.start : block.start + block.cells]]


@contextmanager
def clear_analyst() -> Iterator[None]:
    """An analyst that neither makes keys nor decrypts, in this process, for a while."""
    modules: tuple[Any, ...] = (cordon.analyst.client, cordon.analyst.compose)
    before = [module.Opener for module in modules]
    for module in modules:
        module.Opener = ClearOpener
    try:
        yield
    finally:
        for module, opener in zip(modules, before, strict=True):
            module.Opener = opener


def take_protection_out() -> None:
    """Make this process's node a clear one."""
    target: Any = node.contribute
    target.add_noise_share = scaled
    target.agree = lambda *_args, **_more: {}
    target.mask = lambda vector, *_args: vector
    target.Sealer = ClearSealer


if __name__ == "__main__":
    take_protection_out()
    sys.exit(run(sys.argv[1:]))
