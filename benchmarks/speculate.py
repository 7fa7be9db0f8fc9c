"""What drafts save: `python benchmarks/speculate.py TEXT`.

Trains a small K-EXAONE with its MTP layer on the bytes of a text file and answers held-out prompts greedily, with and
without drafts, at batch 1 and 8. Prints tokens a second, their ratio, and how many drafts stood, of n-grams and of the
MTP layer together; answers are checked to be the same. A model that has learnt little repeats itself, which drafts
guess too well: train long enough.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.init import initialise
from dokja.models.scaling import scaled
from dokja.serve.engine.core import Core
from dokja.serve.engine.sizing import Limits
from dokja.serve.engine.speculate import Speculator
from dokja.serve.engine.types import Request, SamplingParams, Step
from dokja.serve.quantise import prepare

CONTEXT, ROUNDS, TOKENS = 256, 5, 96


def train(text: torch.Tensor, seconds: float, parameters: int) -> Decoder:
    """A decoder that has read windows of the text for that long."""
    decoder = Decoder(scaled(family("k-exaone").spec, parameters, context=CONTEXT, vocab=256))
    initialise(decoder, 0)
    optimiser = torch.optim.AdamW(decoder.parameters(), 2e-3)
    draws = torch.Generator().manual_seed(0)
    begin, step = time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        starts = torch.randint(len(text) - 129, (16, 1), generator=draws)
        ids = text[starts + torch.arange(129)]
        main, further = decoder.losses(ids[:, :-1], ids[:, 1:])
        optimiser.zero_grad()
        (main + 0.3 * further[0]).backward()
        optimiser.step()
        step += 1
    print(f"trained {step} steps: loss {float(main.detach()):.2f}, of the MTP layer {float(further[0].detach()):.2f}")
    return decoder.eval()


def answer(decoder: Decoder, prompts: list[tuple[int, ...]], drafts: bool) -> tuple[float, list[list[int]], Core]:
    """Tokens a second of all prompts together, the answers, and the engine."""
    limits = Limits(CONTEXT, CONTEXT * len(prompts), rows=len(prompts), mtp=drafts)
    core = Core(decoder, limits, Speculator(decoder, mtp=True) if drafts else None)
    sampling = SamplingParams(max_tokens=TOKENS, temperature=0.0)
    answers = {core.add(Request(str(i), prompt, sampling)): list[int]() for i, prompt in enumerate(prompts)}
    begin = time.perf_counter()
    while core.sequences:
        for sequence, event in core.step():
            assert isinstance(event, Step)
            answers[sequence] += event.tokens
    return len(prompts) * TOKENS / (time.perf_counter() - begin), list(answers.values()), core


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--parameters", type=int, default=3_000_000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    text = torch.frombuffer(bytearray(options.text.read_bytes()), dtype=torch.uint8).long()
    held = len(text) * 9 // 10
    decoder = prepare(train(text[:held], options.seconds, options.parameters), "fp32")
    for batch in (1, 8):
        ratios, rates, accepted, drafted = [], [], 0, 0
        for turn in range(ROUNDS):
            prompts = [tuple(text[held + 1000 * (turn * batch + i) :][:64].tolist()) for i in range(batch)]
            plain, want, _ = answer(decoder, prompts, drafts=False)
            rate, given, core = answer(decoder, prompts, drafts=True)
            if given != want:
                raise AssertionError("drafts changed an answer")
            ratios.append(rate / plain)
            rates.append(plain)
            accepted, drafted = accepted + core.stats().accepted, drafted + core.stats().drafted
        print(f"batch {batch}: {statistics.median(rates):.0f} tokens/s without drafts, "
              f"{statistics.median(ratios):.2f}x with them (lowest {min(ratios):.2f}x); "
              f"{accepted} of {drafted} drafts stood")


if __name__ == "__main__":
    main()
