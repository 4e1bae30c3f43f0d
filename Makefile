# resdepth: installs into .venv; needs python3 (3.11 or newer) and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo why test test-fast test-long test-slurm test-ray lint clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(VENV)/.installed ## install resdepth into .venv

demo: $(VENV)/.installed ## train plain and residual nets of 20, 56 and 110 layers on the embedded digits, draw the curves
	$(BIN)/resdepth sweep depth=20,56,110
	$(BIN)/resdepth plot results/

why: $(VENV)/.installed ## train what the probes need (18 minutes, 1.5 GB of weights), run them all, print what they found
	$(BIN)/resdepth sweep experiment=why
	$(BIN)/resdepth sweep experiment=why_decay
	$(BIN)/resdepth probe gradients experiment=why model=conv,dense model.batch_norm=true,false
	$(BIN)/resdepth probe gradients results/why --every 4
	$(BIN)/resdepth probe identity results/why
	$(BIN)/resdepth probe learn-identity experiment=learn_identity
	$(BIN)/resdepth probe learn-identity experiment=learn_identity recipe.lr=0.003,0.03,1
	$(BIN)/resdepth probe learn-identity experiment=learn_identity model.batch_norm=false
	$(BIN)/resdepth probe learn-identity experiment=learn_identity variant=residual model.zero_init_residual=true recipe.lr=0.1
	$(BIN)/resdepth probe grow results/why --epoch 1
	$(BIN)/resdepth sweep experiment=why_grow
	$(BIN)/resdepth probe grow results/why_grow --epochs 20
	$(BIN)/resdepth probe decay results/why_decay
	$(BIN)/resdepth probe table results/

# Two processes; tests of one group (kills, signals, timings) stay in one of them, one after the other.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup

test: $(VENV)/.tested ## run every test
	$(PYTEST)

test-fast: $(VENV)/.tested ## run every test but the slow ones (kills, faults, damaged runs, end to end)
	$(PYTEST) -m "not slow"

test-long: $(VENV)/.tested ## run every test, with 20 kills of a sweep and 1000 examples of generated input each
	RESDEPTH_KILLS=20 RESDEPTH_EXAMPLES=1000 $(PYTEST)

SLURM := slurmctld slurmd slurm-client munge slurmdbd mariadb-server

test-slurm: $(VENV)/.tested ## install Slurm (root on Debian), start two nodes on this machine, run the tests of a cluster, stop it
	@if [ "$$(id -u)" != 0 ] || ! command -v dpkg > /dev/null; then \
		echo "make test-slurm: skipped, because it installs and starts Slurm, which needs root on Debian or Ubuntu"; \
	else \
		dpkg --status $(SLURM) > /dev/null 2>&1 || { apt-get --quiet=2 update && \
			RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 install --no-install-recommends $(SLURM) > /dev/null; } && \
		RESDEPTH_SLURM=1 $(BIN)/python -m pytest tests/system/slurm; \
	fi

test-ray: $(VENV)/.tested ## install Ray, start two nodes on this machine, run the tests of a sweep on it
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,ray]'
	RESDEPTH_RAY=1 $(BIN)/python -m pytest tests/system/test_ray.py

lint: $(VENV)/.tested ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove .venv and caches; results stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'resdepth needs Python 3.11 or newer; use make PYTHON=python3.11')"
	@echo "Installing into $(VENV): about two minutes and, with the CUDA build of torch, 6 GB."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
