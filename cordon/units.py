"""Value types that carry their unit: privacy cost, digests, names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, StringConstraints

NANO = 10**9
"""Nano-rho in one rho."""

DIGEST_BYTES = 32

ForceId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
"""A force's public short name, e.g. `kent`. Ordered as bytes wherever order matters."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""A data set, column, purpose or budget domain."""

FORCE_ID = re.compile(r"[a-z][a-z0-9-]{0,39}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True, order=True, slots=True)
class Rho:
    """Privacy loss in zero-concentrated differential privacy, in integer nano-rho.

    Integers because a sum of charges must be the same number for every party that adds it up.
    Source: Bun and Steinke (2016), definition 1.1.

    Raises:
        ValueError: the amount is negative.
    """

    nano: int

    def __post_init__(self) -> None:
        if self.nano < 0:
            raise ValueError(f"rho must not be negative, got {self.nano} nano-rho")

    @classmethod
    def rounded_up(cls, rho: Fraction) -> Self:
        """The smallest whole number of nano-rho that is at least `rho`."""
        return cls(-(-rho.numerator * NANO // rho.denominator))

    def __add__(self, other: Rho) -> Rho:
        """Compose: rho adds up (Bun and Steinke 2016, lemma 1.7)."""
        return Rho(self.nano + other.nano)

    def __mul__(self, times: int) -> Rho:
        """Compose the same cost several times."""
        return Rho(self.nano * times)

    def __str__(self) -> str:
        """Rho in decimal, without trailing zeros."""
        whole, part = divmod(self.nano, NANO)
        return f"{whole}.{part:09d}".rstrip("0").rstrip(".")


class Digest(bytes):
    """The 32 bytes of a SHA-256 digest.

    Raises:
        ValueError: not 32 bytes long.
    """

    def __new__(cls, value: bytes) -> Self:
        """Check the length: a truncated digest must never compare equal to another."""
        if len(value) != DIGEST_BYTES:
            raise ValueError(f"a digest has {DIGEST_BYTES} bytes, got {len(value)}")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        """Lower-case hexadecimal."""
        return self.hex()

    def __repr__(self) -> str:
        """Hexadecimal, for messages and tests."""
        return f"Digest({self.hex()})"


def _exact(value: object) -> object:
    # TOML and JSON read 0.1 as a float, and Fraction(0.1) is not 1/10. A budget is what was written.
    if isinstance(value, float):
        raise ValueError(f'write the number as a string, e.g. "1/10" or "0.1"; got the float {value}')
    return value


def exact_number(text: str) -> Fraction:
    """Read a decimal or a quotient of integers exactly.

    Raises:
        ValueError: not a number, or not finite.
    """
    try:
        return Fraction(text.strip())
    except ZeroDivisionError:
        raise ValueError(f"{text!r} divides by zero") from None


def exact_text(value: Fraction) -> str:
    """A number in digits: a whole one or a decimal without loss, else a quotient."""
    if value.denominator == 1:
        return str(value.numerator)
    places = next((n for n in range(1, 31) if 10**n % value.denominator == 0), None)
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _positive(value: Fraction) -> Fraction:
    if value <= 0:
        raise ValueError(f"must be positive, got {value}")
    return value


Exact = Annotated[Fraction, BeforeValidator(_exact)]
"""An exact number: never read from a float."""

Positive = Annotated[Fraction, BeforeValidator(_exact), AfterValidator(_positive)]
"""An exact number above zero, e.g. an epsilon as people write it."""


def tagged_digest(tag: str, *parts: bytes) -> Digest:
    """SHA-256 over a domain tag and parts, each behind its length as 8 bytes, little-endian.

    The lengths keep one list of parts from reading as another; the tag keeps a digest that was made
    for one use from standing in for another. Every hash of the protocol is made here.
    """
    hasher = hashlib.sha256()
    for part in (tag.encode(), *parts):
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return Digest(hasher.digest())
