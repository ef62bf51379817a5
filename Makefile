# `make demo` and `make test` are all a newcomer needs: both set up what they use.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(READY)  ## run detect and classify on the bundled sample picture
	$(BIN)/python benchmarks/demo.py

test: $(READY)  ## lint, types and the whole test suite
	$(MAKE) --no-print-directory lint types
	$(BIN)/python -m pytest --numprocesses=auto

lint: $(READY)  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)  ## ruff: fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY)  ## mypy
	$(BIN)/mypy

bench: $(READY)  ## speed beside other engines; writes benchmarks/results.md
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python benchmarks/bench.py

clean:  ## remove the virtual environment, caches and outputs
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache demo-out predictions*.jpg
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
