"""Where a query stands, in one line that changes as its events arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from cordon.register.leaf import Decision, Outcome
from cordon.units import Digest
from cordon.wire import messages
from cordon.wire.messages import Event
from cordon.wire.signed import peek

INTERRUPTED = 130


class Teller:
    """Says in a line where the query stands; call it with every event."""

    def __init__(self, query_hash: Digest | None = None) -> None:
        """Nothing is known yet but perhaps the query's name."""
        self.query_hash = query_hash
        self.show: Callable[[str], None] = lambda _: None
        """Where the line goes."""
        self._outcomes: dict[str, Outcome] = {}
        self._roster = 0
        self._contributed = 0

    def __call__(self, event: Event) -> None:
        """Take an event, and show the line anew."""
        if isinstance(event, messages.Submitted):
            self.query_hash = event.query_hash
        elif isinstance(event, messages.Decided):
            self._decided(peek(Decision, event.decision))
        elif isinstance(event, messages.RosterKnown):
            self._roster, self._contributed = len(event.ready), 0
            self.show(f"{self._roster} forces are computing")
        elif isinstance(event, messages.Contributed):
            self._contributed += 1
            self.show(f"{self._contributed} of {self._roster} forces have contributed")
        elif isinstance(event, messages.AttemptLost):
            self.show("a force was lost: asking the others again")
        elif isinstance(event, messages.SumReady):
            self.show("verifying and opening the sum")

    def _decided(self, decision: Decision) -> None:
        self._outcomes[decision.force] = decision.outcome
        counts = Counter(self._outcomes.values())
        line = f"{_forces(counts[Outcome.ADMITTED])} admitted, {counts[Outcome.DECLINED]} declined"
        waiting = counts[Outcome.AWAITING_APPROVAL]
        self.show(f"waiting for approval at {_forces(waiting)}; {line}" if waiting else line)


@contextmanager
def may_leave(teller: Teller, progress: Console) -> Iterator[None]:
    """On Ctrl-C, tell how to come back: the query goes on without its analyst."""
    try:
        yield
    except KeyboardInterrupt:
        if teller.query_hash is not None:
            progress.print(f"later: cordon follow {teller.query_hash.hex()[:16]}", highlight=False, markup=False)
        raise typer.Exit(INTERRUPTED) from None


def _forces(count: int) -> str:
    return "1 force" if count == 1 else f"{count} forces"
