"""The vintage of a snapshot: what a force declares about it, none of it read from the records."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from cordon.contract import Contract
from node.mapping import Mapping

LOAD_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Vintage:
    """The label of a snapshot: everything that is declared about it, and what names its load."""

    dataset: str
    version: int
    contract: bytes
    """SHA-256 of the contract that the rows are coded by."""
    domain: str
    as_at: str
    first_month: str
    last_month: str
    max_age_days: int
    """After these days from `as_at` the node declines; 0 for never."""
    load_id: bytes
    """Random, new at each load, whether or not anything changed: it tells nothing."""
    note: str


def declared(mapping: Mapping, contract: Contract) -> Vintage:
    """The label of a new load."""
    return Vintage(
        dataset=contract.dataset,
        version=contract.version,
        contract=bytes(contract.digest),
        domain=mapping.domain,
        as_at=mapping.as_at.isoformat(),
        first_month=mapping.first_month,
        last_month=mapping.last_month,
        max_age_days=mapping.max_age_days or 0,
        load_id=secrets.token_bytes(LOAD_ID_BYTES),
        note=mapping.note,
    )
