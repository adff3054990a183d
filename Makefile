# Everything that is done with this project, each in one word. `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two steps at once would fight for the same cores and mix their output.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

# Variables that a person may set.
CONTEXT ?=
REGISTRY ?=
BASE_IMAGE ?=
ARGS ?=
WORKERS ?= auto
export E2E HELM
# Programs are started again and again here; without bytecode each start compiles a thousand modules anew.
unexport PYTHONDONTWRITEBYTECODE
export UV := $(or $(UV),$(CURDIR)/.cache/uv/bin/uv)

# $(call step,title,command): one line with the time it took, and the command's output only when it fails.
define step
	@started=$$(date +%s%N); \
	if ! output=$$($(2) 2>&1); then \
	    printf 'FAIL  %s\n%s\n' '$(1)' "$$output"; \
	    exit 1; \
	fi; \
	elapsed=$$(( ($$(date +%s%N) - started) / 100000000 )); \
	printf 'ok    %-36s %4d.%d s\n' '$(1)' $$((elapsed / 10)) $$((elapsed % 10))
endef

##@ Start here

.PHONY: demo
demo: install ## A real Kubernetes on this machine, an assistant on it, and a question to it. CONTEXT=name: on a cluster of yours (REGISTRY=host/path: images go there)
	@$(BIN)/python -m devcluster.demo up $(if $(CONTEXT),--context '$(CONTEXT)') $(if $(REGISTRY),--registry '$(REGISTRY)') $(if $(BASE_IMAGE),--base-image '$(BASE_IMAGE)')

.PHONY: serve
serve: install ## An assistant on this machine, without a server, key or cluster: a small model, and stores in files
	@$(BIN)/assistant-runtime serve --local $(ARGS)

.PHONY: down
down: install ## Take the demo down: the cluster with all that is on it, or what the demo put on CONTEXT=name
	@$(BIN)/python -m devcluster.demo down $(if $(CONTEXT),--context '$(CONTEXT)')

.PHONY: test
test: lint check-generated ## Everything: lint, generated files, and every test, WORKERS=number at a time. E2E=off leaves out what needs real pods
	@$(PYTEST) --numprocesses=$(WORKERS) $(ARGS)

##@ Work on it

.PHONY: install
install: .venv/.installed ## The development environment in .venv, from the hash-pinned locks

.venv/.installed: pyproject.toml requirements/dev.txt requirements/bootstrap.txt scripts/bootstrap
	@scripts/bootstrap
	@touch $@

.PHONY: fmt
fmt: install ## Format the code, and fix what can be fixed by machine
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix-only --quiet .

.PHONY: lint
lint: install ## Format, lint, types, and who may import whom
	$(call step,format,$(BIN)/ruff format --check .)
	$(call step,lint,$(BIN)/ruff check .)
	$(call step,types,$(BIN)/mypy)
	$(call step,import rules,$(BIN)/lint-imports)

.PHONY: unit
unit: install ## Tests that need no cluster
	@$(PYTEST) --ignore=tests/contract -m 'not cluster and not e2e' $(ARGS)

.PHONY: contract
contract: install ## Tests of the seam between operator and runtime
	@$(PYTEST) tests/contract $(ARGS)

.PHONY: clients
clients: install ## Tests with the programs that people ask with: OpenCode, Codex, OpenAI's libraries and others
	@$(PYTEST) tests/clients $(ARGS)

.PHONY: cluster
cluster: install ## Tests on a real API server
	@$(PYTEST) -m cluster $(ARGS)

.PHONY: e2e
e2e: install ## Tests with real pods (root)
	@$(PYTEST) -m e2e $(ARGS)

.PHONY: chaos-runtime
chaos-runtime: install ## Two minutes of broken connections before each store of the runtime, under load; CHAOS_SECONDS and CHAOS_SEED change them
	@CHAOS_SECONDS=$${CHAOS_SECONDS:-120} $(PYTEST) --capture=no --timeout=1200 tests/runtime/test_chaos.py $(ARGS)

.PHONY: golden
golden: install ## Accept what is rendered now as the golden output; review the difference
	@$(PYTEST) --quiet -m 'not cluster and not e2e' --update-golden tests/operator tests/chart

.PHONY: bench
bench: bench-operator bench-runtime bench-rag bench-growth ## Measure everything, on a machine with nothing else to do (root)

.PHONY: bench-operator
bench-operator: install ## Measure the operator: up to 3,000 assistants against a bare client, and one with every server until Ready (root). ARGS="--assistants 100 300" for a smaller run
	@$(BIN)/python -m tests.bench.operator $(ARGS)

.PHONY: bench-runtime
bench-runtime: install ## Measure the runtime beside Envoy, LiteLLM's proxy, a bare pass-through, and no gateway
	@$(BIN)/python -m tests.bench.runtime $(ARGS)

.PHONY: bench-rag
bench-rag: install ## Measure how well and how fast documents are found, on a public set of questions and answers
	@$(BIN)/python -m tests.bench.rag $(ARGS)

.PHONY: bench-growth
bench-growth: install ## Measure whether starts, appends, lists and flushes cost the same over 1,000 rows as over 5 million
	@$(BIN)/python -m tests.bench.growth $(ARGS)

##@ Generated files, locks and images

.PHONY: generate
generate: install ## CRD, RBAC rules, install manifest and docs/settings.md, from the code and the chart
	@scripts/generate

.PHONY: check-generated
check-generated: install ## Fail if a generated file is out of date
	@[ -n "$$HELM" ] || $(BIN)/python -m devcluster build >/dev/null
	$(call step,generated files,scripts/generate --check)

.PHONY: lock
lock: install ## Locks for what pyproject.toml asks; UPGRADE=1 takes the newest versions
	@scripts/lock $(if $(UPGRADE),--upgrade)

.PHONY: push
push: install ## Build the images of operator, runtime and chat page, and push them to REGISTRY=host/path
	@$(BIN)/python -m devcluster.demo push --registry '$(REGISTRY)' $(if $(BASE_IMAGE),--base-image '$(BASE_IMAGE)')

.PHONY: clean
clean: ## Remove what make made in this folder (docs/devcluster.md tells where the development cluster's cache is)
	@rm -rf .venv .cache build dist artifacts .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
	    /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	    /^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
