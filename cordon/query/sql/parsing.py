"""From text to one SELECT of sqlglot's, and the certainty that nothing of it is left unread."""

from __future__ import annotations

from itertools import pairwise
from typing import NoReturn

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import ParseError, TokenError

from cordon.errors import QuestionRefused
from cordon.query.sql.refusing import Text, span

MOST_CHARACTERS = 20_000

_THIS = frozenset({"this"})
_PAIR = frozenset({"this", "expression"})
_LIST = frozenset({"expressions"})

_READ: dict[type[exp.Expr], frozenset[str]] = {
    exp.Select: frozenset({"expressions", "from_", "where", "group", "having", "order", "limit"}),
    exp.Table: _THIS, exp.From: _THIS, exp.Where: _THIS, exp.Having: _THIS,
    exp.Group: frozenset({"expressions", "rollup", "cube"}),
    exp.Rollup: _LIST, exp.Cube: _LIST, exp.GroupingSets: _LIST, exp.Tuple: _LIST,
    exp.Order: _LIST, exp.Ordered: frozenset({"this", "desc", "nulls_first"}), exp.Limit: frozenset({"expression"}),
    # Names and values
    exp.Identifier: frozenset({"this", "quoted"}), exp.Alias: frozenset({"this", "alias"}), exp.Column: _THIS,
    exp.Literal: frozenset({"this", "is_string"}), exp.Null: frozenset(), exp.Star: frozenset(), exp.Var: _THIS,
    exp.Cast: frozenset({"this", "to", "_type"}), exp.DataType: _THIS, exp.Paren: _THIS, exp.Neg: _THIS,
    # Conditions
    exp.And: _PAIR, exp.Or: _PAIR, exp.Not: _THIS, exp.Is: _PAIR,
    exp.EQ: _PAIR, exp.NEQ: _PAIR, exp.LT: _PAIR, exp.LTE: _PAIR, exp.GT: _PAIR, exp.GTE: _PAIR,
    exp.Between: frozenset({"this", "low", "high"}), exp.In: frozenset({"this", "expressions"}),
    # Measures, keys and arithmetic
    exp.Add: _PAIR, exp.Sub: _PAIR, exp.Mul: _PAIR, exp.Div: _PAIR,
    exp.Count: frozenset({"this", "big_int"}), exp.Distinct: _LIST, exp.CountIf: _THIS, exp.Filter: _PAIR,
    exp.Sum: _THIS, exp.Avg: _THIS, exp.Variance: _THIS, exp.VariancePop: _THIS,
    exp.Stddev: _THIS, exp.StddevSamp: _THIS, exp.StddevPop: _THIS, exp.Median: _THIS, exp.Min: _THIS, exp.Max: _THIS,
    exp.Quantile: frozenset({"this", "quantile"}), exp.PercentileCont: _THIS, exp.PercentileDisc: _THIS,
    exp.WithinGroup: _PAIR, exp.Case: frozenset({"ifs", "default"}), exp.If: frozenset({"this", "true"}),
    exp.Anonymous: frozenset({"this", "expressions"}),
    exp.Month: _THIS, exp.Quarter: _THIS, exp.Year: _THIS,
    exp.DateTrunc: frozenset({"this", "unit"}), exp.TimestampTrunc: frozenset({"this", "unit"}),
}  # fmt: skip
"""What each kind of node may hold: the grammar's readers read all of it, or refuse it."""

_ONE = "one data set; WHERE, GROUP BY, HAVING, ORDER BY and LIMIT"
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
        if value and clause not in _READ[exp.Select]:
            node = value[0] if isinstance(value, list) else value
            name, hint = _CLAUSES.get(clause, (clause.rstrip("s_").upper(), _ONE))
            text.refuse(f"{name} cannot be asked", node if isinstance(node, exp.Expr) else select, hint=hint)
    return select


def check_nothing_is_left(select: exp.Select, text: Text) -> None:
    """Refuse every part of a statement that the grammar has no place for.

    sqlglot knows far more SQL than is read here. Whoever reads a node looks at the parts that it knows; this looks
    for others, so that none is passed over in silence.
    """
    for node in select.walk():
        known = _READ.get(type(node))
        if known is None:
            text.refuse(f"{node.sql()} cannot be asked", node, hint=_ONE)
        for part, value in node.args.items():
            # `all` is the only part that says something by being False: GROUP BY DISTINCT.
            said = value is not None if part == "all" else value not in (None, False, [])
            if said and part not in known:
                at = value if isinstance(value, exp.Expr) and span(value)[1] else node
                text.refuse(f"{node.sql()} cannot be asked", at, hint=_ONE)


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
    for token in tokens:
        if token.text.upper() == "NULLS" and text.sql[token.start : token.start + 5].upper() == "NULLS":
            text.refuse_at("NULLS FIRST and NULLS LAST cannot be asked", token.start, token.end + 1)


def _refuse_unparsed(error: ParseError, text: Text) -> NoReturn:
    first = error.errors[0] if error.errors else {}
    word = str(first.get("highlight") or "")
    lines = text.sql.split("\n")[: int(first.get("line") or 1) - 1]
    start = sum(len(line) + 1 for line in lines) + int(first.get("col") or 1) - len(word)
    text.refuse_at(f"not SQL: {first.get('description')}", start, start + max(1, len(word)))
