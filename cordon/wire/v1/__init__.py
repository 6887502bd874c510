"""Generated from protos/cordon/wire/v1; `make protos` writes it anew."""
