"""llama.cpp, through llama-cpp-python's low-level bindings: `python llama_cpp_peer.py MODEL.gguf THREADS`.

Its tokens are given, not sampled, so that nothing of Python counts against it but one call a step.
"""

from __future__ import annotations

import ctypes
import sys
import time
from pathlib import Path

import llama_cpp as api
import numpy as np
from protocol import PROMPT, prompts, serve

CONTEXT, SEQUENCES = 32 * 640, 32  # every sequence has its share of the context


class Peer:
    """A loaded GGUF."""

    def __init__(self, file: str, threads: int) -> None:
        self._log = api.llama_log_callback(lambda level, text, data: None)
        api.llama_log_set(self._log, ctypes.c_void_p(0))
        api.llama_backend_init()
        options = api.llama_model_default_params()
        options.n_gpu_layers = 0
        self.model = api.llama_model_load_from_file(file.encode(), options)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {file}")
        self.vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        asked = api.llama_context_default_params()
        asked.n_ctx, asked.n_batch, asked.n_ubatch, asked.n_seq_max = CONTEXT, 512, 512, SEQUENCES
        asked.n_threads = asked.n_threads_batch = threads
        asked.no_perf = True
        self.context = api.llama_init_from_model(self.model, asked)
        if not self.context:
            raise SystemExit(f"llama.cpp cannot make a context for {file}")
        self.batch = api.llama_batch_init(512, 0, 1)

    def decode(self, entries: list[tuple[int, int, int, bool]]) -> None:
        """One step over (token, position, sequence, whether its logits are wanted)."""
        batch = self.batch
        batch.n_tokens = len(entries)
        for i, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        if api.llama_decode(self.context, batch):
            raise RuntimeError("llama_decode failed")

    def clear(self) -> None:
        api.llama_memory_clear(api.llama_get_memory(self.context), True)

    def prefill(self, tokens: int) -> float:
        """Tokens a second of one prompt."""
        self.clear()
        ids = prompts(self.vocab, 1, tokens)[0]
        start = time.perf_counter()
        self.decode([(token, place, 0, place == tokens - 1) for place, token in enumerate(ids)])
        api.llama_synchronize(self.context)
        return tokens / (time.perf_counter() - start)

    def generate(self, batch: int, steps: int) -> float:
        """Tokens a second of `batch` sequences together, prompts not counted."""
        self.clear()
        ids = prompts(self.vocab, batch, PROMPT + steps)
        for row in range(batch):
            self.decode([(token, place, row, False) for place, token in enumerate(ids[row][:PROMPT])])
        api.llama_synchronize(self.context)
        start = time.perf_counter()
        for step in range(PROMPT, PROMPT + steps):
            self.decode([(ids[row][step], step, row, True) for row in range(batch)])
            api.llama_synchronize(self.context)
        return batch * steps / (time.perf_counter() - start)

    def logits(self, ids: list[int], out: str) -> None:
        """Write the logits after each token, [tokens, vocabulary], as a .npy file."""
        self.clear()
        self.decode([(token, place, 0, True) for place, token in enumerate(ids)])
        rows = [np.ctypeslib.as_array(api.llama_get_logits_ith(self.context, i), (self.vocab,)).copy()
                for i in range(len(ids))]
        np.save(out, np.stack(rows))


def quantised(source: str, target: str, kind: str) -> None:
    """Write `source` as a GGUF of another kind, every matrix the same."""
    options = api.llama_model_quantize_default_params()
    options.ftype = {"F16": api.LLAMA_FTYPE_MOSTLY_F16, "Q8_0": api.LLAMA_FTYPE_MOSTLY_Q8_0,
                     "Q4_0": api.LLAMA_FTYPE_MOSTLY_Q4_0}[kind]
    options.pure, options.nthread, options.allow_requantize = True, 2, True
    if api.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(options)):
        raise RuntimeError(f"llama.cpp cannot quantise {source}")


def main() -> None:
    if sys.argv[1] == "quantise":
        quantised(*sys.argv[2:5])
        return
    peer = Peer(sys.argv[1], int(sys.argv[2]))
    features = api.llama_print_system_info().decode()
    serve({"llama.cpp": f"llama-cpp-python {api.__version__}", "features": features, "file": Path(sys.argv[1]).name},
          {"prefill": peer.prefill, "generate": peer.generate, "logits": peer.logits})


if __name__ == "__main__":
    main()
