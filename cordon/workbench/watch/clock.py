"""Which year it is, by the register: an analyst's clock alone opens no year's budget."""

from __future__ import annotations

from collections.abc import Callable

from cordon.analyst.client import Client
from cordon.analyst.federation import Federation
from cordon.analyst.times import utc
from cordon.errors import CordonError, Unavailable

CLOCK_SECONDS = 3_600
"""Most that clock and register may be apart where a release is begun: they say whose year it is. docs/privacy.md §5."""


def check_clock(client: Client, federation: Federation, now: int) -> None:
    """Check that clock and register agree.

    Raises:
        Unavailable: they do not, or the register cannot be reached.
        CordonError: it does not verify.
    """
    line = client.line(federation.manifest)
    line.show(client.channel, ())
    time = line.accepted.time
    # A register is signed anew when asked, but no more often than its federation has agreed on.
    if abs(time - now) > max(CLOCK_SECONDS, federation.manifest.timing.freshness_seconds):
        clock, register = (f"{utc(moment):%Y-%m-%d %H:%M}" for moment in (now, time))
        raise Unavailable(
            f"the clock says {clock} and the register {register}, UTC: which year's budget to use cannot be told",
            hint="set the clock, or wait until the register is signed anew",
        )


def register_time(client: Client, federation: Federation, tell: Callable[[str], None]) -> int:
    """When the newest checkpoint of the register was signed, in seconds since 1970-01-01 UTC.

    Args:
        tell: told where it cannot be asked: then it is the newest one that was accepted here.
    """
    line = client.line(federation.manifest)
    try:
        line.show(client.channel, ())
    except CordonError:
        tell("warning: the register cannot be reached: what was found counts in the year that it was in last")
    return line.accepted.time
