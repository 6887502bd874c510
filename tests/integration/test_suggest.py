"""A mapping is proposed for a table on a real database server."""

from __future__ import annotations

from postgresql import server

from cordon.cli import run

PASSWORD = "a-password-of-tests"

TABLE = (
    f"CREATE ROLE clerk LOGIN PASSWORD '{PASSWORD}'",
    "CREATE SCHEMA rms",
    """CREATE TABLE rms.persons AS
       SELECT 'N' || i % 300 AS nominal_ref, DATE '2024-01-01' + i % 300 AS date_recorded, i % 90 AS age_years,
              (ARRAY['M', 'F', 'U'])[1 + i % 3] AS sex, (i * 3.5)::numeric(9, 2) AS loss,
              '07700' || lpad(i::text, 6, '0') AS mobile
       FROM generate_series(1, 7000) AS i""",
    "GRANT USAGE ON SCHEMA rms TO clerk",
    "GRANT SELECT, INSERT ON rms.persons TO clerk",
)


def test_a_table_on_a_server_gets_a_proposal(capsys, monkeypatch):
    """Types, codes and markers are found; the account's right to write is told; no password and no value is shown."""
    with server() as started:
        started.run(*TABLE)
        place = f"postgresql://clerk@127.0.0.1:{started.port}/postgres"
        arguments = ["node", "map", "suggest", "--dataset", "nominals", "--version", "1", "--source", place]
        arguments += ["--table", "rms.persons", "--password-env", "CLERK_PASSWORD"]
        monkeypatch.setenv("CLERK_PASSWORD", PASSWORD)
        assert run(arguments) == 0
        told = capsys.readouterr()
        monkeypatch.setenv("CLERK_PASSWORD", "wrong")
        assert run(arguments) == 6
        refused = capsys.readouterr()
    assert "a sample of 5,000 rows" in told.out
    for line in ('source = "nominal_ref"', 'source = "date_recorded"', '"F" = "female"', '# "U",   # guess: check'):
        assert line in told.out
    assert "formats" not in told.out, "a date at the source needs none"
    assert "the account can write" in told.err
    assert "07700" not in told.out
    assert PASSWORD not in told.out + told.err
    assert "wrong" not in refused.err
