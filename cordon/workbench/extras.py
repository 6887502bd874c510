"""The door to what only some analysts install: tables of other libraries, pictures, statistics.

A session that only asks loads none of them; one that needs a library which is not there is told how to get it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cordon.errors import Misconfigured


@contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """Around the import of a part that needs an extra of the distribution.

    Args:
        extra: frames, plot or stats.
        what: needs it, in words.

    Raises:
        Misconfigured: one of its libraries is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("cordon"):
            raise
        raise Misconfigured(
            f"{what} needs {error.name}, which is not installed", hint=f"pip install 'cordon[{extra}]'"
        ) from None
