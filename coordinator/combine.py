"""Add contributions as they arrive, without any key: memory does not grow with the number of forces."""

from __future__ import annotations

from collections.abc import Sequence

from cordon.errors import Malformed
from cordon.query.plan import ParameterSet
from cordon.sealing.ciphertext import Polynomials, add, pack, unpack


class RunningSum:
    """The sum so far of one attempt's contributions."""

    def __init__(self, parameters: ParameterSet, ciphertexts: int) -> None:
        """Start at zero.

        Args:
            ciphertexts: how many each contribution has, by the plan.
        """
        self._parameters = parameters
        self._totals: list[Polynomials | None] = [None] * ciphertexts

    def read(self, chunks: Sequence[bytes]) -> list[Polynomials]:
        """Check a contribution's ciphertexts; nothing is added yet.

        Raises:
            Malformed: another number than the plan's, or not canonical ciphertexts.
        """
        if len(chunks) != len(self._totals):
            raise Malformed(f"the plan has {len(self._totals)} ciphertexts, got {len(chunks)}")
        return [unpack(chunk, self._parameters, self._parameters.moduli) for chunk in chunks]

    def add(self, polynomials: Sequence[Polynomials]) -> None:
        """Add a checked contribution."""
        for at, (total, more) in enumerate(zip(self._totals, polynomials, strict=True)):
            self._totals[at] = more if total is None else add(total, more, self._parameters)

    def packed(self) -> list[bytes]:
        """The sum's ciphertexts in canonical form; at least one contribution was added."""
        return [pack(total, self._parameters.moduli) for total in self._totals if total is not None]
