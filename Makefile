# `make bench` and `make test` set up .venv the first time and then only run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The extra for real pictures has an environment of its own: torchvision must fit the build of torch there.
VISION := .venv-vision

.PHONY: setup setup-vision bench test test-vision lint clean

setup: $(READY)

setup-vision: $(VISION)/.ready

bench: $(READY)
	$(BIN)/pytest benchmarks -k magnitude

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest tests -n 2 --dist loadfile

test-vision: $(VISION)/.ready
	$(VISION)/bin/pytest tests/vision

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The stamp is written last, so that an interrupted set-up is taken up again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "PruneGate needs Python 3.11 or newer; say make PYTHON=python3.x" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(VISION)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VISION)
	$(VISION)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,vision]'
	@touch $@

clean:
	rm -rf $(VENV) $(VISION) prunegate-report .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
