# Everything needs only Python 3.11 (or newer) and make: the virtual environment is built on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench clean

demo: $(STAMP)
	$(BIN)/cxgi demo --out demo-output

test: $(STAMP)
	$(BIN)/python -m pytest

# Renews docs/reference/measured.md; MEASURED=folder adds the measured 32 x 32 files.
ORDERS ?= cake-cutting zig-zag variable-density
bench: $(STAMP)
	$(BIN)/cxgi bench all $(if $(MEASURED),--measured $(MEASURED)) --orders $(ORDERS) \
		--out benchmarks/bench.json --markdown docs/reference/measured.md

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev,session]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo-output build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
