"""vLLM on CPU in float32: `python vllm_peer.py FOLDER THREADS` (VLLM_CPU_OMP_THREADS_BIND chooses its cores)."""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import vllm
from protocol import PROMPT, prompts, serve


def main() -> None:
    torch.set_num_threads(int(sys.argv[2]))
    model = vllm.LLM(sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=1024, max_num_seqs=32,
                     enable_prefix_caching=False, skip_tokenizer_init=True)
    vocab = model.llm_engine.model_config.get_vocab_size()

    def run(rows: list[list[int]], tokens: int) -> float:
        options = vllm.SamplingParams(temperature=0.0, max_tokens=tokens, min_tokens=tokens, ignore_eos=True,
                                      detokenize=False)
        start = time.perf_counter()
        model.generate([{"prompt_token_ids": row} for row in rows], options, use_tqdm=False)
        return time.perf_counter() - start

    def prefill(tokens: int) -> float:
        return tokens / run(prompts(vocab, 1, tokens), 1)

    def generate(batch: int, steps: int) -> float:
        rows = prompts(vocab, batch, PROMPT)
        return batch * steps / (run(rows, steps + 1) - run(rows, 1))

    serve({"vllm": vllm.__version__, "torch": torch.__version__}, {"prefill": prefill, "generate": generate})


if __name__ == "__main__":
    main()
