# The two commands of the README, and what they are made of. Everything goes into $(VENV).
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
RUN_TESTS ?= COVERAGE_PROCESS_START=$(CURDIR)/setup.cfg COVERAGE_FILE=$(CURDIR)/.coverage \
	$(BIN)/coverage run $(BIN)/pytest -n 2 --dist loadfile -m "not soak" --durations=20
STEP := $(PYTHON) scripts/step.py
PIP := $(BIN)/pip --disable-pip-version-check
NPM := npm --no-audit --no-fund
SIDEBAR := rucio_lab/labextension/static/style.js
NODE_MODULES := labextension/node_modules

# with the folders, whose times tell that a file was removed
files_in = $(shell find $(1) -name __pycache__ -prune -o -path rucio_lab/labextension -prune -o -print)
# what a step downloads, unless the file is there that it leaves behind
once = $(if $(wildcard $(2)),,$(space)(downloads $(1), once))
empty :=
space := $(empty) $(empty)

# Node.js is in $(BIN) where the machine has none
export PATH := $(if $(filter /%,$(BIN)),,$(CURDIR)/)$(BIN):$(PATH)
# the sidebar is built here, before pip builds the package
export HATCH_JUPYTER_BUILDER_SKIP_NPM := 1

.PHONY: demo test test-soak test-supported check develop packages clean
.NOTPARALLEL:

demo: $(VENV)/.installed  ## a lake of its own, the notebook on it, then JupyterLab
	@$(BIN)/rucio-lab demo

test: packages check $(VENV)/.installed tests/hub/node_modules/.installed  ## all that must hold before a commit
	cd labextension && npm test --silent
	@rm -f .coverage .coverage.*
	$(RUN_TESTS)
	@$(BIN)/coverage combine -q && $(BIN)/coverage report

test-soak: packages $(VENV)/.installed $(VENV)/.tools tests/hub/node_modules/.installed  ## long runs: kills, fuzzing, other examples
	$(BIN)/pytest -n 2 --dist loadfile -m soak --durations=20

test-supported: packages $(VENV)/.installed $(VENV)/.tools  ## the core of the tests on the oldest and the newest of everything
	$(BIN)/python scripts/supported.py

check: $(NODE_MODULES)/.all $(VENV)/.tools  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd labextension && npm run --silent lint

packages:  ## what the tests need of the system
	@tests/lake/install-packages

develop: $(NODE_MODULES)/.all $(SIDEBAR) $(VENV)/.tools tests/hub/node_modules/.installed  ## run the tree, not the wheel
	@$(STEP) "Installing the tree itself into $(VENV), until make test or make demo installs the wheel again" \
		$(PIP) install --no-build-isolation --no-deps -e .
	@rm -f $(VENV)/.installed

$(VENV)/.installed: pyproject.toml README.md LICENSE $(SIDEBAR) $(call files_in,rucio_lab examples ipython-startup jupyter-config) | $(VENV)/.build-tools
	@$(STEP) "Installing rucio_lab into $(VENV)$(call once,110 MB,$(BIN)/rucio-lab)" \
		$(PIP) install --no-build-isolation $(if $(filter pyproject.toml,$?),,--no-deps) .
	@touch $@

$(VENV)/.tools: pyproject.toml | $(SIDEBAR) $(VENV)/.build-tools
	@$(STEP) "Installing rucio_lab and the test tools into $(VENV)$(call once,430 MB,$@)" \
		$(PIP) install --no-build-isolation '.[test]'
	@touch $(VENV)/.installed $@

$(SIDEBAR): $(wildcard labextension/*.json) $(call files_in,labextension/schema labextension/src labextension/style) | $(NODE_MODULES)/.builder
	@$(STEP) "Building the sidebar" npm --prefix labextension run build:prod

$(NODE_MODULES)/.builder: labextension/package-lock.json | $(VENV)/.node
	@$(STEP) "Installing what builds the sidebar$(call once,40 MB,$@)" $(NPM) --prefix labextension ci --workspace=builder
	@touch $@

$(NODE_MODULES)/.all: labextension/package-lock.json | $(VENV)/.node
	@$(STEP) "Installing what builds, checks and tests the sidebar$(call once,120 MB,$@)" $(NPM) --prefix labextension ci
	@touch $(@D)/.builder $@

tests/hub/node_modules/.installed: tests/hub/package-lock.json | $(VENV)/.node
	@$(STEP) "Installing JupyterHub's proxy$(call once,3 MB,$@)" $(NPM) --prefix tests/hub ci
	@touch $@

$(VENV)/.node: labextension/package.json scripts/node.py | $(VENV)
	@$(BIN)/python scripts/node.py
	@touch $@

$(VENV)/.build-tools: | $(VENV)
	@$(STEP) "Installing the build tools into $(VENV)" $(PIP) install hatchling hatch-jupyter-builder editables
	@touch $@

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit("rucio_lab needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment can be made: on Debian and Ubuntu, apt install python3-venv."; exit 1; }

clean:
	rm -rf $(VENV) rucio_lab/labextension labextension/lib labextension/node_modules tests/hub/node_modules .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
