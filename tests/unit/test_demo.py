"""The demonstration's command line; tests/integration runs the demonstration itself."""

import sys

import pytest

from demo import __main__ as demonstration


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--forces", 2)])
def test_arguments_run_no_demonstration(argument, code, monkeypatch, capsys):
    """`--help` says what may be set, and what is not known is wrong usage; neither starts anything."""
    monkeypatch.setattr(sys, "argv", ["demo", argument])
    monkeypatch.setattr(demonstration, "_run", None)
    with pytest.raises(SystemExit) as left:
        demonstration.main()
    assert left.value.code == code
    said = capsys.readouterr()
    assert "usage: python -m demo" in said.out + said.err
    assert ("STAY=1" in said.out) == (code == 0)
