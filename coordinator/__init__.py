"""Routes and adds: sees no record, opens no total."""
