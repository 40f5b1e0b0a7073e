# `make up` and `make test` are all that a newcomer needs; both install what is missing into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
SEED := examples/deepseek-v3-small.yaml
# What runs in the test bed, built once into the user's cache folder.
TEST_BED = export HEARTH_CONTROLPLANE HEARTH_HELM HEARTH_IMAGE && HEARTH_CONTROLPLANE=$$(tests/cluster/controlplane/build.sh) && \
  HEARTH_HELM=$$(tests/cluster/helm/build.sh) && HEARTH_IMAGE=$$($(BIN)/python -m tests.cluster.node.image)
# Puts the package whose hot path is compiled before the sources.
COMPILED := PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/build/compiled:$(CURDIR)

.PHONY: help up demo test e2e cluster cluster-down lint format generate pictures bench fuzz constraints clean

help: ## Say what there is
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hearth needs Python 3.11 or newer; found $$($(PYTHON) --version). Give another with PYTHON=…" >&2; exit 2; }
	@echo "Installing Hearth into .venv (once, about half a minute) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' -c constraints.txt
	@set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --group dev -e . \
	  -c constraints.txt | sed -unE '/^(Collecting|Installing|Successfully)/{s/^(.{100}).*/\1 …/;p}'
	@touch $@

up: .venv/installed ## Run the example LLMService on this machine, without a cluster
	@$(BIN)/hearth up -f $(SEED) --set spec.endpoint.coldStart.heartbeatInterval=1s

demo: .venv/installed ## The same without a person: cold requests, a burst, silence, zero
	@$(BIN)/hearth demo -f $(SEED)

test: .venv/installed ## Unit, component and local end-to-end tests
	@$(BIN)/python -m pytest

e2e: build/compiled ## The compiled hot path; foreign clients; Prometheus; a real API server with a real KEDA (the first run builds them: 9 to 20 minutes)
	@$(if $(TESTS),,$(COMPILED) $(BIN)/python -m pytest --import-mode=append tests/component)
	@$(TEST_BED) && export HEARTH_CLIENTS && HEARTH_CLIENTS=$$(tests/clients/install.sh $(BIN)/python) && \
	  tests/cluster/controlplane/isolated $(BIN)/python -m pytest $(or $(TESTS),tests/clients tests/monitoring tests/cluster) --timeout=300

cluster: .venv/installed ## Start such a cluster with Hearth in it, to play in; prints its KUBECONFIG
	@$(TEST_BED) && $(BIN)/python -m tests.cluster.playground up

cluster-down: .venv/installed ## End it
	@$(BIN)/python -m tests.cluster.playground down

lint: .venv/installed ## Format, lint, types, arrows between packages, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tools.generate --check

format: .venv/installed ## Put the code into its one format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

generate: .venv/installed ## Write the generated files anew
	@$(BIN)/python -m tools.generate

pictures: .venv/installed ## Draw the dashboards anew into docs/ (needs Debian's prometheus)
	@$(BIN)/python -m pytest -q tests/monitoring/test_dashboards.py -k pictures && cp build/dashboards/*.svg docs/dashboards/

build/compiled: .venv/installed tools/compile.py $(wildcard hearth/*.py hearth/*/*.py)
	@echo "Compiling what runs in front of every token, as in the image (half a minute) …"
	@rm -rf $@ && mkdir -p $@ && cp -r hearth $@/ && $(BIN)/python -m tools.compile $@ >build/compile.log 2>&1 || { cat build/compile.log >&2; rm -rf $@; exit 1; }

bench: build/compiled ## Measure what the image runs; prints a table and writes build/bench.json
	@$(COMPILED) $(BIN)/python -m benchmarks

fuzz: .venv/installed ## Feed the protocol and the look into bodies with bytes for MINUTES (10)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz -c constraints.txt
	@$(BIN)/python -m tests.fuzz $(or $(MINUTES),10)

constraints: .venv/installed ## Pin what is installed now
	@$(BIN)/python -m pip list --format=freeze --exclude-editable | grep -v '^hearth==' > constraints.txt

clean: ## Remove what was installed and built
	rm -rf .venv build
