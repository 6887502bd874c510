"""What the doctor's tests share: a force's settings, an authority, and how a finding is held to its words."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from cordon.configfile import read_config
from cordon.identity import Identity, certify, new_authority
from cordon.keyfile import write_certificate, write_private_key
from cordon.manifest import Manifest, read_manifest
from demo.layout import Layout
from node.config import NodeConfig
from node.joining.finding import Finding, Level

FORCE, OTHER = "cumbria", "surrey"
NOW = int(time.time())
DAY = 86_400


def settings_of(layout: Layout, force: str = FORCE) -> NodeConfig:
    """A force's configuration."""
    return read_config(layout.node_config(force), NodeConfig)


def manifest_of(layout: Layout) -> Manifest:
    """The federation's manifest."""
    return read_manifest(layout.root / "manifest.json", layout.governance_keys)[0]


def levels(findings: list[Finding]) -> dict[str, Level]:
    """Level by name."""
    return {finding.name: finding.level for finding in findings}


def check(finding: Finding, level: Level, words: str) -> None:
    """A finding's level and words; whatever is not well says what to do."""
    assert (finding.level, words in finding.words) == (level, True), finding
    assert (finding.level is Level.OK) == (finding.remedy == "")
    assert "\n" not in finding.sentence


class Authority:
    """An authority of the test's own."""

    def __init__(self, name: str = "Test") -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.certificate = new_authority(name, self.private)

    def issue(self, folder: Path, identity: Identity, *hosts: str, days: int = 825) -> tuple[Path, Path]:
        """Write a certificate and its key; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        found = certify(
            identity, key.public_key(), authority=self.certificate, private=self.private, hosts=hosts, days=days
        )
        for path in (folder / "tls.pem", folder / "tls.key"):
            path.unlink(missing_ok=True)
        write_certificate(folder / "tls.pem", found)
        write_private_key(folder / "tls.key", key)
        return folder / "tls.pem", folder / "tls.key"

    def write(self, path: Path) -> Path:
        """Write the authority's own certificate."""
        path.unlink(missing_ok=True)
        write_certificate(path, self.certificate)
        return path


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A port that serves each connection by `serve`, one after another; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                opened, _ = listener.accept()
            except OSError:
                return
            with opened, suppress(OSError):
                serve(opened)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)
