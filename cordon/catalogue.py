"""The data contracts of a federation: those that its manifest lists, found by their SHA-256."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from cordon.contract import Contract
from cordon.errors import Misconfigured, Untrusted
from cordon.manifest import Manifest

Catalogue = dict[tuple[str, int], tuple[Contract, bytes]]
"""(data set, version) → the contract, and the TOML bytes that the manifest names by hash."""


def bundled_contracts() -> list[bytes]:
    """TOML bytes of every contract that comes with Cordon, by file name."""
    found = [item for item in files("contracts").iterdir() if item.name.endswith(".toml")]
    return [item.read_bytes() for item in sorted(found, key=lambda item: item.name)]


def listed_contracts(manifest: Manifest, payloads: Iterable[bytes]) -> Catalogue:
    """The contracts among `payloads` that the manifest lists, by exactly these bytes.

    Raises:
        Untrusted: the manifest lists a contract that is not among them.
    """
    contracts = [(Contract.from_toml(payload), payload) for payload in payloads]
    found = {
        (contract.dataset, contract.version): (contract, payload)
        for contract, payload in contracts
        if manifest.lists(contract.dataset, contract.version, contract.digest)
    }
    for listed in manifest.contracts:
        if (listed.dataset, listed.version) not in found:
            raise Untrusted(f"the contract {listed.dataset} v{listed.version} is not at hand as the manifest lists it")
    return found


def read_catalogue(manifest: Manifest, folder: Path | None = None) -> Catalogue:
    """The manifest's contracts, from the bundled ones and from the TOML files in `folder`.

    Raises:
        Misconfigured: a listed contract is not at hand.
    """
    extra = [path.read_bytes() for path in sorted(folder.glob("*.toml"))] if folder else []
    try:
        return listed_contracts(manifest, [*bundled_contracts(), *extra])
    except Untrusted as error:
        raise Misconfigured(str(error), hint="put its TOML file into the contracts folder") from None
