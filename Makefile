# Two commands matter: `make run` (the embedded default) and `make test`. Both do all set-up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.PHONY: run test lint bench lock screenshot clean

run: $(VENV)/.core
	$(BIN)/eco up $(ARGS)

test: $(VENV)/.dev
	sh tests/peers/install.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

bench: $(VENV)/.core
	$(BIN)/eco bench twin
	$(BIN)/eco bench store

# Writes the lock anew from what pyproject.toml allows today; review the difference before committing it.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip
	build/lock/bin/pip install --quiet '.[dev,train,ray]'
	build/lock/bin/pip freeze --exclude eco-orchestrator | sed 's/+cpu$$//' > constraints.txt

screenshot: $(VENV)/.dev
	$(BIN)/python docs/screenshot.py

# A stamp is older than the files that decide what is installed: then install again.
$(VENV)/.core: pyproject.toml constraints.txt
	sh .ci/venv.sh $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	sh .ci/venv.sh $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) build dist artifacts .mypy_cache .ruff_cache .pytest_cache
