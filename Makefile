# Needs Python 3.11 or later, pip and make; uses uv when it is there. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BACKENDS := $(patsubst %/pyproject.toml,%,$(wildcard backends/*/pyproject.toml))
EDITABLE := -e '.[cli]' $(foreach backend,$(BACKENDS),-e ./$(backend))
PROJECTS := pyproject.toml $(wildcard backends/*/pyproject.toml)
UV := $(shell command -v uv 2>/dev/null)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

ifdef UV
INSTALL := uv pip install --quiet --python $(BIN)/python
else
INSTALL := $(BIN)/python -m pip install --quiet
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-long conformance check format bench build clean

help:  ## What can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.made:
ifdef UV
	uv venv --quiet --clear --python '>=3.11' $(VENV)
else
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "partywall needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
endif
	@touch $@

$(VENV)/.engine: $(VENV)/.made $(PROJECTS)
	$(INSTALL) $(EDITABLE)
	@touch $@

$(VENV)/.%: $(VENV)/.engine
	$(INSTALL) --group $*
	@touch $@

demo: $(VENV)/.engine  ## The main job, told step by step on a copy of the sample data.
	@$(BIN)/python -m examples.demo

test: $(VENV)/.test  ## Every test but the long ones.
	$(BIN)/python -m pytest -n 2

test-long: $(VENV)/.test  ## The large figures: many more kills, steps and operations.
	$(BIN)/python -m pytest -n 2 -m long --timeout 3600

conformance: $(VENV)/.test  ## The kit for authors of backends, over every installed backend and the example plugin.
	@$(INSTALL) --no-deps --no-build-isolation --upgrade --target build/example ./examples/ephemeral-backend
	PYTHONPATH=build/example $(BIN)/python tools/conformance.py

check: $(VENV)/.test $(VENV)/.check  ## Lint, format, strict types, architecture.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python tools/generate_aio.py --check
	$(BIN)/python tools/generate_schemas.py --check
	$(BIN)/python -m pytest -q tests/test_architecture.py

format: $(VENV)/.check  ## Format the code and write the generated source again.
	$(BIN)/ruff check --fix
	$(BIN)/python tools/generate_aio.py
	$(BIN)/python tools/generate_schemas.py
	$(BIN)/ruff format

bench: $(VENV)/.bench  ## Benchmarks, peers side by side in one run.
	$(BIN)/python -m benchmarks

build: $(VENV)/.build  ## A wheel and a source archive of each distribution, in dist/.
	$(BIN)/python -m build --outdir dist .
	@for backend in $(BACKENDS); do $(BIN)/python -m build --outdir dist $$backend || exit 1; done

clean:  ## Remove what was made, the virtual environment included.
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
