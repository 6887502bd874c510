"""How finely a number's quantiles are looked for: the widths of a histogram's bins.

The finest bins say how exact a quantile is; coarser ones above them keep the noise of a sum over many bins small.
"""

from __future__ import annotations

from cordon.contract import Number
from cordon.query.sql.keys import rounded_up

MOST_CELLS = 8_000
"""Cells of one histogram, over all groups and widths: what fits in two ciphertexts of 4,096."""

MOST_BINS = 512
"""Finest bins in each group."""

FEWEST_BINS = 8
"""Below so many, a quantile says next to nothing."""

_MOST_BRANCHES = 16
"""Finer bins in one coarser: between 8 and 16, the noise of a sum of bins is near its least."""


def widths_for(column: Number, groups: int) -> tuple[int, ...]:
    """Widths of a histogram's bins, in resolutions, finest first; none where there are too many groups.

    The same for every question on the same number with as many groups, so that its quantiles share one histogram.
    """
    values = column.high - column.low + 1
    width = rounded_up(-(-values // MOST_BINS))
    while True:
        widths = _levels(values, width)
        if -(-values // width) < min(FEWEST_BINS, values):
            return ()
        if groups * sum(-(-values // wide) for wide in widths) <= MOST_CELLS:
            return widths
        width = rounded_up(width + 1)


def _levels(values: int, width: int) -> tuple[int, ...]:
    bins = -(-values // width)
    levels = 1
    while _MOST_BRANCHES**levels < bins:
        levels += 1
    branches = 2
    # Even: a bin of 12 or 80 reads better than one of 11 or 70.
    while branches**levels < bins:
        branches += 2
    return tuple(width * branches**level for level in range(levels))
