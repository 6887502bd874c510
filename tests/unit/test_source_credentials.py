"""Passwords of sources: from where, under which permissions, and never in sight."""

import os
import sqlite3

import pytest

from cordon.errors import Misconfigured
from node.source import connectors
from node.source.credentials import hidden, password_of
from node.source.model import Kind, Source
from node.source.reading import open_source

PASSWORD = "correct horse battery"


def source(**given) -> Source:
    return Source(kind="postgresql", url="postgresql://reader@127.0.0.1:9/records", table="t", **given)


def test_a_password_comes_from_the_environment_or_a_file_and_shows_itself_nowhere(tmp_path, monkeypatch):
    """Printing what holds it prints stars."""
    monkeypatch.setenv("RECORDS_PASSWORD", PASSWORD)
    file = tmp_path / "secret"
    file.write_text(PASSWORD + "\n")
    for mode in (0o600, 0o400):
        file.chmod(mode)
        for given in ({"password_env": "RECORDS_PASSWORD"}, {"password_file": file}):
            found = password_of(source(**given))
            assert found is not None
            assert found.get_secret_value() == PASSWORD
            assert PASSWORD not in f"{found} {found!r} {[found]} {source(**given)!r}"
    assert password_of(source()) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_password_file_that_is_open_to_others_is_refused(tmp_path, mode):
    """With the command that mends it."""
    file = tmp_path / "secret"
    file.write_text(PASSWORD)
    file.chmod(mode)
    with pytest.raises(Misconfigured, match="open to others") as caught:
        password_of(source(password_file=file))
    assert caught.value.hint == f"chmod 600 {file}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_password_file_of_somebody_else_is_refused(tmp_path):
    """Who owns it could read it, and change it."""
    file = tmp_path / "secret"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    os.chown(file, 12345, 12345)
    with pytest.raises(Misconfigured, match="belongs to another account"):
        password_of(source(password_file=file))


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"\xff\xfe", b"a\0b", b"x" * 5000])
def test_a_password_file_holds_one_line(tmp_path, content):
    """What it holds is not shown."""
    file = tmp_path / "secret"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(Misconfigured) as caught:
        password_of(source(password_file=file))
    assert "two" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:pass@db/records",
        "postgresql://reader:pa/ss@db/records",
        "postgresql://reader:pa@ss@db/records",
        "postgresql://reader@db/records?password=pass",
        "sql_server://reader@db/records?Encrypt=yes&PWD=pass",
        "postgresql://db/records?sslpassword=pass",
        "postgresql://db/records?%70assword=pass",
        "postgresql://reader%3Apass@db/records",
        "trino://reader@db/records?auth=pass",
        "sql_server://db/records?AccessToken=pass",
        "spark://db/?spark.authenticate.secret=pass",
    ],
)
def test_a_url_that_holds_a_password_is_refused(url):
    """Messages name a source by its URL."""
    with pytest.raises(ValueError, match="the url must not hold a password"):
        Source(kind=url.split(":")[0], url=url, table="t")
    assert Source(kind="postgresql", url="postgresql://reader@db:5432/records?sslmode=verify-full", table="t")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://reader@db/records?passfile=hunter2", "an option that postgresql is not given"),
        ("postgresql://reader@db/records?options=-c%20hunter2", "an option that postgresql is not given"),
        ("sql_server://reader@db/records?Pw=hunter2", "there are ConnectRetryCount"),
        ("sql_server://reader@db/records?UID=hunter2", "an option that sql_server is not given"),
        ("mysql://reader@db/records?init_command=hunter2", "an option that mysql is not given"),
        ("mysql://reader@db/records?hunter2", "an option that mysql is not given"),
        ("spark://db/?spark.jars=hunter2", "and spark.sql"),
        ("trino://reader@db/records#hunter2", "holds a #"),
        ("sql_server://u;PWD=hunter2@db/records", "one of ; { } ="),
        ("sql_server://u%3BPWD%3Dhunter2@db/records", "one of ; { } ="),
        ("sql_server://u@db;PWD=hunter2/records", "one of ; { } ="),
        ("sql_server://u@db/records;PWD=hunter2", "one of ; { } ="),
        ("sql_server://u@db/records?Encrypt=yes;PWD=hunter2", "one of ; { } ="),
    ],
)
def test_a_url_takes_options_from_a_closed_list(url, words):
    """What a driver takes besides can hold a secret or undo what makes a session read-only; it is not repeated."""
    with pytest.raises(ValueError, match=words) as caught:
        Source(kind=url.split(":")[0], url=url, table="t")
    assert "hunter2" not in str(caught.value.errors()[0]["msg"])
    for known in ("sql_server://u@db:1433/r?Encrypt=yes", "spark://h:7077?spark.sql.shuffle.partitions=2"):
        assert Source(kind=known.split(":")[0], url=known, table="t").url == known


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    """A variable that is not set or empty, a file that is not there."""
    monkeypatch.setenv("EMPTY", "")
    for name in ("EMPTY", "NOT_SET"):
        with pytest.raises(Misconfigured, match=f"{name}, which should hold a password, is not set"):
            password_of(source(password_env=name))
    with pytest.raises(Misconfigured, match="cannot read the password file"):
        password_of(source(password_file=tmp_path / "none"))


def test_a_driver_that_repeats_the_password_is_cut_short(tmp_path, monkeypatch):
    """Some quote the whole connection string."""

    def connect(module, address, password):
        raise sqlite3.OperationalError(f"cannot connect with PWD={password}; to {address.host}")

    monkeypatch.setenv("RECORDS_PASSWORD", PASSWORD)
    engine = connectors.Connector(driver="sqlite3", extra="x", connect=connect, described=str)
    monkeypatch.setattr(connectors, "CONNECTORS", {Kind.POSTGRESQL: engine})
    with pytest.raises(Misconfigured, match="cannot connect to") as caught:
        open_source(source(password_env="RECORDS_PASSWORD"), tmp_path)
    assert "127.0.0.1" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__, "nor in what is printed below it"
    assert hidden("nothing", None) == "nothing"


def test_a_server_that_does_not_answer_is_said_with_what_to_check(tmp_path, monkeypatch):
    """Port 9 discards, and nobody listens on it."""
    monkeypatch.setenv("RECORDS_PASSWORD", PASSWORD)
    with pytest.raises(Misconfigured, match="refused") as caught:
        open_source(source(password_env="RECORDS_PASSWORD"), tmp_path)
    assert PASSWORD not in f"{caught.value} {caught.value.hint}"
    assert caught.value.hint == "check the url, the account and its password"
