"""Pause and resume: a file in the state folder stops the node, and who ordered it is signed and kept.

The file's presence pauses, whatever stands in it: whoever can write there can stop the node anyway, and a
damaged file must not start it. docs/policy.md §4.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cordon.envelope import Signer, from_json, to_json
from cordon.errors import CordonError, Malformed, Misconfigured, Untrusted
from cordon.keyfile import sync_folder, write_new
from cordon.units import Digest
from cordon.wire.messages import MOST_TEXT, Pause
from cordon.wire.signed import open_signed, sign
from node.approvals import Tell, read_text
from node.ledger import Ledger

ENTRY = "pause"
"""Kind of ledger entry that holds an order as it lay in its file: a signed envelope in JSON form, and a reason."""

_AS_NODE = "run this as the node's user"


@dataclass(frozen=True, slots=True)
class Order:
    """An officer's or the force's order to pause or to go on."""

    pause: Pause
    signer: Digest
    """Key id."""
    reason: str
    """For the force's own people; not signed."""


def is_paused(pause_file: Path) -> bool:
    """Whether the node is paused; also where that cannot be told."""
    try:
        os.lstat(pause_file)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def order_pause(state: Path, pause_file: Path, pause: Pause, signer: Signer, reason: str) -> bool:
    """Pause the node, and leave the signed order for its history; False where it was paused already.

    Raises:
        Misconfigured: the state folder cannot be written.
    """
    if is_paused(pause_file):
        return False
    text = _order_text(pause, signer, reason)
    write_new(pause_file, text.encode(), mode=0o644)
    _leave(state, pause, signer, text)
    return True


def order_resume(state: Path, pause_file: Path, pause: Pause, signer: Signer, reason: str) -> bool:
    """Let the node go on, and leave the signed order for its history; False where it was not paused.

    Raises:
        Misconfigured: the state folder cannot be written.
    """
    if not is_paused(pause_file):
        return False
    # The order is durable before it takes effect: no node goes on without a trace of who said so.
    _leave(state, pause, signer, _order_text(pause, signer, reason))
    try:
        pause_file.unlink(missing_ok=True)
    except OSError as error:
        raise Misconfigured(f"cannot remove {pause_file}: {error.strerror}", hint=_AS_NODE) from None
    sync_folder(state)
    return True


def take_orders(
    state: Path, keys: Mapping[Digest, Ed25519PublicKey], force: str, *, ledger: Ledger, now: int, tell: Tell
) -> None:
    """Move the orders that lie in the state folder into the ledger; one that does not verify is moved aside.

    Args:
        keys: the officers' and the force's own.
    """
    known = {payload for _, payload in ledger.notes(ENTRY)} if any(_folder(state).glob("*.json")) else set()
    for path in sorted(_folder(state).glob("*.json")):
        try:
            text = read_text(path)
            open_order(text, keys, force)
        except CordonError as error:
            tell(path.name, str(error))
            with suppress(OSError):
                path.rename(path.with_suffix(".refused"))
            continue
        if text.encode() not in known:
            ledger.note(ENTRY, text.encode(), now)
        with suppress(OSError):
            # In somebody else's folder it stays, and is known at the next look.
            path.unlink(missing_ok=True)


def left_orders(state: Path) -> list[str]:
    """Texts of orders that the node has not taken up yet."""
    texts = []
    for path in sorted(_folder(state).glob("*.json")):
        with suppress(CordonError):
            texts.append(read_text(path))
    return texts


def open_order(text: str, keys: Mapping[Digest, Ed25519PublicKey], force: str) -> Order:
    """A signed order.

    Raises:
        Untrusted: not signed by one of the keys, or for another force.
        Malformed: no order.
    """
    envelope = from_json(text)
    pause = open_signed(Pause, envelope, keys)
    if pause.force != force:
        raise Untrusted(f"it is an order for {pause.force}")
    reason = json.loads(text).get("reason", "")
    if not isinstance(reason, str) or len(reason) > MOST_TEXT or not reason.isprintable():
        raise Malformed(f"a reason has at most {MOST_TEXT} printable characters")
    return Order(pause, envelope.signatures[0].key_id, reason)


def _order_text(pause: Pause, signer: Signer, reason: str) -> str:
    form = json.loads(to_json(sign(pause, signer)))
    return json.dumps(form | {"reason": reason}, indent=2) + "\n"


def _leave(state: Path, pause: Pause, signer: Signer, text: str) -> None:
    folder = _folder(state)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"cannot make {folder}: {error.strerror}", hint=_AS_NODE) from None
    word = "pause" if pause.paused else "resume"
    path = folder / f"{pause.at}.{word}.{signer.key_id.hex()[:16]}.json"
    path.unlink(missing_ok=True)
    write_new(path, text.encode(), mode=0o644)


def _folder(state: Path) -> Path:
    return state / "pauses"
