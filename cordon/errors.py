"""Every exception that Cordon raises on purpose.

CordonError                what, where, why; `hint` says what to do next
├── Refused                the system worked, and the answer is no
│   ├── QuestionRefused    the SQL, or what it asks for, is outside what can be asked
│   ├── Declined           a force says no, with a reason code
│   └── QueryFailed        a query ended without an answer
├── Malformed              the other side sent something that is not the protocol
│   └── Unsupported        well formed, but of a kind that this version does not know
├── Untrusted              well formed, but a signature, proof, key or check fails
├── Unavailable            the other side cannot be reached, or did not answer in time
└── Misconfigured          a file or setting of our own is missing, truncated or wrong

Anything else that escapes is a bug, and is allowed to crash the process.
"""

from __future__ import annotations

from typing import ClassVar


class CordonError(Exception):
    """Something that Cordon foresaw went wrong.

    Attributes:
        hint: one sentence that says what to do next; empty where there is nothing to say.
        exit_code: what a command line exits with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


class Refused(CordonError):
    """The system worked, and the answer is no."""

    exit_code = 3


class QuestionRefused(Refused):
    """A question is outside what Cordon can be asked.

    Attributes:
        sql: the statement as typed; empty where the question did not come as SQL.
        start: index of the first offending character in `sql`.
        end: index after the last offending character; equal to `start` where there is no position.
    """

    def __init__(self, message: str, *, hint: str = "", sql: str = "", start: int = 0, end: int = 0) -> None:
        self.sql = sql
        self.start = start
        self.end = end
        super().__init__(message, hint=hint)


class Declined(Refused):
    """A force declines a query; nothing was charged.

    Attributes:
        code: a `DeclineCode` of register/leaf.py in words, e.g. `not held`.
    """

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        self.code = code
        super().__init__(message, hint=hint)


class QueryFailed(Refused):
    """A query ended without an answer; what was charged is in the register."""


class Malformed(CordonError):
    """The other side sent something that is not the protocol."""

    exit_code = 4


class Unsupported(Malformed):
    """The other side sent a field, a value or a payload type that this version does not know."""


class Untrusted(CordonError):
    """Well formed, but a signature, certificate, key, proof or check does not hold."""

    exit_code = 4


class Unavailable(CordonError):
    """The other side cannot be reached, or did not answer in time."""

    exit_code = 5


class Misconfigured(CordonError):
    """A file or setting of our own is missing, truncated, foreign or wrong."""

    exit_code = 6
