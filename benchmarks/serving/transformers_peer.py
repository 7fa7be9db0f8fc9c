"""transformers, eager and in float32: `python transformers_peer.py FOLDER THREADS`."""

from __future__ import annotations

import sys
import time

import torch
import transformers
from protocol import PROMPT, prompts, serve


def main() -> None:
    torch.set_num_threads(int(sys.argv[2]))
    transformers.utils.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
    vocab = model.config.vocab_size

    @torch.inference_mode()
    def prefill(tokens: int) -> float:
        ids = torch.tensor(prompts(vocab, 1, tokens))
        start = time.perf_counter()
        model(ids, use_cache=True, logits_to_keep=1)
        return tokens / (time.perf_counter() - start)

    @torch.inference_mode()
    def generate(batch: int, steps: int) -> float:
        ids = torch.tensor(prompts(vocab, batch, PROMPT))
        done = model(ids, use_cache=True, logits_to_keep=1)
        start = time.perf_counter()
        for _ in range(steps):
            done = model(done.logits.argmax(-1), past_key_values=done.past_key_values, use_cache=True)
        return batch * steps / (time.perf_counter() - start)

    serve({"transformers": transformers.__version__, "torch": torch.__version__},
          {"prefill": prefill, "generate": generate})


if __name__ == "__main__":
    main()
