# The commands of this project; `make` alone lists them.
#
# PYTHON names the interpreter that .venv is made with: PYTHON=python3.12 make .venv

PYTHON ?= python3
TORCH  := torch==2.13.0

VENV   := .venv
BIN    := $(VENV)/bin
LOCKED := $(VENV)/.locked
READY  := $(VENV)/.ready
TYPED  := neuromorphic energy export
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq

# One thread per process: Lava runs a process per layer, and they would fight for the cores.
export OMP_NUM_THREADS ?= 1

# The tests start hundreds of processes, each of which would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help .venv lint alone test test-slow demo bench counters readers netx zoo wheel tutorials site clean

help: ## list these commands
	@grep -hE '^[.a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.venv: $(READY) ## the virtual environment, made anew when requirements.lock changes

$(LOCKED): requirements.lock
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: $(PYTHON) not found; name another: PYTHON=python3.12 make .venv" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); expected 3.11 to 3.13: PYTHON=python3.12 make .venv" >&2; exit 2; }
	@echo "Creating $(VENV) with $$($(PYTHON) -V): about 2 GB, one to three minutes"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "  1/3 $(TORCH) and its dependencies" && $(PIP) install $(TORCH)
	@echo "  2/3 requirements.lock" && $(PIP) install --no-deps --ignore-requires-python -r requirements.lock
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	@echo "  3/3 spikeclip and its commands" && $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

lint: $(READY) ## style, types and the imports that the layout allows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED:%=-p %)
	$(BIN)/python -m pytest -q tests/test_imports.py

# Two processes, each a file at a time: files share what is expensive to make.
SIDE_BY_SIDE := -n 2 --dist loadfile

# These wait for processes that end more than they compute, so that `lint` runs beside them: it starts none of Lava's.
alone: $(READY)
	$(BIN)/python -m pytest -m "alone and not slow" $$(grep -rl --include='*.py' 'mark\.alone' tests)

test: $(READY) ## style, types and the test suite but for its slow proofs
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint alone
	$(BIN)/python -m pytest -m "not alone and not slow" $(SIDE_BY_SIDE) --ignore=tests/test_imports.py

test-slow: $(READY) ## proofs of more than 20 s each, and many more random examples; the last figures: docs/results.md
	$(BIN)/python -m pytest -m "slow or drawn" --hypothesis-profile=many $(SIDE_BY_SIDE)

demo: $(READY) ## a shipped checkpoint from export to energy, on sample photographs (under 3 minutes)
	$(BIN)/python scripts/demo.py

bench: $(READY) ## Lava and the fast executor against PyTorch and ONNX Runtime, side by side (about 15 minutes)
	$(BIN)/python -m benchmarks.lava
	$(BIN)/python -m benchmarks.lava paper-base --random --no-stock
	$(BIN)/python -m benchmarks.onnx_runtime
	mkdir -p build && $(BIN)/spikeclip-export spike-driven-small -o build/integers.nir
	$(BIN)/python -m benchmarks.onnx_integers build/integers.nir
	$(BIN)/python -m benchmarks.executor spike-driven-small
	$(BIN)/python -m benchmarks.executor paper-small

counters: $(READY) ## other people's counters beside ours (docs/counters.md)
	$(PIP) install --no-deps --target build/counters -r benchmarks/counters/requirements.txt
	PYTHONPATH=build/counters $(BIN)/python -m benchmarks.counters

readers: $(READY) ## our files in other people's NIR readers, every spike compared (docs/readers.md)
	$(PIP) install --no-deps --target build/readers -r benchmarks/readers/requirements.txt
	PYTHONPATH=build/readers $(BIN)/python -m benchmarks.readers
	PYTHONPATH=build/readers $(BIN)/python -m pytest -q tests/export/test_readers.py

# NETX names netx files from elsewhere; lava-dl's metadata refuses Python 3.11, as Lava's does (docs/install.md).
netx: $(READY) ## chains of ours and files of NETX in lava-dl's own reader, every spike, u and v compared (docs/deploy.md)
	$(PIP) install --no-deps --ignore-requires-python --target build/netx -r benchmarks/netx/requirements.txt
	PYTHONPATH=build/netx:. $(BIN)/python -m benchmarks.netx $(NETX)

# CLONES holds clones of the public repositories (docs/frontend.md).
zoo: $(READY) ## other people's networks through the front door, every spike compared (docs/frontend.md)
	$(PIP) install --no-deps --target build/zoo -r benchmarks/zoo/requirements.txt
	PYTHONPATH=build/zoo $(BIN)/python -m benchmarks.zoo $(or $(CLONES),build/clones)
	PYTHONPATH=build/zoo $(BIN)/python -m pytest -q tests/export/frontend/test_neurons.py tests/export/frontend/test_norse.py

wheel: $(READY) ## the wheel, built and tried apart from the sources, with the core's dependencies only
	@test -f demo/model.nir || $(BIN)/python -m spikeclip export spike-driven-small -o demo/model.nir
	$(BIN)/python scripts/check_wheel.py demo/model.nir

# In an environment of its own, as nothing else needs what it installs.
tutorials: $(READY) ## the notebooks of docs/tutorials, executed in place
	$(BIN)/python -W ignore scripts/run_notebooks.py docs/tutorials/*.ipynb

site: ## the documentation as a site in build/site, without a warning
	@test -x build/docs/bin/mkdocs || { $(PYTHON) -m venv build/docs && build/docs/bin/pip install -q \
		$$(sed -n 's/^docs = \[\(.*\)\].*/\1/p' pyproject.toml | tr -d '",'); }
	build/docs/bin/mkdocs build --strict

clean: ## remove .venv and everything that tools left behind
	rm -rf $(VENV) build dist runs demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
