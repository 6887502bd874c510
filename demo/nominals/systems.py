"""Records systems that hold the same facts in different ways, as real ones do. Their names are made up.

What each writes, its mapping in demo/mappings/nominals turns back; a test loads them all and counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from demo.nominals.spelling import PHONE, VEHICLE, dated, moment, named, or_else, pick, pick_any
from demo.nominals.values import ETHNICITIES, GROUPS, OFFENCES


@dataclass(frozen=True, slots=True)
class Text:
    """Text with a separator."""

    name: str
    """Of the file; with `*` in it, a file for each batch of rows, with its number there."""

    delimiter: str = ","
    encoding: str = "utf-8"
    line_ends: tuple[str, ...] = ("\n",)
    """Taken in turn, some thousand lines each."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A folder of Parquet files, one for each batch of rows."""

    name: str


@dataclass(frozen=True, slots=True)
class Tables:
    """A database in one file, with persons and events apart."""

    name: str
    persons: Mapping[str, str]
    """Facts that are the same on all of a person's rows, by column."""

    view: str = ""
    """SELECT that joins them, kept in the database as `nominals`."""


@dataclass(frozen=True, slots=True)
class System:
    """One records system."""

    medium: Text | Typed | Tables
    columns: Mapping[str, str]
    """Expression over the facts, by column of the file or of the table `events`."""

    seen_as: Mapping[int, int] = field(default_factory=dict)
    """Ethnic groups that it cannot tell from another."""

    repeats: bool = False
    """Whether it holds some rows twice."""


_GROUPS = [code or None for code, _, _ in GROUPS]
_MIXED, _NOT_STATED, _UNKNOWN = (ETHNICITIES.index(code) for code in ("mixed", "not_stated", "unknown"))
_POUNDS = "(loss // 100)::VARCHAR || '.' || lpad((loss % 100)::VARCHAR, 2, '0')"
_POUNDS_WITH_COMMAS = "format('{:,}', loss // 100) || '.' || lpad((loss % 100)::VARCHAR, 2, '0')"
_STATIONS = ("Caf\u00e9 Row", "Ynys M\u00f4n", "Saint-H\u00e9lier Street", "B\u00e2le Wharf", "Market Square")

ALDER = System(
    Text("persons.csv"),
    {
        "person_ref": named("A"),
        "pnc": "CASE WHEN mess % 3 = 0 THEN pnc_bare(pnc, wrong_letter) ELSE pnc_long(pnc, wrong_letter) END",
        "telephone": PHONE,
        "vrm": VEHICLE,
        "recorded_on": dated("%Y-%m-%d"),
        "age": "age",
        "loss": _POUNDS,
        "role": pick("role", ("SUS", "VIC", "MIS", "WIT", None)),
        "sex": pick("gender", ("M", "F", "X", None)),
        "ethnic_group": pick("ethnicity", ("Asian", "Black", "Mixed", "White", "Other", "Not stated", None)),
        "offence": pick("offence", OFFENCES),
        "risk": pick("risk", ("H", "M", "L", "N", "-", None)),
        "outcome": pick("outcome", ("CHG", "OOCD", "NFA", "FND", "OPEN", None)),
        "restricted": "CASE WHEN restricted THEN 'Y' ELSE 'N' END",
    },
)

BIRCH = System(
    Text("Nominal extract.csv", delimiter=";", encoding="windows-1252", line_ends=("\r\n",)),
    {
        "Nominal ref": or_else(named("BI/"), "N/K"),
        "PNC no": or_else("pnc_short(pnc, wrong_letter)", "N/K"),
        "Contact number": or_else(PHONE, "N/K"),
        "Vehicle reg": or_else(VEHICLE, "N/K"),
        "Date recorded": dated("%d/%m/%Y", "01/01/1900"),
        "Age": or_else("age::VARCHAR", "N/K"),
        "Value of loss": or_else(f"'£' || {_POUNDS_WITH_COMMAS}", "N/K"),
        "Involvement": pick_any("role", (
            ("Suspect", "Offender"), ("Victim", "Aggrieved"), ("Misper",), ("Witness",), ("N/K",),
        )),
        "Sex": pick("gender", ("Male", "Female", "Non-binary", "N/K")),
        "Ethnicity (16+1)": or_else(pick("ethnic_group", _GROUPS), "N/K"),
        "Offence type": pick("offence", (
            "Burglary", "Crim dam", "Drugs", "Fraud", "Public order", "Robbery", "RASSO", "Theft", "Vehicle crime",
            "VAP", "Off weapon", "No offence", "N/K",
        )),
        "Risk level": pick("risk", ("High", "Medium", "Low", "Absent", "n/a", "N/K")),
        "Result": pick("outcome", ("Charge", "Caution", "NFA", "Traced", "Under investigation", "N/K")),
        "Station": pick("mess % 5", _STATIONS),
        "Sensitive": "CASE WHEN restricted THEN 'Sensitive' ELSE '' END",
    },
    repeats=True,
)  # fmt: skip

CEDAR = System(
    Text("nominals.txt", delimiter="\t", encoding="utf-16", line_ends=("\r\n", "\n")),
    {
        "URN": named("", 12),
        "PNCID": "lower(pnc_long(pnc, wrong_letter))",
        "TEL": PHONE,
        "VRM": VEHICLE,
        "REC_DATE": dated("%d-%b-%Y"),
        "AGE_YRS": "coalesce(age, 999)",
        "LOSS": f"{_POUNDS} || ' GBP'",
        "ROLE_CD": pick("role", ("S", "V", "MP", "W", "U")),
        "SEX_CD": pick("gender", ("1", "2", "9", "0")),
        "IC_CODE": pick_any("ethnicity", (
            ("IC4", "IC5"), ("IC3",), ("",), ("IC1", "IC1", "IC2"), ("IC6",), ("",), ("IC9", "IC0"),
        )),
        "OFFENCE_CD": pick("offence", (
            "BUR", "CDA", "DRU", "FRA", "PUB", "ROB", "SEX", "THE", "VEH", "VIO", "WPN", "NIL", "99",
        )),
        "RISK_CD": pick("risk", ("1", "2", "3", "4", "0", "99")),
        "OUTCOME_CD": pick("outcome", ("1", "2", "3", "4", "5", "99")),
        "PLACE": pick("mess % 5", _STATIONS),
        "MARKER": "CASE WHEN restricted THEN 'R' ELSE '' END",
    },
    seen_as={_MIXED: _UNKNOWN, _NOT_STATED: _UNKNOWN},
)  # fmt: skip
"""Officers' identity codes know neither a mixed group nor somebody who would not say."""

HOME_OFFICE = (
    ("28A", "28B", "30C"), ("56A", "58A", "149"), ("92A", "92D", "92E"), ("51", "53C", "53D"), ("9A", "66", "125"),
    ("34A", "34B"), ("17A", "19C", "20A"), ("39", "44", "46", "49"), ("45", "48", "126"), ("5D", "8N", "105A"),
    ("10A", "10C", "10D"), ("000",), ("XXX",),
)  # fmt: skip
"""Of each offence group, some classes; as in demo/mappings/nominals/codes/offence_classes.csv."""

ELM = System(
    Text("extract-*.txt.gz", delimiter="|", encoding="utf-8-sig"),
    {
        "nominal_no": named("E-"),
        "pnc_no": "pnc_long(pnc, wrong_letter)",
        "phone_no": PHONE,
        "reg_mark": VEHICLE,
        "occ_dt": dated("%Y%m%d", "00000000"),
        "birth_dt": "coalesce(born, 19000101)",
        "loss_pence": "loss",
        "involvement": pick("role", ("subject", "injured party", "missing", "witness", "")),
        "gender": pick_any("gender", (("m", "M", "male"), ("f", "F", "female"), ("o",), ("", "?"))),
        "ethnicity": or_else(pick("ethnic_group", _GROUPS), "99"),
        "ho_class": pick_any("offence", HOME_OFFICE),
        "misper_risk": pick("risk", ("HIGH", "MEDIUM", "LOW", "NO APPARENT RISK", "", "NOT ASSESSED")),
        "disposal": pick_any("outcome", (("CH", "SU"), ("CA", "CR", "PN"), ("NF",), ("RE",), ("UI",), ("",))),
        "access": "CASE WHEN restricted THEN 5 ELSE 1 END",
    },
)

HAZEL = System(
    Typed("nominals"),
    {
        "NominalId": "CASE WHEN person IS NOT NULL THEN ref END",
        "PncId": "pnc_long(pnc, wrong_letter)",
        "Mobile": PHONE,
        "Registration": VEHICLE,
        "EventDate": "(DATE '1970-01-01' + day::INTEGER)::DATE",
        "AgeAtEvent": "age::SMALLINT",
        "LossValue": "(loss / 100)::DECIMAL(9, 2)",
        "RoleId": "CASE WHEN role < 4 THEN (role + 1)::TINYINT END",
        "GenderText": pick("gender", ("Man", "Woman", "Neither", None)),
        "EthnicityId": "(10 * (ethnicity + 1))::SMALLINT",
        "Offence": f"upper({pick('offence', OFFENCES)})",
        "RiskId": "CASE WHEN risk < 5 THEN (5 - risk)::TINYINT END",
        "OutcomeId": "CASE WHEN outcome < 5 THEN (outcome + 1)::TINYINT END",
        "IsRestricted": "restricted",
    },
)

ROWAN = System(
    Tables(
        "records.duckdb",
        {
            "nominal": "ref",
            "pnc": "pnc_bare(pnc, wrong_letter)",
            "sex": pick("gender", ("MALE", "FEMALE", "OTHER", None)),
            "ethnicity": pick("ethnic_group", _GROUPS),
            "born": "born",
            "restricted": "restricted",
        },
        """
        SELECT e.*, p.pnc, p.sex, p.ethnicity, p.born, coalesce(p.restricted, false) AS restricted
        FROM events AS e LEFT JOIN persons AS p USING (nominal)
        """,
    ),
    {
        "nominal": "CASE WHEN person IS NOT NULL THEN ref END",
        "at_utc": f"replace(({moment('second - 3600 * summer::INTEGER')})::VARCHAR, ' ', 'T') || 'Z'",
        "age": "age",
        "role": pick("role", ("suspect", "victim", "missing", "witness", "unknown")),
        "offence": pick("offence", OFFENCES),
        "risk": pick("risk", ("high", "medium", "low", "none", "not applicable", None)),
        "outcome": pick("outcome", ("charged", "diverted", "filed", "found", "open", None)),
        "loss": "loss / 100",
        "phone": PHONE,
        "vehicle": VEHICLE,
    },
)

WILLOW = System(
    Tables(
        "records.sqlite",
        {
            "id": "ref",
            "pnc": "pnc_short(pnc, wrong_letter)",
            "sex": pick("gender", ("M", "F", "O", "U")),
            "ethnic_code": pick("ethnic_group", _GROUPS),
            "restricted": "restricted::INTEGER",
        },
    ),
    {
        "person_id": "CASE WHEN person IS NOT NULL THEN ref END",
        "recorded": f"strftime({moment('second')}, '%d/%m/%Y %H:%M')",
        "age": "age::INTEGER",
        "role": pick("role", ("SUSP", "VICT", "MISP", "WITN", "")),
        "offence": pick("offence", OFFENCES),
        "risk": pick("risk", ("high", "medium", "low", "none", "not_missing", "")),
        "outcome": pick("outcome", ("charged", "out_of_court", "no_further_action", "found", "open", "")),
        "loss": _POUNDS_WITH_COMMAS,
        "phone": PHONE,
        "vehicle": VEHICLE,
    },
    repeats=True,
)

SYSTEMS = {
    "alder": ALDER,
    "birch": BIRCH,
    "cedar": CEDAR,
    "elm": ELM,
    "hazel": HAZEL,
    "rowan": ROWAN,
    "willow": WILLOW,
}
"""By name; a mapping of that name lies in demo/mappings/nominals."""


def system_of(number: int) -> str:
    """Name of the records system of the force at a place in the list, from 0."""
    return list(SYSTEMS)[number % len(SYSTEMS)]
