# Everything runs from a fresh clone: the first use of a target makes .venv and installs into it.
PYTHON ?= python3
# Extras that the tests are installed with; `make test EXTRAS=test,oracle` adds PyTorch's oracles.
EXTRAS ?= test
# The extra that `make gpu` installs: cuda12 for a driver that supports no CUDA 13.
CUDA ?= kernels
PYTEST_ARGS ?=
# The tag of a release, such as v0.1.0, which `make dist` then holds the version to.
TAG ?=

VENV := .venv
OLDEST := .venv-oldest
PY := $(VENV)/bin/python

# One BLAS thread a test worker: two workers of two spinning threads on two cores only wait for
# each other, and the sums of a test do not depend on the machine's cores.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
PYTEST := -m pytest -n 2 --dist worksteal
# A GPU in software is as many as there are workers; a real one is for one at a time.
GPU_PYTEST := -m pytest -m gpu $(if $(wildcard /dev/nvidiactl),,-n 2 --dist worksteal)

CXX_SOURCES = $(or $(shell find cukernels tests -name '*.cu' -o -name '*.cuh' -o -name '*.[ch]pp'),\
    $(error found no CUDA source))

.PHONY: help demo test test-oldest lint format bench gpu docs dist clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.installed ## train the four estimators on handwritten digits, print one table
	$(PY) examples/demo.py

# Without the extra `kernels` the tests of the second line are skipped. A choice of tests in
# PYTEST_ARGS may leave none of them.
test: lint ## lint, types, and the tests, with EXTRAS=test,kernels those of the kernels too
	$(ONE_THREAD) $(PY) $(PYTEST) $(PYTEST_ARGS)
	$(ONE_THREAD) $(PY) $(GPU_PYTEST) $(PYTEST_ARGS) $(if $(PYTEST_ARGS),|| test $$? -eq 5)

# The kernels and the manual are the same there; and PyTorch, CuPy and NVRTC have releases of
# their own.
test-oldest: $(OLDEST)/.installed ## the tests on the oldest NumPy, SciPy and scikit-learn
	$(ONE_THREAD) $(OLDEST)/bin/python $(PYTEST) --ignore-glob='*oracle*' --ignore-glob='*cuda*' \
	    --ignore-glob='*kernels*' --ignore-glob='*manual*' $(PYTEST_ARGS)

lint: $(VENV)/.installed-$(EXTRAS) ## ruff, clang-format and mypy
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(VENV)/bin/clang-format --dry-run --Werror $(CXX_SOURCES)
	$(PY) -m mypy

format: $(VENV)/.installed-$(EXTRAS) ## put the sources in their format
	$(PY) -m ruff check --fix
	$(PY) -m ruff format
	$(VENV)/bin/clang-format -i $(CXX_SOURCES)

bench: ## time the ops and estimators on this machine
	@test -f benchmarks/cpu.py || { echo "make bench: there are no benchmarks yet" >&2; exit 1; }
	@$(MAKE) --no-print-directory $(VENV)/.installed-bench
	$(PY) benchmarks/cpu.py

gpu: $(VENV)/.installed-test,$(CUDA) ## the tests of the kernels: on an NVIDIA GPU, or on one in software
	$(ONE_THREAD) $(PY) $(GPU_PYTEST) $(PYTEST_ARGS)

docs: $(VENV)/.installed-docs ## the manual: guide, gallery and reference
	$(PY) -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# From a copy of the commit: what else lies in the folder, or an older build has left, stays out.
dist: $(VENV)/.installed-dist ## the source distribution and the wheel of the last commit, checked
	rm -rf dist build/dist
	mkdir -p build/dist
	git archive HEAD | tar -x -C build/dist
	$(PY) docs/long_description.py build/dist $(TAG)
	$(PY) -m build --outdir dist build/dist
	$(PY) -m twine check --strict dist/*
	@test -z '$(TAG)' || test -f 'dist/cukernels-$(TAG:v%=%).tar.gz' || { echo \
	    "make dist: the tag is $(TAG), but not the version: see cukernels/runtime/version.py" \
	    >&2; exit 1; }
	@test -z '$(TAG)' || grep -qF '## [$(TAG:v%=%)] - ' CHANGELOG.md || { echo \
	    "make dist: CHANGELOG.md has no section of $(TAG:v%=%) with its date" >&2; exit 1; }

clean: ## remove the environments, the built manual and the distributions
	rm -rf $(VENV) $(OLDEST) docs/_build docs/reference docs/gallery build dist

$(VENV)/.made $(OLDEST)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	    "This needs Python 3.11 or later: name one, as in make PYTHON=python3.12 $(MAKECMDGOALS)" \
	    >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-%: pyproject.toml $(VENV)/.made
	$(PY) -m pip install --quiet --editable '.[$*]'
	@touch $@

# These releases have wheels for Python 3.11 and 3.12: say so at once rather than compile SciPy.
$(OLDEST)/.installed: pyproject.toml tests/oldest.txt $(OLDEST)/.made
	$(OLDEST)/bin/python -m pip install --quiet --only-binary numpy,scipy,scikit-learn \
	    --constraint tests/oldest.txt --editable '.[test]'
	@touch $@
