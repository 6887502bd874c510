"""Runs inside one force: the only code that sees records."""
