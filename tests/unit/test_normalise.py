"""Identifiers that are hashed: which spellings become one, and what would join strangers and becomes none."""

import duckdb
import ibis
import pytest

from node.engine import DUCKDB
from node.normalise import PNC_LETTERS, SCHEMES


def made(scheme, texts):
    """What a scheme makes of texts."""
    table = ibis.table({"place": "int64", "text": "string"}, name="texts")
    with duckdb.connect() as database:
        database.execute("CREATE TABLE texts (place BIGINT, text VARCHAR)")
        database.executemany("INSERT INTO texts VALUES (?, ?)", list(enumerate(texts)))
        statement = DUCKDB.sql(table.select("place", made=SCHEMES[scheme](table["text"])))
        return [value for _, value in sorted(database.execute(statement).fetchall())]


def pnc(year, serial):
    """A PNC identifier with its right check letter."""
    return f"{year}/{serial:07d}{PNC_LETTERS[int(f'{year % 100:02d}{serial:07d}') % 23]}"


SPELLINGS = {
    "phone": {
        "+447700900123": [
            "07700 900123", "7700900123", "0044 (0)7700 900123", "+44-7700\u2013900123", "(07700)\u00a0900.123", "07700/900123",
            "+447700900123\u200b", "\ufeff07700\t900123", "+4407700900123",
        ],
        "+33612345678": ["+33 6 12 34 56 78", "0033612345678", "+33 (0)6 12 34 56 78"],
    },
    "pnc_id": {
        pnc(1999, 12345): [pnc(1999, 12345).replace("/", ""), "99/12345" + pnc(1999, 12345)[-1], "1999 - 0012345 - " + pnc(1999, 12345)[-1].lower()],
        pnc(2039, 1): [pnc(2039, 1)], pnc(1940, 1): [pnc(1940, 1)],
    },
    "vehicle": {
        "AB12CDE": ["ab12 cde", "ABI2CDE", "AB\u201312/CDE"], "OIA123": ["OIA 123"], "WIL1": ["WIL 1"], "1234XZ": ["1234 XZ"],
        "X123ABC": ["X123 ABC"], "ABC123D": ["ABC 123D"],
    },
}  # fmt: skip

NONE = {
    "phone": [
        "07777777777", "07999 999999", "07123456789", "07987654321", "07700000000", "+10000000000", "+1 999 999 9999",
        "\uff10\uff17\uff17\uff10\uff10\uff19\uff10\uff10\uff11\uff12\uff13", "07700\u0663900123", "tel:07700900123", "07700900123 (mum)",
        "07700900123 ext 4", "o7700900123", "07700900123\n07700900124", "07700900123/07700900124", "\u202a+447700900123\u202c", "++447700900123",
        "07700+900123", "4.47700900123e11", "6700900123", "7000900123",
    ],
    "pnc_id": [pnc(2000, 0), "00/0Z", pnc(2040, 1), pnc(1939, 1), "PNC " + pnc(1999, 12345), pnc(1999, 12345).replace("/", "\\"), pnc(1999, 12345) + "?"],
    "vehicle": [
        "VAN1", "REG123", "BMW320", "UNKNOWN1", "TBC1", "A1", "1A", "123ABC", "NK1", "\u0391B12CDE", "AB12CDE (red)", "AB12CD\u0131", "AB12CD+E", "ZZZ999",
    ],
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_spellings_meet_and_strangers_do_not(scheme):
    """Separators of a closed set are no part; anything else, a default or what is no identifier becomes none."""
    wanted = {text: form for form, texts in SPELLINGS[scheme].items() for text in (form, *texts)}
    wanted |= dict.fromkeys(NONE[scheme])
    assert dict(zip(wanted, made(scheme, list(wanted)), strict=True)) == wanted
