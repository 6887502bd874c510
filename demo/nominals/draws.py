"""Draws that depend on nothing but a seed and the numbers of what is drawn for.

Whoever meets a person again, in another force or another batch, draws the same again: nothing about millions of
persons need be kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Positions = NDArray[np.uint8]
Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]

# The mixing function of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def drawn(seed: int, what: str, *numbers: Whole) -> NDArray[np.uint64]:
    """64 bits for each place of the arrays `numbers`.

    Args:
        what: names the draw; other names give other bits.
    """
    start = int.from_bytes(what.encode().ljust(8, b"_")[:8], "little") ^ seed
    bits = np.full(len(numbers[0]), start, np.uint64)
    for number in numbers:
        bits ^= _mixed(number.astype(np.uint64) + bits)
    return _mixed(bits)


def shares(seed: int, what: str, *numbers: Whole) -> Reals:
    """A number from 0 up to but not including 1 for each place of the arrays `numbers`."""
    return (drawn(seed, what, *numbers) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def chosen(at: Reals, weights: Sequence[float]) -> Positions:
    """Position in `weights`, as likely as its weight, for each number in [0, 1)."""
    edges = np.cumsum(weights) / sum(weights)
    return np.minimum(np.searchsorted(edges, at, side="right"), len(weights) - 1).astype(np.uint8)


def scattered(number: Whole, most: int) -> Whole:
    """Another number below `most` for each number below `most`, and never the same for two.

    Args:
        most: a whole number that the prime below does not divide.
    """
    return (number * 1_000_003 + 777_767) % most


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = bits + _STEP
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed
