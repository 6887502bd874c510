"""An analyst's own queries and answers, as the workspace keeps them. Showing them again costs nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from cordon.analyst.workspace import Workspace
from cordon.errors import CordonError, Misconfigured, Refused
from cordon.query.model import Query, Question
from cordon.units import Digest
from cordon.wire.signed import peek

MOST_EARLIER = 200
"""Own queries that are looked through before asking."""


class Standing(StrEnum):
    """What has come of a query, as the workspace knows."""

    ANSWERED = "answered"
    OPEN = "open"
    """It can be followed, and its answer opened."""
    CLOSED = "no answer"
    """It ended without an answer, or its check failed."""
    DAMAGED = "damaged"
    """Its files cannot be read."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One own query."""

    query_id: str
    asked_at: str
    """ISO 8601 in UTC, by the analyst's clock."""
    standing: Standing
    sql: str
    purpose: str = ""
    forces_asked: int = 0
    rho: str = ""
    """Per attempt."""
    epsilon: float | None = None
    """Charged over all attempts; None without an answer."""
    answered: int | None = None
    """Forces that are in the answer."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def history_of(workspace: Workspace) -> tuple[Asking, ...]:
    """Every query that was asked from a workspace, newest first; a damaged one is named and stops nothing."""
    return tuple(_asking(workspace, query_hash, asked_at) for query_hash, asked_at in workspace.queries())


def asked_before(workspace: Workspace, question: Question) -> Asking | None:
    """The newest of the last `MOST_EARLIER` own queries that asked the same, and that has an answer or may get one."""
    for query_hash, asked_at in workspace.queries()[:MOST_EARLIER]:
        if _question(workspace, query_hash) == question:
            found = _asking(workspace, query_hash, asked_at)
            if found.standing in (Standing.ANSWERED, Standing.OPEN):
                return found
    return None


def _question(workspace: Workspace, query_hash: Digest) -> Question | None:
    try:
        return peek(Query, workspace.signed(query_hash)[1]).question
    except (CordonError, ValueError):
        return None


def recalled(workspace: Workspace, query_id: str) -> dict[str, Any]:
    """The answer that a workspace keeps of a query.

    Args:
        query_id: or enough of its beginning.

    Raises:
        Refused: there is no such query, or it has no answer here.
        Misconfigured: what is kept is damaged.
    """
    found = workspace.find(query_id)
    answer = workspace.answer(found)
    if answer is None:
        raise Refused(f"query {found.hex()[:16]} has no answer here", hint=f"cordon follow {found.hex()[:16]}")
    return _read(found, answer)


def _asking(workspace: Workspace, query_hash: Digest, asked_at: float) -> Asking:
    when = datetime.fromtimestamp(asked_at, UTC).isoformat(timespec="seconds")
    try:
        sql, envelope = workspace.signed(query_hash)
        query = peek(Query, envelope)
        text = workspace.answer(query_hash)
        answer = None if text is None else _read(query_hash, text)
        epsilon, answered = (None, None) if answer is None else (_charged(answer), len(answer["answered"]))
    except (CordonError, KeyError, TypeError, ValueError):
        return Asking(query_hash.hex(), when, Standing.DAMAGED, "")
    standing = Standing.OPEN if workspace.can_open(query_hash) else Standing.CLOSED
    return Asking(
        query_id=query_hash.hex(),
        asked_at=when,
        standing=standing if answer is None else Standing.ANSWERED,
        sql=sql,
        purpose=query.terms.purpose,
        forces_asked=len(query.question.forces),
        rho=str(query.terms.rho),
        epsilon=epsilon,
        answered=answered,
    )


def _charged(answer: dict[str, Any]) -> float:
    return float(answer["epsilon"]["charged"])


def _read(query_hash: Digest, text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Misconfigured(f"the stored answer of query {query_hash.hex()[:16]} is damaged")
    return answer
