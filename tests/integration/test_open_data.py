"""A download of data.police.uk, laid out by its command and loaded by the node's own code, counts what its rows say."""

from __future__ import annotations

from collections import Counter

import downloads
import duckdb

from cordon.catalogue import bundled_contracts
from cordon.cli import run
from cordon.configfile import read_config
from cordon.contract import Contract
from node.load import load
from node.mapping import Mapping
from node.opendata.datasets import DATASETS
from node.snapshot import snapshot_path
from node.suggest.propose import suggest
from node.suggest.reading import read_samples

CONTRACTS = {
    contract.dataset: contract for contract in map(Contract.from_toml, bundled_contracts()) if contract.version == 1
}


def counted(state, dataset, *columns):
    """Rows of a snapshot by the values of columns; codes as words, months as `YYYY-MM`."""
    contract = CONTRACTS[dataset]
    with duckdb.connect(str(snapshot_path(state, dataset, 1)), read_only=True) as database:
        names = ", ".join(f'"{name}"' for name in columns)
        rows = database.execute(f"SELECT {names} FROM snapshot").fetchall()
    return Counter(
        tuple(shown(contract, name, value) for name, value in zip(columns, row, strict=True)) for row in rows
    )


def shown(contract, name, value):
    """A stored value as people write it."""
    if name.endswith("__month"):
        return f"{value // 12}-{value % 12 + 1:02d}"
    return contract.column(name).codes[value].code


def test_a_force_of_a_download_is_loaded_and_counts(tmp_path, capsys):
    """Every row of a force arrives, in the month that the site files it under and under the code of its label."""
    # One file has other line ends than the rest, as where months were downloaded at different times.
    files = downloads.small("\r\n")
    mixed = "2025-03/2025-03-kent-street.csv"
    download = downloads.as_zip(tmp_path / "download.zip", files | {mixed: downloads.small()[mixed]})
    given = ["--coordinator", "127.0.0.1:7443", "--governance-key", "ab" * 32, "--yes"]
    assert run(["node", "open-data", str(download), "--into", str(tmp_path / "forces"), "--force", "kent", *given]) == 0
    folder = tmp_path / "forces" / "kent"
    rows = {}
    for path in sorted((folder / "mappings").glob("*.toml")):
        mapping = read_config(path, Mapping)
        quality = load(mapping, CONTRACTS[mapping.dataset], folder / "state", progress=lambda _: None).quality
        rows[mapping.dataset] = (quality.rows_read, quality.rows_kept)
        assert sum(column.mended for column in quality.columns) == 0
    assert rows == {"outcomes": (2, 2), "stop_search": (4, 4), "street_crime": (5, 5)}
    state = folder / "state"
    assert counted(state, "street_crime", "month__month", "crime_type") == {
        ("2025-01", "burglary"): 2,
        ("2025-01", "drugs"): 1,
        ("2025-03", "robbery"): 1,
        ("2025-03", "anti_social_behaviour"): 1,
    }
    assert counted(state, "outcomes", "month__month", "outcome_type") == {
        ("2025-01", "charged"): 1,
        ("2025-01", "fined"): 1,
    }
    # The stop at 23:05 in UTC on 30 June is one of July in London, and lies in July's file.
    assert counted(state, "stop_search", "month__month", "gender", "outcome") == {
        ("2019-06", "male", "arrest"): 1,
        ("2019-06", "female", "arrest"): 1,
        ("2019-07", "male", "arrest"): 1,
        ("2019-07", "female", "unknown"): 1,
    }


def test_a_proposal_for_a_download_agrees_with_what_is_laid_out(tmp_path, capsys):
    """The two ways to a mapping lead to the same columns, but for the month of stops, which has none of its own."""
    into = tmp_path / "forces"
    download = downloads.as_folder(tmp_path / "download", downloads.small())
    assert run(["node", "open-data", str(download), "--into", str(into), "--force", "kent", "--yes"]) == 0
    for published in DATASETS.values():
        mapping = read_config(into / "kent" / "mappings" / f"{published.dataset}.toml", Mapping)
        samples, _ = read_samples(mapping.source, tmp_path)
        found = suggest(CONTRACTS[published.dataset], samples)
        feeding = {item.column.name: item.source for item in found.columns}
        expected = {name: column.source for name, column in mapping.columns.items()}
        if published.zoned:
            del expected["month"]
        assert feeding == expected
