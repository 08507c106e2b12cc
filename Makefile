# Needs Python 3.11, git and make. Everything else is installed into .venv, from hash-pinned locks.
# The tests of the dashboard drive Chromium, which is the system's.
#   make PYTHON=/path/to/python3.11   another interpreter        make demo ARGS="--dataset FILE"   flags for the demo

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# A copied or moved checkout carries an environment that points at the old place: set it up anew.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif
# torch and what goes with it: 5 GB that only the refresh needs, so only those who want it wait for it.
REFRESH := $(VENV)/.set-up-refresh
ifneq ($(shell cat $(REFRESH) 2>/dev/null),$(CURDIR))
.PHONY: $(REFRESH)
endif

# What judges the files of the container stack; it works without a network.
SCAN := $(VENV)/scan

# The browser of the dashboard's tests; one that is named here is used by them.
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
export CHROMIUM

PACKAGES := schemas online_model store api batch_model client stream stack
CODE := $(sort $(dir $(wildcard $(addsuffix /*.py,$(PACKAGES) benchmarks)))) tests
# Files of tests side by side; those of one file share what it sets up. What starts no server keeps all cores busy. The others wait more
# than they compute, so a few share the cores; in the order of their names, in which the longest are not the last.
BESIDE := --dist loadfile --no-loadscope-reorder
FLINK := tests/flink -n 2 $(BESIDE)
SERVERS := tests/integration -n 3 $(BESIDE)
SERVERLESS := $(PACKAGES) tests/unit tests/contract -n auto --dist loadfile
COMPILE = $(BIN)/uv pip compile -q --python $(BIN)/python --python-version 3.11 --universal --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help setup setup-refresh system-packages demo test test-faults test-containers unit check format bench docs lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Make .venv (done by the other targets when needed)

setup-refresh: $(REFRESH) ## Add to .venv what the batch refresh needs: torch, 5 GB

demo: setup ## Start everything, stream generated events and labels through it, show it live, end with a report (flags instead: ARGS="...")
	@$(BIN)/millrace demo $(or $(ARGS),--exit-when-done)

system-packages: ## Install Chromium, which the tests of the dashboard drive (make test does it where it may; see CONTRIBUTING)
	@[ -n "$(CHROMIUM)" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { \
	  echo "Installing Chromium"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || { \
	  echo "The tests of the dashboard need Chromium. Install it (Debian, Ubuntu: apt-get install chromium; macOS: brew install chromium)," >&2; \
	  echo "or name one you have: make $(firstword $(MAKECMDGOALS) test) CHROMIUM=/path/to/chromium" >&2; exit 1; }; }

test: system-packages check setup-refresh ## Run every check and every test (pytest flags, for all of them in one go: ARGS="...")
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@# Each kind in a process of its own: what a thousand tests leave in memory is not carried into those of the whole stack.
	@failed=; for tests in "$(SERVERLESS)" "$(FLINK)" "$(SERVERS)" "tests/e2e" "tests/faults"; do \
	  $(BIN)/python -m pytest $$tests || failed="$$failed$$tests; "; done; \
	  [ -z "$$failed" ] || { echo "Failed: $$failed" >&2; exit 1; }
endif

unit: setup-refresh ## Run the tests that need no server, with the doctests
	@$(BIN)/python -m pytest $(SERVERLESS) $(ARGS)

test-faults: setup-refresh ## Break every part under load, see docs/reliability.md (ARGS="--faults 'Redis' --fault-runs 3 --fault-results FILE"; half an hour)
	@$(BIN)/python -m pytest tests/faults $(or $(ARGS),--faults all)

test-containers: setup $(SCAN)/.set-up ## Scan the container stack's files, build, run, break and upgrade it (needs Docker with Compose v2; half an hour)
	@$(BIN)/python -m pytest tests/containers --log-cli-level WARNING --log-cli-format '%(message)s' $(ARGS)

check: setup-refresh ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

format: setup ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup-refresh ## Measure side by side, see benchmarks/
	@$(BIN)/python -m benchmarks $(ARGS)

docs: setup ## Generate docs/schemas, docs/topics.md, docs/settings.md and docs/metrics.md from the code
	@$(BIN)/python -m schemas.json_schema docs/schemas

lock: setup ## Resolve the locks again (UPGRADE=1: to the newest versions)
	$(COMPILE) pyproject.toml --extra stack -o requirements.lock
	$(COMPILE) pyproject.toml -c requirements.lock -o base.lock
	$(COMPILE) --group pyproject.toml:dev -c requirements.lock -o dev.lock
	$(COMPILE) --group pyproject.toml:refresh -c requirements.lock -c dev.lock -o refresh.lock
	$(COMPILE) --group pyproject.toml:build -c requirements.lock -o build.lock
	$(COMPILE) --group pyproject.toml:scan -o scan.lock

clean: ## Remove .venv, caches and build output (the data of the stack stays)
	rm -rf $(VENV) build dist .tmp .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find $(CODE) -type d -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): build.lock requirements.lock dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "Millrace needs Python 3.11 with venv, and '$(PYTHON)' is not that. Install it (Debian, Ubuntu: apt install python3.11" >&2; \
	  echo "python3.11-venv; macOS: brew install python@3.11; anywhere: pyenv install 3.11), or name one you have:" >&2; \
	  echo "make $(firstword $(MAKECMDGOALS) setup) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@rm -f $(STAMP) $(REFRESH)
	@echo "Setting up $(VENV): 1.3 GB; a minute or two the first time"
	@[ "$$(cat $(VENV)/.place 2>/dev/null)" = "$(CURDIR)" ] || $(PYTHON) -m venv --clear $(VENV)
	@echo "$(CURDIR)" >$(VENV)/.place
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r build.lock
	@# Compiled here, once: the interpreter inside a TaskManager writes no bytecode, and would compile for 5 s after each crash.
	@$(BIN)/uv pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock dev.lock build.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --editable .
	@# Compiled here as well: otherwise every process of the first start would do it, each for itself.
	@$(BIN)/python -c 'from online_model.softmax import warm_up; warm_up()'
	@echo "$(CURDIR)" >$(STAMP)

$(REFRESH): $(STAMP) refresh.lock
	@echo "Setting up the batch refresh in $(VENV): 5 GB; some minutes the first time"
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes --no-deps -r refresh.lock
	@echo "$(CURDIR)" >$(REFRESH)

$(SCAN)/.set-up: $(STAMP) scan.lock
	@echo "Setting up the scanners in $(SCAN): 0.3 GB; a minute the first time"
	@$(BIN)/uv venv -q --clear --python $(BIN)/python $(SCAN)
	@$(BIN)/uv pip sync -q --compile-bytecode --python $(SCAN)/bin/python --require-hashes scan.lock
	@touch $@
