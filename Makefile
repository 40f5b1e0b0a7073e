# `make up` and `make test` are all that a newcomer needs; both install what is missing into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
EXAMPLE := examples/deepseek-v3-small.yaml
HEARTBEATS := --set spec.endpoint.coldStart.heartbeatInterval=1s
LLAMACPP = tools/llamacpp/build.sh $(BIN)/python
# What runs in the test bed, built once into the user's cache folder.
TEST_BED = export HEARTH_CONTROLPLANE HEARTH_HELM HEARTH_ACTIONLINT HEARTH_IMAGES HEARTH_IMAGE && HEARTH_CONTROLPLANE=$$(tests/cluster/controlplane/build.sh) && \
  HEARTH_HELM=$$(tests/cluster/helm/build.sh) && HEARTH_ACTIONLINT=$$(tests/cluster/actionlint/build.sh) && \
  HEARTH_IMAGES=$$(tests/cluster/images/build.sh $(BIN)/python) && HEARTH_IMAGE=$$($(BIN)/python -m tests.cluster.agent.image)
# Nodes that are real: kubelet, containerd, runc.
NODES = export HEARTH_CONTROLPLANE HEARTH_NODE HEARTH_IMAGES && HEARTH_CONTROLPLANE=$$(tests/cluster/controlplane/build.sh) && \
  HEARTH_NODE=$$(tests/cluster/node/build.sh) && HEARTH_IMAGES=$$(tests/cluster/images/build.sh $(BIN)/python $(IMAGES))
# Puts the package whose hot path is compiled before the sources: $(call compiled,FOLDER)
compiled = PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(1):$(CURDIR)
# What is measured runs on a Python that is built with optimisation, as the image's is. A distribution's is; the first on
# the PATH may be one that somebody built in a hurry (it costs a tenth and more). Compiling needs its headers.
BENCH_PYTHON ?= $(or $(firstword $(foreach python,/usr/bin/python3 $(PYTHON),$(shell \
  $(python) -c 'import ensurepip, os, sys, sysconfig as s; sys.exit(sys.version_info < (3, 11) or not os.path.exists(s.get_path("include") + "/Python.h"))' 2>/dev/null && echo $(python)))),$(PYTHON))

.PHONY: help up demo test e2e e2e-nodes e2e-vllm chaos cluster cluster-down image image-twice sbom lint format generate pictures bench bench-engine fuzz mutants constraints clean

help: ## Say what there is
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# An environment of its own for $(1), a Python.
define install
	@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hearth needs Python 3.11 or newer; found $$($(1) --version). Give another with PYTHON=…" >&2; exit 2; }
	@echo "Installing Hearth into $(@D) (once, a minute or two) …"
	@test -x $(@D)/bin/python || $(1) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' -c constraints.txt
	@set -o pipefail; $(@D)/bin/python -m pip install --disable-pip-version-check --progress-bar off --group dev -e . \
	  -c constraints.txt | sed -unE '/^(Collecting|Installing|Successfully)/{s/^(.{100}).*/\1 …/;p}'
	@touch $@
endef

# The package with its hot path compiled by $(1), the Python of such an environment.
define compile
	@echo "Compiling what runs in front of every token, as in the image (a minute) …"
	@rm -rf $@ && mkdir -p $@/deploy/base && cp -r hearth $@/ && cp deploy/base/rbac.yaml $@/deploy/base/ && cp -r deploy/keda $@/deploy/ && $(1) -m tools.compile $@ >$@.log 2>&1 || { cat $@.log >&2; rm -rf $@; exit 1; }
endef

.venv/installed: pyproject.toml constraints.txt
	$(call install,$(PYTHON))

build/bench/installed: pyproject.toml constraints.txt
	$(call install,$(BENCH_PYTHON))

SOURCES := tools/compile.py $(wildcard hearth/*.py hearth/*/*.py hearth/*/*/*.py)
build/compiled: .venv/installed $(SOURCES)
	$(call compile,$(BIN)/python)

build/bench/compiled: build/bench/installed $(SOURCES)
	$(call compile,build/bench/bin/python)

up: .venv/installed ## Run the example LLMService on this machine, without a cluster; ENGINE=llamacpp: a small model for real
ifeq ($(ENGINE),llamacpp)
	@engine=$$($(LLAMACPP)) && $(BIN)/hearth up -f examples/smollm2.yaml $(HEARTBEATS) \
	  --engine command --mount /app="$$engine" --mount smollm2-cache-cpu="$$engine/models" --set 'spec.runtime.argsOverride=[--offline]'
else ifeq ($(origin ENGINE),command line)
	@echo "ENGINE: found '$(ENGINE)'; expected llamacpp, or leave it out for the simulated engine" >&2; exit 2
else
	@$(BIN)/hearth up -f $(EXAMPLE) $(HEARTBEATS)
endif

demo: .venv/installed ## The same without a person: cold requests, a burst, silence, zero
	@$(BIN)/hearth demo -f $(EXAMPLE)

# Twice the cores: most of these tests wait more than they work.
WORKERS := $(shell $(PYTHON) -c 'import os; print(2 * len(os.sched_getaffinity(0)))' 2>/dev/null || echo 4)
test: .venv/installed ## Unit, component and local end-to-end tests, some modules at a time
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

e2e: build/compiled ## The compiled hot path; foreign clients; llama.cpp; Prometheus; the image; a real control plane with a real KEDA (as root; the first run builds them: 18 to 31 minutes)
	@$(if $(TESTS),,$(call compiled,build/compiled) $(BIN)/python -m pytest -n logical --dist loadfile --import-mode=append tests/component)
	@$(TEST_BED) && export HEARTH_CLIENTS HEARTH_LLAMACPP && HEARTH_CLIENTS=$$(tests/clients/install.sh $(BIN)/python) && HEARTH_LLAMACPP=$$($(LLAMACPP)) && \
	  tests/cluster/controlplane/isolated $(BIN)/python -m pytest $(or $(TESTS),tests/clients tests/engines tests/monitoring tests/cluster $(addprefix --ignore=tests/cluster/,real installation vllm)) --timeout=300 --durations=15

e2e-nodes: .venv/installed ## Pods on real nodes: kubelet, containerd, runc, CNI; KEDA by its own manifests, NetworkPolicies enforced (as root; the first run builds them)
	@$(NODES) && export HEARTH_INSTALLATION && HEARTH_INSTALLATION=$$(tests/cluster/installation/build.sh) && \
	  for bed in real installation; do tests/cluster/controlplane/isolated $(BIN)/python -m pytest tests/cluster/$$bed --timeout=300 || exit; done

e2e-vllm: IMAGES = --vllm
e2e-vllm: .venv/installed ## vLLM itself on the CPU of a real node (as root; AVX2 or AVX-512, 16 GB of memory; the first run builds an image of 7 GB)
	@$(NODES) && \
	  tests/cluster/controlplane/isolated $(BIN)/python -m pytest tests/cluster/vllm --timeout=300 -v -s

chaos: .venv/installed ## Strike each part with each fault, in every phase (as root; about two hours, the soak of 30 minutes among them); CELLS="kill-activator or loss" chooses, MINUTES=30 is the soak; writes docs/reliability.md
	@$(if $(CELLS),,rm -rf build/chaos; HEARTH_STEPS=100000 $(BIN)/python -m pytest -n $(WORKERS) --timeout=3000 tests/unit tests/component/test_protobufs.py -k 'runTest or protobufs')
	@export HEARTH_CHAOS=1 HEARTH_CONTROLPLANE HEARTH_IMAGE && HEARTH_CONTROLPLANE=$$(tests/cluster/controlplane/build.sh) && HEARTH_IMAGE=$$($(BIN)/python -m tests.cluster.agent.image) && \
	  { tests/cluster/controlplane/isolated $(BIN)/python -m pytest tests/cluster/chaos --timeout=600 $(if $(CELLS),-k '$(CELLS)'); code=$$?; $(BIN)/python -m tests.cluster.chaos.report; exit $$code; }

cluster: .venv/installed ## Start a control plane, KEDA and real nodes with Hearth on them, to play in; prints its KUBECONFIG
	@$(NODES) && $(BIN)/python -m tests.cluster.playground up

cluster-down: .venv/installed ## End it
	@$(BIN)/python -m tests.cluster.playground down

# Whichever of them is installed: `make image ENGINE=podman IMAGE=registry.example/hearth:1` names one, and the image.
ENGINE ?= $(firstword $(foreach engine,docker podman buildah,$(shell command -v $(engine) >/dev/null && echo $(engine))))
IMAGE ?= hearth:latest
image: ## Build the image of all roles with docker, podman or buildah, as IMAGE (hearth:latest)
	@test -n '$(ENGINE)' || { echo "make image needs docker, podman or buildah; found none" >&2; exit 2; }
	$(ENGINE) build -t $(IMAGE) .

image-twice: .venv/installed ## Build the image twice with nothing kept between, and compare the two to the byte (as root, with buildah)
	@$(BIN)/python -m tests.cluster.images.twice

sbom: image ## Write what is in that image to build/sbom.cdx.json (CycloneDX)
	@mkdir -p build
	@case $(ENGINE) in \
	  *buildah) container=$$(buildah from --pull-never $(IMAGE)) && buildah run --isolation chroot $$container /bin/cat /opt/hearth/sbom.cdx.json >build/sbom.cdx.json; code=$$?; buildah rm $$container >/dev/null; exit $$code;; \
	  *) $(ENGINE) run --rm --entrypoint /bin/cat $(IMAGE) /opt/hearth/sbom.cdx.json >build/sbom.cdx.json;; \
	esac
	@echo build/sbom.cdx.json

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

bench: build/bench/compiled ## Measure what the image runs; prints a table and writes build/bench.json
	@$(call compiled,build/bench/compiled) build/bench/bin/python -m benchmarks

bench-engine: build/bench/compiled ## Measure cold starts of a real engine (llama.cpp), by phase; writes their section of docs/performance.md
	@export HEARTH_LLAMACPP && HEARTH_LLAMACPP=$$($(LLAMACPP)) && $(call compiled,build/bench/compiled) build/bench/bin/python -m benchmarks.engine

bench-many: build/bench/compiled ## Measure the roles with 100, 1,000 and 5,000 LLMServices; writes their section of docs/performance.md
	@$(call compiled,build/bench/compiled) build/bench/bin/python -m benchmarks.many

fuzz: .venv/installed ## Feed the protocol and the look into bodies with bytes for MINUTES (10)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz -c constraints.txt
	@$(BIN)/python -m tests.fuzz $(or $(MINUTES),10)

mutants: .venv/installed ## Change what decides in MUTANTS (15) places of each module, chosen by SEED (1); MODULES="lane/hold"; reports what no test noticed
	@nice -n 10 $(BIN)/python -m tests.mutants --mutants $(or $(MUTANTS),15) --seed $(or $(SEED),1) $(MODULES)

constraints: .venv/installed ## Pin what is installed now
	@$(BIN)/python -m pip list --format=freeze --exclude-editable | grep -v '^hearth==' > constraints.txt

clean: ## Remove what was installed and built
	rm -rf .venv build
