"""Each check of `cordon node doctor` of the way to the coordinator and of the clock, over ends of a wire that are laid out for it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doctors import FORCE, Authority, check, listening
from live import ConnectProxy

from cordon.identity import Identity, Role
from demo.processes import free_port
from node.joining import reach
from node.joining.background import Deadline
from node.joining.finding import Finding, Level
from node.joining.introduction import clock_finding
from node.joining.machine import time_finding
from node.joining.reach import Way, connection_finding


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that wait for a third of a second."""
    monkeypatch.setattr(reach, "STAGE_SECONDS", 0.3)


def speaking_tls(
    files: tuple[Path, Path], *, clients: Path | None = None, says: bytes = b"\0\0\0\4\0\0\0\0\0"
) -> Callable[[socket.socket], None]:
    """A server's end as the coordinator's: TLS, perhaps with clients of an authority only, then the first frame."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)

    def serve(opened: socket.socket) -> None:
        opened.settimeout(5)
        with context.wrap_socket(opened, server_side=True) as secure:
            secure.recv(64)
            secure.sendall(says)

    return serve


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Authority, Path]:
    """An authority, and a folder with its certificate, the coordinator's and a force's."""
    authority = Authority("Federation")
    authority.write(tmp_path / "authority.pem")
    authority.issue(tmp_path / "coordinator", Identity(Role.COORDINATOR, "coordinator"), "127.0.0.1")
    authority.issue(tmp_path / "force", Identity(Role.FORCE, FORCE))
    return authority, tmp_path


def way(folder: Path, address: str, *, proxy: str | None = None, certified: bool = True) -> Way:
    """The way of a force whose files lie in a folder."""
    own = (folder / "force" / "tls.pem", folder / "force" / "tls.key") if certified else (None, None)
    return Way(address, proxy, folder / "authority.pem", *own)


def tried(one: Way) -> Finding:
    """Where the way ends."""
    return connection_finding(one, Deadline(5))


def files_in(folder: Path) -> tuple[Path, Path]:
    """Certificate and key."""
    return folder / "tls.pem", folder / "tls.key"


def test_a_coordinator_that_takes_us_in_is_ok(ends: tuple[Authority, Path]) -> None:
    """Both certificates are verified by both ends; without ours, it is only looked whether the coordinator is there."""
    folder = ends[1]
    serve = speaking_tls(files_in(folder / "coordinator"), clients=folder / "authority.pem")
    with listening(serve) as address:
        check(tried(way(folder, address)), Level.OK, "both certificates are accepted")
        check(tried(way(folder, address, certified=False)), Level.OK, "without our certificate")


def test_tls_inspection_is_named_with_who_signs(ends: tuple[Authority, Path]) -> None:
    """A certificate by a foreign authority is inspection, and the finding says whose."""
    folder = ends[1]
    foreign = Authority("Acme Web Gateway").issue(
        folder / "gateway", Identity(Role.COORDINATOR, "coordinator"), "127.0.0.1"
    )
    with listening(speaking_tls(foreign)) as address:
        found = tried(way(folder, address))
        check(found, Level.TO_DO, "TLS inspection")
        assert "Acme Web Gateway authority" in found.words
        assert f"exempt {address}" in found.remedy


def test_tls_inspection_behind_a_proxy_is_named_too(ends: tuple[Authority, Path]) -> None:
    """The proxy connects, and what is at the other end is not the coordinator."""
    folder = ends[1]
    foreign = Authority("Acme").issue(folder / "gateway", Identity(Role.COORDINATOR, "coordinator"), "127.0.0.1")
    with listening(speaking_tls(foreign)) as address:
        proxy = ConnectProxy({"c.example.org:7443": int(address.rpartition(":")[2])})
        check(tried(way(folder, "c.example.org:7443", proxy=f"http://127.0.0.1:{proxy.port}")), Level.TO_DO, "TLS insp")
        proxy.close()


def test_our_certificate_refused_is_told_apart(ends: tuple[Authority, Path]) -> None:
    """A coordinator whose authority is another one refuses us, and that is not inspection."""
    folder = ends[1]
    other = Authority("Other").write(folder / "other.pem")
    with listening(speaking_tls(files_in(folder / "coordinator"), clients=other)) as address:
        check(tried(way(folder, address)), Level.TO_DO, "does not accept our certificate")


def test_a_name_that_the_certificate_lacks_is_said(ends: tuple[Authority, Path]) -> None:
    """Dialled by another name than it was certified for."""
    authority, folder = ends
    files = authority.issue(folder / "elsewhere", Identity(Role.COORDINATOR, "coordinator"), "c.example.org")
    with listening(speaking_tls(files)) as address:
        check(tried(way(folder, address)), Level.TO_DO, "but not for 127.0.0.1")


def test_a_name_that_does_not_exist_is_said(ends: tuple[Authority, Path]) -> None:
    """`.invalid` is nobody's (RFC 6761)."""
    found = tried(way(ends[1], "coordinator.invalid:7443"))
    check(found, Level.TO_DO, "coordinator.invalid")
    assert "/etc/resolv.conf" in found.remedy


def test_a_port_where_nobody_listens_is_said(ends: tuple[Authority, Path]) -> None:
    """Refused is not timed out: something answered."""
    check(tried(way(ends[1], f"127.0.0.1:{free_port()}")), Level.TO_DO, "refused the connection")


def test_an_address_that_is_none_is_said(ends: tuple[Authority, Path]) -> None:
    """A port beyond the last one, and a proxy without a port, pass for settings and lead nowhere."""
    check(tried(way(ends[1], "c.example.org:99999")), Level.TO_DO, "not host:port")
    check(tried(way(ends[1], "c.example.org:1", proxy="http://proxy.example.org")), Level.TO_DO, "not host:port")


@pytest.mark.usefixtures("hasty")
def test_a_port_that_drops_what_it_gets_is_said(ends: tuple[Authority, Path]) -> None:
    """A listener whose queue is full answers nothing, as behind a firewall that drops."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        found = tried(way(ends[1], f"127.0.0.1:{full.getsockname()[1]}"))
        for one in waiting:
            one.close()
    check(found, Level.TO_DO, "timed out")
    assert "outgoing rule" in found.remedy


@pytest.mark.usefixtures("hasty")
def test_a_port_that_stays_silent_is_said(ends: tuple[Authority, Path]) -> None:
    """The connection is made, and TLS is not answered."""
    with listening(lambda opened: time.sleep(0.5)) as address:
        check(tried(way(ends[1], address)), Level.TO_DO, "does not answer TLS: timed out")


def test_what_does_not_speak_tls_is_said(ends: tuple[Authority, Path]) -> None:
    """A web server in the clear, at the address that was mistyped."""
    with listening(lambda opened: opened.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address:
        check(tried(way(ends[1], address)), Level.TO_DO, "does not speak the coordinator's TLS")


def answering(text: bytes) -> Callable[[socket.socket], None]:
    """A proxy that says one thing to all."""

    def serve(opened: socket.socket) -> None:
        opened.recv(4096)
        opened.sendall(text)

    return serve


@pytest.mark.parametrize(
    ("says", "words", "remedy"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refused to connect to c.example.org:1: HTTP/1.1 403", "allow CONNECT"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407", "name and password"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502", "cannot reach the coordinator"),
        (b"220 mail.example.org ESMTP\r\n", "refused to connect", "allow CONNECT"),
        (b"", "no answer", "allow CONNECT"),
    ],
)
def test_a_proxy_that_refuses_is_told_apart(ends: tuple[Authority, Path], says: bytes, words: str, remedy: str) -> None:
    """The proxy's own words are shown, and what to ask of whoever runs it."""
    with listening(answering(says)) as address:
        found = tried(way(ends[1], "c.example.org:1", proxy=f"http://{address}"))
    check(found, Level.TO_DO, words)
    assert remedy in found.remedy


def test_a_proxys_password_is_not_shown(ends: tuple[Authority, Path]) -> None:
    """A proxy that is configured with a password is sent it, and no finding repeats it."""
    heard: list[bytes] = []

    def serve(opened: socket.socket) -> None:
        heard.append(opened.recv(4096))
        opened.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with listening(serve) as address:
        found = tried(way(ends[1], "c.example.org:1", proxy=f"http://kent:hunter2@{address}"))
    assert b"Proxy-Authorization: Basic a2VudDpodW50ZXIy" in heard[0]
    assert "hunter2" not in found.sentence


def test_without_the_authority_the_port_is_tried_all_the_same(ends: tuple[Authority, Path]) -> None:
    """On the first day a firewall can be opened before any certificate has come."""
    folder = ends[1]
    (folder / "authority.pem").unlink()
    with listening(lambda opened: None) as address:
        check(tried(way(folder, address)), Level.TO_DO, "is reached")


# Clock


@pytest.mark.parametrize(
    ("off", "level", "words"),
    [
        (0, Level.OK, "same second"),
        (-20, Level.OK, "20 seconds behind"),
        (40, Level.WARNING, "40 seconds ahead"),
        (-61, Level.TO_DO, "61 seconds behind"),
    ],
)
def test_the_clock_is_held_against_the_tolerance(off: int, level: Level, words: str) -> None:
    """Beyond the manifest's tolerance the coordinator does not let a node in."""
    check(clock_finding(off, 60), level, words)


@pytest.mark.parametrize(("state", "level"), [(0, Level.OK), (5, Level.WARNING), (None, Level.WARNING)])
def test_whether_the_clock_is_kept_right_is_the_kernels_word(state: int | None, level: Level) -> None:
    """A clock that nothing keeps right is well today and off in a month."""
    assert time_finding(state).level is level
