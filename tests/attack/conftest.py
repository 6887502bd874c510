"""A small federation for each attack: fresh files, real parties."""

import pytest
from members import Members


@pytest.fixture
def members(tmp_path):
    """Five forces that hold the synthetic persons."""
    made = Members(tmp_path / "federation")
    yield made
    made.close()
