"""A session for programs that wait for several things at once: the same calls, each awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from cordon.analyst.federation import Federation
from cordon.analyst.profile import Profile
from cordon.errors import Refused
from cordon.workbench.answer import Answer
from cordon.workbench.explanation import Explanation
from cordon.workbench.history import Asking
from cordon.workbench.session import Session, Tell, connect

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def connect_async(profile: Profile | Path | str | None = None, *, note: Tell | None = None) -> AsyncSession:
    """Begin a session whose calls are awaited; otherwise as `connect`.

    Raises:
        Misconfigured: profile, key or certificate is missing, damaged or readable by others.
    """
    return AsyncSession(connect(profile, note=note))


class AsyncSession:
    """One analyst of one federation, without holding up the event loop. Calls of one session run one after another;
    several sessions run side by side. Use as an asynchronous context manager; a call after `close` is `Refused`.
    """

    def __init__(self, session: Session) -> None:
        """Take over a session, which `close` closes."""
        self._session = session
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cordon")

    async def __aenter__(self) -> Self:
        """Nothing is dialled before it is needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """As `Session.close`; once more does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._scheduled(self._session.close)
        finally:
            self._thread.shutdown(wait=False)

    async def federation(self, *, cached: bool = False) -> Federation:
        """As `Session.federation`."""
        return await self._call(self._session.federation, cached=cached)

    async def datasets(self, name: str | None = None) -> dict[str, Any]:
        """As `Session.datasets`."""
        return await self._call(self._session.datasets, name)

    async def query(self, sql: str, **options: Any) -> Answer:
        """As `Session.query`, with the same options. A question that was sent goes on when its task is cancelled:
        `follow` opens its answer.
        """
        return await self._call(self._session.query, sql, **options)

    async def explain(self, sql: str, **options: Any) -> Explanation:
        """As `Session.explain`, with the same options."""
        return await self._call(self._session.explain, sql, **options)

    async def follow(self, query_id: str, **options: Any) -> Answer:
        """As `Session.follow`, with the same options."""
        return await self._call(self._session.follow, query_id, **options)

    async def recall(self, query_id: str) -> Answer:
        """As `Session.recall`."""
        return await self._call(self._session.recall, query_id)

    async def history(self) -> tuple[Asking, ...]:
        """As `Session.history`."""
        return await self._call(self._session.history)

    async def run(
        self,
        analysis: Callable[Concatenate[Session, Parameters], Result],
        *arguments: Parameters.args,
        **options: Parameters.kwargs,
    ) -> Result:
        """Run an analysis over this session, e.g. `await session.run(cordon.trend, "stop_search", by="object", …)`."""
        return await self._call(analysis, self._session, *arguments, **options)

    async def _call(
        self, function: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
    ) -> Result:
        if self._closed:
            raise Refused("this session is closed", hint="begin another with connect_async()")
        return await self._scheduled(function, *arguments, **options)

    async def _scheduled(
        self, function: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
    ) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(function, *arguments, **options))
