"""What an earlier answer was asked, so that it is never read as the answer to something else."""

from __future__ import annotations

from cordon.analyst.federation import Federation
from cordon.contract import Contract
from cordon.errors import QuestionRefused, Refused
from cordon.query.sql import Versions, parse_sql
from cordon.query.statement import Statement
from cordon.workbench.answer import Answer


def statement_of(answer: Answer, federation: Federation) -> Statement:
    """The statement that an answer was asked by, read anew: names of columns do not say what is in them.

    Raises:
        Refused: the federation's contracts do not know it any more; or rows are missing from the answer, or were
            made to agree with others, so that nothing can be computed from what is there.
    """
    # A bare name may stand for another version today.
    asked = [contract for contract, _ in federation.catalogue.values() if _named(contract) == answer.dataset]
    if not asked:
        raise Refused(
            f"query {answer.query_id[:16]} is about {answer.dataset}, which the federation does not list any more",
            hint="ask anew",
        )
    try:
        statement = parse_sql(answer.sql, Versions.of(asked), list(federation.manifest.by_id))
    except QuestionRefused as error:
        raise Refused(f"query {answer.query_id[:16]} cannot be read any more: {error}", hint="ask anew") from None
    if statement.having is not None or statement.limit is not None:
        raise Refused(
            f"query {answer.query_id[:16]} was asked with HAVING or LIMIT: rows are missing, and nobody knows which",
            hint="ask without them",
        )
    if len(statement.question.tables) > 1:
        raise Refused(
            f"query {answer.query_id[:16]} has totals in it, which its rows were made to agree with",
            hint="ask without ROLLUP, CUBE and GROUPING SETS",
        )
    return statement


def _named(contract: Contract) -> str:
    """As answers name a contract."""
    return f"{contract.dataset} v{contract.version}"
