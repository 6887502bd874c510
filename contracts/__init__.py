"""Data contracts and code lists, as package data."""
