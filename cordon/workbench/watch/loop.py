"""A watch that runs by itself: asleep until a release is due, by the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console

from cordon.errors import Unavailable
from cordon.workbench.watch.account import Account, BudgetEnded
from cordon.workbench.watch.held import Busy
from cordon.workbench.watch.saved import Saved
from cordon.workbench.watch.schedule import next_slot, slot_of

AGAIN_SECONDS = 3_600.0
"""After so long the loop looks again where a release is due that no force has new records for, where nobody could be
reached, and where an alert was not taken.
"""

DAY_SECONDS = 86_400.0


async def keep_running(one: Callable[[], float], notes: Console, *, now: Callable[[], float] = time.time) -> None:
    """Run a watch whenever it is due, until it is stopped or has to stop.

    Args:
        one: a run; returns how many seconds from then on the next is due.
        now: seconds since 1970-01-01 UTC.

    Raises:
        CordonError: it cannot go on. A federation that cannot be reached, and a watch that another process runs, is
            tried again; a budget that has ended begins anew with the year.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            wait = await loop.run_in_executor(None, one)
        except (Unavailable, Busy) as error:
            _warn(notes, f"{error}; trying again later")
            wait = AGAIN_SECONDS
        except BudgetEnded as error:
            _warn(notes, f"{error}; asleep until the year ends")
            # Looking again spends nothing, and sends what was not taken.
            wait = min(
                DAY_SECONDS, max(AGAIN_SECONDS, datetime(error.period + 1, 1, 1, tzinfo=UTC).timestamp() - now())
            )
        due = now() + wait
        # In short sleeps: the clock of a sleep may stand still while a machine does.
        while (left := due - now()) > 0:  # noqa: ASYNC110 - it is the clock that is waited for
            await asyncio.sleep(min(left, AGAIN_SECONDS))


def _warn(notes: Console, text: str) -> None:
    notes.print(f"warning: {text}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def until_due(saved: Saved, account: Account, now: float) -> float:
    """Seconds until the next slot begins; where one is due already, until it is tried again.

    Args:
        now: seconds since 1970-01-01 UTC.
    """
    newest = account.newest_slot
    if newest is None or slot_of(saved.every, int(now)) > newest:
        return AGAIN_SECONDS
    day = next_slot(saved.every, newest)
    return max(1.0, datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - now)
