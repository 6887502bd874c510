"""What an earlier answer was asked, so that it is never read as the answer to something else."""

from __future__ import annotations

from cordon.analyst.federation import Federation
from cordon.errors import QuestionRefused, Refused
from cordon.query.sql import parse_sql
from cordon.query.statement import Statement
from cordon.workbench.answer import Answer


def statement_of(answer: Answer, federation: Federation) -> Statement:
    """The statement that an answer was asked by, read anew: names of columns do not say what is in them.

    Raises:
        Refused: the federation's contracts do not know it any more; or rows are missing from the answer, or were
            made to agree with others, so that nothing can be computed from what is there.
    """
    try:
        statement = parse_sql(answer.sql, federation.versions, list(federation.manifest.by_id))
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
