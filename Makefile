# Everything that CI runs, and nothing that it does not.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3.11

.PHONY: demo check test slow bench protos format clean help
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@echo "setting up $(VENV) (once; takes about a minute)"
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || python3 -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "Cordon needs Python 3.11 or newer"; exit 1)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

check: $(VENV)/.ready  ## lint, types, import rules
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

demo: $(VENV)/.ready  ## a federation on this machine, shown act by act (FORCES=8 for fewer, STAY=1 to keep it up)
	@$(BIN)/python -m demo

# Bytecode is kept, whatever the environment says: a hundred tests start processes of their own, which would compile
# the packages anew each time.
test slow: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/.ready  ## every test but the slow ones
	$(BIN)/pytest -n 2 --dist loadgroup --durations=20

$(VENV)/.spark: requirements/spark.txt $(VENV)/.ready
	@command -v java >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -q update && apt-get -q install -y --no-install-recommends default-jre-headless; } || { echo "Spark's tests need Java 17 or newer: install it, then run make slow again"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r requirements/spark.txt
	@touch $@

slow: $(VENV)/.ready $(VENV)/.spark  ## statistics, long simulations, scale and soak
	$(BIN)/pytest -n 2 --dist loadgroup -m slow --timeout 3000 --durations=20

bench: $(VENV)/.ready  ## measure, and write the tables of docs/performance.md
	$(BIN)/python -m bench

format: $(VENV)/.ready  ## format and mend what can be mended
	$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .

protos: $(VENV)/.ready  ## write cordon/wire/v1 anew
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I protos --python_out=. --mypy_out=quiet:. protos/cordon/wire/v1/*.proto

clean:  ## remove the environment and caches
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
