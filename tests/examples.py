"""Contracts that tests share: one whose unit is a row, one whose unit is a person with up to three rows."""

from cordon.contract import Contract

ROW_CONTRACT = b"""
dataset = "events"
version = 1
title = "Events"
description = "For tests"
source = "none"
licence = "none"
[unit]
kind = "row"
words = "one row"
max_rows_per_unit = 1
max_rows_per_force = 1000
caveat = "a row is not a person"
[[column]]
kind = "category"
name = "colour"
title = "Colour"
codes = [{ code = "red", label = "Red" }, { code = "blue", label = "Blue" }, { code = "unknown", label = "Unknown" }]
[[column]]
kind = "date"
name = "day"
title = "Day"
grain = "day"
min = 2025-01-01
max = 2025-12-31
"""

PERSON_CONTRACT = b"""
dataset = "persons"
version = 1
title = "Persons"
description = "For tests"
source = "none"
licence = "none"
[unit]
kind = "person"
words = "one person in one force"
max_rows_per_unit = 3
max_rows_per_force = 1000
[[column]]
kind = "identifier"
name = "person"
title = "Person"
use = "unit"
[[column]]
kind = "category"
name = "role"
title = "Role"
codes = [{ code = "suspect", label = "Suspect" }, { code = "victim", label = "Victim" }, { code = "unknown", label = "Unknown" }]
[[column]]
kind = "number"
name = "loss"
title = "Loss"
unit = "GBP"
min = "-10"
max = "50"
resolution = "1/2"
[[column]]
kind = "date"
name = "day"
title = "Day"
grain = "day"
min = 2025-01-01
max = 2025-12-31
"""


def row_contract() -> Contract:
    """A contract whose privacy unit is one row."""
    return Contract.from_toml(ROW_CONTRACT)


def person_contract() -> Contract:
    """A contract whose privacy unit is one person with at most three rows."""
    return Contract.from_toml(PERSON_CONTRACT)
