"""The demonstration federation."""
