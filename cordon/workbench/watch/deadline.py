"""Requests that end by a deadline, whatever the other side sends and however slowly.

A socket's timeout is for each read: one byte at a time, or one interim answer after another, holds a reader for ever.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Deadline:
    """A moment after which every connection that was opened under it is cut."""

    def __init__(self, end: float) -> None:
        """From now until `end`, by the monotonic clock."""
        self._end = end
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._timer = threading.Timer(self.left, self._cut)
        self._timer.daemon = True
        self._timer.start()

    @property
    def left(self) -> float:
        """Seconds, above zero."""
        return max(0.001, self._end - time.monotonic())

    def connect(self, address: tuple[str, int], *others: Any) -> socket.socket:
        """A connection to one of a host's addresses, as `socket.create_connection`, that is cut at the deadline.

        Raises:
            OSError: there is none.
        """
        why: OSError = TimeoutError("timed out")
        del others
        host, port = address
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if time.monotonic() >= self._end:
                break
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(self.left)
                made.connect(place)
            except OSError as error:
                made.close()
                why = error
                continue
            # Encryption takes the socket over: what cuts it is another handle of the same connection.
            with self._lock:
                self._open.append(made.dup())
            return made
        raise why

    def _cut(self) -> None:
        with self._lock:
            for held in self._open:
                with suppress(OSError):
                    held.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut nothing any more."""
        self._timer.cancel()
        with self._lock:
            for held in self._open:
                held.close()
            self._open.clear()


@contextmanager
def deadline(end: float) -> Iterator[Deadline]:
    """A deadline by the monotonic clock, for what is done within."""
    made = Deadline(end)
    try:
        yield made
    finally:
        made.close()


def handlers_by(line: Deadline) -> tuple[urllib.request.BaseHandler, ...]:
    """Handlers of http and https whose connections end by a deadline. Certificates are verified as by default."""

    class Plain(http.client.HTTPConnection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._create_connection = line.connect

    class Encrypted(http.client.HTTPSConnection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._create_connection = line.connect

    class ByHttp(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, req)

    class ByHttps(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Encrypted, req, context=ssl.create_default_context())

    return ByHttp(), ByHttps()
