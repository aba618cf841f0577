# Two commands matter: `make book` and `make test`. Both need only Python 3.11 to
# 3.13 and make; everything else goes into .venv. PYTHON=... names the interpreter.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
JOBS ?= 2
PY := .venv/bin/python
LOG := _build/log

export IPYTHONDIR := $(CURDIR)/.ipython
export PYTHONPATH := $(CURDIR)
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYTHONUNBUFFERED := 1

.PHONY: help book test unit notebooks notebook-tests lint bench audit crosscheck \
	faults posteriordb oldest colab versions browser clean venv

help:  ## this list
	@echo "The Evidence Lower Bound: a working tutorial"
	@echo
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18 | sed 's/^/  make /'

book: .venv/.installed  ## execute what changed, build the site, say where it is
	@$(PY) -m tools.log $(LOG)/make-book.txt $(PY) -m tools.site

test: .venv/.installed  ## unit tests with coverage, then every notebook by nbval
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory notebook-tests

# From 3.12 on Python itself reports the lines that ran (sysmon), which costs next to
# nothing; up to 3.11 coverage takes a third more time. Only there are branches measured.
BRANCHES = $(shell $(PY) -c "import sys; print('--cov-branch' * (sys.version_info < (3, 12)))")

unit: .venv/.installed  ## only the unit tests, with coverage of elbo_tfp
	@echo "Unit tests ..."
	@mkdir -p $(LOG)
	@COVERAGE_CORE=$(if $(BRANCHES),ctrace,sysmon) $(PY) -m tools.log $(LOG)/unit.txt \
		$(PY) -m pytest -q -n $(JOBS) --dist loadfile \
		--cov $(BRANCHES) --cov-report=term --cov-fail-under=95 --durations=15 tests

notebook-tests: .venv/.installed  ## only the notebooks: each runs once, facts compared
	@echo "Notebooks (each runs once; what ran is kept for make book) ..."
	@mkdir -p $(LOG)
	@$(PY) -c "import matplotlib.pyplot"
	@$(PY) -m tools.log $(LOG)/notebooks.txt $(PY) -m pytest -q -n $(JOBS) \
		--dist loadscope --nbval-lax --nbval-current-env --nbval-cell-timeout 900 \
		--keep-runs --durations=5 book

notebooks: .venv/.installed  ## execute changed chapters, store outputs, check them
	@$(PY) -m tools.log $(LOG)/run.txt $(PY) -m tools.notebooks run --jobs $(JOBS)
	@$(PY) -m tools.notebooks check

lint: .venv/.installed  ## ruff on code and notebooks, codespell on prose
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@$(PY) -m tools.spelling

browser: .venv/.installed  ## look at the built pages with Chromium; screenshots too
	@$(PY) -m tools.log $(LOG)/browser.txt $(PY) -m tools.browser --screens _build/screens

BENCHMARKS := $(filter-out $(patsubst %,benchmarks/%.py, \
	harness __init__ crosscheck posteriordb), \
	$(wildcard benchmarks/[a-z]*.py))

bench: .venv/.installed .venv-bench/.installed  ## timings against other libraries
	@for f in $(BENCHMARKS); do echo "$$f"; \
		$(PY) -m tools.log $(LOG)/bench/$$(basename $$f .py).txt $(PY) $$f || exit 1; done

.venv-bench/.installed: .venv/.installed benchmarks/requirements.txt
	@echo "Creating .venv-bench for the libraries to compare with ..."
	@$(PY) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --disable-pip-version-check --quiet \
		--requirement benchmarks/requirements.txt
	@touch $@

audit: .venv/.installed  ## ten broken and five healthy models: what audit says
	@$(PY) -m tools.log $(LOG)/audit.txt \
		$(PY) -m benchmarks.audit --json benchmarks/results/audit.json

crosscheck: .venv/.installed .venv-bench/.installed  ## the same numbers in other libraries
	@$(PY) benchmarks/crosscheck.py --out

faults: .venv/.installed  ## kills, full disks, changed files over the whole package
	@$(PY) -m benchmarks.faults

oldest: .venv-oldest/.installed  ## tests and notebooks on the oldest versions
	@$(MAKE) --no-print-directory versions SET=oldest

colab: .venv-colab/.installed  ## tests and notebooks on the versions of Colab
	@$(MAKE) --no-print-directory versions SET=colab

# UNIT and BOOK name a part of either: make oldest UNIT=tests/bounds BOOK=book/01*.ipynb
UNIT ?= tests --ignore tests/repository
BOOK ?= book

versions:
	@.venv-$(SET)/bin/python -m pytest -q -n $(JOBS) --dist loadfile $(UNIT)
	@.venv-$(SET)/bin/python -m pytest -q -n $(JOBS) --dist loadscope --nbval-lax \
		--nbval-current-env --nbval-cell-timeout 900 $(BOOK)

.venv-oldest/.installed: PYTHON_OF_SET ?= python3.11
.venv-colab/.installed: PYTHON_OF_SET ?= python3.13
.venv-%/.installed: .github/constraints-%.txt pyproject.toml
	@echo "Creating .venv-$* with $(PYTHON_OF_SET) (about 2 GB on disk) ..."
	@$(PYTHON_OF_SET) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --disable-pip-version-check --quiet \
		--constraint $< '.[codes,arviz,convex]' pytest pytest-xdist pytest-cov \
		hypothesis nbval nbclient jupytext pyyaml
	@.venv-$*/bin/python -m pip check
	@touch $@

posteriordb: .venv/.installed .venv-bench/.installed  ## eight posteriors, next to Stan and NumPyro
	@$(PY) benchmarks/posteriordb.py --out

venv: .venv/.installed  ## only the environment
	@echo "The environment is ready: .venv/bin/python"

.venv/.installed: requirements.txt tools/venv.sh
	@sh tools/venv.sh

clean:  ## remove everything that is made, except the environments
	rm -rf _build .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis
	find elbo_tfp tests tools book -name __pycache__ -prune -exec rm -rf {} +
