"""Made-up sources as records systems hold them: other names, other codes, other dates, and columns that matter to nobody."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta

ROWS = 300


@dataclass(frozen=True)
class Messy:
    """A source, and which of its columns feeds which contract column."""

    dataset: str
    columns: dict[str, list[str]]
    truth: dict[str, str]
    """Contract column → source column."""


def days(draw: random.Random, form: str, first: date = date(2024, 1, 1), length: int = 366) -> list[str]:
    """Days in a format."""
    return [(first + timedelta(days=draw.randrange(length))).strftime(form) for _ in range(ROWS)]


def some(draw: random.Random, values: str, separator: str = "|") -> list[str]:
    """Values from a list, the first ones more often."""
    listed = values.split(separator)
    return draw.choices(listed, weights=[1 / (at + 2) for at in range(len(listed))], k=ROWS)


def phones(draw: random.Random) -> list[str]:
    """Mobile numbers, in three spellings, and some that are missing."""
    spelt = ("07700 {:06d}", "+447700{:06d}", "07700{:06d}")
    return [draw.choice(spelt).format(draw.randrange(10**6)) if draw.random() < 0.8 else "N/K" for _ in range(ROWS)]


def plates(draw: random.Random) -> list[str]:
    """Vehicle registrations, half of them missing."""
    letters = "ABCDEFGHJK"
    return [
        f"{''.join(draw.choices(letters, k=2))}{draw.randrange(51, 74)} {''.join(draw.choices(letters, k=3))}"
        if draw.random() < 0.5
        else ""
        for _ in range(ROWS)
    ]


def numbers(draw: random.Random, form: str, most: int) -> list[str]:
    """Whole numbers below a bound, in a format."""
    return [form.format(draw.randrange(most)) for _ in range(ROWS)]


def surnames(draw: random.Random) -> list[str]:
    """Names of persons, who do not exist."""
    return ["".join(draw.choices("abcdefghiklmnorstuw", k=7)).title() for _ in range(ROWS)]


def shouting() -> Messy:
    """Capitals and abbreviations; British dates with 1900 for missing, money as text, 99 for an unknown age."""
    draw = random.Random(1)
    recorded = [day if draw.random() > 0.05 else "01/01/1900" for day in days(draw, "%d/%m/%Y")]
    ages = [str(draw.randrange(10, 85)) if draw.random() > 0.1 else "99" for _ in range(ROWS)]
    columns = {
        "CRIME_NO": numbers(draw, "42/{:06d}/24", 10**6),
        "NOM_REF": numbers(draw, "N{:07d}", 400),
        "SURNAME": surnames(draw),
        "DOB": days(draw, "%d/%m/%Y", date(1950, 1, 1), 20_000),
        "TEL_NO": phones(draw),
        "VEH_REG_NO": plates(draw),
        "REC_DT": recorded,
        "AGE_YRS": ages,
        "LOSS_AMT": [f"£{draw.randrange(4000):,}.50" for _ in range(ROWS)],
        "INVL_TYPE": some(draw, "SUS|VIC|MISPER|WIT|N/K"),
        "SEX_CD": some(draw, "M|F|U"),
        "HO_CLASS": some(draw, "BURGLARY|THEFT|VAP|VEHICLE CRIME|FRAUD|ROBBERY|ARSON"),
        "OFFICER_COLLAR": numbers(draw, "{:04d}", 900),
    }
    truth = {
        "person": "NOM_REF", "phone": "TEL_NO", "vehicle": "VEH_REG_NO", "recorded": "REC_DT", "age": "AGE_YRS",
        "loss_gbp": "LOSS_AMT", "role": "INVL_TYPE", "gender": "SEX_CD", "offence": "HO_CLASS",
    }  # fmt: skip
    return Messy("nominals", columns, truth)


def prefixed() -> Messy:
    """The table's name before every column, months as words, one-letter codes."""
    draw = random.Random(2)
    columns = {
        "per_id": numbers(draw, "{:06d}", 300),
        "per_forename": surnames(draw),
        "per_sex": some(draw, "Male|Female|Not known"),
        "per_birth_dt": days(draw, "%d-%b-%Y", date(1950, 1, 1), 20_000),
        "per_mobile": phones(draw),
        "per_vrm": plates(draw),
        "per_created_dt": days(draw, "%d-%b-%Y"),
        "per_age": numbers(draw, "{}", 90),
        "per_role": some(draw, "S|V|W|MP"),
        "per_value_stolen": numbers(draw, "{}.00", 3000),
        "per_crime_grp": some(draw, "Burglary|Theft|Violence|Robbery|Fraud"),
        "per_postcode": [f"AB{draw.randrange(1, 30)} {draw.randrange(1, 9)}CD" for _ in range(ROWS)],
    }
    truth = {
        "person": "per_id", "phone": "per_mobile", "vehicle": "per_vrm", "recorded": "per_created_dt", "age": "per_age",
        "loss_gbp": "per_value_stolen", "role": "per_role", "gender": "per_sex", "offence": "per_crime_grp",
    }  # fmt: skip
    return Messy("nominals", columns, truth)


def camel() -> Messy:
    """Words run together, time stamps in UTC, the standard's numbers for sexes."""
    draw = random.Random(3)
    columns = {
        "CrimeRefNo": numbers(draw, "CR{:06d}", 10**6),
        "NominalRef": numbers(draw, "{:08d}", 350),
        "ContactTelephone": phones(draw),
        "VehicleRegistration": plates(draw),
        "DateRecorded": [f"{day}T{draw.randrange(24):02d}:15:00Z" for day in days(draw, "%Y-%m-%d")],
        "LastUpdated": [f"{day}T09:00:00Z" for day in days(draw, "%Y-%m-%d", date(2025, 2, 1), 100)],
        "UpdatedBy": some(draw, "system|batch|clerk"),
        "AgeAtEvent": numbers(draw, "{}", 95),
        "FinancialLoss": numbers(draw, "{}", 5000),
        "Involvement": some(draw, "Offender|Injured Party|Witness|Missing From Home"),
        "Gender": some(draw, "1|2|9"),
        "OffenceGroup": some(draw, "Theft|Burglary|Vehicle crime|Violence against the person|Fraud|None"),
    }
    truth = {
        "person": "NominalRef", "phone": "ContactTelephone", "vehicle": "VehicleRegistration", "recorded": "DateRecorded",
        "age": "AgeAtEvent", "loss_gbp": "FinancialLoss", "role": "Involvement", "gender": "Gender", "offence": "OffenceGroup",
    }  # fmt: skip
    return Messy("nominals", columns, truth)


def stops() -> Messy:
    """Stop and search as a mobile app stores it: census and IC codes, yes and no, short outcomes."""
    draw = random.Random(4)
    columns = {
        "SEARCH_ID": [f"{at:07d}" for at in range(ROWS)],
        "YEAR_MONTH": days(draw, "%Y-%m", date(2019, 4, 1)),
        "SEARCH_DT": [f"{day} {draw.randrange(24):02d}:30" for day in days(draw, "%d/%m/%Y", date(2019, 4, 1))],
        "STOP_TYPE": some(draw, "Person|Vehicle|Person and Vehicle"),
        "SEX": some(draw, "M|F|O"),
        "AGE_BAND": some(draw, "18 - 24|10 - 17|25 - 34|Over 34|Under 10"),
        "SDE": some(draw, "W1|W9|B1|B2|A2|A1|M1|O9|NS"),
        "IC_CODE": some(draw, "IC1|IC3|IC4|IC2|IC6|IC9"),
        "POWER": some(draw, "PACE 1984 s1|Misuse of Drugs Act 1971 s23|Firearms Act 1968 s47"),
        "REASON_FOR_SEARCH": some(draw, "Drugs|Stolen goods|Offensive weapons|Firearms|Fireworks"),
        "RESULT": some(draw, "NFA|Arrested|Community Resolution|PND|Summons"),
        "OBJECT_LINKED": some(draw, "Y|N"),
        "OUTER_CLOTHING_REMOVED": some(draw, "N|Y"),
        "BODY_CAMERA": some(draw, "Y|N"),
        "BEAT": numbers(draw, "B{:02d}", 40),
        "COLLAR_NO": numbers(draw, "{:05d}", 700),
    }
    truth = {
        "month": "YEAR_MONTH", "date": "SEARCH_DT", "type": "STOP_TYPE", "gender": "SEX", "age_range": "AGE_BAND",
        "self_defined_ethnicity": "SDE", "officer_defined_ethnicity": "IC_CODE", "legislation": "POWER",
        "object": "REASON_FOR_SEARCH", "outcome": "RESULT", "outcome_linked": "OBJECT_LINKED",
        "clothing_removed": "OUTER_CLOTHING_REMOVED",
    }  # fmt: skip
    return Messy("stop_search", columns, truth)


def crimes() -> Messy:
    """Street-level crime under a crime system's own names."""
    draw = random.Random(5)
    columns = {
        "occ_no": [f"25{at:06d}" for at in range(ROWS)],
        "period": days(draw, "%b %Y", date(2025, 1, 1), 365),
        "crime_category": some(draw, "VIOLENCE AND SEXUAL OFFENCES|SHOPLIFTING|ASB|Drugs|Burglary|Robbery|Bike theft"),
        "current_outcome": some(draw, "Under Investigation|No suspect identified|Local Resolution|Caution|N/A"),
        "easting": numbers(draw, "{}", 600_000),
        "northing": numbers(draw, "{}", 900_000),
        "ward": some(draw, "Abbey|Castle|Priory|Riverside"),
    }
    truth = {"month": "period", "crime_type": "crime_category", "last_outcome": "current_outcome"}
    return Messy("street_crime", columns, truth)


def nameless() -> Messy:
    """Columns whose names say nothing: only values can tell."""
    draw = random.Random(6)
    columns = {
        "f1": numbers(draw, "{:06d}", 300),
        "f2": some(draw, "burglary|fraud|robbery|theft|violence"),
        "f3": phones(draw),
        "f4": days(draw, "%d/%m/%Y"),
        "f5": numbers(draw, "{}", 90),
        "f6": some(draw, "Y|N"),
    }
    return Messy("nominals", columns, {"offence": "f2", "phone": "f3", "recorded": "f4"})


SOURCES = (shouting, prefixed, camel, stops, crimes)


def counted(values: list[str]) -> tuple[Counter[str], int]:
    """Rows of each value, and rows without one."""
    counts = Counter(value for value in values if value)
    return counts, len(values) - sum(counts.values())
