"""`cordon disparity` as it is typed: what is wrong is said before anybody is asked."""

import pytest

from cordon.cli import run


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--residents-within", "95"], 3, "--residents-within takes percent from 0 to 90"),
        (["--plot", "forest.pdf"], 3, "forest.pdf names no form of picture"),
        (["--output", "nowhere/at/all.csv"], 6, "there is no nowhere/at"),
        (["--per", "household"], 2, ""),
        (["--profile", "/nowhere/profile.toml"], 6, "profile"),
    ],
)
def test_wrong_options_are_told_before_anybody_is_asked(options, code, said, capsys):
    """Places and figures are looked at before a profile is read or anything dialled."""
    assert run(["disparity", "stop_search", "--by", "ethnicity", *options]) == code
    assert said in capsys.readouterr().err
