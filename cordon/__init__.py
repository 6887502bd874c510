"""Cordon: answers over many forces' records, without any record leaving its force.

`cordon.connect()` begins an analyst's session; `cordon.disparity`, `trend` and `regress` conclude from answers.
Importing the package loads nothing: a node, a coordinator and an auditor have no part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cordon.workbench.answer import Answer as Answer
    from cordon.workbench.concurrent import AsyncSession as AsyncSession
    from cordon.workbench.concurrent import connect_async as connect_async
    from cordon.workbench.disparity.asking import disparity as disparity
    from cordon.workbench.finding import Finding as Finding
    from cordon.workbench.regress.asking import regress as regress
    from cordon.workbench.session import Session as Session
    from cordon.workbench.session import connect as connect
    from cordon.workbench.trend.asking import trend as trend

__all__ = [
    "Answer", "AsyncSession", "Finding", "Session", "connect", "connect_async", "disparity", "regress", "trend",
]  # fmt: skip

_HOMES = {
    "Answer": "cordon.workbench.answer",
    "AsyncSession": "cordon.workbench.concurrent",
    "connect_async": "cordon.workbench.concurrent",
    "Finding": "cordon.workbench.finding",
    "Session": "cordon.workbench.session",
    "connect": "cordon.workbench.session",
    "disparity": "cordon.workbench.disparity.asking",
    "regress": "cordon.workbench.regress.asking",
    "trend": "cordon.workbench.trend.asking",
}

_ANALYSES = ("disparity", "trend")
"""What needs libraries of statistics."""


def __getattr__(name: str) -> Any:
    """Load a name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cordon' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - importing the package loads nothing

    if name in _ANALYSES:
        from cordon.workbench.extras import needed  # noqa: PLC0415

        with needed("stats", f"cordon.{name}"):
            return getattr(import_module(_HOMES[name]), name)
    return getattr(import_module(_HOMES[name]), name)
