"""From text to one SELECT of sqlglot's."""

from __future__ import annotations

from itertools import pairwise
from typing import NoReturn

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import ParseError, TokenError

from cordon.errors import QuestionRefused
from cordon.query.sql.complete import HINT, PARTS
from cordon.query.sql.refusing import Text

MOST_CHARACTERS = 20_000

_CLAUSES = {
    "joins": ("a join", "one data set at a time: forces join records in the view that they map"),
    "distinct": ("SELECT DISTINCT", "GROUP BY the columns: every combination is one row"),
    "with_": ("WITH", "ask the inner SELECT by itself"),
    "windows": ("WINDOW", "ORDER BY and LIMIT rank the answer, ROLLUP adds its totals"),
    "qualify": ("QUALIFY", "HAVING keeps rows of the answer, ORDER BY with LIMIT the first ones"),
    "offset": ("OFFSET", "LIMIT keeps the first rows; all rows of an answer cost the same"),
    "into": ("INTO", "--format csv or json writes the answer"),
}
"""Clauses that people write most, as they call them, with what does the same."""


def read_select(text: Text) -> exp.Select:
    """The one SELECT that a text is.

    Raises:
        QuestionRefused: it is no SELECT, or has clauses that are not read.
    """
    if len(text.sql) > MOST_CHARACTERS:
        raise QuestionRefused(f"the statement is longer than {MOST_CHARACTERS} characters")
    statements = [found for found in _parsed(text) if found is not None]
    if not statements:
        raise QuestionRefused("the statement is empty", hint="try: SELECT COUNT(*) FROM stop_search")
    if len(statements) > 1:
        text.refuse("one statement at a time", statements[1])
    select = statements[0]
    if isinstance(select, exp.SetOperation):
        text.refuse("one SELECT at a time", select, hint="GROUP BY puts the parts of one table side by side")
    if not isinstance(select, exp.Select):
        text.refuse("only a SELECT can be asked", select)
    for clause, value in select.args.items():
        if value and clause not in PARTS[exp.Select]:
            node = value[0] if isinstance(value, list) else value
            name, hint = _CLAUSES.get(clause, (clause.rstrip("s_").upper(), HINT))
            text.refuse(f"{name} cannot be asked", node if isinstance(node, exp.Expr) else select, hint=hint)
    return select


def _parsed(text: Text) -> list[exp.Expr | None]:
    try:
        _check_tokens(sqlglot.tokenize(text.sql), text)
        return sqlglot.parse(text.sql)
    except TokenError:
        start = max(text.sql.rfind("'"), text.sql.rfind('"'), 0)
        text.refuse_at("a quote or comment is not closed", start, len(text.sql))
    except ParseError as error:
        _refuse_unparsed(error, text)
    except QuestionRefused:
        raise
    except RecursionError:
        raise QuestionRefused("the statement is nested too deep") from None
    except Exception as error:
        # A parser of this size fails on strange input in ways that are its own; none is worth a traceback.
        raise QuestionRefused("not SQL that can be read", sql=text.sql, end=len(text.sql)) from error


def _check_tokens(tokens: list[Token], text: Text) -> None:
    """Refuse what the parser would take without a trace in what it returns."""
    for token, after in pairwise(tokens):
        if token.token_type is TokenType.NUMBER and after.start == token.end + 1 and after.token_type is TokenType.VAR:
            # It would be read as a number and a name for the column.
            text.refuse_at("a number runs into a word", token.start, after.end + 1, hint="write 1000, or 1000 AS name")
        if (token.token_type, after.token_type) == (TokenType.ASC, TokenType.DESC):
            text.refuse_at("either ASC or DESC", token.start, after.end + 1)
    for token in tokens:
        if token.text.upper() == "NULLS" and text.sql[token.start : token.start + 5].upper() == "NULLS":
            text.refuse_at("NULLS FIRST and NULLS LAST cannot be asked", token.start, token.end + 1)


def _refuse_unparsed(error: ParseError, text: Text) -> NoReturn:
    first = error.errors[0] if error.errors else {}
    word = str(first.get("highlight") or "")
    lines = text.sql.split("\n")[: int(first.get("line") or 1) - 1]
    start = sum(len(line) + 1 for line in lines) + int(first.get("col") or 1) - len(word)
    said = str(first.get("description"))
    if said.startswith("Required keyword"):
        # The parser's own words name its classes.
        text.refuse_at("a function lacks an argument", start, start + max(1, len(word)), hint="for example AVG(age)")
    text.refuse_at(f"not SQL: {said}", start, start + max(1, len(word)))
