"""Cordon: answers over many forces' records, without any record leaving its force.

`cordon.connect()` begins an analyst's session. Importing the package loads nothing: a node, a coordinator and an
auditor have no part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cordon.workbench.answer import Answer as Answer
    from cordon.workbench.concurrent import AsyncSession as AsyncSession
    from cordon.workbench.concurrent import connect_async as connect_async
    from cordon.workbench.session import Session as Session
    from cordon.workbench.session import connect as connect

__all__ = ["Answer", "AsyncSession", "Session", "connect", "connect_async"]

_HOMES = {
    "Answer": "cordon.workbench.answer",
    "AsyncSession": "cordon.workbench.concurrent",
    "connect_async": "cordon.workbench.concurrent",
    "Session": "cordon.workbench.session",
    "connect": "cordon.workbench.session",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cordon' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - importing the package loads nothing

    return getattr(import_module(_HOMES[name]), name)
