"""Answers as tables of other libraries. Arrow is the form that all of them share, in memory and in files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from cordon.analyst.render import one_of_each
from cordon.workbench.extras import needed

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

METADATA = b"cordon.answer"
"""Key of a table's metadata: the answer as JSON has it, without its rows."""


def to_arrow(document: Mapping[str, Any]) -> pa.Table:
    """An answer's rows: keys as texts (null in totals), and each measure as `name`, `name low`, `name high`.

    A bound that the noise does not give is null, and so is a measure of a force that is not in the answer: `note`
    says why. A second column of one name is `name (2)`. Everything else stands in the schema's metadata under
    `METADATA`.
    """
    ranked = any(row.get("certainty") is not None for row in document["rows"])
    names: list[str] = []
    arrays: list[pa.Array] = []
    key = measure = 0
    for column in document["columns"]:
        name = column["name"]
        if column["measure"]:
            for part, heading in (("estimate", name), ("low", f"{name} low"), ("high", f"{name} high")):
                names.append(heading)
                arrays.append(pa.array(_part(document, measure, part), pa.float64()))
            measure += 1
        else:
            names.append(name)
            arrays.append(pa.array([row["keys"][key] for row in document["rows"]], pa.string()))
            key += 1
    if ranked:
        names.append("rank certainty")
        arrays.append(pa.array([row.get("certainty") for row in document["rows"]], pa.float64()))
    names.append("note")
    arrays.append(pa.array([row["note"] for row in document["rows"]], pa.string()))
    table = pa.Table.from_arrays(arrays, names=one_of_each(names))
    about = {name: value for name, value in document.items() if name != "rows"}
    return table.replace_schema_metadata({METADATA: json.dumps(about).encode()})


def to_pandas(document: Mapping[str, Any]) -> pd.DataFrame:
    """An answer's rows as pandas has them; everything else in `attrs["cordon.answer"]`."""
    with needed("frames", "a pandas frame"):
        import pandas as pd  # noqa: F401, PLC0415 - said by name where it is not there
    frame = to_arrow(document).to_pandas()
    frame.attrs[METADATA.decode()] = {name: value for name, value in document.items() if name != "rows"}
    return frame


def to_polars(document: Mapping[str, Any]) -> pl.DataFrame:
    """An answer's rows as polars has them, which keeps no metadata."""
    with needed("frames", "a polars frame"):
        import polars as pl  # noqa: PLC0415
    frame = pl.from_arrow(to_arrow(document))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table of columns is no single series
    return frame


def sheet_of(columns: Sequence[str], rows: Sequence[Sequence[Any]], about: Mapping[str, Any]) -> pa.Table:
    """The result of an analysis; `about` stands in the schema's metadata under `METADATA`."""
    arrays = [pa.array([row[at] for row in rows]) for at in range(len(columns))]
    table = pa.Table.from_arrays(arrays, names=one_of_each(columns))
    return table.replace_schema_metadata({METADATA: json.dumps(about).encode()})


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as a Parquet file, its metadata included."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def arrow_bytes(table: pa.Table) -> bytes:
    """A table as an Arrow IPC file, its metadata included."""
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def _part(document: Mapping[str, Any], measure: int, part: str) -> list[float | None]:
    return [row["values"][measure][part] if row["values"] else None for row in document["rows"]]
