# Two commands: `make demo` shows the whole road, `make test` checks everything. Both make .venv first.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin

.PHONY: demo test prepare readme clean

demo: .venv/installed
	@$(BIN)/qlora_audio demo

test: .venv/installed-dev
	@$(BIN)/python scripts/check.py

# after editing notebooks: export the package, clean the notebooks, write the README
prepare: .venv/installed-dev
	@$(BIN)/nbdev_export && $(BIN)/nbdev_clean && $(BIN)/python scripts/readme.py

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else f"Python {v[0]}.{v[1]} is not supported: use make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python settings.ini setup.py
	@echo 'installing into .venv: a few minutes, up to 6 GB'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[speech]'
	@touch $@

.venv/installed-dev: .venv/installed
	@echo 'installing what the tests need'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist _proc _docs *.egg-info
