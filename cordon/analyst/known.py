"""What an analyst's copy of the register adds to a command: published answers, shares of budgets, what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from cordon.analyst.budgets import Known, outlook, shares
from cordon.analyst.client import Client
from cordon.analyst.compose import Cost, check_purpose
from cordon.analyst.document import read_document
from cordon.analyst.federation import Federation
from cordon.analyst.library import MOST_AFTER, MOST_BEFORE, Library
from cordon.analyst.releases import Registered, Release, best_offer, verified_releases
from cordon.analyst.times import utc
from cordon.analyst.vintages import declared
from cordon.errors import CordonError, Malformed
from cordon.manifest import Manifest
from cordon.query.model import Question
from cordon.query.statement import Statement
from cordon.reading.verdict import Result
from cordon.units import Digest
from cordon.wire.signed import question_digest

Warn = Callable[[str], None]


def warner(notes: Console) -> Warn:
    """Prints a warning where notes go."""
    return lambda text: notes.print(f"warning: {text}", style="yellow", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def open_library(client: Client) -> Iterator[Library]:
    """The analyst's copy of the register."""
    library = Library(client.workspace.path, client.governance_keys)
    try:
        yield library
    finally:
        library.close()


def read_register(
    client: Client, library: Library, manifest: Manifest, on_reading: Callable[[str], None], warn: Warn
) -> None:
    """Read everything that is new, however long it takes.

    Args:
        on_reading: told where the reading stands.

    Raises:
        Untrusted: the register is another than before.
        CordonError: the coordinator cannot be reached, or what it sends is no register.
    """
    result = library.catch_up(
        client.channel, client.line(manifest), progress=lambda what, at, of: on_reading(f"{what}: {at} of {of}")
    )
    _warn_of(result, warn)


def keep_up(client: Client, library: Library, manifest: Manifest, warn: Warn, *, most: int = MOST_AFTER) -> None:
    """Read what is new where that is little; what goes wrong is said and does not undo an answer."""
    try:
        _warn_of(library.catch_up(client.channel, client.line(manifest), most=most), warn)
    except CordonError as error:
        warn(f"the register was not read: {error}")


def _warn_of(result: Result | None, warn: Warn) -> None:
    if result is not None and result.discrepancies:
        first = result.discrepancies[0]
        warn(f"the register does not hold: leaf {first.leaf}: {first.what}; 'cordon audit verify' says more")


def offered(library: Library, federation: Federation, statement: Statement, warn: Warn) -> Release | None:
    """The published answer that stands for a statement, from the copy alone; whatever does not verify is ignored."""
    question = statement.question
    contract = federation.contract_of(question)
    digest = question_digest(question)
    candidates = [item for item in library.published() if _claims(item, digest)]
    releases, warnings = verified_releases(candidates, federation.catalogue)
    for text in warnings:
        warn(text)
    return best_offer(releases, statement, declared(federation, contract, question.forces))


def _claims(item: Registered, digest: Digest) -> bool:
    try:
        return read_document(item.document.payload).question == digest
    except Malformed:
        return False


def with_shares(
    client: Client, library: Library, manifest: Manifest, answer: dict[str, Any], warn: Warn
) -> dict[str, Any]:
    """An answer with the shares of budgets that it took; reads the register only where statements are not here yet."""
    if "charged" not in answer:
        # Opened by an earlier version.
        return answer
    found = shares(answer, library.statements())
    if found["unknown"]:
        keep_up(client, library, manifest, warn, most=MOST_BEFORE)
        found = shares(answer, library.statements())
    return answer | {"budget": found}


def budget_facts(
    library: Library, question: Question, cost: Cost, analyst: Digest, purpose: str | None, manifest: Manifest
) -> dict[str, Any] | None:
    """What a question would leave of budgets, as far as the copy knows; None where nothing was read.

    Raises:
        QuestionRefused: the federation does not list the purpose.
    """
    if purpose is not None:
        check_purpose(purpose, manifest)
    if not library.size:
        return None
    domains = library.domains(question.dataset, question.contract_version)
    known = Known(library.statements(), library.spending(), domains, library.time)
    return {
        "read_at": utc(library.time).isoformat(),
        "age_seconds": max(0, int(time.time()) - library.time),
        "forces": outlook(question.forces, cost, analyst, purpose, known, manifest),
    }


def print_budgets(facts: dict[str, Any] | None, out: Console) -> None:
    """Show `budget_facts` as a table."""
    if facts is None:
        out.print("budgets: the register was not read here yet; --refresh reads it", highlight=False)
        return
    rows = facts["forces"]
    declining = [row["force"] for row in rows if row["declines"]]
    out.print(
        f"budgets by the register as of {_age(facts['age_seconds'])} ago; --refresh reads it anew", highlight=False
    )
    if declining:
        out.print(f"would decline ({len(declining)}): {', '.join(declining)}", highlight=False, soft_wrap=True)
    table = Table("force", "left this year after it", "left ever after it", "", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["force"], _left(row["year"]), _left(row["lifetime"]), row["why"])
    out.print(table, highlight=False, markup=False)


def _left(left: dict[str, Any] | None) -> str:
    return "" if left is None else f"epsilon {left['left_epsilon']:.3g} ({100 * left['left_share']:.3g} %)"


def _age(seconds: int) -> str:
    for size, word in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{seconds} seconds"
