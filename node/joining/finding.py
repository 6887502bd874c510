"""What a check of `cordon node doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cordon.errors import CordonError


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    """The node works; somebody should know, or decide."""
    TO_DO = "to do"
    """The node does not work, or should not, until something is done."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report. Holds no secret, and of records no more than names of columns."""

    name: str
    """What was looked at."""
    level: Level
    words: str
    """What was found."""
    remedy: str = ""
    """What to do, with the command or file; empty where all is well."""

    @property
    def sentence(self) -> str:
        """Finding and remedy in one line."""
        return " ".join(f"{self.words} → {self.remedy}".split()) if self.remedy else " ".join(self.words.split())


def ok(name: str, words: str) -> Finding:
    """All is well."""
    return Finding(name, Level.OK, words)


def warning(name: str, words: str, remedy: str) -> Finding:
    """The node works, but somebody should know."""
    return Finding(name, Level.WARNING, words, remedy)


def to_do(name: str, words: str, remedy: str) -> Finding:
    """Something is to be done."""
    return Finding(name, Level.TO_DO, words, remedy)


def from_error(name: str, error: CordonError, remedy: str) -> Finding:
    """Something is to be done: what the error's own hint says, or else `remedy`."""
    return Finding(name, Level.TO_DO, str(error), error.hint or remedy)
