"""Functions of SQL: which are read, and what does the work of some that are not."""

from __future__ import annotations

import difflib

from sqlglot import exp

from cordon.query.sql.refusing import Text

FUNCTIONS = (
    "COUNT", "COUNT_IF", "SUM", "AVG", "VARIANCE", "VAR_SAMP", "VAR_POP", "STDDEV", "STDDEV_SAMP", "STDDEV_POP",
    "MEDIAN", "QUANTILE", "PERCENTILE_CONT", "PERCENTILE_DISC", "MIN", "MAX", "RESIDENTS", "PER_1000",
    "MONTH", "QUARTER", "YEAR", "DATE_TRUNC", "BIN",
)  # fmt: skip
"""The functions that are read."""

INSTEAD = {
    "ROUND": "leave ROUND out: rounding is for whoever shows the answer",
    "FLOOR": "leave FLOOR out: rounding is for whoever shows the answer",
    "CEIL": "leave CEIL out: rounding is for whoever shows the answer",
    "CAST": "leave CAST out: division is of real numbers",
    "COALESCE": "an unknown value is asked for by IS NULL, or left out by IS NOT NULL",
    "NULLIF": "leave NULLIF out: division by zero gives no value, and is no error",
    "APPROX_COUNT_DISTINCT": "COUNT(DISTINCT unit)",
    "APPROX_QUANTILE": "QUANTILE(number, share)",
    "MEAN": "AVG(number)",
    "MODE": "GROUP BY the column, ORDER BY COUNT(*) DESC LIMIT 1",
    "EXTRACT": "YEAR(date), QUARTER(date) or MONTH(date)",
    "DAY": "GROUP BY the date itself: each day is a row",
    "IF": "COUNT_IF(condition), or a measure with FILTER (WHERE condition)",
    "CASE": "COUNT_IF(condition), or a measure with FILTER (WHERE condition)",
    "GROUPING": "leave GROUPING out",
}
"""What does the work of functions that are not read."""


def function_name(node: exp.Expr, text: Text) -> str:
    """A function's name, as it was typed where that is known."""
    if "start" in node.meta:
        return text.words(node)
    return node.name if isinstance(node, exp.Anonymous) or not isinstance(node, exp.Func) else node.sql_name()


def instead_of(node: exp.Expr, text: Text) -> str:
    """A hint: what does the work of a function that is not read, or which function was probably meant."""
    name = function_name(node, text).upper()
    if name in INSTEAD:
        return INSTEAD[name]
    near = difflib.get_close_matches(name, FUNCTIONS, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"functions: {', '.join(FUNCTIONS)}"
