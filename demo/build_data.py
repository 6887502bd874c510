"""Build the bundled data from a folder of data.police.uk downloads: `python -m demo.build_data FOLDER`.

The folder has `police-uk/<kind>/<force>/<YYYY-MM>.csv.gz` as published, and `police-uk/totals/*.csv` with
counts made independently. Every row and value is kept as published, repeats and empty fields included;
only columns that no contract uses are left out. Run once; the result is in the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

DATA = Path(__file__).parent / "data"
TOTALS = DATA / "totals"

STOP_COLUMNS = (
    "Type", "Date", "Gender", "Age range", "Self-defined ethnicity", "Officer-defined ethnicity", "Legislation",
    "Object of search", "Outcome", "Outcome linked to object of search", "Removal of more than just outer clothing",
)  # fmt: skip
STREET_COLUMNS = ("Month", "Crime type", "Last outcome category")
WITHOUT_WHOLE_YEAR = ("greater-manchester", "metropolitan", "northern-ireland")
STOP_TOTALS = ("object", "outcome", "gender", "age", "self-defined-ethnicity", "officer-ethnicity", "legislation")


def build(folder: Path) -> None:
    """Write `demo/data`."""
    source = folder / "police-uk"
    TOTALS.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as database:
        left_out = ", ".join(f"'{force}'" for force in WITHOUT_WHOLE_YEAR)
        kept = ", ".join(f'"{column}"' for column in STOP_COLUMNS)
        database.execute(f"""
            CREATE TABLE stops AS
            SELECT regexp_extract(filename, 'stop-and-search/([^/]+)/', 1) AS force,
                   regexp_extract(filename, '/(\\d{{4}}-\\d{{2}})\\.csv', 1) AS "Month", {kept}
            FROM read_csv('{source}/stop-and-search/*/*.csv.gz', all_varchar = true, filename = true, header = true,
                          union_by_name = true)
            WHERE "Month" BETWEEN '2019-04' AND '2020-03' AND force NOT IN ({left_out})
        """)
        kept = ", ".join(f'"{column}"' for column in STREET_COLUMNS)
        database.execute(f"""
            CREATE TABLE crimes AS
            SELECT regexp_extract(filename, 'street/([^/]+)/', 1) AS force, {kept}
            FROM read_csv('{source}/street/*/2025-01.csv.gz', all_varchar = true, filename = true, header = true)
        """)
        for table, name in (("stops", "stop_search"), ("crimes", "street_crime")):
            target = f"'{DATA / name}.parquet' (FORMAT parquet, COMPRESSION zstd)"
            database.execute(f"COPY (SELECT * FROM {table} ORDER BY ALL) TO {target}")
        _copy_totals(database, source / "totals", left_out)


def _copy_totals(database: duckdb.DuckDBPyConnection, totals: Path, left_out: str) -> None:
    def copy(name: str, condition: str) -> None:
        database.execute(
            f"COPY (SELECT * FROM read_csv('{totals}/{name}.csv', header = true, all_varchar = true) "
            f"WHERE {condition} ORDER BY ALL) TO '{TOTALS}/{name}.csv' (HEADER)"
        )

    copy("stop-and-search-by-force-month", f"month BETWEEN '2019-04' AND '2020-03' AND force NOT IN ({left_out})")
    for name in STOP_TOTALS:
        copy(f"stop-and-search-by-year-force-{name}", f"financial_year = '2019/20' AND force NOT IN ({left_out})")
    copy("street-by-force-month-crime-type", "month = '2025-01'")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
