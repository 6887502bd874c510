"""The register: signed events, in order, for anyone to check."""
