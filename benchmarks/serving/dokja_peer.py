"""Dokja's engine with its scheduler and sampler: `python dokja_peer.py FOLDER THREADS WEIGHTS`."""

from __future__ import annotations

import asyncio
import sys
import time

import numpy as np
import torch
from protocol import PROMPT, prompts, serve

import dokja
from dokja.serve.engine.engine import Engine
from dokja.serve.engine.types import Request, SamplingParams
from dokja.serve.quantise import held_bytes, prepare
from dokja.serve.start import Setup, limits_of


class Peer:
    """A prepared model behind an engine."""

    def __init__(self, folder: str, threads: int, weights: str) -> None:
        torch.set_num_threads(threads)
        self.model = dokja.load(folder, dtype="float32")
        self.model.decoder.eval()
        prepare(self.model.decoder, weights)  # type: ignore[arg-type]
        # Every measurement has to compute its prompt: no prefix may be found. Every token has to be computed alone, as
        # the peers do: nothing is drafted.
        self.engine = Engine(self.model, limits_of(self.model, Setup(kv_memory=2 << 30, context=1024), folder),
                             speculate=False)
        self.asked = 0

    async def _run(self, rows: list[list[int]], tokens: int) -> tuple[float, float]:
        """Seconds until every row has its first token, and until all are through."""
        start = time.perf_counter()
        firsts: list[float] = []

        async def one(row: list[int]) -> None:
            self.asked += 1
            sampling = SamplingParams(max_tokens=tokens, temperature=0.0)
            first = True
            async for step in self.engine.submit(Request(str(self.asked), (self.asked % 900, *row[1:]), sampling)):
                if first and step.tokens:
                    firsts.append(time.perf_counter())
                    first = False

        await asyncio.gather(*map(one, rows))
        return max(firsts) - start, time.perf_counter() - start

    def prefill(self, tokens: int) -> float:
        """Tokens a second of one prompt."""
        return tokens / asyncio.run(self._run(prompts(self.model.spec.vocab, 1, tokens), 1))[1]

    def generate(self, batch: int, steps: int) -> float:
        """Tokens a second of `batch` sequences together, prompts and first tokens not counted."""
        first, whole = asyncio.run(self._run(prompts(self.model.spec.vocab, batch, PROMPT), steps + 1))
        return batch * steps / (whole - first)

    @torch.inference_mode()
    def logits(self, ids: list[int], out: str) -> None:
        """Write the logits after each token, [tokens, vocabulary], as a .npy file."""
        np.save(out, self.model.decoder(torch.tensor([ids]))[0].numpy())


def main() -> None:
    peer = Peer(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    serve({"dokja": dokja.__name__, "torch": torch.__version__, "weights": sys.argv[3],
           "bytes": held_bytes(peer.model.decoder)},
          {"prefill": peer.prefill, "generate": peer.generate, "logits": peer.logits})


if __name__ == "__main__":
    main()
