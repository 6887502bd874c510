"""Own queries that ask a watch's question, what they were charged, and their answers as the workspace keeps them.

An answer on disk is signed by nobody: what is read of it here is checked, and bounded by the query that was signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cordon.errors import CordonError, Misconfigured
from cordon.query.model import Query
from cordon.units import Digest
from cordon.wire.signed import peek, question_digest
from cordon.workbench.answer import Answer
from cordon.workbench.session import Session
from cordon.workbench.watch.change import is_plain
from cordon.workbench.watch.folder import Watches
from cordon.workbench.watch.saved import Saved


def asks(query: Query, saved: Saved) -> bool:
    """Whether a query asks a watch's question, at whatever cost."""
    return question_digest(query.question).hex() == saved.question


def asking_the_same(session: Session, saved: Saved) -> list[tuple[Digest, Query]]:
    """Own queries that ask a watch's question at its cost and for its purpose, oldest first; those that cannot be read
    are left out.
    """
    workspace = session.client.workspace
    found = []
    for query_hash, _ in reversed(workspace.queries()):
        try:
            query = peek(Query, workspace.signed(query_hash)[1])
        except (CordonError, UnicodeDecodeError):
            continue
        terms = query.terms
        if (terms.rho, terms.purpose) == (saved.rho, saved.purpose) and asks(query, saved):
            found.append((query_hash, query))
    return found


def of_other_watches(session: Session, saved: Saved) -> frozenset[str]:
    """Queries that are releases of another watch, also of one that was put aside: they count there.

    What another watch has only found counts in both, and so does everything of a watch that cannot be read.
    """
    found: set[str] = set()
    for folder in Watches(session.client).others(saved.name):
        try:
            releases = folder.account().releases
        except CordonError:
            continue
        found |= {release.query for release in releases if release.query is not None}
    return frozenset(found)


def watches_of_the_same(session: Session, saved: Saved) -> tuple[str, ...]:
    """Names of other watches that ask the same question at the same cost and for the same purpose."""
    return tuple(_same(Watches(session.client), saved))


def _same(watches: Watches, saved: Saved) -> Iterator[str]:
    for name in watches.names():
        try:
            other = watches.open(name).saved
        except CordonError:
            continue
        mine, theirs = ((each.question, each.nano_rho, each.purpose) for each in (saved, other))
        if name != saved.name and mine == theirs:
            yield name


def charged(query: Query, answer: Answer | None) -> int:
    """What a query was charged to each force at least, in nano-rho, as its answer says; all attempts without one.

    At least the attempt that the answer is of, and from one to all that were signed for, whatever the answer says.
    """
    terms = query.terms
    told = [] if answer is None else [answer.document.get(name) for name in ("attempts_charged", "attempt")]
    known = [number for number in told if type(number) is int]
    attempts = terms.attempts if not known or len(known) < len(told) else max(known)
    return terms.rho.nano * min(max(attempts, 1), terms.attempts)


def kept_digest(session: Session, query_id: str) -> str | None:
    """SHA-256 of an answer as it is kept, in hexadecimal; None where none is or it cannot be read."""
    try:
        text = session.client.workspace.answer(Digest(bytes.fromhex(query_id)))
    except (OSError, UnicodeDecodeError):
        return None
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def has_answer(session: Session, query_id: str) -> bool:
    """Whether anything is kept as a query's answer, readable or not."""
    try:
        return session.client.workspace.answer(Digest(bytes.fromhex(query_id))) is not None
    except (OSError, UnicodeDecodeError):
        return True


def kept_answer(session: Session, query_id: str, digest: str | None = None) -> Answer:
    """An answer that is kept, if everything that a comparison needs can be read of it.

    Args:
        digest: as it was when it was settled; None where that is not known.

    Raises:
        Refused: the query has no answer here.
        Misconfigured: it is damaged, or was changed since.
    """
    try:
        answer = session.recall(query_id)
        _touch(answer, query_id)
    except (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError):
        raise Misconfigured(f"the stored answer of query {query_id[:16]} is damaged") from None
    if digest is not None and kept_digest(session, query_id) != digest:
        raise Misconfigured(f"the stored answer of query {query_id[:16]} was changed since it was opened")
    return answer


def _touch(answer: Answer, query_id: str) -> None:
    """Read everything that a comparison and an alert read."""
    if answer.query_id != query_id:
        raise ValueError("another query's")
    for row in answer.rows:
        if len(row.keys) != len(answer.keys) or len(row.values) not in (0, len(answer.measures)):
            raise ValueError("rows of another form")
        for value in row.values:
            is_plain(value)
    for held in (answer.document.get("vintages") or {}).values():
        str(held["first_month"] + held["last_month"])
    sorted(answer.answered)
    str(answer.unit + answer.dataset + answer.caveat)
