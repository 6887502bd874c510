"""A watch over the federation in one process: real session, real account, real parties; time is a number."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from members import COUNT, PURPOSE, Members

from cordon.workbench.session import Session
from cordon.workbench.watch.folder import Folder, Watches
from cordon.workbench.watch.plan import Wanted, make_saved
from cordon.workbench.watch.release import Run, run_release
from cordon.workbench.watch.schedule import Every, next_slot, slot_of


class Watching:
    """One analyst's watch, and the clock that it goes by."""

    def __init__(self, members: Members, **wanted: Any) -> None:
        """Add it."""
        self.members = members
        self.said: list[str] = []
        options = {
            "name": "roles", "sql": COUNT, "purpose": PURPOSE, "every": Every.MONTH, "epsilon": "1", "budget": "8",
            "attempts": 1,
        } | wanted  # fmt: skip
        self.name = str(options["name"])
        self._before = 0
        self._before = self.charged
        session = self.session()
        Watches(session.client).add(make_saved(Wanted(**options), session, now=int(members.now)))

    def session(self) -> Session:
        """A new process's session."""
        return Session(self.members.client(), note=self.said.append)

    @property
    def folder(self) -> Folder:
        """As a new process reads it."""
        return Watches(self.session().client).open(self.name)

    def run(self, *, now: int | None = None, anew: bool = True) -> Run:
        """One run, as a process of its own."""
        moment = int(self.members.now if now is None else now)
        return run_release(self.session(), self.folder, now=moment, anew=anew, tell=self.said.append)

    def later(self) -> int:
        """A moment in the next slot; the federation's clock goes with it."""
        return moved_on(self.members, self.folder.saved.every)

    @property
    def charged(self) -> int:
        """What the force that was charged most has charged since the watch was added, in nano-rho."""
        return max(_charged(member.config.ledger) for member in self.members.members.values()) - self._before

    @property
    def written(self) -> int:
        """What the account says of all years, in nano-rho."""
        return sum(item.nano for item in self.folder.account().counted)


def moved_on(members: Members, every: Every = Every.MONTH) -> int:
    """Let time pass to a moment in the next slot, for everybody."""
    day = next_slot(every, slot_of(every, int(members.now)))
    members.now = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
    members.run(members.queries.pass_time())
    members.keep_links()
    return int(members.now)


def _charged(ledger: Path) -> int:
    database = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=10)
    try:
        return int(database.execute("SELECT coalesce(sum(rho), 0) FROM charge").fetchone()[0])
    finally:
        database.close()
