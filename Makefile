# Everything runs from here: the environment is made on first use and renewed when its inputs change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The real data sets that tests may use lie beside a checkout, where they are to be had.
ifneq ($(wildcard ../shared/data),)
export HARNESS_REAL_DATA ?= $(abspath ../shared/data)
endif

# Tests start many interpreters: as many at once as there are cores, each with one thread, and compiled modules are kept.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs --numprocesses logical --maxprocesses 8 --dist worksteal

.PHONY: demo test test-full lint types-strict types-standard bench format clean

# The sample's training sets have a few dozen examples, so heads are trained faster and longer than the protocol says.
demo: $(READY)
	rm -rf demo-run
	$(BIN)/harness eval --model sample --tasks xtreme --data sample --output demo-run \
	  --hyper epochs=20 --hyper learning_rate=1e-3 --hyper warmup=0.1 --hyper batch_size=8 --hyper dropout=0

$(READY): pyproject.toml constraints.txt harness/version.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0 hatchling editables
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[test]'
	touch $@

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target types-strict types-standard

# Both type checkers take minutes on one core. The second reads what is shipped here, and the rest with the full tests.
types-strict: $(READY)
	$(BIN)/mypy

types-standard: $(READY)
	$(BIN)/pyright harness plugins tasks

test: lint
	$(PYTEST) --durations=10

test-full: $(READY)
	$(BIN)/pyright tests benchmarks
	$(PYTEST) -m full --durations=20

# One table of ratios, measured side by side, into docs/performance.md; BENCH takes options, e.g. BENCH="--only search".
bench: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[test,bench]'
	$(BIN)/python benchmarks/table.py $(BENCH)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo-run runs dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
