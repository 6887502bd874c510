"""The whole life of one query, and one row for each force and query of the fields of DPA 2018 section 62."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cordon import envelope as kinds
from cordon.auditor.access import Opened
from cordon.auditor.budget import analyst_name
from cordon.auditor.report import moment
from cordon.errors import Refused
from cordon.query.words import describe
from cordon.reading.examine import parsed
from cordon.reading.lives import Life, each_life, find_lives
from cordon.reading.opened import opened_query
from cordon.register.leaf import DeclineCode, EndReason, Outcome
from cordon.units import Rho
from cordon.wire import codec
from cordon.wire.proofs import Opening


def find_query(opened: Opened, name: str) -> Life:
    """The query whose hash begins with these hexadecimal digits.

    Raises:
        Refused: none does, or several do.
    """
    found = find_lives(opened.mirror, "WHERE substr(lower(hex(hash)), 1, ?) = ?", len(name), name.lower())
    if len(found) != 1 or not name:
        raise Refused(f"{len(found)} queries begin with {name!r}", hint="write more of the query's id")
    return found[0]


def life_of_query(opened: Opened, life: Life) -> dict[str, Any]:
    """Everything that the register says of a query, leaf by leaf."""
    manifest = opened.members.at(life.leaf)
    purpose = manifest.by_purpose.get(life.purpose)
    return {
        "query": life.hash.hex(),
        "leaf": life.leaf,
        "submitted": moment(life.submitted_at),
        "analyst": analyst_name(opened, life.analyst),
        "analyst_key_id": life.analyst.hex(),
        "purpose": life.purpose,
        "legal_basis": purpose.legal_basis if purpose is not None else "",
        "forces": life.forces,
        "rho": str(Rho(life.rho)),
        "epsilon": manifest.epsilon(Rho(life.rho)),
        "attempts": life.attempts,
        "question": _question(opened, life)[1],
        "events": [_event(opened, leaf) for leaf in life.leaves],
    }


def logged(opened: Opened) -> Iterator[dict[str, Any]]:
    """Rows of the log that section 62 asks for: one for each force and query."""
    for life in each_life(opened.mirror):
        about = _question(opened, life)
        manifest = opened.members.at(life.leaf)
        purpose = manifest.by_purpose.get(life.purpose)
        person = analyst_name(opened, life.analyst)
        decisions, published = _outcomes(opened, life)
        name = person or f"key {life.analyst.hex()}"
        for force in life.forces:
            charged = [attempt for attempt in life.rosters.values() if force in attempt.receipts]
            read = any(attempt.completed is not None for attempt in charged)
            yield {
                "operation": _OPERATIONS[bool(charged), read],
                "justification": f"{purpose.title}: {purpose.legal_basis}" if purpose is not None else life.purpose,
                "date_and_time": moment(life.submitted_at),
                "consulted_by": name,
                "recipients": (f"{name}, the public" if published else name) if read else "",
                "data_set": about[0],
                "question": about[1],
                "force": force,
                "decision": decisions.get(force, "did not answer"),
                "attempts_charged": len(charged),
                "rho_charged": str(Rho(life.rho * len(charged))),
                "query": life.hash.hex(),
                "leaf": life.leaf,
            }


_OPERATIONS = {
    (True, True): "consultation, and disclosure of noised totals",
    (True, False): "consultation; nothing could be read",
    (False, False): "none: no part taken",
}


def _question(opened: Opened, life: Life) -> tuple[str, str]:
    """(data set, question in words); empty where the query is not opened."""
    found = opened_query(opened.mirror, life.leaf)
    return (found[0].question.dataset, describe(found[0].question)) if found is not None else ("", "")


def _outcomes(opened: Opened, life: Life) -> tuple[dict[str, str], bool]:
    """Each force's last decision in words, and whether an answer was published."""
    decisions: dict[str, str] = {}
    published = False
    for leaf in life.leaves:
        envelope, found = parsed(opened.mirror.leaf(leaf))
        published = published or envelope.payload_type == kinds.PUBLISHED_ANSWER
        if envelope.payload_type == kinds.DECISION:
            decisions[found.force] = _decision(found)
    return decisions, published


def _decision(found: Any) -> str:
    words = Outcome(found.outcome).name.lower().replace("_", " ")
    return f"{words}, {DeclineCode(found.code).words}" if found.code else words


def _event(opened: Opened, leaf: int) -> dict[str, Any]:
    envelope, found = parsed(opened.mirror.leaf(leaf))
    kind, describe_event = _EVENTS[envelope.payload_type]
    who, what = describe_event(opened, leaf, found)
    return {"leaf": leaf, "event": kind, "who": who, "what": what}


def _text(opened: Opened, leaf: int, found: Any) -> tuple[str, str]:
    data = opened.mirror.opening(leaf)
    text = codec.decode(Opening, data).text if data is not None else None
    return found.force, _decision(found) + (f": {text.text}" if text is not None else "")


def _receipt(_opened: Opened, _leaf: int, found: Any) -> tuple[str, str]:
    return found.force, (
        f"attempt {found.attempt}, number {found.number}: rho {Rho(found.rho)} of {found.domain} in {found.period}"
    )


_EVENTS: dict[str, tuple[str, Any]] = {
    kinds.QUERY_SUBMITTED: ("submitted", lambda _o, _l, f: ("coordinator", f"asked of {len(f.forces)} forces")),
    kinds.DECISION: ("decision", _text),
    kinds.ROSTER_FIXED: ("roster", lambda _o, _l, f: ("coordinator", f"attempt {f.attempt}: {', '.join(f.forces)}")),
    kinds.RECEIPT: ("receipt", _receipt),
    kinds.ATTEMPT_FAILED: (
        "failed",
        lambda _o, _l, f: ("coordinator", f"attempt {f.attempt}, without {', '.join(f.missing)}"),
    ),
    kinds.COMPLETED: (
        "completed",
        lambda _o, _l, f: ("coordinator", f"attempt {f.attempt}, sum {f.sum_hash.hex()[:16]}"),
    ),
    kinds.QUERY_ENDED: (
        "ended",
        lambda _o, _l, f: ("coordinator", EndReason(f.reason).name.lower().replace("_", " ")),
    ),
    kinds.REJECTED: ("rejected", lambda _o, _l, f: ("analyst", f"attempt {f.attempt}: the sum failed its check")),
    kinds.PUBLISHED_ANSWER: ("published", lambda _o, _l, f: ("analyst", f"the answer of attempt {f.attempt}")),
}
