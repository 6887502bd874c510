"""Diagnostics as JSON lines. Only allow-listed fields are written, so no value can slip into a log."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog

ALLOWED = frozenset(
    {
        "event", "level", "timestamp", "force", "query", "attempt", "code", "phase", "seconds", "forces",
        "roster", "address", "dataset", "version", "reason", "kind", "path", "leaf", "cells", "analyst",
        "megabytes", "stage",
    }
)  # fmt: skip
"""Fields that may be logged: names, codes, counts that follow from the plan, and times of phases."""

MOST_CHARACTERS = 300


def open_log(path: Path | None) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes to `path`, or to standard error."""
    stream = path.open("a", encoding="utf-8", buffering=1) if path else sys.stderr
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            redact,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
    )
    return logger


def redact(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop every field that is not allow-listed, and anything but short texts and numbers."""
    kept = {name: value for name, value in fields.items() if name in ALLOWED}
    return {
        name: str(value)[:MOST_CHARACTERS] if isinstance(value, str) else value
        for name, value in kept.items()
        if isinstance(value, str | int | float) or value is None
    }
