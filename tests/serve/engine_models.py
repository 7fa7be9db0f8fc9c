"""Tiny random decoders of every attention kind, and answers that an engine must give, for the tests of the engine."""

from __future__ import annotations

from dataclasses import replace

import torch

from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES
from dokja.models.generate import Sampling, generate
from dokja.models.init import initialise
from dokja.models.scaling import scaled
from dokja.models.spec import Indexer, LatentAttention, ModelSpec
from dokja.serve.engine.core import Core
from dokja.serve.engine.scheduler import Sequence
from dokja.serve.engine.types import Request, SamplingParams, Step

VOCAB, CONTEXT = 256, 128


def tiny_spec(name: str) -> ModelSpec:
    """A family with windows of an eighth of the context; "indexed" is A.X K2 with an indexer that must choose, of so
    many heads that no two scores are equal (relu makes zeros)."""
    spec = scaled(FAMILIES["ax-k2" if name == "indexed" else name].spec, 100_000, context=CONTEXT, vocab=VOCAB)
    if name != "indexed":
        return spec
    layers = []
    for layer in spec.layers:
        assert isinstance(layer.mixer, LatentAttention)
        layers.append(replace(layer, mixer=replace(layer.mixer, indexer=Indexer(heads=12, dim=16, top=12))))
    return replace(spec, layers=tuple(layers))


@torch.no_grad()
def tiny_decoder(name: str, seed: int = 0) -> Decoder:
    """Random weights, none neutral, with logits far enough apart that the likeliest token is clear."""
    decoder = Decoder(tiny_spec(name))
    initialise(decoder, seed)
    draws = torch.Generator().manual_seed(seed)
    for tensor in decoder.state_dict(keep_vars=True).values():
        if tensor.ndim == 1:
            tensor.add_(torch.rand(tensor.shape, generator=draws) - 0.5)
    decoder.head.weight.mul_(8)
    return decoder.eval()


def prompt_of(length: int, seed: int = 0) -> tuple[int, ...]:
    draws = torch.Generator().manual_seed(1000 * seed + length)
    return tuple(torch.randint(VOCAB, (length,), generator=draws).tolist())


def greedy(prompt: tuple[int, ...], count: int = 12, **more: object) -> Request:
    return Request(f"r{len(prompt)}", prompt, SamplingParams(max_tokens=count, temperature=0.0, **more))  # type: ignore


def expected(decoder: Decoder, request: Request) -> list[int]:
    """What `models.generate` writes."""
    return generate(decoder, [request.prompt], Sampling(max_tokens=request.sampling.max_tokens,
                                                        stop=request.sampling.stop))[0]


def finish_all(core: Core, arrivals: dict[int, list[Request]]) -> dict[str, list[int]]:
    """Run steps until every request is answered; arrivals: requests by the step before which they come."""
    answers: dict[Sequence, list[int]] = {}
    step = 0
    while arrivals or core.sequences:
        for request in arrivals.pop(step, []):
            answers[core.add(request)] = []
        for sequence, event in core.step():
            assert isinstance(event, Step)
            answers[sequence] += event.tokens
        step += 1
    return {sequence.request.id: answer for sequence, answer in answers.items()}
