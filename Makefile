# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo test lint env clean

demo: env
	mmidd demo --out mmidd-demo

test: env
	python -m pytest

lint: env
	ruff check .
	ruff format --check .
	mypy

env: $(STAMP)
	@echo "environment: $(VENV) is up to date"

# insightface's wheel is taken without its dependencies: the demo uses only the photos inside it.
$(STAMP): pyproject.toml
	@echo "environment: installing into $(VENV) (torch is large: several minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mmidd needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,dev]'
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps 'insightface>=2,<3'
	@touch $@

clean:
	rm -rf $(VENV) mmidd-demo .mypy_cache .pytest_cache .ruff_cache
