"""Whether the coordinator would take this node in: asked by a Hello that it cannot accept.

A true Hello would take the place of a node that serves. One that is dated 1970 is refused for its date and for
nothing before it, in the order in which a coordinator checks: signature, protocol, manifest, clock. So the refusal
tells how far all else holds, and what time the coordinator has.
"""

from __future__ import annotations

import re
import secrets
from contextlib import closing

from cordon.envelope import KeySigner
from cordon.errors import CordonError, Refused, Unavailable, Untrusted
from cordon.keyfile import read_signing_key
from cordon.manifest import Manifest
from cordon.register.leaf import Checkpoint
from cordon.wire.channel import Channel
from cordon.wire.messages import PROTOCOL_VERSION, Hello
from cordon.wire.services import WATCH
from cordon.wire.signed import sign
from node.config import NodeConfig
from node.joining.finding import Finding, from_error, ok, to_do, warning

_OFF = re.compile(r"clock is off by (-?\d+) seconds")
_NAME = "membership"


def introduction_findings(settings: NodeConfig, manifest: Manifest, *, now: int, seconds: float) -> list[Finding]:
    """What the coordinator says to this node's Hello: membership and manifest, and its clock against ours.

    Args:
        now: seconds since 1970-01-01 UTC, by this machine's clock.
        seconds: how long to wait.
    """
    told = _refusal(settings, manifest, seconds)
    off = _OFF.search(str(told))
    if isinstance(told, Untrusted) and off is not None:
        known = ok(
            _NAME, f"the coordinator knows this force and its key, and has manifest version {manifest.version} too"
        )
        return [known, clock_finding(now + int(off[1]), manifest.timing.clock_tolerance_seconds)]
    if isinstance(told, Refused):
        return [
            from_error(_NAME, told, f"put the newest signed manifest at {settings.manifest}, on the same day as all")
        ]
    if isinstance(told, Unavailable):
        return [from_error(_NAME, told, "look at 'connection', and ask again")]
    return [
        to_do(
            _NAME,
            f"the coordinator does not take this node for {settings.force}: {told}",
            "ask governance whether the manifest that the coordinator has lists this force with this signing key",
        )
    ]


def _refusal(settings: NodeConfig, manifest: Manifest, seconds: float) -> CordonError:
    hello = Hello(
        force=settings.force,
        protocol_version=PROTOCOL_VERSION,
        features=(),
        contracts=(),
        manifest_version=manifest.version,
        manifest_hash=manifest.digest,
        checkpoint=Checkpoint(),
        ledger_sequence=0,
        challenge=secrets.token_bytes(32),
        sent_at=0,
    )
    try:
        signed = sign(hello, KeySigner(read_signing_key(settings.signing_key)))
        with closing(Channel(settings.coordinator, settings.tls.read(), proxy=settings.proxy)) as channel:
            for _ in channel.stream(WATCH, signed, timeout=seconds):
                break
    except CordonError as error:
        return error
    return Unavailable(f"{settings.coordinator} answered a Hello of 1970: it is not a coordinator of this version")


def clock_finding(off: int, tolerance: int) -> Finding:
    """This machine's clock against the coordinator's.

    Args:
        off: seconds that ours is ahead.
        tolerance: seconds that the manifest allows.
    """
    how = f"{abs(off)} seconds {'ahead of' if off > 0 else 'behind'} the coordinator's, of {tolerance} that are allowed"
    if abs(off) > tolerance:
        return to_do("clock", how, "set up NTP (timedatectl set-ntp true); never set a clock back over a year's end")
    if abs(off) > tolerance / 2:
        return warning("clock", how, "set up NTP: timedatectl set-ntp true")
    return ok("clock", how if off else "the same second as the coordinator's")
