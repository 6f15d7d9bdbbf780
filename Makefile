# Each target makes the virtual environment that it needs, from pinned versions.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
# As many test workers as there are processors, but at least two: many tests wait for children.
JOBS   ?= auto

.PHONY: test demo lint types unit bench mutants soak durability places stops steps docs tour release-check clean help

help:
	@echo "make test    lint, types and tests, with coverage"
	@echo "make demo    kill an orchestrator again and again, and compare what it ends with"
	@echo "make bench   measure beside the disk's floor and peers, write docs/performance.md (ARGS=--million, --quick)"
	@echo "make mutants break the package on purpose; each break must be noticed by a test"
	@echo "make soak    ten minutes of load with random kills, compared with a journal"
	@echo "make durability   run the tests and write what they tried into docs/durability.md"
	@echo "make places  try a store in every place, write the table of places into docs/durability.md"
	@echo "make stops   stop a session in every way, write the table of docs/concepts.md"
	@echo "make steps   go on with a session in every way, write the table of docs/how-to/steps.md"
	@echo "make docs    build the docs site into build/site"
	@echo "make tour    go through the commands in a real terminal (tmux), write docs/tour.md"
	@echo "make release-check   build sdist and wheel, try them in clean environments on every Python"
	@echo "make clean   remove what the others made"

test: lint types unit

$(BIN)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cli,dev]'
	@touch $@

lint: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

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
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=term $(ARGS)

demo: $(VENV)-demo/bin/.demo
	$(VENV)-demo/bin/python examples/demo.py

$(VENV)-demo/bin/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-demo
	$(VENV)-demo/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cli]'
	@touch $@

# Ours, the floor and the peers in turn; writes docs/performance.md, its JSON and its plots.
bench: $(VENV)-bench/bin/.bench
	$(VENV)-bench/bin/python -m benchmarks $(ARGS)

# The peers one by one: who cannot be installed is named in the report, and stops nobody else.
PEERS := langgraph-checkpoint-sqlite strands-agents diskcache openai-agents dbos pydantic-ai-harness dura
BENCH_PIP = $(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check \
  -c constraints.txt -c benchmarks/constraints.txt

$(VENV)-bench/bin/.bench: pyproject.toml constraints.txt benchmarks/constraints.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(BENCH_PIP) -e '.[cli]' matplotlib
	@for peer in $(PEERS); do $(BENCH_PIP) $$peer || echo "$$peer: not installed" >&2; done
	@touch $@

# A mutant of the package for each promise, each killed by a named test (about 4 minutes).
mutants: $(BIN)/.dev
	$(BIN)/python -m tests.mutants.run_mutants $(ARGS)

# Ten minutes of writers, resumers, sweepers and readers, with random kills and pauses.
soak: $(BIN)/.dev
	$(BIN)/python -m tests.soak.run --seconds 600 $(ARGS)

# The tests, counted, and the counts written into docs/durability.md.
durability: $(BIN)/.dev
	rm -f $(VENV)/tally
	SESSIONSTORE_TALLY=$(abspath $(VENV))/tally $(BIN)/python -m pytest -q -n $(JOBS)
	$(BIN)/python -m tools.docs.durability_table $(VENV)/tally docs/durability.md

# A store on every file system and in every situation, for longer than in the tests (as root).
places: $(BIN)/.dev
	rm -f $(VENV)/places
	SESSIONSTORE_PLACES=$(abspath $(VENV))/places $(BIN)/python -m pytest -q -n $(JOBS) tests/faults/test_places.py \
	  --deselect tests/faults/test_places.py::test_the_page_says_what_is_expected_here
	$(BIN)/python -m tools.docs.place_table $(VENV)/places docs/durability.md

# Every way for a session to stop, tried and written into docs/concepts.md.
stops: $(BIN)/.dev
	$(BIN)/python -m tools.docs.stop_table docs/concepts.md

# Every way to go on with a session, tried and written into docs/how-to/steps.md.
steps: $(BIN)/.dev
	$(BIN)/python -m tools.docs.step_table docs/how-to/steps.md

# A warning is an error, and so is anything that a page would load from elsewhere, and a public
# name or field that the reference does not show.
docs: $(VENV)-docs/bin/.docs
	$(VENV)-docs/bin/python -m tools.docs.commands
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --strict --quiet
	$(VENV)-docs/bin/python -m tools.docs.outside build/site
	$(VENV)-docs/bin/python -m tools.docs.reference build/site

$(VENV)-docs/bin/.docs: constraints.txt docs/constraints.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -c docs/constraints.txt mkdocs-material 'mkdocstrings[python]' ruff -e '.[cli]'
	@touch $@

# What a person types, and what the terminal shows: 80 and 140 columns, with colours and without.
tour: $(BIN)/.dev
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tools.docs.tour $(ARGS)

# What is released, built and tried on each Python that can be had (ARGS="--python 3.12 --extra cli").
RELEASE := build/release/venv/bin
release-check: $(RELEASE)/.release
	@$(RELEASE)/python -m tools.release $(ARGS)

$(RELEASE)/.release: tools/release/constraints.txt
	$(PYTHON) -m venv build/release/venv
	$(RELEASE)/python -m pip install --quiet --disable-pip-version-check \
	  -c tools/release/constraints.txt --upgrade pip build twine 'readme-renderer[md]' uv
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-demo $(VENV)-bench $(VENV)-docs build .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
