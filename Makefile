# Dokja's commands. `make season` and `make test` are all that a newcomer needs.
PYTHON ?= python3
CONSTRAINTS ?= -c constraints.txt
VENV := .venv
BIN := $(VENV)/bin

.PHONY: season test check bench-season clean
