# The two commands of the README, and what they are made of. Everything goes into $(VENV).
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
RUN_TESTS ?= $(BIN)/coverage run -m pytest
SIDEBAR := $(wildcard labextension/package*.json labextension/src/*.ts* labextension/src/*/*.ts* labextension/style/* labextension/schema/*)

.PHONY: demo test check install packages clean

demo: $(VENV)/.installed  ## a lake of its own, the notebook on it, then JupyterLab
	@$(BIN)/rucio-lab demo

test: packages check  ## all that must hold before a commit
	cd labextension && npm test --silent
	@rm -f .coverage .coverage.*
	$(RUN_TESTS)
	@$(BIN)/coverage combine -q && $(BIN)/coverage report

check: $(VENV)/.installed-test  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd labextension && npm run --silent lint

packages:  ## what the tests need of the system
	@tests/lake/install-packages

install: $(VENV)/.installed-test

$(VENV)/.installed: pyproject.toml ipython-startup/50-rucio-lab.py $(SIDEBAR) | $(VENV)
	@echo "Installing rucio_lab into $(VENV) (about 450 MB, once), with its sidebar (npm: 460 MB) ..."
	@command -v npm >/dev/null || { echo "The sidebar is built with Node.js 20 or newer, and npm is not here."; exit 1; }
	@rm -rf rucio_lab/labextension
	@$(BIN)/pip install -qq -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed tests/hub/package-lock.json
	@echo "Installing the test tools into $(VENV) (about 1 GB, once), and JupyterHub's proxy (npm: 9 MB) ..."
	@$(BIN)/pip install -qq -e '.[test]'
	@cd tests/hub && npm ci --silent --no-audit --no-fund
	@touch $@

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit("rucio_lab needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment can be made: on Debian and Ubuntu, apt install python3-venv."; exit 1; }

clean:
	rm -rf $(VENV) rucio_lab/labextension labextension/lib labextension/node_modules tests/hub/node_modules .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
