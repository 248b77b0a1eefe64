# Everything needs only Python 3.11 (or newer) and make: the virtual environment is built on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.installed

.PHONY: demo overview demo-epics test test-long test-beside lint docs bench bench-network bench-peers reproduce clean

demo: $(STAMP)
	@echo "A simulated scan and its images by every method; the first time, loops are compiled meanwhile, up to some minutes"
	$(BIN)/cxgi demo --out demo-output

# Renews the first picture of README.md.
overview: demo
	cp demo-output/overview.png docs/overview.png

# The same over Channel Access, with an IOC of its own; DETECTOR=keithley, tetramm, scaler or all.
demo-epics: $(STAMP)
	$(BIN)/cxgi demo --epics --detector $(or $(DETECTOR),generic) --out demo-output/epics

# In more processes than cores, as some always wait for others; a file always in one of them, the slow files first
# (tests/conftest.py). They share bytecode, and the loops that are compiled while they begin.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder --numprocesses
COMPILE := $(BIN)/python -c 'from cxgi_bluesky.reconstruction.solvers import kernels as k; k.compile_primal_dual(); k.compile_augmented_lagrangian()'

test: $(STAMP)
	@echo "Numerical loops are compiled while the tests begin, once: silence for up to some minutes on a busy machine"
	$(COMPILE) & $(PYTEST) 3 -m "not long"

# Kills, soaks, and further cases of what `make test` has one of: they wait for other processes half of their time. Only
# files that have some are collected.
test-long: $(STAMP)
	$(PYTEST) 5 -m long $$(grep -rlE "mark\.long|long_case\(" --include="test_*.py" tests)

# In one environment with what facilities have beside it, of the versions that pip chooses; blueapi in one of its own.
BESIDE := .venv-beside
BLUEAPI := .venv-blueapi
test-beside:
	$(PYTHON) -m venv $(BESIDE)
	$(BESIDE)/bin/python -m pip install --quiet --upgrade pip
	$(BESIDE)/bin/python -m pip install --quiet torch==2.13.0 '.[epics]' apstools==1.7.12 apsbits==2.0.4 bluesky-queueserver \
		hypothesis pytest pytest-timeout
	$(BESIDE)/bin/python -m pip check
	$(BESIDE)/bin/cxgi demo --board cu32 --fraction 0.0625 --out demo-output/beside
	$(BESIDE)/bin/python -m pytest tests/catalog/test_catalog.py
	$(PYTHON) -m venv $(BLUEAPI)
	$(BLUEAPI)/bin/python -m pip install --quiet --upgrade pip
	$(BLUEAPI)/bin/python -m pip install --quiet torch==2.13.0 . blueapi==1.21.0
	$(BLUEAPI)/bin/python -m tests.beside.check_blueapi demo-output/blueapi

# Renews docs/reference/measured.md; MEASURED=folder adds the measured 32 x 32 files.
ORDERS ?= zig-zag cake-cutting variable-density learned-density
bench: $(STAMP)
	$(BIN)/python -m benchmarks.suite all $(if $(MEASURED),--measured $(MEASURED)) --orders $(ORDERS) \
		--out docs/reference/bench.json --markdown docs/reference/measured.md

# Renews docs/reference/network.md: the network beside all other methods; WEIGHTS=file for others than those shipped.
bench-network: $(STAMP)
	$(BIN)/python -m benchmarks.suite network --seeds 5 --peer-minutes 15 $(if $(WEIGHTS),--weights $(WEIGHTS)) \
		--out docs/reference/network.json --markdown docs/reference/network.md

# Renews docs/reproduction.md and its pictures: the paper's figures on the simulated beamline.
reproduce: $(STAMP)
	$(BIN)/python -m benchmarks.paper --out docs

# The same coefficients for us and for other packages, which live in an environment of their own; PUBLISHED=folder
# adds the networks whose weights lie there (docs/reference/published-networks.md), WEIGHTS=file as above.
bench-peers: $(STAMP) $(PEERS_STAMP)
	$(BIN)/python -m benchmarks.peers.compare --python $(PEERS)/bin/python --orders zig-zag $(filter-out zig-zag,$(ORDERS)) \
		$(if $(WEIGHTS),--weights $(WEIGHTS)) --out docs/reference/peers.json --markdown docs/reference/peers.md
	$(if $(PUBLISHED),$(BIN)/python -m benchmarks.peers.published --published $(PUBLISHED) \
		$(if $(WEIGHTS),--weights $(WEIGHTS)) --out docs/reference/published-networks.json --markdown docs/reference/published-networks.md)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation site, in docs/_build; every warning is an error. With MPLBACKEND set, a notebook's pictures are lost.
docs: $(STAMP)
	@echo "The notebook of the tutorial is run anew, and all pages are made: some minutes, in silence"
	env -u MPLBACKEND $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --jobs auto docs docs/_build/html
	@echo "The site: docs/_build/html/index.html"

# With a recent pip, and without compiling all to bytecode: Python does that with what it imports.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it with make PYTHON=...")'
	@echo "Setting up $(VENV), once. 1 of 2: an empty environment"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip hatchling hatch-fancy-pypi-readme editables
	@echo "2 of 2: packages are downloaded and installed: some minutes, in silence"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-compile --no-build-isolation --editable '.[dev,docs,session,spectra,epics,cluster,ophyd-async,pva]'
	touch $(STAMP)

$(PEERS_STAMP): benchmarks/peers/requirements.txt benchmarks/peers/constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --constraint benchmarks/peers/constraints.txt --requirement benchmarks/peers/requirements.txt
	touch $(PEERS_STAMP)

clean:
	rm -rf $(VENV) $(PEERS) $(BESIDE) $(BLUEAPI) demo-output docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
