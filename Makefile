# make sweep: set up, train the quickstart, write its report.   make test: set up, check, run the tests.
# make reproduce: the papers' claims, in minutes; PROFILE=full for all seeds and sizes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
SWEEP ?= sweeps/quickstart.yaml
RESULTS ?= results/quickstart
PROFILE ?= fast

.PHONY: sweep reproduce test lint setup readme-test fuzz bench clean

sweep: $(STAMP)
	$(BIN)/seedbed launch $(SWEEP) --results $(RESULTS)
	$(BIN)/seedbed report $(RESULTS)

reproduce: $(STAMP)
	$(BIN)/seedbed reproduce --profile $(PROFILE)

test: $(STAMP) lint
	$(BIN)/python -m pytest -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every command of the README, at full length.
readme-test: $(STAMP)
	SEEDBED_README=full $(BIN)/python -m pytest tests/test_readme.py -m "" --timeout 7200

# The malformed specs at their full number.
fuzz: $(STAMP)
	SEEDBED_EXAMPLES=5000 $(BIN)/python -m pytest tests/spec -k fuzz -m "" --timeout 3600

# Every row of the benchmark (half an hour on 2 cores, on a machine with nothing else to do), and the README's table.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,bench]"
	$(BIN)/python -m benchmarks.bench

setup: $(STAMP)

# Exact versions come from constraints.txt; they are what the stated numerics mean.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("seedbed needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
