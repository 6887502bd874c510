"""One force's share of the noise: the only place where noise is made, and the only import of OpenDP.

OpenDP's exact sampler draws from the operating system; nothing here can be seeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import opendp.prelude as dp

from cordon.query.plan import Plan

dp.enable_features("contrib")

_SPACE = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")


def add_noise_share(cells: Sequence[int], plan: Plan, roster: int) -> list[int]:
    """Scale a force's cells to fixed point and add its share of discrete Gaussian noise.

    Alone, the result protects the force's records at rho·max(1, |R| − c) per block; summed over an
    honest roster of `roster` forces it protects them at the rho that was charged.

    Args:
        cells: shape (plan.cells,), exact values in the measures' integer units.
        plan: supplies each block's scale, bound and share.
        roster: forces on the roster, |R|.

    Returns:
        Shape (plan.cells,), scaled units; may be negative.

    Raises:
        ValueError: `cells` has another length than the plan.

    Source: Canonne, Kamath and Steinke (2020), discrete Gaussian; Kairouz, Liu and Steinke (2021),
    its distribution over parties.
    """
    if len(cells) != plan.cells:
        raise ValueError(f"the plan has {plan.cells} cells, got {len(cells)}")
    shares: list[int] = []
    for block in plan.blocks:
        part = cells[block.start : block.start + block.cells]
        # Valid data never reaches the clamp; it keeps a fault here from wrapping every force's total.
        scaled = [max(-block.bound, min(block.bound, cell)) * block.scale for cell in part]
        shares += _gaussian(scaled, block.share(roster, plan.colluders))
    return shares


def local_rho(d_squared: Fraction, *, scale: int, sigma: Fraction) -> float:
    """What one share by itself costs in rho, by OpenDP's own privacy map.

    Args:
        d_squared: the block's squared L2 sensitivity, unscaled.
        sigma: of the share, in scaled units.
    """
    distance = scale * float(d_squared) ** 0.5
    measurement = dp.m.make_gaussian(*_SPACE, scale=float(sigma))
    return float(measurement.map(distance))  # type: ignore[no-untyped-call]


def _gaussian(values: list[int], sigma: Fraction) -> list[int]:
    # A multiple of 2^-16 below 2^37 is a float exactly, so no rounding makes the noise smaller.
    return list(dp.m.make_gaussian(*_SPACE, scale=float(sigma))(values))
