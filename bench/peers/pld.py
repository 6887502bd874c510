"""The least sigma of Gaussian noise that Google's privacy-loss-distribution accountant allows: JSON in, JSON out."""

from __future__ import annotations

import json
import math
import sys

import dp_accounting
from dp_accounting.pld import PLDAccountant

TOLERANCE = 1e-4
LEAST, MOST = 0.5, 20.0
"""Sigma for one table lies between these; far below, the accountant's grid of losses grows without use."""


def main() -> None:
    """Answer one task."""
    task = json.load(sys.stdin)
    tables = task["tables"]
    sigma = dp_accounting.calibrate_dp_mechanism(
        PLDAccountant,
        lambda sigma: dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(sigma), tables),
        task["epsilon"],
        task["delta"],
        dp_accounting.ExplicitBracketInterval(LEAST * math.sqrt(tables), MOST * math.sqrt(tables)),
        tol=TOLERANCE,
    )
    json.dump({"answers": {}, "noise": {"sigma": float(sigma)}}, sys.stdout)


if __name__ == "__main__":
    main()
