"""Answers that analysts have published: whose they are, what they answer, and when one stands for a new question.

Pure. What a release says is held against the register and against its own signed query. That its
estimates are those of the sum is the word of the analyst who signed it: nobody else can open the sum.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from cordon.analyst.answer import costs
from cordon.analyst.compose import plan_question
from cordon.analyst.document import Document, read_document
from cordon.analyst.rows import shown_keys
from cordon.analyst.times import LATEST
from cordon.analyst.vintages import Vintages, same
from cordon.catalogue import Catalogue
from cordon.envelope import ANSWER, QUERY, Envelope, commitment, key_id, open_envelope
from cordon.errors import CordonError, Untrusted
from cordon.identity import Role, verify_certificate
from cordon.manifest import Manifest
from cordon.query.model import Query
from cordon.query.sql import parse_sql
from cordon.query.statement import Statement
from cordon.register.leaf import PublishedAnswer
from cordon.units import Digest, Rho
from cordon.wire.signed import open_signed, question_digest


@dataclass(frozen=True, slots=True)
class Registered:
    """What the register says of a published answer and its query; verified before."""

    leaf_index: int
    leaf: Envelope
    """The signed PublishedAnswer."""
    document: Envelope
    query_hash: Digest
    analyst_key_id: Digest
    """Of QuerySubmitted."""
    submitted_at: int
    rosters: dict[int, tuple[str, ...]]
    """Forces of each attempt that completed."""
    manifest: Manifest
    """In force when it was submitted."""


@dataclass(frozen=True, slots=True)
class Release:
    """A published answer that verified."""

    leaf_index: int
    query_hash: Digest
    analyst: str
    submitted_at: int
    statement: Statement
    rho: Rho
    answer: dict[str, Any]

    @property
    def vintages(self) -> Vintages:
        """What each force of the answer declared."""
        vintages: Vintages = self.answer["vintages"]
        return vintages

    def as_dict(self) -> dict[str, Any]:
        """The answer, and who published it; plain values, for JSON."""
        published = {"by": self.analyst, "leaf": self.leaf_index, "asked_at": self.submitted_at}
        return self.answer | {"published": published}


def verified_release(found: Registered, catalogue: Catalogue) -> Release:
    """Verify a published answer.

    Raises:
        Untrusted: it is not by the analyst who asked, or not what its leaf, query or register say.
        Malformed: it is not in the form of one.
        CordonError: its question cannot be read any more.
    """
    document = read_document(found.document.payload)
    now = min(found.submitted_at, LATEST)
    certified = verify_certificate(
        document.certificate, found.manifest.authority, roles=frozenset({Role.ANALYST}), now=now
    )
    if key_id(certified.key) != found.analyst_key_id:
        raise Untrusted("it is published by another analyst than the one who asked")
    keys = {found.analyst_key_id: certified.key}
    said = open_signed(PublishedAnswer, found.leaf, keys)
    open_envelope(found.document, ANSWER, keys)
    if said.query_hash != found.query_hash or commitment(ANSWER, found.document.payload) != said.answer_commitment:
        raise Untrusted("it is not the answer that its leaf commits to")
    query = open_signed(Query, document.query, keys)
    if commitment(QUERY, document.query.payload) != found.query_hash:
        raise Untrusted("it carries another query than it answers")
    digest = question_digest(query.question)
    if digest != document.question:
        raise Untrusted("it names another question than it answers")
    _check_says(document, query, found, said.attempt)
    statement = _check_rows(document.answer, query, found, catalogue)
    return Release(
        found.leaf_index,
        found.query_hash,
        certified.identity.name,
        found.submitted_at,
        statement,
        query.terms.rho,
        document.answer,
    )


def best_offer(releases: list[Release], statement: Statement, now: Vintages) -> Release | None:
    """The most exact published answer to exactly this statement about exactly these records, if there is one.

    The question alone does not say what an answer shows: its columns, HAVING, ORDER BY and LIMIT are the analyst's
    own, and whoever published an answer may have asked for others over the same question.

    Args:
        now: what connected forces declare to hold.
    """
    offers = [
        release
        for release in releases
        if _meaning(release.statement) == _meaning(statement)
        and same(release.vintages, now, release.answer["answered"])
    ]
    return max(offers, key=lambda release: (release.rho.nano, len(release.answer["answered"])), default=None)


def _meaning(statement: Statement) -> Statement:
    """A statement without how it was typed."""
    return replace(statement, sql="", notes=())


def _check_says(document: Document, query: Query, found: Registered, attempt: int) -> None:
    answer, terms = document.answer, query.terms
    said = (answer["query"], answer["rho"], answer["attempt"])
    if said != (found.query_hash.hex(), str(terms.rho), attempt) or answer["attempts_charged"] > terms.attempts:
        raise Untrusted("it says another query, cost or attempt than the register")
    if tuple(answer["answered"]) != found.rosters.get(attempt):
        raise Untrusted("it names other forces than the register's roster")
    charged = [charge["force"] for charge in answer["charged"]]
    if not set(answer["vintages"]) <= set(answer["answered"]) or charged != answer["answered"]:
        raise Untrusted("it names vintages or charges of other forces than are in it")
    levels = costs(terms.rho, answer["attempts_charged"], len(charged), found.manifest).levels
    if not all(math.isclose(answer["epsilon"][name], level, rel_tol=1e-6) for name, level in levels.items()):
        raise Untrusted("it says another epsilon than its cost comes to")


def _check_rows(answer: dict[str, Any], query: Query, found: Registered, catalogue: Catalogue) -> Statement:
    """Columns and rows are those of its question; what is in them is the analyst's word."""
    question, manifest = query.question, found.manifest
    known = catalogue.get((question.dataset, question.contract_version))
    if known is None:
        raise Untrusted("its contract is not one of the federation's any more")
    contract, _ = known
    statement = parse_sql(answer["sql"], {contract.dataset: contract}, list(manifest.by_id))
    if statement.question != question:
        raise Untrusted("its statement is not the question that was signed")
    columns = [(column["name"], column["measure"]) for column in answer["columns"]]
    if columns != [(output.name, output.is_measure) for output in statement.outputs]:
        raise Untrusted("its columns are not those of its statement")
    plan = plan_question(question, query.terms.block_rho, contract, manifest)
    expected = Counter(shown_keys(statement, plan, contract))
    rows = Counter(tuple(row["keys"]) for row in answer["rows"])
    most = expected.total() if statement.limit is None else min(statement.limit, expected.total())
    # HAVING may leave fewer: by the estimates, which only who asked has opened.
    fewer = statement.having is not None and rows.total() < most
    if rows - expected or not (rows.total() == most or fewer):
        raise Untrusted("its rows are not those of its question")
    measures = sum(output.is_measure for output in statement.outputs)
    if any(len(row["values"]) != (0 if row["note"] else measures) for row in answer["rows"]):
        raise Untrusted("a row has more or fewer values than its columns")
    if (answer["dataset"], answer["protected_unit"], answer["caveat"]) != (
        f"{contract.dataset} v{contract.version}",
        contract.unit.words,
        contract.unit.caveat,
    ):
        raise Untrusted("it describes another data set than its question's")
    return statement


def verified_releases(found: list[Registered], catalogue: Catalogue) -> tuple[list[Release], list[str]]:
    """Every published answer that verifies, and in words why the others do not."""
    releases: list[Release] = []
    warnings: list[str] = []
    for item in found:
        try:
            releases.append(verified_release(item, catalogue))
        except CordonError as error:
            warnings.append(f"the answer published in leaf {item.leaf_index} is ignored: {error}")
    return releases, warnings
