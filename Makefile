# What a person types. `make` alone lists it. Everything runs in .venv, which `make venv` makes; nothing is installed elsewhere
# except the system packages python3-venv and, by test and demo-service, postgresql (a server of their own) and, by interop-unsynced, fuse3, where
# they are missing and root or sudo allow.

.DEFAULT_GOAL := help
.PHONY: help venv demo demo-service test soak bench bench-peers interop interop-log interop-oidc interop-service interop-sslyze interop-unsynced fuzz docs
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

BIN := .venv/bin
WORKERS ?= 2
FUZZ_SECONDS ?= 300
KILLS ?= 3
KILLS_TOTAL ?= 300
POSTGRES_KILLS ?= 100
SERVICE_EVENTS ?= 100
KILL_TABLE := build/kills.txt
CRASHES := tests/faults/test_kill.py tests/faults/test_unsynced.py tests/faults/test_disk.py

help:  ## list the targets
	@sed -n 's/^\([a-z%-]*\):.*##  *\(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name what; do printf '  %-18s %s\n' "$$name" "$$what"; done

venv:  ## make .venv with everything that demo and test need; a second run is quick
	@bash scripts/venv.sh

demo: venv  ## run the example pipeline of a clinic, end to end
	$(BIN)/python examples/clinic/demo.py

demo-service: venv  ## the same with custody as a service: PostgreSQL, HTTPS, certificates, approvals, three environments
	@bash scripts/venv.sh postgresql
	$(BIN)/python examples/clinic_service/demo.py

test: venv  ## lint, types, floors, all tests
	@bash scripts/venv.sh postgresql
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

soak: venv  ## every crash point KILLS times, KILLS_TOTAL in all, the table of steps hit; POSTGRES_KILLS of hosts and a database server, outages of a minute, SERVICE_EVENTS of services
	@mkdir -p build && rm -f $(KILL_TABLE)
	HERMETIC_KILLS=$(KILLS) HERMETIC_KILL_TABLE=$(KILL_TABLE) $(BIN)/pytest -n $(WORKERS) --dist worksteal $(CRASHES)
	$(BIN)/python scripts/kill_table.py $(KILL_TABLE) $(KILLS_TOTAL)
	@bash scripts/venv.sh postgresql
	HERMETIC_POSTGRES_KILLS=$(POSTGRES_KILLS) $(BIN)/pytest -n 0 tests/faults/test_postgres_hosts.py
	HERMETIC_OUTAGE_S=60 $(BIN)/pytest -n 0 tests/faults/test_postgres_outage.py
	HERMETIC_SERVICE_EVENTS=$(SERVICE_EVENTS) HERMETIC_SERVICE_TABLE=build/services.txt $(BIN)/pytest -n 0 tests/faults/test_service_killed.py
	@cat build/services.txt

bench: venv  ## print the figures of benchmarks/, rivals included
	@bash scripts/each.sh "benchmarks" $(BIN)/python
	@bash scripts/each.sh "benchmarks/peers" $(BIN)/python

bench-peers: venv  ## print the figures of benchmarks/peers only: Hermetic beside its rivals
	@bash scripts/each.sh "benchmarks/peers" $(BIN)/python

interop: venv  ## tests against other people's tools, in every environment of tests/interop/environments
	$(BIN)/pytest tests/interop
	@for file in tests/interop/environments/*.txt; do $(MAKE) --no-print-directory "interop-$$(basename "$$file" .txt)"; done

interop-%: venv  ## the same in one environment of its own, %, which it makes first: a name in tests/interop/environments
	@bash scripts/environment.sh $*
	HERMETIC_INTEROP=$* .environments/$*/bin/pytest tests/interop/$*

interop-oidc: venv  ## exchange tokens of oidc-provider, which needs node and npm
	@bash scripts/environment.sh oidc
	HERMETIC_INTEROP=oidc $(BIN)/pytest tests/interop/oidc

interop-sslyze: venv  ## have sslyze, in an environment of its own, look at the listener of a service
	@bash scripts/environment.sh sslyze
	HERMETIC_INTEROP=sslyze $(BIN)/pytest tests/interop/sslyze

interop-service: venv  ## run make demo-service as a test: nothing is left, running or lying about
	@bash scripts/venv.sh postgresql
	HERMETIC_INTEROP=service $(BIN)/pytest tests/examples/test_clinic_service.py

interop-log: venv  ## have independent log tools check a log that we wrote
	$(BIN)/pytest tests/interop -k log

interop-unsynced: venv  ## cut the power on a FUSE layer that forgets what was not synced; fails where there is no FUSE
	@bash scripts/venv.sh fuse
	HERMETIC_UNSYNCED=required $(BIN)/pytest -n $(WORKERS) --dist worksteal tests/faults/test_unsynced.py

fuzz: venv  ## fuzz every parser, guided by coverage, FUZZ_SECONDS in all; fails on a crash or below 95 % branch coverage
	$(BIN)/python tests/fuzz/fuzz_parsers.py -max_total_time=$(FUZZ_SECONDS)

docs: venv  ## regenerate docs/reference from the program
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/authorization.py
