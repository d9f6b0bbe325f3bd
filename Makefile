# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Each first installs what it needs: Python packages into .venv, npm packages into node_modules,
# compiled contracts into contracts/artifacts.

PYTHON ?= python3
ORDERS ?=
LIMIT ?= 1000
CHAIN ?= auto
PYTEST_ARGS ?=
ACTIONS ?= 200000
SEED ?= 1
KILLS ?= 500

# Without those that are long, and of HTTP alone.
POSTGRESQL_TESTS := $(addprefix tests/node/,store index outbox webhooks bridge test_worker.py) \
	$(addprefix --ignore=tests/node/bridge/,test_schemathesis.py test_x402.py)

BIN := .venv/bin
STAMPS := .make

.PHONY: help setup build demo test test-postgresql lint format bench bench-bridge gas fuzz crash audit mutate clean

help:
	@echo "make demo    replay 1,000 marketplace orders through a local chain (ORDERS=DIR for genuine Olist files)"
	@echo "make test    run every test, those of the database on SQLite and on PostgreSQL"
	@echo "make lint    ruff, mypy, import rules, solhint"
	@echo "make bench   measure the replay beside the chain's own transfer rate"
	@echo "make bench-bridge  measure purchases through the bridge (--help of scripts/bench_bridge.py: soak, lists)"
	@echo "make gas     compare what each operation costs with other contracts' and its floor"
	@echo "make fuzz    200,000 random actions on all contracts against a model (ACTIONS=N SEED=N)"
	@echo "make crash   kill the node 500 times at every step under load, and compare (KILLS=N SEED=N)"
	@echo "make audit   static analysis of the contracts, and their sizes"
	@echo "make mutate  break the contracts in many places and see the tests fail (takes an hour)"
	@echo "make build   compile the contracts and build the wheel"
	@echo "make clean   remove everything that was installed or built"

setup: $(STAMPS)/python $(STAMPS)/npm $(STAMPS)/vectors/.done contracts/artifacts/.inputs

$(STAMPS)/system:
	@mkdir -p $(STAMPS)
	@scripts/system_packages.sh $(PYTHON)
	@touch $@

$(STAMPS)/python: pyproject.toml constraints.txt | $(STAMPS)/system
	@echo "setup: Python packages into .venv (about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Test vectors of BIP-39, which are in this package's sources alone.
$(STAMPS)/vectors/.done: constraints.txt | $(STAMPS)/python
	@mkdir -p $(@D)
	@$(BIN)/pip download --quiet --disable-pip-version-check --constraint constraints.txt --no-deps \
		--no-binary mnemonic --dest $(@D) mnemonic && touch $@ \
		|| echo "setup: without the vectors of BIP-39, whose tests are skipped"

# Not `npm ci`: it refuses a lock file that leaves out the binaries of other platforms.
$(STAMPS)/npm: package.json package-lock.json .npmrc | $(STAMPS)/system
	@echo "setup: npm packages into node_modules (about half a minute)"
	@npm install --no-save --no-audit --no-fund --loglevel=error
	@touch $@

contracts/artifacts/.inputs: $(wildcard contracts/*.sol contracts/*/*.sol) scripts/compile.py scripts/npm-solc $(STAMPS)/python $(STAMPS)/npm
	@$(BIN)/python scripts/compile.py
	@touch $@

build: setup
	@$(BIN)/python -m build --wheel

demo: setup
	@$(BIN)/plaza replay --data build/demo --fresh --chain $(CHAIN) --limit $(LIMIT) \
		$(if $(ORDERS),--orders "$(ORDERS)",--generate $(LIMIT))

test: setup
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory test-postgresql

# What works on the database, once more on PostgreSQL.
test-postgresql: setup
	@if $(BIN)/python -c 'import sys; from scripts.postgresql import find_programs; sys.exit(not find_programs())'; then \
		echo "test: once more on PostgreSQL"; \
		PLAZA_TEST_DATABASE=postgresql $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(POSTGRESQL_TESTS) $(PYTEST_ARGS); \
	else \
		echo "test: not on PostgreSQL, since its programs are not here (Debian's package postgresql)"; \
	fi

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	npx --no-install solhint --max-warnings 0 --noPoster 'contracts/**/*.sol' 'tests/contracts/sources/*.sol' 'scripts/gas_sources/*.sol'

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	@$(BIN)/python scripts/bench_replay.py $(if $(ORDERS),--orders "$(ORDERS)") --limit 2000

bench-bridge: setup
	@$(BIN)/python scripts/bench_bridge.py

gas: setup
	@$(BIN)/python scripts/gas.py

fuzz: setup
	@$(BIN)/python scripts/fuzz.py --actions $(ACTIONS) --seed $(SEED)

crash: setup
	@$(BIN)/python scripts/crash_campaign.py --kills $(KILLS) --seed $(SEED)

# In an environment of its own: Slither needs an older web3 than we do.
$(STAMPS)/slither/bin/slither: constraints-audit.txt | $(STAMPS)/system
	@echo "audit: Slither into $(STAMPS)/slither"
	@$(PYTHON) -m venv $(STAMPS)/slither
	@$(STAMPS)/slither/bin/pip install --quiet --disable-pip-version-check --constraint constraints-audit.txt 'slither-analyzer>=0.11,<0.12'
	@touch $@

audit: setup $(STAMPS)/slither/bin/slither
	@$(BIN)/python scripts/audit.py

mutate: setup
	@$(BIN)/python scripts/mutate.py

clean:
	rm -rf .venv node_modules .make build dist contracts/artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
