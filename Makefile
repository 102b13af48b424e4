# Every target creates .venv and installs the locked packages first, if they are not there.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Where it is set, as in many containers, every process would compile torch and all else anew: seconds each time.
COMPILE := $(if $(PYTHONDONTWRITEBYTECODE),--compile-bytecode)
unexport PYTHONDONTWRITEBYTECODE
export RAY_USAGE_STATS_ENABLED := 0
export MLFLOW_DISABLE_TELEMETRY := true

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder -rs --durations 25
DEBIAN := chromium iproute2 munge openssh-server postgresql rsync slurm-wlm

.PHONY: help sweep test soak ui lint bench install packages lock clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

sweep: install ## search NDCL and ERM on the embedded digits, every domain unseen in turn
	@$(BIN)/ndcl sweep search_spaces/digits.yaml

test: lint $(if $(CI),packages) ## lint, types and every test but the long ones, in two processes
	$(PYTEST) -m 'not soak'

soak: install $(if $(CI),packages) ## the long tests: kills, lost nodes, clusters; MINUTES=20 begins none later
	$(PYTEST) -m soak --touched-first $(if $(MINUTES),--minutes $(MINUTES))

ui: install ## open the MLflow UI on 127.0.0.1
	@$(BIN)/ndcl ui

lint: install ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install ## every benchmark that ends within minutes on a laptop
	@set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or give another: make PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV) (about 6 GB with the CUDA libraries of torch; a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.lock)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python $(COMPILE) -r requirements.lock \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

packages: ## as root on Debian or Ubuntu, for the tests of clusters and pages: $(DEBIAN)
	@if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "packages: not root, or no apt-get: tests that need $(DEBIAN) may be skipped"; \
	elif ! dpkg -s $(DEBIAN) >/dev/null 2>&1; then \
		export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -qq --no-install-recommends $(DEBIAN) >/dev/null \
		|| echo "packages: not all could be installed: tests that need them are skipped"; \
	fi

lock: ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --no-annotate --no-header --upgrade --universal --python-version 3.11 \
		--all-extras lock.in pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --no-annotate --no-header --universal --python-version 3.11 --constraints requirements.lock \
		--extra aws --extra postgres lock.in pyproject.toml --output-file requirements-node.lock

clean: ## remove the environment and caches, never results
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
