"""A watch's alerts on their way: to a file, and to a webhook that may do anything."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import socket
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from savedwatches import NOW, WATCH_ID, folder_in, saved

from cordon.errors import Misconfigured, Refused, Unavailable
from cordon.workbench.watch import delivery
from cordon.workbench.watch.alert import Alert, stopped_alert


@pytest.fixture
def made(tmp_path):
    """A watch's folder, and how a process opens it."""
    return folder_in(tmp_path / "stops", Ed25519PrivateKey.generate())


def alert(about: str = "2026", at: int = NOW) -> Alert:
    """An alert."""
    return stopped_alert(saved(), SimpleNamespace(hex=lambda: WATCH_ID), "budget", about, f"it stopped: {about}", at)  # type: ignore[arg-type]


def test_alerts_are_appended_whole_and_once(made, tmp_path):
    """Each is a line of JSON; what a crash has cut off swallows nothing; a second run appends nothing."""
    path = tmp_path / "alerts.jsonl"
    path.write_text('{"half": ')
    folder = made()
    folder.saved = saved(alert_file=str(path))
    folder.post(alert("1", NOW))
    folder.post(alert("2", NOW + 1))
    for _ in range(2):
        assert delivery.deliver(folder, lambda _: None) == 0
    lines = path.read_text().splitlines()
    assert lines[0] == '{"half": '
    assert [json.loads(line)["text"] for line in lines[1:]] == ["it stopped: 1", "it stopped: 2"]
    assert json.loads(lines[1])["id"] == alert("1").id


def test_a_kill_between_sending_and_remembering_sends_again_under_the_same_id(made, tmp_path, monkeypatch):
    """At least once: whoever receives it twice can tell by its id."""
    path = tmp_path / "alerts.jsonl"
    folder = made()
    folder.saved = saved(alert_file=str(path))
    folder.post(alert())

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(folder, "delivered", killed)
        with pytest.raises(KeyboardInterrupt):
            delivery.deliver(folder, lambda _: None)
    assert delivery.deliver(folder, lambda _: None) == 0
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [alert().id] * 2


def test_an_alert_that_was_changed_is_not_sent(made):
    """Whoever can write in the outbox and has no key cannot have anything sent."""
    folder = made()
    folder.post(alert())
    path = folder.path / "alerts" / f"{alert().id}.json"
    path.write_text(path.read_text().replace('"payload": "e', '"payload": "f'))
    other = alert("another", NOW + 1)
    folder.post(other)
    (folder.path / "alerts" / f"{'0' * 64}.json").write_bytes(b"\xff\xfe")
    good, damaged = folder.outbox()
    assert good == folder.alerts() == [other]
    assert [alert().id in text or "0" * 64 in text for text in damaged] == [True, True]


def test_a_write_that_takes_some_bytes_only_is_gone_on_with_or_kept(made, tmp_path, monkeypatch):
    """No alert counts as delivered whose line is cut off: a full disk keeps it, and the next run sends it whole."""
    folder, path, write = made(), tmp_path / "alerts.jsonl", os.write
    folder.saved = saved(alert_file=str(path))
    folder.post(alert())
    room = [40]

    def filling(handle, content):
        if not room[0]:
            raise OSError(errno.ENOSPC, "no space is left")
        taken = write(handle, bytes(content[: min(room[0], 7)]))
        room[0] -= taken
        return taken

    monkeypatch.setattr(delivery.os, "write", filling)
    said = []
    assert delivery.deliver(folder, said.append) == 1
    assert "no space is left" in said[0]
    room[0] = 10**6
    assert delivery.deliver(folder, said.append) == 0
    cut, whole = path.read_text().splitlines()
    assert (len(cut), json.loads(whole)["id"]) == (40, alert().id)


@pytest.mark.parametrize(
    "sent", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b""], ids=["headers", "interim", "nothing"]
)
def test_a_webhook_that_never_comes_to_an_end_is_cut_off(sent, monkeypatch):
    """Headers by drops, interim answers without end, silence: the run goes on after one deadline for all tries."""
    monkeypatch.setattr(delivery, "SECONDS", 0.3)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            taken, _ = server.accept()
            with taken, suppress(OSError):
                taken.sendall(sent)
                while not stop.wait(0.02):
                    taken.sendall(b"X: y\r\n" if sent.startswith(b"HTTP/1.1 200") else sent)

        threading.Thread(target=drip, daemon=True).start()
        watch = saved(webhook=f"http://127.0.0.1:{server.getsockname()[1]}/")
        began = time.monotonic()
        # Whoever has said that it was taken has taken it, whatever else is still to be said.
        with nullcontext() if b"200" in sent else pytest.raises(Unavailable, match="did not take it"):
            delivery.post(watch, alert(), environment={}, sleep=lambda _: None)
        assert time.monotonic() - began < 2
        stop.set()


class Hook(BaseHTTPRequestHandler):
    """A webhook that answers as it is told, and remembers."""

    statuses: ClassVar[list[int]] = []
    seen: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        """Take one."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, dict(self.headers), body))
        status = self.statuses.pop(0) if self.statuses else 204
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def webhook(*statuses: int):
    """A web server on this machine."""
    Hook.statuses, Hook.seen = list(statuses), []
    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook?token=hidden"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_webhook_gets_the_alert_signed_and_only_once(made):
    """The body's HMAC verifies under the secret; a run after one that was taken sends nothing."""
    secret = "a secret of many bytes"
    with webhook() as url:
        folder = made()
        folder.saved = saved(webhook=url, secret_env="HOOK")
        folder.post(alert())
        for _ in range(2):
            assert delivery.deliver(folder, lambda _: None, environment={"HOOK": secret}) == 0
        ((_, headers, body),) = Hook.seen
    assert headers["Cordon-Signature"] == "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    assert headers["Cordon-Alert"] == json.loads(body)["id"] == alert().id


def test_a_webhook_that_fails_never_loses_an_alert_and_keeps_their_order(made):
    """Three failures end a run's tries, with waits between; the next run sends the same id, then the alert after it."""
    said, waits = [], []
    with webhook(500, 503, 500, 200) as url:
        folder = made()
        folder.saved = saved(webhook=url)
        folder.post(alert("1", NOW))
        folder.post(alert("2", NOW + 1))
        assert delivery.deliver(folder, said.append, sleep=waits.append) == 1
        assert waits == list(delivery.WAITS)
        assert "status 500" in said[0]
        assert "hidden" not in said[0]
        assert delivery.deliver(folder, said.append, sleep=waits.append) == 0
        ids = [headers["Cordon-Alert"] for _, headers, _ in Hook.seen]
    assert ids == [alert("1").id] * 4 + [alert("2").id]


def test_a_webhook_that_points_elsewhere_is_not_followed(made):
    """A redirect is a failure: nothing goes where a server says."""
    for status in (301, 302, 307, 308):
        with webhook(*[status] * 3) as url:
            watch = saved(webhook=url)
            with pytest.raises(Unavailable, match="points elsewhere"):
                delivery.post(watch, alert(), environment={}, sleep=lambda _: None)
            assert {path.split("?")[0] for path, _, _ in Hook.seen} == {"/hook"}


def test_nobody_at_the_webhook_is_unavailable():
    """A closed port is said to be one."""
    with pytest.raises(Unavailable, match="did not take it"):
        delivery.post(saved(webhook="http://127.0.0.1:9/"), alert(), environment={}, sleep=lambda _: None)


@pytest.mark.parametrize(
    "url",
    [
        "http://alerts.example.org/", "ftp://example.org/", "file:///etc/passwd", "https://", "https://user:pw@example.org/",
        "nonsense", "https://example.org/a b", "https://example.org:99999/", "https://exämple.org/", "http://127.0.0.1.example.org/",
    ],
)  # fmt: skip
def test_addresses_that_alerts_must_not_go_to_are_refused(url):
    """Beyond this machine everything is encrypted, and no password stands in an address."""
    with pytest.raises(Refused):
        delivery.check_webhook(url)


def test_addresses_that_alerts_may_go_to():
    """Encrypted ones, and this machine's."""
    for url in ("https://alerts.example.org:8443/cordon?x=1", "http://localhost:8000/", "http://[::1]:80/"):
        assert delivery.check_webhook(url) == url


def test_a_secret_is_the_owners_and_long_enough(tmp_path):
    """One that others can read, that is short, or that is not there is refused; its value is never in the message."""
    path = tmp_path / "secret"
    watch = saved(secret_file=str(path))
    with pytest.raises(Misconfigured, match="cannot read"):
        delivery.secret_of(watch, {})
    path.write_text("short\n")
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="less than 16") as error:
        delivery.secret_of(watch, {})
    assert "short" not in str(error.value)
    path.write_text("sixteen bytes or more\n")
    assert delivery.secret_of(watch, {}) == b"sixteen bytes or more"
    path.chmod(0o640)
    with pytest.raises(Misconfigured, match="open to others"):
        delivery.secret_of(watch, {})
    with pytest.raises(Misconfigured, match="HOOK"):
        delivery.secret_of(saved(secret_env="HOOK"), {})
