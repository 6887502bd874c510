"""Work that may hang, such as a name server or a database that does not answer: waited for, and then left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Deadline:
    """A point in time that several steps share."""

    def __init__(self, seconds: float) -> None:
        """It lies `seconds` ahead."""
        self._at = time.monotonic() + seconds

    def left(self, most: float = float("inf")) -> float:
        """Seconds until then, at most `most` and never quite none."""
        return max(0.05, min(most, self._at - time.monotonic()))


class Background(Generic[Result]):
    """One piece of work in a thread of its own, which keeps no process from ending."""

    def __init__(self, work: Callable[[], Result]) -> None:
        """It begins at once."""
        self._outcome: list[Result] = []
        self._error: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True, name="doctor")
        self._thread.start()

    def result(self, seconds: float) -> Result:
        """What came of it.

        Raises:
            TimeoutError: nothing within `seconds`.
        """
        self._thread.join(seconds)
        if self._error:
            raise self._error[0]
        if not self._outcome:
            raise TimeoutError
        return self._outcome[0]

    def _run(self, work: Callable[[], Result]) -> None:
        try:
            self._outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by `result`, in the thread that waits
            self._error.append(error)
