"""The analyst's SQL: a small, honest subset, read into a typed question. The only importer of sqlglot.

Nodes never see SQL. Whatever is outside the subset is refused with a caret under the offending token
and a hint. docs/query.md lists the subset.
"""

from __future__ import annotations

from cordon.query.sql.parsing import MOST_CHARACTERS
from cordon.query.sql.reading import parse_sql
from cordon.query.sql.versions import Versions
from cordon.query.statement import Statement

__all__ = ["MOST_CHARACTERS", "Statement", "Versions", "parse_sql"]
