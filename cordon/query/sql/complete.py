"""The certainty that nothing of a statement is passed over in silence.

sqlglot knows far more SQL than is read here, and forgives much that is none. Whoever reads a node looks at the parts
that it knows; this looks for nodes and parts that nobody knows, and for words that left nothing behind.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import sqlglot
from sqlglot import Token, TokenType, exp

from cordon.query.sql.refusing import Text, rendered, span

_THIS = frozenset({"this"})
_PAIR = frozenset({"this", "expression"})
_LIST = frozenset({"expressions"})

PARTS: dict[type[exp.Expr], frozenset[str]] = {
    exp.Select: frozenset({"expressions", "from_", "where", "group", "having", "order", "limit"}),
    exp.Table: frozenset({"this", "db"}), exp.From: _THIS, exp.Where: _THIS, exp.Having: _THIS,
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


HINT = "one data set; WHERE, GROUP BY, HAVING, ORDER BY and LIMIT"
"""What to say where nothing closer is known."""

_SAME = {
    "!=": "<>", "==": "=", "::": "CAST", "COUNTIF": "COUNT_IF", "VAR_SAMP": "VARIANCE", "VAR_POP": "VARIANCE_POP",
}  # fmt: skip
"""Words that the parser writes in another way."""

_SPARE = {TokenType.SEMICOLON, TokenType.ASC, TokenType.ALL}
"""Words that say what holds without them."""


def check_nothing_is_left(select: exp.Select, text: Text) -> None:
    """Refuse every part of a statement that the grammar has no place for.

    Raises:
        QuestionRefused: there is one.
    """
    for node in select.walk():
        known = PARTS.get(type(node))
        if known is None:
            text.refuse(f"{rendered(node)} cannot be asked", node, hint=HINT)
        for part, value in node.args.items():
            # `all` is the only part that says something by being False: GROUP BY DISTINCT.
            said = value is not None if part == "all" else value not in (None, False, [])
            if said and part not in known:
                at = value if isinstance(value, exp.Expr) and span(value)[1] else node
                text.refuse(f"{rendered(node)} cannot be asked", at, hint=HINT)
    _check_words(select, text)


def _check_words(select: exp.Select, text: Text) -> None:
    """Refuse words that the parser took and dropped: `GROUP BY` with nothing, `FROM events *`, a comma too many."""
    left = Counter(_word(token) for token in sqlglot.tokenize(select.sql(comments=False)))
    tokens = sqlglot.tokenize(text.sql)
    halves = {at for at, (token, after) in enumerate(pairwise(tokens)) if _is_half(token, after)}
    for at, token in enumerate(tokens):
        word = f"0.{token.text}" if at - 1 in halves else _word(token)
        left[word] -= at not in halves
        if left[word] < 0 and token.token_type not in _SPARE:
            text.refuse_at(f"{token.text} says nothing here", token.start, token.end + 1, hint="leave it out")


def _is_half(token: Token, after: Token) -> bool:
    """Whether a point begins a number, as in `.5`, which the parser writes as `0.5`."""
    number = after.token_type is TokenType.NUMBER and after.start == token.end + 1
    return token.token_type is TokenType.DOT and number


def _word(token: Token) -> str:
    word = " ".join(token.text.upper().split())
    return _SAME.get(word, word)
