"""Suggest a mapping for a new source from its names and values; a person confirms it."""
