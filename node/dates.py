"""Formats of dates, as a mapping writes them."""

DIRECTIVES = {
    "%Y": "yyyy", "%y": "yy", "%m": "MM", "%d": "dd", "%b": "MMM", "%B": "MMMM", "%H": "HH", "%I": "hh", "%M": "mm",
    "%S": "ss", "%p": "a", "%f": "SSSSSS", "%z": "XX",
}  # fmt: skip
"""What may stand in a date format, by strptime's letters, and Java's pattern for each."""
