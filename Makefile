# `make quickstart` and `make test` set up what they need in .venv at the root.
# `make test TESTS=tests/layers` runs a part of the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export KERAS_BACKEND = tensorflow
export TF_CPP_MIN_LOG_LEVEL = 2

.PHONY: quickstart test check lint types docs examples clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One stamp per set of extras: made anew when the metadata changes.
$(VENV)/.installed-%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$*]"
	@touch $@

quickstart: $(VENV)/.installed-examples
	$(BIN)/python examples/quickstart.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

# Between edits: the rules of the tree, and one test end to end of each folder.
check: lint types
	$(BIN)/python -m pytest -q -n auto --dist worksteal @tests/smoke.txt

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/.installed-test
	$(BIN)/mkdocs build --strict --quiet

examples: $(VENV)/.installed-test
	$(BIN)/python -m tests.examples

clean:
	rm -rf $(VENV) site build *.egg-info
