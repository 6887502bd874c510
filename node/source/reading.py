"""Open the source that a mapping names, whatever its kind."""

from __future__ import annotations

from pathlib import Path

from node.source.chunks import BATCH, Chunk, Opened, unreadable
from node.source.databases import Database
from node.source.duckdbfile import DuckdbFile
from node.source.files import CsvFiles, ParquetFiles
from node.source.model import Kind, Source

__all__ = ["Chunk", "Opened", "open_source", "unreadable"]


def open_source(source: Source, scratch: Path, *, batch: int = BATCH) -> Opened:
    """Reach a source and learn its columns; no record is read yet, but for the header of a CSV file.

    Args:
        scratch: a folder for temporary files, inside the node's state; its owner removes it afterwards.
        batch: rows that are fetched from a database at once.

    Raises:
        Misconfigured: it cannot be reached or opened, or its files differ in their columns.
    """
    if source.kind is Kind.CSV:
        return CsvFiles(source, scratch)
    if source.kind is Kind.PARQUET:
        return ParquetFiles(source, scratch)
    if source.kind is Kind.DUCKDB:
        return DuckdbFile(source, scratch)
    return Database(source, batch=batch)
