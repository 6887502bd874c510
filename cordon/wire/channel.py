"""The channel: mutual TLS, one outbound port, deadlines, size limits, and errors as statuses.

Both directions of the mapping between typed errors and gRPC statuses stand here and nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from cordon.errors import CordonError, Malformed, Misconfigured, Refused, Unavailable, Unsupported, Untrusted
from cordon.identity import SCHEME, Identity
from cordon.keyfile import read_private_key
from cordon.wire import codec
from cordon.wire.services import Method

MOST_MESSAGE_BYTES = 4 * 1024 * 1024
"""Largest message either side parses; the largest real one is a wide public key, 0.5 MB."""

MOST_CATALOGUE_BYTES = 32 * 1024 * 1024

_KEEPALIVE = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]

_STATUS: tuple[tuple[type[CordonError], grpc.StatusCode], ...] = (
    (Unsupported, grpc.StatusCode.UNIMPLEMENTED),
    (Malformed, grpc.StatusCode.INVALID_ARGUMENT),
    (Untrusted, grpc.StatusCode.PERMISSION_DENIED),
    (Refused, grpc.StatusCode.FAILED_PRECONDITION),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
)

_ERROR: dict[grpc.StatusCode, type[CordonError]] = {status: error for error, status in _STATUS} | {
    grpc.StatusCode.UNAUTHENTICATED: Untrusted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Malformed,
    grpc.StatusCode.NOT_FOUND: Refused,
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """One end's TLS key and certificate, and the authority that both ends must be certified by."""

    authority: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def read(cls, authority: Path, certificate: Path, key: Path) -> Credentials:
        """Read three PEM files.

        Raises:
            Misconfigured: one of them cannot be read, or is not PEM; or others can read the key.
        """
        read_private_key(key)
        return cls(*(_read_pem(path) for path in (authority, certificate, key)))


@dataclass(frozen=True, slots=True)
class Encoded:
    """A response that was encoded before, because it goes to many."""

    data: bytes


class Channel:
    """A client's end: blocking calls to one coordinator, with typed models and typed errors."""

    def __init__(self, address: str, credentials: Credentials, *, proxy: str | None = None) -> None:
        """Prepare a channel; it connects when it is first used, and again whenever it breaks.

        Args:
            address: `host:port` of the coordinator.
            proxy: an HTTP proxy to CONNECT through, `http://host:port`; the environment's proxy
                settings are never used.
        """
        options: list[tuple[str, Any]] = [
            *_KEEPALIVE,
            ("grpc.max_receive_message_length", MOST_CATALOGUE_BYTES),
            ("grpc.initial_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 10_000),
            ("grpc.http_proxy", proxy) if proxy else ("grpc.enable_http_proxy", 0),
        ]
        secure = grpc.ssl_channel_credentials(credentials.authority, credentials.key, credentials.certificate)
        self._address = address
        self._channel: Any = grpc.secure_channel(address, secure, options=options)

    def call(self, method: Method, request: Any, *, timeout: float) -> Any:
        """One request, one response.

        Raises:
            CordonError: as the other side raised it, or Unavailable.
        """
        send = self._channel.unary_unary(method.path)
        try:
            data = send(codec.encode(request, method.request), timeout=timeout)
        except grpc.RpcError as error:
            raise self._typed(error) from None
        return codec.decode(method.response, data)

    def stream(self, method: Method, request: Any, *, timeout: float | None = None) -> Stream:
        """One request, many responses."""
        call = self._channel.unary_stream(method.path)(codec.encode(request, method.request), timeout=timeout)
        return Stream(call, method, self._typed)

    def send(self, method: Method, requests: Iterator[Any], *, timeout: float) -> Any:
        """Many requests, one response.

        Raises:
            CordonError: as the other side raised it, or Unavailable.
        """
        encoded = (codec.encode(request, method.request) for request in requests)
        try:
            data = self._channel.stream_unary(method.path)(encoded, timeout=timeout)
        except grpc.RpcError as error:
            raise self._typed(error) from None
        return codec.decode(method.response, data)

    def close(self) -> None:
        """Break every call and the connection."""
        self._channel.close()

    def _typed(self, error: grpc.RpcError) -> CordonError:
        status, details = error.code(), error.details() or ""
        if status in _ERROR and status is not grpc.StatusCode.UNAVAILABLE:
            return _ERROR[status](details)
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unavailable(f"{self._address} did not answer in time")
        return Unavailable(
            f"cannot reach the coordinator at {self._address}: {details or status.name}",
            hint="check the address, the proxy setting and that its certificate is by the same authority",
        )


class Stream:
    """Responses as they arrive; `cancel` may be called from another thread."""

    def __init__(self, call: Any, method: Method, typed: Callable[[grpc.RpcError], CordonError]) -> None:
        self._call = call
        self._method = method
        self._typed = typed

    def __iter__(self) -> Iterator[Any]:
        """Decode each response.

        Raises:
            CordonError: as the other side raised it, or Unavailable.
        """
        try:
            for data in self._call:
                yield codec.decode(self._method.response, data)
        except grpc.RpcError as error:
            raise self._typed(error) from None

    def cancel(self) -> None:
        """Stop receiving."""
        self._call.cancel()


Handler = Callable[..., Any]
"""An implementation's method: takes the request (or an iterator of requests) and the caller."""


class Server:
    """A coordinator's end: asyncio, one port for every service."""

    def __init__(self, handlers: dict[Method, Handler], *, failed: Callable[[str, BaseException], None]) -> None:
        """Register the implementation of each method.

        Args:
            failed: told of any exception that is a bug; the caller only learns that there was one.
        """
        self._failed = failed
        self._server = grpc.aio.server(
            options=[
                *_KEEPALIVE,
                ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.so_reuseport", 0),
            ]
        )
        for service in {method.service for method in handlers}:
            table = {m.name: self._wrap(m, h) for m, h in handlers.items() if m.service == service}
            generic = grpc.method_handlers_generic_handler(f"cordon.wire.v1.{service}", table)
            self._server.add_generic_rpc_handlers((generic,))

    async def start(self, address: str, credentials: Credentials) -> int:
        """Listen; returns the port.

        Raises:
            Misconfigured: the address cannot be listened on, or the key does not fit the certificate.
        """
        secure = grpc.ssl_server_credentials(
            [(credentials.key, credentials.certificate)], credentials.authority, require_client_auth=True
        )
        try:
            port = self._server.add_secure_port(address, secure)
        except RuntimeError as error:
            raise Misconfigured(f"cannot listen on {address}: {error}") from None
        await self._server.start()
        return port

    async def stop(self, grace: float) -> None:
        """Stop taking calls, and end those that are under way after `grace` seconds."""
        await self._server.stop(grace)

    def _wrap(self, method: Method, handler: Handler) -> Any:
        if method.response_stream:
            return grpc.unary_stream_rpc_method_handler(self._streaming(method, handler))
        if method.request_stream:
            return grpc.stream_unary_rpc_method_handler(self._receiving(method, handler))
        return grpc.unary_unary_rpc_method_handler(self._single(method, handler))

    def _single(self, method: Method, handler: Handler) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def handle(data: bytes, context: Any) -> bytes:
            async with _Errors(method, context, self._failed):
                response = await handler(codec.decode(method.request, data), _caller(context))
                return codec.encode(response, method.response)
            raise AssertionError("unreachable: an error aborts the call")

        return handle

    def _streaming(self, method: Method, handler: Handler) -> Callable[[bytes, Any], AsyncIterator[bytes]]:
        async def handle(data: bytes, context: Any) -> AsyncIterator[bytes]:
            async with _Errors(method, context, self._failed):
                async for response in handler(codec.decode(method.request, data), _caller(context)):
                    yield response.data if isinstance(response, Encoded) else codec.encode(response, method.response)

        return handle

    def _receiving(self, method: Method, handler: Handler) -> Callable[[AsyncIterator[bytes], Any], Awaitable[bytes]]:
        async def handle(parts: AsyncIterator[bytes], context: Any) -> bytes:
            async with _Errors(method, context, self._failed):
                decoded = (codec.decode(method.request, data) async for data in parts)
                return codec.encode(await handler(decoded, _caller(context)), method.response)
            raise AssertionError("unreachable: an error aborts the call")

        return handle


class _Errors:
    """Turns typed errors into statuses; anything else is a bug, told to nobody but our own log."""

    def __init__(self, method: Method, context: Any, failed: Callable[[str, BaseException], None]) -> None:
        self._method = method
        self._context = context
        self._failed = failed

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, CordonError):
            status = next((s for kind, s in _STATUS if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
            await self._context.abort(status, str(error))
        if isinstance(error, Exception) and not isinstance(error, grpc.RpcError | grpc.aio.AbortError):
            self._failed(self._method.path, error)
            await self._context.abort(grpc.StatusCode.INTERNAL, "the coordinator failed; its log says why")


def _caller(context: Any) -> Identity:
    names = context.auth_context().get("x509_subject_alternative_name", [])
    uris = [name.decode() for name in names if name.startswith(f"{SCHEME}://".encode())]
    if len(uris) != 1:
        raise Untrusted("the TLS certificate does not name one party of the federation")
    return Identity.from_uri(uris[0])


def _read_pem(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None
    if not data.startswith(b"-----BEGIN ") or b"-----END " not in data:
        raise Misconfigured(f"{path} is not a PEM file, or is truncated")
    return data
