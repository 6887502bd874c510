"""The way to the coordinator, stage by stage: name, connection, proxy, TLS, and whether it takes us in.

A node reports only that it is not connected. Here each stage is told apart from the next, because each is mended by
somebody else: a name server, a firewall, a proxy, the authority, governance.
"""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from cordon.errors import Unavailable
from node.config import NodeConfig
from node.joining.background import Background, Deadline
from node.joining.finding import Finding, from_error, ok, to_do

STAGE_SECONDS = 2.5
"""Most that one stage may take."""

NAME = "connection"
_MOST_HEAD = 8192
_HOST_MISMATCH, _ADDRESS_MISMATCH = 62, 64
_NOT_YET, _ENDED = 9, 10
"""Codes of X509_V_ERR_… in OpenSSL."""

_HELLO_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""The preface and an empty SETTINGS frame (RFC 9113, 3.4): a server that has let us in answers with its own."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the coordinator is reached, and what both ends show."""

    address: str
    """`host:port`."""
    proxy: str | None
    """`http://host:port`."""
    authority: Path
    certificate: Path | None
    """Our own, with `key`; None where we have none yet: then it is only looked whether the coordinator is there."""
    key: Path | None

    @classmethod
    def of(cls, settings: NodeConfig, *, certified: bool) -> Way:
        """As a node's configuration has it.

        Args:
            certified: whether our own certificate and key are in order.
        """
        own = (settings.tls.certificate, settings.tls.key) if certified else (None, None)
        return cls(settings.coordinator, settings.proxy, settings.tls.authority, *own)

    @property
    def host(self) -> str:
        """The coordinator's name."""
        return self.address.rpartition(":")[0]


def connection_finding(way: Way, deadline: Deadline) -> Finding:
    """Go as far along the way as it leads, and say where it ends."""
    context = _context(way)
    try:
        with _connected(way, deadline) as plain:
            if context is None:
                words = f"{way.address} is reached, but whether it is the coordinator needs the authority's certificate"
                return to_do(NAME, words, f"put authority.pem, which governance sends, at {way.authority}")
            return _through_tls(way, context, plain, deadline)
    except Unavailable as error:
        return from_error(NAME, error, "check this machine's network")


def _context(way: Way) -> ssl.SSLContext | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(way.authority)
        if way.certificate is not None:
            context.load_cert_chain(way.certificate, way.key)
    except OSError:
        return None
    return context


# Name and connection


@contextmanager
def _connected(way: Way, deadline: Deadline) -> Iterator[socket.socket]:
    """A connection to the coordinator's port, directly or through the proxy.

    Raises:
        Unavailable: naming the stage that failed; the hint says what to do.
    """
    if way.proxy is None:
        with closing(_dial(way.address, "the coordinator", "`coordinator`", deadline)) as opened:
            yield opened
        return
    credentials, _, address = way.proxy.removeprefix("http://").rpartition("@")
    with closing(_dial(address, "the proxy", "`proxy`", deadline)) as opened:
        _ask_proxy(opened, way, address, credentials, deadline)
        yield opened


def _dial(address: str, whom: str, setting: str, deadline: Deadline) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise Unavailable(f"{whom} is set to {address}, which is not host:port", hint=f"correct {setting} in node.toml")
    try:
        return _first_open(_looked_up(host, port, whom, setting, deadline), deadline)
    except ConnectionRefusedError:
        raise Unavailable(
            f"{whom} at {address} refused the connection: nothing listens there, or a firewall rejects it",
            hint=f"compare {setting} in node.toml with what you were told, and ask whether it is running",
        ) from None
    except TimeoutError:
        raise Unavailable(
            f"{whom} at {address} did not answer: timed out",
            hint=f"ask for an outgoing rule for TCP to {address} in the firewall, or set `proxy` in node.toml",
        ) from None
    except OSError as error:
        raise Unavailable(
            f"{whom} at {address} cannot be reached: {error.strerror or error}", hint="check this machine's network"
        ) from None


def _first_open(places: list[tuple[str, int]], deadline: Deadline) -> socket.socket:
    for place in places[:-1]:
        with suppress(OSError):
            return socket.create_connection(place, timeout=deadline.left(STAGE_SECONDS))
    return socket.create_connection(places[-1], timeout=deadline.left(STAGE_SECONDS))


def _looked_up(host: str, port: str, whom: str, setting: str, deadline: Deadline) -> list[tuple[str, int]]:
    # The system's look-up has no timeout of its own.
    looking = Background(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    try:
        found = looking.result(deadline.left(STAGE_SECONDS))
    except TimeoutError:
        raise Unavailable(
            f"the name of {whom}, {host}, was not looked up in time", hint="check the name servers in /etc/resolv.conf"
        ) from None
    except (OSError, UnicodeError):
        raise Unavailable(
            f"the name of {whom}, {host}, is not found",
            hint=f"check the spelling of {setting} in node.toml, and the name servers in /etc/resolv.conf",
        ) from None
    return [(str(item[4][0]), int(item[4][1])) for item in found]


def _ask_proxy(opened: socket.socket, way: Way, proxy: str, credentials: str, deadline: Deadline) -> None:
    head = f"CONNECT {way.address} HTTP/1.1\r\nHost: {way.address}\r\n"
    if credentials:
        head += f"Proxy-Authorization: Basic {base64.b64encode(credentials.encode()).decode()}\r\n"
    try:
        opened.settimeout(deadline.left(STAGE_SECONDS))
        opened.sendall(f"{head}\r\n".encode())
        answer = _read_head(opened)
    except OSError:
        raise Unavailable(
            f"the proxy at {proxy} does not answer CONNECT", hint="ask whether `proxy` in node.toml is an HTTP proxy"
        ) from None
    status = answer.split(b"\r\n", 1)[0].decode("ascii", "replace")
    code = status.split(" ")[1] if status.startswith("HTTP/1.") and " " in status else ""
    if not code.startswith("2"):
        raise Unavailable(
            f"the proxy at {proxy} refused to connect to {way.address}: {status[:80] or 'no answer'}",
            hint=_PROXY_REMEDIES.get(code, f"ask whoever runs the proxy to allow CONNECT to {way.address}"),
        )


_PROXY_REMEDIES = {
    "407": "the proxy wants a name and password: ask for an exemption for this machine",
    "502": "the proxy cannot reach the coordinator: ask whoever runs it, and whether the coordinator is running",
    "503": "the proxy cannot reach the coordinator: ask whoever runs it, and whether the coordinator is running",
    "504": "the proxy cannot reach the coordinator: ask whoever runs it, and whether the coordinator is running",
}


def _read_head(opened: socket.socket) -> bytes:
    head = b""
    # One byte at a time: what follows the head belongs to TLS.
    while not head.endswith(b"\r\n\r\n") and len(head) < _MOST_HEAD:
        part = opened.recv(1)
        if not part:
            break
        head += part
    return head


# TLS


def _through_tls(way: Way, context: ssl.SSLContext, plain: socket.socket, deadline: Deadline) -> Finding:
    plain.settimeout(deadline.left(STAGE_SECONDS))
    try:
        secure = context.wrap_socket(plain, server_hostname=way.host)
    except ssl.SSLCertVerificationError as error:
        return _not_the_coordinator(way, error, deadline)
    except TimeoutError:
        return to_do(
            NAME,
            f"{way.address} takes the connection, but does not answer TLS: timed out",
            "ask whether a firewall between holds TLS back, and whether the coordinator is well",
        )
    except (ssl.SSLError, OSError) as error:
        if _is_alert(error) and way.certificate is not None:
            return _refused(way)
        return to_do(
            NAME,
            f"what answers at {way.address} does not speak the coordinator's TLS, or something between broke it off",
            "compare `coordinator` in node.toml with what you were told; ask whether a firewall or proxy inspects TLS",
        )
    with secure:
        if way.certificate is None:
            return ok(NAME, f"the coordinator is at {way.address}; without our certificate it does not let us in yet")
        return _let_in(way, secure, deadline)


def _let_in(way: Way, secure: ssl.SSLSocket, deadline: Deadline) -> Finding:
    # In TLS 1.3 a client learns only from the first answer whether its certificate was accepted.
    secure.settimeout(deadline.left(STAGE_SECONDS))
    try:
        secure.sendall(_HELLO_HTTP2)
        answer = secure.recv(9)
    except TimeoutError:
        return to_do(NAME, f"{way.address} does not answer after TLS: timed out", "ask whether the coordinator is well")
    except OSError:
        answer = b""
    if not answer:
        return _refused(way)
    through = "" if way.proxy is None else ", through the proxy"
    return ok(NAME, f"the coordinator is at {way.address}{through}; both certificates are accepted")


def _is_alert(error: OSError) -> bool:
    return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def _refused(way: Way) -> Finding:
    return to_do(
        NAME,
        f"the coordinator at {way.address} does not accept our certificate",
        f"look at 'certificate' ({way.certificate}) above, and ask whether the coordinator has the same authority",
    )


def _not_the_coordinator(way: Way, error: ssl.SSLCertVerificationError, deadline: Deadline) -> Finding:
    if error.verify_code in (_HOST_MISMATCH, _ADDRESS_MISMATCH):
        return to_do(
            NAME,
            f"the certificate at {way.address} is by the federation's authority, but not for {way.host}",
            "write `coordinator` in node.toml by the name that it was certified for",
        )
    if error.verify_code in (_NOT_YET, _ENDED):
        return to_do(
            NAME,
            f"the coordinator's certificate at {way.address} does not hold at this time",
            "compare this machine's clock (timedatectl); else tell whoever runs the coordinator",
        )
    presented = _presented(way, deadline)
    by = "that cannot be told" if presented is None else f"{presented.issuer.rfc4514_string() or 'nobody named'}"
    return to_do(
        NAME,
        f"TLS inspection: the certificate that is presented for {way.address} is not signed by the federation's "
        f"authority, but by: {by}",
        f"ask whoever runs the proxy or firewall to exempt {way.address} from TLS inspection; if nobody inspects, ask "
        "governance whether the authority has changed",
    )


def _presented(way: Way, deadline: Deadline) -> x509.Certificate | None:
    """Whatever certificate is shown, believed in nothing; for its issuer's name only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with suppress(OSError, Unavailable, ValueError), _connected(way, deadline) as plain:
        plain.settimeout(deadline.left(STAGE_SECONDS))
        with context.wrap_socket(plain, server_hostname=way.host) as secure:
            shown = secure.getpeercert(binary_form=True)
            return x509.load_der_x509_certificate(shown) if shown else None
    return None
