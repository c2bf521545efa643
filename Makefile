# make sweep: set up, train the quickstart (SWEEP=my_sweep.yaml: that), write its report.
# make check: what to run while editing, under a minute.
# make test: set up, check, run the tests.   make reproduce: the papers' claims, in minutes; PROFILE=full for all.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
SWEEP ?= sweeps/quickstart.yaml
RESULTS ?= results/$(basename $(notdir $(SWEEP)))
PROFILE ?= fast
# Worker processes of the tests. Files stay whole, and whatever starts Ray or measures time runs in one of them.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest
PARALLEL := --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder
# Set-up leaves compiling bytecode to the first import, which must then keep it: every process would compile torch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: contract-test longer-test zoo-test fleet-test object-test slurm-test sweep reproduce check test page-test cuda-test lint docs readme-test fuzz fault-test mutants cluster-test bench bench-scale benchmark landscape setup clean

sweep: $(STAMP)
	$(BIN)/seedbed launch $(SWEEP) --results $(RESULTS)
	$(BIN)/seedbed report $(RESULTS)

reproduce: $(STAMP)
	$(BIN)/seedbed reproduce --profile $(PROFILE)

# Lint, types, the packages that need no torch, and one tiny block.
check: $(STAMP) lint
	SEEDBED_EXAMPLES=20 $(PYTEST) $(PARALLEL) --durations 5 -m "not slow and not longer and not ray and not native and not wandb" \
		tests/spec tests/store tests/analysis tests/test_imports.py tests/engine/test_optim.py \
		--ignore tests/analysis/test_report.py

test: $(STAMP) lint
	$(PYTEST) $(PARALLEL) -m "not slow and not longer"

# Tests of which `make test` runs one form or a shorter one (ten minutes).
longer-test: $(STAMP)
	$(PYTEST) $(PARALLEL) -m "longer and not slow"

# Programs and kernels written from torch code, for every module of tests/zoo, and graphs of 300 modules drawn at random (ten minutes).
zoo-test: $(STAMP)
	SEEDBED_EXAMPLES=300 $(PYTEST) tests/codegen -m "" --timeout 1800

# What `make test` leaves out of its rooms: programs of every pair of a task and a model, of what `seedbed new` writes and
# of the code in the documents, all figures of the papers, and longer ways through the commands (ten minutes).
contract-test: $(STAMP)
	$(PYTEST) $(PARALLEL) tests/contracts tests/own_code tests/engine tests/test_docs.py tests/papers tests/training \
		tests/sweeps tests/tasks tests/benchmarks -m slow

# CUDA kernels of every module of tests/zoo: trained on the CPU beside torch, and compiled by NVRTC, which needs no GPU, for
# the table in docs/compiler.md (ten minutes).
cuda-test: $(STAMP)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[dev,cuda]"
	$(PYTEST) tests/codegen/test_cuda.py -m "" --timeout 1800
	$(BIN)/python -m benchmarks.zoo.cuda

# The page in a browser, which must be there: chromium, on a machine that has one. `make test` skips it elsewhere.
page-test: $(STAMP)
	SEEDBED_BROWSER=required $(PYTEST) tests/page tests/analysis/test_report.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What the documents show of results: the README's picture and figures, the tables of docs/speed.md, and the picture of
# the page, which needs chromium.
docs: $(STAMP)
	test -f $(RESULTS)/report/report.html || $(MAKE) sweep
	$(BIN)/python -m benchmarks.docs $(RESULTS)

# Every command of the README, at full length.
readme-test: $(STAMP)
	SEEDBED_README=full $(PYTEST) tests/test_readme.py -m "" --timeout 7200

# Odd inputs (two hours of a core): the real command's, and the table of docs/reliability.md; malformed specs; the
# store against its model, and against itself without its guards. INPUTS is the number of the command's.
INPUTS ?= 10000
fuzz: $(STAMP)
	SEEDBED_EXAMPLES=5000 $(PYTEST) tests/spec -k fuzz -m "" --timeout 3600
	SEEDBED_SEQUENCES=500 $(PYTEST) tests/store/test_store_machine.py -m "" --timeout 7200
	$(BIN)/python -m tests.fuzz.run --inputs $(INPUTS) --write

# Faults injected into real commands, and random subsets of all files lost (half an hour on 2 idle cores); the table of
# docs/reliability.md. FAULTS is their number. VERDICTS keeps what came of each: the same call goes on where it ended, and
# another SEED adds to it.
FAULTS ?= 10000
SEED ?= 0
VERDICTS ?= build/faults.jsonl
fault-test: $(STAMP)
	mkdir -p $(dir $(VERDICTS))
	$(BIN)/python -m tests.faults.run --tries $(FAULTS) --seed $(SEED) --to $(VERDICTS) --write
	SEEDBED_FAULTS=100 $(PYTEST) tests/sweeps/test_repair.py -m "" --timeout 1200
	$(PYTEST) tests/tracking -m slow

# Each sync, rename, checksum and fence taken out in turn, and the guards of object stores: some test must fail (eight minutes of a core).
mutants: $(STAMP)
	$(BIN)/python -m tests.faults.mutants --write

# A launch on two nodes of a Ray cluster that differ in what they can compute (two minutes); then kills of every process
# of Ray, two nodes on this computer, signals under Ray and races of launches: an hour on 2 idle cores, so not part of
# fault-test. It writes tables of docs/reliability.md and docs/security.md. TRIES is how many workers are killed; the
# rest is in proportion.
TRIES ?= 20
cluster-test: $(STAMP)
	$(PYTEST) tests/launch tests/cluster tests/own_code -m slow
	$(BIN)/python -m tests.cluster.ports --write
	$(BIN)/python -m tests.cluster.run --tries $(TRIES) --write

# Eight workers on one results folder, of which 200 are killed at drawn moments, others suspended or asked to leave: each
# run once, to the bits of a launch (ten minutes).
fleet-test: $(STAMP)
	$(BIN)/python -m tests.workers.fleet --kills 200

# The same on an object store: moto's S3 server, one call in a hundred lost before it is done and one in a hundred after
# (needs moto[server], and obstore; half an hour).
object-test: $(STAMP)
	$(BIN)/python -m tests.store.object_server --lost 0.01 --refused 0.01 \
		$(BIN)/python -m tests.workers.fleet --kills 200 --between 0.6 --bucket s3://seedbed

# A real Slurm on this host (root, slurm-wlm and munge), whose job array works on a sweep while a node is killed.
slurm-test: $(STAMP)
	$(BIN)/python -m tests.cluster.slurm

# Every row of the benchmark (half an hour on 2 cores, on a machine with nothing else to do), and the tables made of them.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[dev,bench]"
	$(BIN)/python -m benchmarks.bench

# What sweeps of up to a million runs cost beside their training: planning, packs, records, reading (half an hour on 2 idle cores).
bench-scale: $(STAMP)
	$(BIN)/python -m benchmarks.scale

# The sweeps of the forecast benchmark (forty minutes on 2 cores; resumable), and the tables in docs/forecast_scores.md.
benchmark: $(STAMP)
	$(BIN)/seedbed benchmark --results results/benchmark
	$(BIN)/python -m benchmarks.forecasts.scores results/benchmark
	$(BIN)/python -m benchmarks.forecasts.learning_curve results/benchmark

# The page docs/landscape.md: factorials of initial matrices between two parents, and spread by width (fast: 2,592 runs);
# with matrices by themselves, learning rates, later pairs, fates, other settings and Adam's eps (PROFILE=full: 19,768
# runs). The same call goes on where it ended, and either profile uses what the other has trained.
landscape: $(STAMP)
	$(BIN)/python -m sweeps.landscape --profile $(PROFILE)
	$(BIN)/python -m benchmarks.landscape results/landscape

setup: $(STAMP)

# Exact versions come from constraints.txt; they are what the stated numerics mean. Resolving them takes Python's own pip
# twice the time of a newer one, without which set-up goes on.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("seedbed needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	-$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
