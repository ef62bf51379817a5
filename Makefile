# `make demo` and `make test` are all a newcomer needs: both set up what they use. `make check` is the shorter test.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CORE   := $(VENV)/.core
READY  := $(VENV)/.ready
SCENES := build/toys/valid.list
SLOWEST := --durations=20 --durations-min=1

.DEFAULT_GOAL := help
.PHONY: help demo scenes train-demo check test cluster docs matrix fuzz lint format types bench wheel clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(CORE): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Installing pydarknet and its four dependencies into $(VENV)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(READY): $(CORE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(CORE)  ## find the toys in the bundled picture; writes demo-out/sample.jpg
	$(BIN)/pydarknet detector test cfg/toys.data cfg/toys.cfg data/toys.weights data/sample.jpg -thresh .3 --out-dir demo-out
	@echo "The picture with the boxes is demo-out/sample.jpg."

scenes: $(SCENES)  ## draw the 2,400 pictures that train-demo learns from

$(SCENES): benchmarks/scenes/draw_scenes.py benchmarks/scenes/toy_shapes.py benchmarks/scenes/toy_tables.py | $(CORE)
	$(BIN)/python benchmarks/scenes/draw_scenes.py $(@D)

train-demo: $(SCENES)  ## train the model of the demo anew and measure it, below build/toys
	$(BIN)/pydarknet train cfg/toys.data cfg/toys.cfg --seed 1
	$(BIN)/pydarknet detector map cfg/toys.data cfg/toys.cfg build/toys/backup/toys_final.weights

check: $(READY)  ## lint, types and the tests that are not slow
	$(MAKE) --no-print-directory lint types
	$(BIN)/python -m pytest --numprocesses=auto -m "not slow and not cluster"

test: $(READY)  ## lint, types and the whole test suite, but for `make cluster`
	$(MAKE) --no-print-directory lint types
	$(BIN)/python -m pytest --numprocesses=auto -m "not cluster" $(SLOWEST)

cluster: $(READY)  ## the tests on local clusters of the extra `ray`
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[ray]'
	$(BIN)/python -m pytest -m cluster $(SLOWEST)

docs: $(READY)  ## the site of the documents, build/site: no broken link; runs the notebooks
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python -m pytest tests/test_site.py tests/test_notebooks.py

matrix:  ## quick tests with the oldest and newest dependencies, on every Python at hand; long
	$(PYTHON) .ci/matrix.py

fuzz: $(READY)  ## damaged inputs of all kinds for MINUTES=10; what fails is kept in tests/fuzz/found
	$(BIN)/python tests/fuzz/run.py --minutes $(or $(MINUTES),10) --seed $$(date +%s)

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

wheel: $(READY)  ## dist/*.whl with compiled kernels, which starts without compiling; needs a C linker; takes minutes
	$(BIN)/python -m release.build

clean:  ## remove the virtual environment, caches and outputs
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache demo-out predictions*.jpg
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
