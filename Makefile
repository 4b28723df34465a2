# make forecast: the main job on the embedded data.   make test: the test suite.   make lint: ruff and mypy.
# make app: a page to try both domains in a browser.   make test-app: its tests, in Chromium where there is one.
# make test-gpu: the tests that need a GPU; ARGS="--gpu-device cpu" tries them without one.
# make mutants: bugs planted one at a time, each of which a test must fall for; takes about half an hour on two cores.
# make docs: the site of the documentation, into site/html/; its notebooks run, its links are checked.
# make docs-versions: the same of this branch and of every release, into site/versions/, with a list of them on each page.
# Each makes the virtual environment $(VENV) when it is missing. Needs Python 3.11 or newer (choose with PYTHON=).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ARGS ?=

.PHONY: forecast app test test-slow test-app test-gpu mutants lint format docs docs-versions clean
.DELETE_ON_ERROR:

forecast: $(VENV)/.installed
	$(BIN)/python recipes/forecast.py $(ARGS)

app: $(VENV)/.installed-app
	$(BIN)/python recipes/app.py $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-slow: $(VENV)/.installed-browser
	$(BIN)/python -m pytest -n 2 --dist worksteal --run-slow $(ARGS)

test-app: $(VENV)/.installed-browser
	$(BIN)/python -m pytest tests/recipes/test_page.py tests/recipes/test_page_sound.py tests/recipes/test_page_server.py tests/recipes/test_page_browser.py --run-slow $(ARGS)

test-gpu: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/gpu $(ARGS)

mutants: $(VENV)/.installed-mutants
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --quiet -c docs -d site/pages . site/html $(ARGS)
	$(BIN)/python -m docs.builder.links site/html

docs-versions: $(VENV)/.installed-docs
	$(BIN)/python -m docs.builder.versions site/versions
	$(BIN)/python -m docs.builder.links site/versions

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version 2>&1) was found. Choose one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-browser $(VENV)/.installed-mutants: $(VENV)/.installed-dev

$(VENV)/.installed-%: $(VENV)/.installed
	$(PIP) install --quiet -c constraints.txt -e ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) build dist site docs/api *.egg-info
