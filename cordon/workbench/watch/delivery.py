"""Alerts on their way to a file or a webhook, each at least once. What is not taken is kept for the next run."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from cordon.errors import CordonError, Misconfigured, Refused, Unavailable
from cordon.keyfile import OWNER_ONLY, sync_folder
from cordon.workbench.watch.alert import Alert
from cordon.workbench.watch.deadline import Deadline, deadline, handlers_by
from cordon.workbench.watch.folder import Folder
from cordon.workbench.watch.saved import Saved

SECONDS = 15.0
"""That a webhook has to take an alert, over all tries of one run together, whatever it sends and however slowly."""

WAITS = (1.0, 4.0)
"""Seconds before each further try of one run."""

SIGNATURE, NAME = "Cordon-Signature", "Cordon-Alert"
LEAST_SECRET = 16
"""Bytes."""

Tell = Callable[[str], None]


def deliver(
    folder: Folder,
    tell: Tell,
    *,
    show: Callable[[Alert], None] | None = None,
    environment: Mapping[str, str] = os.environ,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Deliver what lies in the outbox, oldest first, each way that is asked for.

    Args:
        tell: told of what could not be delivered.
        show: takes an alert on standard output, which comes last: somebody may read it no more. It raises `CordonError`
            where it is not taken.

    Returns:
        How many alerts still have a way to go.
    """
    saved, waiting = folder.saved, set()
    ways: list[tuple[str, Callable[[Alert], None]]] = []
    if saved.alert_file is not None:
        ways.append(("file", lambda alert: append(Path(str(saved.alert_file)), alert)))
    if saved.webhook is not None:
        ways.append(("webhook", lambda alert: post(saved, alert, environment=environment, sleep=sleep)))
    if show is not None:
        ways.append(("stdout", show))
    alerts = folder.alerts()
    for way, send in ways:
        for alert in alerts:
            if folder.is_delivered(alert, way):
                continue
            try:
                send(alert)
                folder.delivered(alert, way)
            except CordonError as error:
                tell(f"warning: an alert is kept and sent again at the next run: {error}")
                waiting.add(alert.id)
                # What comes after it waits too: alerts arrive in their order. Other ways go on.
                break
    return len(waiting)


def append(path: Path, alert: Alert) -> None:
    """Append an alert to a file, as one line of JSON, durably.

    Raises:
        Misconfigured: the file cannot be written.
    """
    line = json.dumps(alert.body(), ensure_ascii=False) + "\n"
    try:
        is_new = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, OWNER_ONLY)
        with os.fdopen(handle, "r+b") as file:
            # A line that a crash has cut off must not swallow this one.
            write_all(handle, (b"" if _ends_a_line(file) else b"\n") + line.encode())
            os.fsync(handle)
        if is_new:
            sync_folder(path.parent)
    except OSError as error:
        raise Misconfigured(f"cannot write alerts to {path}: {error.strerror}") from None


def write_all(handle: int, content: bytes) -> None:
    """Write every byte: a full disk takes some of them, and says so at the next.

    Raises:
        OSError: they are not all out.
    """
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def _ends_a_line(file: IO[bytes]) -> bool:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return True
    file.seek(size - 1)
    return file.read(1) == b"\n"


def post(saved: Saved, alert: Alert, *, environment: Mapping[str, str], sleep: Callable[[float], None]) -> None:
    """Send an alert to the watch's webhook, with further tries.

    Raises:
        Unavailable: it was not taken.
        Refused: the address is none that alerts are sent to.
        Misconfigured: the secret cannot be read.
    """
    url = check_webhook(str(saved.webhook))
    body = json.dumps(alert.body(), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "cordon", NAME: alert.id}
    secret = secret_of(saved, environment)
    if secret is not None:
        headers[SIGNATURE] = f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
    end = time.monotonic() + SECONDS
    for wait in (*WAITS, None):
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - check_webhook has seen it
        why = _sent(request, end)
        if why is None:
            return
        if wait is None or time.monotonic() + wait >= end:
            break
        sleep(wait)
    raise Unavailable(f"the webhook at {_place(url)} did not take it: {why}")


def check_webhook(url: str) -> str:
    """An address that alerts may be sent to.

    Raises:
        Refused: it is not encrypted, names a user, or is no address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    good = url.isascii() and url.isprintable() and " " not in url and host and port != 0
    if not good or parts.scheme not in ("http", "https"):
        raise Refused("the webhook is no web address", hint="such as https://alerts.example.org/cordon")
    if parts.username is not None or parts.password is not None:
        raise Refused(
            "a webhook's address holds no user or password",
            hint="--webhook-secret-file signs what is sent",
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise Refused("a webhook beyond this machine must be https", hint="alerts hold estimates and who asked what")
    return url


def secret_of(saved: Saved, environment: Mapping[str, str]) -> bytes | None:
    """What the body is signed with; None where nothing is to be.

    Raises:
        Misconfigured: it is missing, short, or readable by others.
    """
    if saved.secret_env is not None:
        secret = environment.get(saved.secret_env, "").encode()
        where = f"the environment variable {saved.secret_env}"
    elif saved.secret_file is not None:
        path = Path(saved.secret_file)
        where = str(path)
        try:
            mode, secret = path.stat().st_mode, path.read_bytes().strip()
        except OSError as error:
            raise Misconfigured(f"cannot read the webhook's secret {path}: {error.strerror}") from None
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Misconfigured(f"the webhook's secret {path} is open to others", hint=f"chmod 600 {path}")
    else:
        return None
    if len(secret) < LEAST_SECRET:
        raise Misconfigured(f"the webhook's secret in {where} has less than {LEAST_SECRET} bytes, or is not there")
    return secret


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An alert goes where the analyst has said, and nowhere that a server says."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        del req, fp, code, msg, headers, newurl


def _sent(request: urllib.request.Request, end: float) -> str | None:
    """None where it was taken, or else why not; in words of ours, since a server's may hold anything."""
    with deadline(end) as line:
        why = _answered(request, line)
    return why if why is None or time.monotonic() < end else f"nothing in {SECONDS:.0f} seconds"


def _answered(request: urllib.request.Request, line: Deadline) -> str | None:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect(), *handlers_by(line)]
    if _is_loopback(urlsplit(request.full_url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        # Nothing of what it says is read beyond its status.
        with urllib.request.build_opener(*handlers).open(request, timeout=line.left) as response:
            return None if 200 <= response.status < 300 else f"status {response.status}"
    except urllib.error.HTTPError as error:
        error.close()
        moved = " (it points elsewhere, which is not followed)" if 300 <= error.code < 400 else ""
        return f"status {error.code}{moved}"
    except urllib.error.URLError as error:
        return f"{error.reason}" if str(error.reason).isprintable() else "it cannot be reached"
    except (OSError, HTTPException, UnicodeError, ValueError) as error:
        return f"{type(error).__name__}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _place(url: str) -> str:
    """An address without its path: that may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
