# The commands of the README, on a fresh clone or in an environment of your own.
#
#   PYTHON=python3.12    the interpreter that .venv is made with (3.11 or 3.12)
#   VENV=/some/folder    another environment than .venv; an existing one is reused
#   ARGS='-k selection'  more options for pytest or for the trainer
#   REPORTS=/some/folder JUnit files of every pytest run

ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for p in python3 python3.11 python3.12 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)
endif
VENV ?= .venv
RECIPE ?= training/recipes/nano.toml
OUT ?= runs/nano-adapter
ARGS ?=
REPORTS ?=

# Threads that wait must sleep: spinning ones make two busy cores many times slower. It has to be set before Python starts.
export OMP_WAIT_POLICY := PASSIVE

RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install -q --disable-pip-version-check -c constraints.txt
OFFLINE := -m "not gpu and not network"
junit = $(if $(REPORTS),--junitxml=$(REPORTS)/$(1).xml)

.DEFAULT_GOAL := help
.PHONY: help eval test check train clean

help:  ## list these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

eval: $(VENV)/.installed-local  ## measure the embedded adapter and decide: pytest evals/ --target=local
	$(RUN) -m pytest evals/ --target=local $(call junit,evals) $(ARGS)

test: $(VENV)/.installed-dev  ## the tests; those that need a GPU or the internet are left out
	OMP_NUM_THREADS=1 $(RUN) -m pytest tests --ignore=tests/benchmarks -n 2 $(OFFLINE) $(call junit,tests) $(ARGS)
	@# Benchmarks compare times, so nothing may run beside them.
	$(RUN) -m pytest tests/benchmarks $(OFFLINE) $(call junit,benchmarks) $(ARGS)

check: $(VENV)/.installed-dev  ## style, types and the direction of imports
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

train: $(VENV)/.installed-train  ## train the embedded adapter again from its recipe, into runs/
	$(RUN) -m training train --recipe $(RECIPE) --out $(OUT) $(ARGS)

clean:  ## remove .venv, caches and stored replies; runs/ stays
	rm -rf .venv .toolgate .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# An environment is installed again only when its requirements change; dev holds train, and train holds local.
$(VENV)/.installed-local: pyproject.toml constraints.txt | $(RUN)
	$(PIP) -e '.[local]'
	@touch $@

$(VENV)/.installed-train: pyproject.toml constraints.txt | $(RUN)
	$(PIP) -e '.[train]'
	@touch $(VENV)/.installed-local $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(RUN)
	$(PIP) -e '.[dev]'
	@touch $(VENV)/.installed-local $(VENV)/.installed-train $@

$(RUN):
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or 3.12 found. Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
