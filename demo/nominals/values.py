"""The contract's codes of nominals v2 by position, and how likely each is. A test holds them to the contract."""

from __future__ import annotations

ROLES = ("suspect", "victim", "missing_person", "witness", "unknown")
GENDERS = ("male", "female", "other", "unknown")
ETHNICITIES = ("asian", "black", "mixed", "white", "other", "not_stated", "unknown")
OFFENCES = (
    "burglary", "criminal_damage", "drugs", "fraud", "public_order", "robbery", "sexual", "theft", "vehicle_crime",
    "violence", "weapons", "none", "unknown",
)  # fmt: skip
RISKS = ("high", "medium", "low", "none", "not_missing", "unknown")
OUTCOMES = ("charged", "out_of_court", "no_further_action", "found", "open", "unknown")

CODES = {
    "role": ROLES,
    "gender": GENDERS,
    "ethnicity": ETHNICITIES,
    "offence": OFFENCES,
    "risk": RISKS,
    "outcome": OUTCOMES,
}
"""Codes of each category, in the contract's order."""

SUSPECT, VICTIM, MISSING, WITNESS, NO_ROLE = range(5)

# Whoever is mostly one is now and then another: victims of one record are suspects of the next.
MOSTLY = (0.40, 0.36, 0.10, 0.14)
ANY_ROLE = (0.30, 0.34, 0.09, 0.22, 0.05)
AS_MOSTLY = 0.7

GENDER_WEIGHTS = (0.62, 0.36, 0.005, 0.015)
OFFENCE_WEIGHTS = (0.06, 0.09, 0.07, 0.12, 0.10, 0.03, 0.04, 0.19, 0.07, 0.17, 0.02, 0.01, 0.03)
RISK_WEIGHTS = (0.12, 0.55, 0.20, 0.08, 0.0, 0.05)
OUTCOME_WEIGHTS = (
    (0.22, 0.14, 0.40, 0.0, 0.20, 0.04),
    (0.10, 0.06, 0.50, 0.0, 0.30, 0.04),
    (0.0, 0.0, 0.0, 0.95, 0.04, 0.01),
    (0.12, 0.06, 0.46, 0.0, 0.32, 0.04),
    (0.0, 0.0, 0.2, 0.0, 0.3, 0.5),
)
"""By role."""

GROUPS = (
    # Of the 16 + 1 classification that police record: code, position in ETHNICITIES, weight.
    ("W1", 3, 0.68), ("W2", 3, 0.01), ("W9", 3, 0.06), ("M1", 2, 0.012), ("M2", 2, 0.005), ("M3", 2, 0.005),
    ("M9", 2, 0.008), ("A1", 0, 0.015), ("A2", 0, 0.025), ("A3", 0, 0.01), ("A9", 0, 0.02), ("B1", 1, 0.02),
    ("B2", 1, 0.025), ("B9", 1, 0.01), ("O1", 0, 0.005), ("O9", 4, 0.02), ("NS", 5, 0.05), ("", 6, 0.03),
)  # fmt: skip
"""`O1`, Chinese, belongs to the Asian group since the census of 2011."""
