"""A watch as it is kept, for tests of its account, its files and its alerts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cordon.envelope import KeySigner, seal, to_json
from cordon.workbench.watch.account import Reserved, Settled
from cordon.workbench.watch.folder import WATCH, Folder
from cordon.workbench.watch.saved import Saved

WATCH_ID = "ab" * 32
NOW = int(datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp())


def saved(**changes) -> Saved:
    """A watch that asks at rho 1, twice at most, and has rho 5 a year."""
    fields = {
        "name": "stops", "created_at": NOW, "sql": "SELECT COUNT(*) FROM events", "question": WATCH_ID,
        "dataset": "events v1", "contract": WATCH_ID, "forces": ("kent",), "delta": "1/1000000000", "colluders": 1,
        "purpose": "research", "epsilon": "9", "nano_rho": 10**9, "attempts": 2, "budget_nano": 5 * 10**9,
        "every": "month", "against": "last", "natural": "poisson", "least_change": 0.0,
    }  # fmt: skip
    return Saved.model_validate(fields | changes)


def folder_in(path: Path, key: Ed25519PrivateKey) -> Callable[[], Folder]:
    """A watch's folder below a path, signed by an analyst's key, and how a process opens it."""
    for folder in (path, path / "entries", path / "alerts"):
        folder.mkdir(mode=0o700)
    signer = KeySigner(key)
    (path / "watch.json").write_text(to_json(seal(WATCH, saved().model_dump_json().encode(), signer)))
    return lambda: Folder(path, signer, {signer.key_id: key.public_key()})


def reserved(number: int, *, slot: str = "2026-11-01", period: int = 2026, nano: int = 2 * 10**9) -> Reserved:
    """A release is about to be asked."""
    return Reserved(
        watch=WATCH_ID, number=number, previous=WATCH_ID, at=NOW, slot=slot, period=period, nano=nano, declared={}
    )


def settled(number: int, release: int, *, nano: int = 10**9, query: str | None = "cd" * 32) -> Settled:
    """It was asked."""
    return Settled(
        watch=WATCH_ID, number=number, previous=WATCH_ID, at=NOW, release=release, query=query, nano=nano,
        answered=query is not None,
    )  # fmt: skip
