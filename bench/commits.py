"""How long a ledger's commit takes when several queries commit at once, beside a bare durable insert.

`python -m bench.commits` prints this part alone. What is committed is what a contribution commits: charge,
signed receipt, chain entry and one ciphertext, durable before the call returns.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cordon.envelope import Envelope, KeySigner
from cordon.query.plan import SMALL
from cordon.register.leaf import Checkpoint, Receipt
from cordon.register.spending import Limits, Spender
from cordon.sealing.ciphertext import packed_size
from cordon.units import Digest, Rho
from cordon.wire.signed import sign
from node.ledger import Ledger, Position
from node.ledgerfile import create_ledger

NOW = 1_800_000_000
MUCH = Rho(10**15)
CIPHERTEXT = packed_size(SMALL, SMALL.moduli[:1])
THREADS = 4


def committed(count: int) -> dict[str, list[tuple[str, str, str]]]:
    """Rows of the table about commits.

    Args:
        count: commits of each kind.
    """
    with tempfile.TemporaryDirectory(prefix="cordon-bench-") as name:
        folder = Path(name)
        bare = _timed(_bare_insert(folder / "bare.sqlite"), count, THREADS)
        create_ledger(folder / "ledger.sqlite", force="kent", now=NOW)
        ledger = Ledger(folder / "ledger.sqlite", force="kent")
        commit = _commit(ledger)
        alone = _timed(commit, count, 1)
        together = _timed(commit, count, THREADS, first=count)
        ledger.close()
    rows = []
    measured = {
        f"bare durable insert, {THREADS} threads": bare,
        "ledger commit, alone": alone,
        f"ledger commit, {THREADS} threads": together,
    }
    for what, seconds in measured.items():
        rows += [(f"{what}, {at}", f"{1000 * _at(seconds, at):.2f} ms", "") for at in ("p50", "p99")]
    ratio = _at(together, "p50") / _at(bare, "p50")
    return {f"{count} commits of a charge, its receipt and {CIPHERTEXT / 1000:.0f} kB": [
        *rows, (f"ratio of the medians, {THREADS} threads", f"{ratio:.2f}", "printed"),
    ]}  # fmt: skip


def _timed(work: Callable[[int], None], count: int, threads: int, first: int = 0) -> list[float]:
    """Seconds that each call took, `threads` of them at once."""

    def one(number: int) -> float:
        start = time.perf_counter()
        work(number)
        return time.perf_counter() - start

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(first, first + count)))


def _bare_insert(path: Path) -> Callable[[int], None]:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE bare (number INTEGER PRIMARY KEY, bytes BLOB)")
    lock = threading.Lock()

    def insert(number: int) -> None:
        data = os.urandom(CIPHERTEXT)
        with lock:
            database.execute("INSERT INTO bare VALUES (?, ?)", (number, data))

    return insert


def _commit(ledger: Ledger) -> Callable[[int], None]:
    signer = KeySigner(Ed25519PrivateKey.generate())
    digest = Digest(bytes(32))
    limits = Limits(MUCH, MUCH, MUCH, MUCH, MUCH, MUCH)

    def commit(number: int) -> None:
        query = Digest(number.to_bytes(32, "big"))

        def make_receipt(position: Position) -> tuple[Envelope, Receipt]:
            receipt = Receipt(
                force="kent", query_hash=query, attempt=1, transcript_hash=digest, analyst_key_id=digest,
                purpose="research", domain="records", period=position.period, rho=Rho(1),
                period_sum=position.period_sum, lifetime_sum=position.lifetime_sum, number=position.number,
                previous=position.previous, ciphertext_hash=digest, plan=digest, checkpoint=Checkpoint(),
            )  # fmt: skip
            return sign(receipt, signer), receipt

        ledger.commit(
            query, 1, spender=Spender("records", digest, "research", query), rho=Rho(1), limits=limits, period=2026,
            transcript_hash=digest, ciphertexts=[os.urandom(CIPHERTEXT)], expires=NOW, now=NOW,
            make_receipt=make_receipt, check=lambda: None,
        )  # fmt: skip

    return commit


def _at(seconds: list[float], which: str) -> float:
    cuts = quantiles(seconds, n=100)
    return cuts[49] if which == "p50" else cuts[98]


if __name__ == "__main__":
    for title, lines in committed(2000).items():
        sys.stdout.write(f"{title}\n" + "".join(f"  {what}: {value}\n" for what, value, _ in lines))
