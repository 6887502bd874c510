"""Figures as people read them."""

from __future__ import annotations

import math

from cordon.workbench.trend.amounts import Amount


def percent(share: float) -> str:
    """A share without its sign, e.g. `12 %`."""
    size = abs(100 * share)
    return f"{size:.0f} %" if size >= 9.5 else f"{size:.1f} %"


def number(value: float) -> str:
    """A figure with three or four digits that say something."""
    if not math.isfinite(value):
        return "?"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.3g}"


def moved(amount: Amount) -> str:
    """How much something grew or fell, with its interval: `grew by 12 % (9 to 15)`."""
    grew = amount.size > 0
    verb = "grew" if grew else "fell"
    if not math.isfinite(amount.share):
        sizes = (amount.low, amount.high) if grew else (-amount.high, -amount.low)
        return f"{verb} by {number(abs(amount.size))} ({' to '.join(map(number, sizes))})"
    ends = (amount.share_low, amount.share_high) if grew else (-amount.share_high, -amount.share_low)
    low, high = (f"{100 * end:.0f}" if abs(amount.share) >= 0.095 else f"{100 * end:.1f}" for end in ends)
    return f"{verb} by {percent(amount.share)} ({low} to {high})"
