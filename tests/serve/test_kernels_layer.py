"""A whole layer as one call: what the modules compute, and whatever shares a step, the same bits."""

from __future__ import annotations

import random

import pytest
import torch
from engine_models import CONTEXT, prompt_of, tiny_decoder
from test_engine_invariance import ROOMY, random_requests, run
from test_kernels_linear import error

from dokja.models.attention import GroupedQueryAttention
from dokja.models.decoder import Block
from dokja.models.families import FAMILIES
from dokja.serve import native
from dokja.serve.engine.core import Core
from dokja.serve.engine.paged import PagedCache, Places
from dokja.serve.engine.pages import Pages, kinds_of
from dokja.serve.engine.sizing import Limits
from dokja.serve.engine.trunk import Trunk
from dokja.serve.quantise import prepare
from dokja.serve.weights import Kind


@pytest.mark.parametrize("kind", ["fp32", "int8"])
@pytest.mark.parametrize("name", [*FAMILIES, "indexed"])
def test_an_answer_does_not_depend_on_what_shares_its_steps(name: str, kind: Kind) -> None:
    """Alone in whole prompts, against crowds in small chunks, few pages and shared prefixes."""
    decoder, requests = prepare(tiny_decoder(name), kind, narrow=0), random_requests(0, 6)
    alone = {request.id: run(Core(decoder, ROOMY), [(0, request)])[request.id] for request in requests}
    tight = Core(decoder, Limits(context=CONTEXT, tokens=CONTEXT + 64, rows=5, budget=19))
    draws = random.Random(1)
    assert run(tight, [(draws.randrange(30), request) for request in requests]) == alone


@pytest.mark.skipif(native.library() is None, reason="no C++ compiler")
@pytest.mark.parametrize("name", FAMILIES)
def test_a_layer_as_one_call_is_the_layer(name: str) -> None:
    decoder = prepare(tiny_decoder(name), "fp32")

    def states(native_layers: bool) -> torch.Tensor:
        pages = Pages(kinds_of(decoder.spec), [40] * len(kinds_of(decoder.spec)), 2, CONTEXT)
        trunk = Trunk(decoder, PagedCache(pages, CONTEXT))
        grouped = [isinstance(block.mixer, GroupedQueryAttention) and not block.parallel
                   for block in decoder.layers if isinstance(block, Block)]
        rms = decoder.spec.norm == "rms" and not decoder.spec.skips
        assert trunk.whole == (any(grouped) and rms)
        trunk.whole &= native_layers
        found, done = [], [0, 0]
        for chunk in ((0, 0, 33), (1, 50, 30), (0, 33, 1), (1, 80, 1), (0, 34, 3)):
            row, begin, count = chunk
            if begin and not done[row]:  # the part before is not looked at here
                begin = 0
            assert pages.reserve(row, begin + count)
            trunk.cache.place(Places.of([row] * count, range(begin, begin + count)))
            done[row] = begin + count
            with torch.inference_mode():
                found.append(trunk.states(torch.tensor(prompt_of(CONTEXT)[begin : begin + count])))
        return torch.cat(found)

    modules = states(False).double()
    wrong = (states(True) - modules).norm(dim=1) / modules.norm(dim=1)
    assert wrong.median() < 1e-5
    assert error(states(True), modules) < 0.1  # a router that is nearly undecided may choose another expert
