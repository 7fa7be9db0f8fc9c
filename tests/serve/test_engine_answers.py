"""The engine writes what the decoder writes alone, whatever shares its steps."""

from __future__ import annotations

import pytest
from engine_models import CONTEXT, expected, finish_all, greedy, prompt_of, tiny_decoder, tiny_spec

from dokja.models.families import FAMILIES
from dokja.serve.engine.core import Core
from dokja.serve.engine.sizing import Limits


@pytest.mark.parametrize("name", [*FAMILIES, "indexed"])
def test_greedy_answers_are_the_decoders_own(name: str) -> None:
    """Prompts of many lengths, arriving at different times, prefilled in chunks, past windows and page borders."""
    decoder = tiny_decoder(name)
    core = Core(decoder, Limits(context=CONTEXT, tokens=600, rows=4, budget=24))
    arrivals = {0: [greedy(prompt_of(50)), greedy(prompt_of(3), 40)], 1: [greedy(prompt_of(16)), greedy(prompt_of(1))],
                4: [greedy(prompt_of(33)), greedy(prompt_of(90), 38)]}
    requests = [request for some in arrivals.values() for request in some]
    answers = finish_all(core, arrivals)
    assert answers == {request.id: expected(decoder, request) for request in requests}
    assert core.pages.free == core.pages.total


def test_the_decoders_of_these_tests_hold_every_kind_of_attention() -> None:
    mixers = [layer.mixer for name in [*FAMILIES, "indexed"] for layer in tiny_spec(name).layers]
    assert {mixer.window for mixer in mixers} == {None, CONTEXT // 8}
    for feature in ("sinks", "gate", "indexer", "qk_norm", "bias"):
        assert any(getattr(mixer, feature, None) for mixer in mixers)
