"""The transcript hash: what masks, check cells and receipts of one attempt are bound to."""

from __future__ import annotations

from collections.abc import Mapping

from cordon.units import Digest, tagged_digest


def transcript_hash(
    *,
    query_payload: bytes,
    attempt: int,
    manifest: Digest,
    contract: Digest,
    completed_plan: Digest,
    roster: Mapping[str, bytes],
) -> Digest:
    """Hash everything that the parties of one attempt must agree on. docs/protocol.md §7.

    Args:
        query_payload: the signed query, byte for byte.
        attempt: from 1.
        manifest: digest of the manifest's payload.
        contract: digest of the contract's payload.
        completed_plan: `Plan.completed_digest` at this roster's size.
        roster: force id → payload of its signed Ready note, byte for byte.
    """
    notes = [roster[force] for force in sorted(roster, key=str.encode)]
    return tagged_digest(
        "cordon/v1/transcript",
        query_payload,
        attempt.to_bytes(4, "little"),
        manifest,
        contract,
        completed_plan,
        *notes,
    )
