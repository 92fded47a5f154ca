# One file of plain make: `make demo` shows what pathline does, `make test` shows that it works.

PYTHON  ?= python3
VENV    ?= .venv
DATA    ?= metr-la-week
MINUTES ?= 1
SEEDS   ?= 2
# Test processes. The tests are small: one thread each beats many threads that wait for one another.
JOBS    ?= 2
# Pairs that `make bench` measures; all without it. BENCH_THREADS in the environment says on how many threads.
PAIRS   ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# A data mirror beside the checkout saves the download.
ifeq ($(origin PATHLINE_DATA),undefined)
ifneq ($(wildcard ../shared/data/.),)
export PATHLINE_DATA := $(abspath ../shared/data)
endif
endif

# The theme's announcement of its successor is not about our pages.
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench docs clean

help: ## say what there is to make
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST))
	@echo "  settings: PYTHON=$(PYTHON) VENV=$(VENV) DATA=$(DATA) MINUTES=$(MINUTES) SEEDS=$(SEEDS) JOBS=$(JOBS)"

demo: $(VENV)/.core ## compare forecasting methods on a week of traffic and write a report
	$(BIN)/pathline compare forecast $(DATA) --minutes $(MINUTES) --seeds $(SEEDS)

test: $(VENV)/.dev ## lint, types, import rules, documentation, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS)

bench: .venv-bench/.peers ## measure pathline beside its peers, which get an environment of their own; needs a quiet machine
	.venv-bench/bin/python -m bench $(PAIRS)

docs: $(VENV)/.dev ## build the documentation into site/
	$(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

clean: ## remove what make made, except the results in runs/
	rm -rf $(VENV) .venv-bench site build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp stands for an installed set, so a second run installs nothing; .dev contains .core.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing pathline into $(VENV) ..."
	$(PIP) -e . -c constraints.txt
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing pathline and its development tools into $(VENV) ..."
	$(PIP) -e '.[dev,docs,ray]' -c constraints.txt
	@touch $(VENV)/.core $@

.venv-bench/.peers: pyproject.toml constraints.txt bench/requirements.txt
	$(MAKE) --no-print-directory VENV=.venv-bench .venv-bench/.core
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -e '.[seismic]' -c constraints.txt
	@echo "installing the peers into .venv-bench ..."
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r bench/requirements.txt
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "There is no command '$(PYTHON)'; name a Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pathline needs Python 3.11 or newer and '$(PYTHON)' is older; name another: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON)' could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
