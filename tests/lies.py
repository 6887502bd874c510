"""Reading registers that lie: what a reader comes to when nothing is in flight any more."""

from __future__ import annotations

from cordon.reading.mirror import Mirror
from cordon.reading.read import Options, Reader

LATER = 10**5
"""Seconds after which nothing is in flight any more."""


def read(register, source=None, mirror=None):
    """What a reader comes to, a day later."""
    made = mirror or Mirror(None)
    source = source or register.source(after=LATER)
    return Reader(made, source, Options(register.governance_keys)).read()


def lie(register, source=None, mirror=None):
    """(leaf, words) of the first discrepancy; all that stands there."""
    result = read(register, source, mirror)
    assert result.discrepancies, "the lie was not found"
    return result.discrepancies[0].leaf, result.discrepancies[0].what


def ready(register, **terms):
    """A query with a roster of everybody."""
    asked = register.ask(**terms)
    register.roster(asked)
    return asked
