# Modelward. `make` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help setup environment machine clients demo test check generate images cluster cluster-down bench bench-serving bench-training bench-evidence clean format e2e fuzz testing bench-operator faults bench-faults bench-rollback slow coverage mutants lint quick

HOME ?= /root
export HOME
unexport PYTHONDONTWRITEBYTECODE  # with it, every process of the tests compiles the code anew: a third of their imports
export PATH := $(PATH):$(or $(MODELWARD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/modelward)/tools/bin
UV ?= uv
RUN := $(UV) run --frozen --all-packages
NODES ?= 2
PROSE := README.md CHANGELOG.md docs crds operator serving training charts examples tests
# The first half goes to the first process, with the API server that it starts; who has nothing left takes from the other's end.
TESTS := tests/contract/api tests/contract/operator tests/contract tests/faults tests/unit
PARALLEL := --numprocesses auto --maxprocesses 4

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: environment ## Install what the targets need, and the pre-commit hooks
	@[ ! -e .git ] || $(RUN) pre-commit install

# The hooks are for people who ask for them: no other target writes into .git.
environment:
	@tests/setup.sh
	@$(UV) sync --frozen --all-packages --quiet --compile-bytecode

# What a machine lacks for a cluster is installed, or listed, before anything is built.
machine:
	@tests/setup.sh cluster

demo: machine environment ## Train, serve, promote, roll back and monitor a model on a real cluster
	$(RUN) python -m examples.demo

test: machine check slow ## Run everything: make check, the slow tests, the chart, and the end-to-end tests on a real cluster
	$(RUN) pytest tests/chart tests/e2e

testing:
	@tests/setup.sh tests

clients:
	@tests/setup.sh clients

check: ## Format, lint, types, import rules, generated files, and the tests that every change must pass
	@$(MAKE) --no-print-directory --jobs 2 lint quick

lint: environment ## The part of make check that runs no tests
	$(RUN) ruff format --check --quiet .
	$(RUN) ruff check --quiet .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) codespell $(PROSE)

quick: environment testing ## The part of make check that runs tests
	$(RUN) pytest $(PARALLEL) --dist worksteal -m "not slow" $(TESTS)

slow: environment testing clients ## The tests that make check leaves out: simulations, fuzzing, other clients, crash matrices, enclosures
	$(RUN) pytest $(PARALLEL) --dist loadfile -m slow $(TESTS)

coverage: environment testing ## Which lines and branches the tests of make check run: a summary, and build/coverage/index.html
	$(RUN) pytest $(PARALLEL) --dist worksteal -m "not slow" --cov --cov-config pyproject.toml --cov-report term --cov-report html tests/unit tests/contract

mutants: environment ## Mutation tests of the evidence and the rollout's checks: the score is written into docs/testing.md
	$(UV) sync --frozen --all-packages --group mutants --quiet
	$(UV) run --frozen --all-packages --group mutants python -m tests.mutants $(ARGS)

faults: environment ## Search longer for faults of the operator, in memory (MODELWARD_FAULTS=long)
	MODELWARD_FAULTS=long $(RUN) pytest --numprocesses auto --dist load tests/faults

format: environment ## Format the code and fix what the linter can
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

generate: environment ## Write the CRDs, the reference pages, the gRPC messages and the rollout diagram from their sources
	$(RUN) python -m modelward_api.generate.schema crds charts/modelward/files
	$(RUN) python -m modelward_api.generate.reference docs/reference
	$(RUN) python -m modelward_api.generate.reasons docs/reference/reasons.md
	$(RUN) python -m grpc_tools.protoc --proto_path serving/proto --python_out serving/src/modelward_serving/_generated --pyi_out serving/src/modelward_serving/_generated open_inference.proto graph.proto
	$(RUN) python -m tests.unit.operator.domain.walk docs/rollouts.md

images: machine environment ## Build the container images and show their sizes
	$(RUN) python -m tests.support.cluster images

cluster: machine environment ## Start a Kubernetes: CLUSTER=existing, kind if Docker and kind work, else embedded (NODES=2)
	$(RUN) python -m tests.support.cluster up --nodes $(NODES) --images

cluster-down: ## Stop the cluster and remove everything it made
	$(RUN) python -m tests.support.cluster down

e2e: machine environment ## Run only the end-to-end tests
	$(RUN) pytest tests/e2e

bench: environment ## Compare our server with plain BentoML as ratios; measure rows a second of batches
	$(RUN) python -m tests.bench.serving
	$(RUN) python -m tests.bench.batch

bench-serving: environment ## Compare our server with the others over REST and gRPC (creates an environment for each)
	$(RUN) python -m tests.bench.serving --all --rows 1 32 --connections 1 16 64 --json build/benchmarks.json
	$(RUN) python -m tests.bench.publish build/benchmarks.json
	$(RUN) python -m tests.bench.lease

bench-training: environment ## Load, check, split and profile ten million rows, beside plain polars on the same files
	$(RUN) python -m tests.bench.training_data $(ARGS)

bench-evidence: environment ## Simulate error rates and delays of the evidence: docs/evidence.md
	$(RUN) python -m tests.bench.evidence

fuzz: environment ## Fuzz the decoders for five minutes (Linux)
	$(UV) run --frozen --all-packages --with atheris python -m tests.fuzz -max_total_time=300 -max_len=4096

bench-operator: machine environment ## Measure the operator with thousands of ModelVersions on a real API server
	$(RUN) python -m tests.bench.operator --sizes 100 500 1000 5000 --json build/operator.json
	$(RUN) python -m tests.bench.exchange --json build/exchange.json
	$(RUN) python -m tests.bench.publish_operator build/operator.json build/exchange.json

bench-rollback: machine environment ## Compare time to roll back with Flagger and Argo Rollouts on one cluster (ARGS=--ours)
	rm -f build/rollback.json
	$(RUN) python -m tests.bench.rollback --json build/rollback.json --publish $(ARGS)

bench-faults: machine environment ## Break each component around a model under load; write what clients saw: docs/operations.md
	$(RUN) pytest tests/e2e/test_faults.py
	$(RUN) python -m tests.e2e.publish

clean: ## Remove caches and build output
	-$(RUN) python -m tests.support.cluster down
	$(RUN) python -m tests.support.cluster clean
	rm -rf build/coverage* build/mutants .venv .mypy_cache .ruff_cache .hypothesis .import_linter_cache
