# The commands of this project. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export LAB_DEBIAN ?= bookworm
# The name of this checkout's lab; its containers bear it, but for the first lab of a machine.
LAB_NAME ?= $(shell cat .lab/name 2>/dev/null || echo lab)
export LAB_NAME
export LAB_PREFIX := $(if $(filter lab,$(LAB_NAME)),,$(LAB_NAME)-)
export MOLECULE_COMMAND_BORDERS := false
export MOLECULE_REPORT := false

LAB := ansible-playbook --inventory inventories/lab
PYTEST := pytest --numprocesses 2 --dist loadfile
SUITES := tests/unit tests/data tests/integration
RESULTS := .lab/results
BENCH ?= indexes module play
BENCHES := indexes module play retention partitions health mldb durability
BENCH_ROWS ?= 2000000
BENCH_KILLS ?= 20
BENCH_SWITCHOVERS ?= 20
FAULTS_DEBIAN ?= bookworm trixie
FAULTS_TARGETS ?= 10
# What test-faults runs on each release: folders of molecule/.
SCENARIOS ?= faults backup alerts mldb environment
DEFAULT_HOSTS := env MOLECULE_EPHEMERAL_DIRECTORY=$(CURDIR)/.lab/molecule/default
BENCH_PARTS = $(filter indexes module,$(BENCH))
# ansible-lint alone takes a minute, and goes first so that the others run beside it.
QUICK_LINTERS := _yamllint _ruff _mypy _shellcheck
LINTERS := _ansible-lint _sqlfluff $(QUICK_LINTERS)
SCRIPTS = $(shell git ls-files --cached --others --exclude-standard | xargs grep --files-with-matches --no-messages '^#!.*sh$$')
QUERIES = $(shell git ls-files --cached --others --exclude-standard '*.sql')

.PHONY: help lab test test-fast test-faults lint bench report docs lab-hosts lab-down _setup _bench-play _bench-mldb _bench-durability $(LINTERS)

help: ## list the commands
	@sed --quiet --regexp-extended 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand --tabs=20

lab: lab-hosts ## set up, provision the hosts, load market data, prove a backup, and show what the optimisation bought
	@lab/stage 'Provision the hosts' $(LAB) playbooks/site.yml
	@lab/stage 'Take a backup' $(LAB) playbooks/take_backup.yml
	@lab/stage 'Restore it, and look' $(LAB) playbooks/drill_restore.yml
	@lab/stage 'Measure the benefit' $(LAB) playbooks/measure_benefit.yml
	@lab/stage 'The page on how it does' $(LAB) playbooks/report_health.yml
	@lab/summary

test: _setup ## set up, then lint and every test: unit, integration, whole hosts on Debian 12 and 13, the core of the faults
	@rm -f $(RESULTS)/*.xml $(RESULTS)/faults*
	@lab/stage 'Lint' $(MAKE) lint
	@lab/stage 'Unit and integration tests' $(PYTEST) --junit-xml=$(RESULTS)/suites.xml $(SUITES)
	@lab/stage 'Docker Engine' lab/docker
	@lab/stage 'Host images' lab/image bookworm trixie
	@lab/whose --running default 'Its tests run now: wait until they ended, or end them there.'
	@$(DEFAULT_HOSTS) molecule destroy --scenario-name default
	@failed=0; \
	lab/stage 'Hosts from blank to verified' $(DEFAULT_HOSTS) molecule test --scenario-name default --destroy never && \
	lab/stage 'The core of the faults, on these hosts' $(DEFAULT_HOSTS) FAULTS_PREFIX=test \
	    pytest -m core --junit-xml=$(RESULTS)/core.xml molecule/faults/tests || failed=1; \
	$(DEFAULT_HOSTS) molecule destroy --scenario-name default; exit $$failed
	@lab/count-tests $(RESULTS)/*.xml

test-faults: _setup ## break everything on purpose, and count the rows (FAULTS_DEBIAN="bookworm trixie", SCENARIOS="faults backup alerts mldb environment", FAULTS_TARGETS=10, FAULTS_SEED=)
	@rm -f $(foreach scenario,$(SCENARIOS),$(RESULTS)/$(scenario)*)
	@lab/stage 'Docker Engine' lab/docker
	@lab/stage 'Host images' lab/image $(FAULTS_DEBIAN)
	@for scenario in $(SCENARIOS); do for debian in $(FAULTS_DEBIAN); do FAULTS_DEBIAN=$$debian \
	    lab/whose --running $$scenario 'Its tests run now: wait until they ended, or end them there.'; done; done
	@failed=0; for scenario in $(SCENARIOS); do for debian in $(FAULTS_DEBIAN); do \
	    lab/stage "Scenario $$scenario on $$debian" env FAULTS_DEBIAN=$$debian FAULTS_TARGETS=$(FAULTS_TARGETS) FAULTS_SEED=$(FAULTS_SEED) \
	        MOLECULE_EPHEMERAL_DIRECTORY=$(CURDIR)/.lab/molecule/$$scenario-$$debian molecule test --scenario-name $$scenario || failed=1; \
	done; [[ ! -e $(RESULTS)/$$scenario.md ]] || cat $(RESULTS)/$$scenario.md; done; exit $$failed

test-fast: _setup ## the quick linters, unit tests and quick integration tests: no containers, some three minutes
	@lab/stage 'Quick linters' $(MAKE) --jobs=2 --output-sync=target $(QUICK_LINTERS)
	@lab/stage 'Unit and quick integration tests' $(PYTEST) -m 'not faults' $(SUITES)

lint: _setup ## ansible-lint, yamllint, ruff, mypy, shellcheck and sqlfluff
	@$(MAKE) --jobs=2 --output-sync=target $(LINTERS)

bench: _setup ## measure the indexes, an idle run of the module, and the site (BENCH="indexes module play retention partitions health mldb durability", BENCH_ROWS=2000000)
	$(if $(filter-out $(BENCHES),$(BENCH)),$(error BENCH is one or more of: $(BENCHES)))
	$(if $(BENCH_PARTS),@lab/stage 'The $(BENCH_PARTS)' python tests/bench/bench.py --rows $(BENCH_ROWS) --parts $(BENCH_PARTS))
	$(if $(filter retention,$(BENCH)),@lab/stage 'Retention and the refresh' python tests/bench/bench_retention.py --rows $(BENCH_ROWS) --output $(RESULTS)/bench_retention.json)
	$(if $(filter partitions,$(BENCH)),@lab/stage 'Partitions' python tests/bench/bench_partitions.py --rows $(BENCH_ROWS) --output $(RESULTS)/bench_partitions.json)
	$(if $(filter health,$(BENCH)),@lab/stage 'The health checks' python tests/bench/bench_health.py --rows $(BENCH_ROWS) --output $(RESULTS)/bench_health.json)
	$(if $(filter play,$(BENCH)),@$(MAKE) _bench-play)
	$(if $(filter mldb,$(BENCH)),@$(MAKE) lab-hosts _bench-mldb)
	$(if $(filter durability,$(BENCH)),@$(MAKE) _bench-durability)

_bench-play:
	@lab/stage 'Docker Engine' lab/docker
	@lab/stage 'Host images' lab/image bookworm trixie
	@lab/stage 'The site on a blank host, and again' python tests/bench/bench_play.py

_bench-durability:
	@lab/stage 'Docker Engine' lab/docker
	@lab/stage 'Host image' lab/image $(LAB_DEBIAN)
	@lab/stage 'Losses, copies, switchovers, hosts rebuilt' env FAULTS_PREFIX=bench FAULTS_DEBIAN=$(LAB_DEBIAN) \
	    MOLECULE_EPHEMERAL_DIRECTORY=$(CURDIR)/.lab/molecule/durability \
	    python tests/bench/bench_durability.py --kills $(BENCH_KILLS) --switchovers $(BENCH_SWITCHOVERS)

# On the lab, which the first run provisions where it is blank.
_bench-mldb:
	@lab/stage 'mldb apply beside ansible-playbook' python tests/bench/bench_mldb.py

report: _setup ## write a page on how the lab does, to .lab/health/lab.html
	@lab/stage 'The page' $(LAB) playbooks/report_health.yml

docs: _setup ## write the variable tables of the roles' READMEs, the alert rules of the checks, their page, and their levels
	@python -m mltrading_db.role_readme
	@python -m mltrading_db.alerts
	@python -m mltrading_db.health.levels

lab-hosts: _setup ## create the lab's hosts that are missing, and nothing else (LAB_DEBIAN=bookworm or trixie, LAB_NAME=lab)
	@lab/stage 'Docker Engine' lab/docker
	@lab/stage 'Host image' lab/image $(LAB_DEBIAN)
	@lab/stage 'Hosts' lab/hosts

lab-down: _setup ## remove the lab's hosts and all that is on them
	@lab/whose lab 'End that lab with `make -C OWNER lab-down`.'
	@MOLECULE_EPHEMERAL_DIRECTORY=$(CURDIR)/.lab/molecule/lab molecule destroy --scenario-name lab

_setup:
	@lab/stage 'Set-up' lab/setup

_ansible-lint:
	@lab/stage ansible-lint ansible-lint --config-file .config/ansible-lint.yml

_yamllint:
	@lab/stage yamllint yamllint --strict .

_ruff:
	@lab/stage 'ruff check' ruff check .
	@lab/stage 'ruff format' ruff format --check .

_mypy:
	@lab/stage mypy mypy

_shellcheck:
	@lab/stage shellcheck shellcheck $(SCRIPTS) lab/common.sh

_sqlfluff:
	@lab/stage sqlfluff sqlfluff lint --disable-progress-bar $(QUERIES)
