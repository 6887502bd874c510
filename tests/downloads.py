"""Small downloads in the exact layout of data.police.uk, with rows of the tests' own."""

from __future__ import annotations

import zipfile

STREET = (
    "Crime ID,Month,Reported by,Falls within,Longitude,Latitude,Location,LSOA code,LSOA name,Crime type,"
    "Last outcome category,Context"
)
OUTCOMES = "Crime ID,Month,Reported by,Falls within,Longitude,Latitude,Location,LSOA code,LSOA name,Outcome type"
STOPS = (
    "Type,Date,Part of a policing operation,Policing operation,Latitude,Longitude,Gender,Age range,"
    "Self-defined ethnicity,Officer-defined ethnicity,Legislation,Object of search,Outcome,"
    "Outcome linked to object of search,Removal of more than just outer clothing"
)


def crime(month, kind="Burglary", outcome="Under investigation", place="On or near High Street"):
    """One street-level crime."""
    return f"{'ab' * 32},{month},Kent Police,Kent Police,0.5,51.3,{place},E01000001,Maidstone 001A,{kind},{outcome},"


def outcome(month, kind="Suspect charged"):
    """One outcome."""
    return f"{'cd' * 32},{month},Kent Police,Kent Police,0.5,51.3,On or near Mill Lane,E01000001,Maidstone 001A,{kind}"


def stop(stamp, gender="Male", found="Arrest"):
    """One stop and search, at a time stamp in UTC."""
    return (
        f"Person search,{stamp},False,,51.4,0.4,{gender},18-24,White - Irish,White,"
        f"Misuse of Drugs Act 1971 (section 23),Controlled drugs,{found},True,False"
    )


def text(header, rows, newline="\n"):
    """A file as the site writes it."""
    return newline.join([header, *rows, ""])


def small(newline="\n"):
    """Files of a small download by name: Kent with all three kinds and a gap, Essex with crimes alone."""
    return {
        "2025-01/2025-01-kent-street.csv": text(
            STREET,
            [crime("2025-01"), crime("2025-01", "Drugs"), crime("2025-01", place='"On or near Mill, Lane"')],
            newline,
        ),
        "2025-03/2025-03-kent-street.csv": text(
            STREET, [crime("2025-03", "Robbery"), crime("2025-03", "Anti-social behaviour", "")], newline
        ),
        "2025-01/2025-01-kent-outcomes.csv": text(
            OUTCOMES, [outcome("2025-01"), outcome("2025-01", "Offender fined")], newline
        ),
        "2025-01/2025-01-essex-street.csv": text(STREET, [crime("2025-01", "Shoplifting")], newline),
        "2019-06/2019-06-kent-stop-and-search.csv": text(
            STOPS, [stop("2019-06-05T10:00:00+00:00"), stop("2019-06-30T22:59:00+00:00", "Female")], newline
        ),
        # In summer the first hour of a month is the last of the month before in UTC.
        "2019-07/2019-07-kent-stop-and-search.csv": text(
            STOPS, [stop("2019-06-30T23:05:00+00:00"), stop("2019-07-31T22:30:00+00:00", "Female", "")], newline
        ),
    }


def as_folder(path, files):
    """Unpacked."""
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def as_zip(path, files):
    """As the site gives it, with entries for the folders."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in sorted({name.split("/")[0] + "/" for name in files if "/" in name}):
            archive.writestr(folder, "")
        for name, content in files.items():
            archive.writestr(name, content)
    return path
