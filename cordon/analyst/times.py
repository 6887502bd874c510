"""Times that others state, as dates."""

from __future__ import annotations

from datetime import UTC, datetime

LATEST = 2**37
"""In the year 6325: later than anything that is meant, and a time that every calendar here can hold."""


def utc(seconds: int) -> datetime:
    """A time in seconds since 1970-01-01 UTC; whatever lies beyond `LATEST` is that."""
    return datetime.fromtimestamp(min(seconds, LATEST), UTC)
