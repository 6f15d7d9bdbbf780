# Each target makes the virtual environment that it needs, from pinned versions.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
# As many test workers as there are processors, but at least two: many tests wait for children.
JOBS   ?= auto

.PHONY: test demo lint types unit bench clean help

help:
	@echo "make test    lint, types and tests, with coverage"
	@echo "make demo    kill an orchestrator again and again, and compare what it ends with"
	@echo "make bench   measure saves and listings against the disk's floor (ARGS=--quick)"
	@echo "make clean   remove what the others made"

test: lint types unit

$(BIN)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cli,dev]'
	@touch $@

lint: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# --verifytypes looks at an installed copy: an editable one has no package directory.
types: $(BIN)/.dev
	$(BIN)/mypy
	rm -rf $(VENV)/types
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/types .
	cd $(VENV) && PATH="$(abspath $(BIN)):$$PATH" PYTHONPATH="$(abspath $(VENV))/types" \
	  pyright --verifytypes sessionstore --ignoreexternal > types.txt \
	  || { cat types.txt; exit 1; }
	@grep 'completeness score' $(VENV)/types.txt

unit: $(BIN)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --cov --cov-report=term $(ARGS)

demo: $(VENV)-demo/bin/.demo
	$(VENV)-demo/bin/python examples/demo.py

$(VENV)-demo/bin/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-demo
	$(VENV)-demo/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cli]'
	@touch $@

bench: $(BIN)/.dev
	$(BIN)/python benchmarks/save.py $(ARGS)
	$(BIN)/python benchmarks/listing.py $(ARGS)

clean:
	rm -rf $(VENV) $(VENV)-demo .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
