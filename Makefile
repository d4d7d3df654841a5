# The commands of the house. Everything is made in .venv and DATA_DIR; nothing is installed outside this directory.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python
# One more than there are cores: whoever drives a browser or a server often waits.
PYTEST_WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)
BENCH ?=

# The environment is made anew only when the requirements change.
RUNTIME := $(VENV)/.runtime-$(shell cksum < requirements.txt | tr -d ' ')
TOOLS := $(VENV)/.tools-$(shell cat requirements.txt requirements-dev.txt | cksum | tr -d ' ')
# The libraries that customers use, for the tests that run them; without node those tests are skipped.
SDKS := tests/sdk/node_modules/.sdks-$(shell cksum < tests/sdk/package-lock.json | tr -d ' ')
NPM := $(and $(shell command -v node),$(shell command -v npm))

# What needs only the code is kept from any data, and from asking servers that do not run.
NO_SERVERS := DATA_DIR=$(VENV)/no-data SECRET_KEY=only-to-check-and-long-enough-for-it-0123456789-abcdefghij

# What the caller may say: make demo PORT=8001 DATA_DIR=/somewhere
ifdef PORT
export PORT
endif
ifdef DATA_DIR
export DATA_DIR
endif

.PHONY: help demo up test check bench bench-full
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## Start everything with a made-up company to look at (PORT=8000, DATA_DIR=.data)
	@$(RUN) manage.py serve --demo

up: $(RUNTIME) ## Start everything empty, for data of your own
	@$(RUN) manage.py serve

test: $(TOOLS) $(if $(NPM),$(SDKS)) ## Run the tests on a PostgreSQL and a Redis of their own (ARGS="-k lead")
	@$(RUN) -m pytest -n $(PYTEST_WORKERS) --dist loadgroup $(ARGS)

check: $(TOOLS) ## Lint, types, missing migrations, settings of a deployment
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(NO_SERVERS) $(RUN) -m mypy
	@$(NO_SERVERS) $(RUN) manage.py makemigrations --check --dry-run
	@$(NO_SERVERS) HTTPS=1 $(RUN) manage.py check --deploy --fail-level WARNING

bench: $(RUNTIME) ## Measure ingest, scoring and latency on this machine (BENCH="latency")
	@$(RUN) -m bench $(BENCH)

bench-full: $(RUNTIME) ## Measure bulk judging on all of it: 100,000 accounts, 20 million events
	@$(RUN) -m bench.bulk full

$(RUNTIME): requirements.txt
	@echo "Installing into $(VENV); this takes a minute the first time."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install -qq --disable-pip-version-check -r requirements.txt
	@rm -f $(VENV)/.runtime-* && touch $@

$(TOOLS): $(RUNTIME) requirements-dev.txt
	@echo "Installing the developers' tools into $(VENV)."
	@$(RUN) -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@rm -f $(VENV)/.tools-* && touch $@

$(SDKS): tests/sdk/package-lock.json
	@echo "Installing the customers' libraries into tests/sdk/node_modules."
	@cd tests/sdk && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null && touch $(CURDIR)/$@ \
		|| echo "That failed: the tests that run them will be skipped."
