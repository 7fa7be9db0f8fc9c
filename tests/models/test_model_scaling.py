"""The one dial: at any size a model is still recognisably its family, and as large as asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pocket import NAMES

from dokja.models.cost import parameters
from dokja.models.families import family
from dokja.models.scaling import pattern_period, scaled, scaled_vocab
from dokja.models.spec import MLP, Attention, LatentAttention, Layer, Llama3, Mixer, ModelSpec, MoE, Yarn

SIZES = st.floats(6.31, 9.31).map(lambda exponent: int(10**exponent))  # 2 million to 2 billion
CONTEXTS = st.sampled_from([128, 256, 512, 1024, 4096])


def kind(layer: Layer) -> tuple[object, ...]:
    """What a layer keeps at any size."""
    mixer, ffn = layer.mixer, layer.ffn
    rope = mixer.rope and (mixer.rope.theta, mixer.rope.layout, replace(mixer.rope.scaling, original_context=0)
                           if isinstance(mixer.rope.scaling, Yarn | Llama3) else mixer.rope.scaling)
    attention: tuple[object, ...] = (type(mixer), mixer.window is not None, rope)
    if isinstance(mixer, Attention):
        attention += (mixer.heads // mixer.kv_heads, mixer.qk_norm,
                      mixer.scale and round(mixer.scale * mixer.head_dim, 9))
    feed = (ffn.shared, ffn.router, round(ffn.experts / ffn.active)) if isinstance(ffn, MoE) else ()
    if isinstance(mixer, LatentAttention):
        attention += (mixer.gate,)
    norms = (layer.norms.ungated, layer.norms.mixer_gate > 0, layer.norms.ffn_gate > 0)
    return (*attention, type(ffn), *feed, *norms)


def openings(layers: tuple[Layer, ...]) -> int:
    return sum(isinstance(layer.ffn, MLP) for layer in layers) if isinstance(layers[-1].ffn, MoE) else 0


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(NAMES), SIZES, CONTEXTS)
def test_a_family_stays_itself_at_any_size(name: str, total: int, context: int) -> None:
    official = family(name).spec
    small = scaled(official, total, context=context)
    period = pattern_period(official.layers)
    assert len(small.layers) % period == 0
    assert (openings(small.layers) > 0) is (openings(official.layers) > 0)
    assert all(isinstance(layer.ffn, MLP) for layer in small.layers[: openings(small.layers)])
    body, official_body = small.layers[openings(small.layers) :], official.layers[openings(official.layers) :]
    assert {kind(layer) for layer in body} <= {kind(layer) for layer in official_body}
    pattern = [kind(layer)[:3] for layer in official.layers]
    assert [kind(layer)[:3] for layer in small.layers] == pattern[: len(small.layers)]
    assert [kind(layer) for layer in small.mtp] == [kind(layer) for layer in official.mtp]
    for field in ("norm_eps", "norm_zero_centred", "tied", "residual_scale", "logit_scale"):
        assert getattr(small, field) == getattr(official, field)
    root = official.embedding_scale == official.width**0.5  # Gemma's, at any width
    assert small.embedding_scale == (small.width**0.5 if root else official.embedding_scale)
    assert small.context == context
    for layer in small.layers:
        check_shapes(layer.mixer, official.layers[-1].mixer, context)


def check_shapes(mixer: Mixer, official: Mixer, context: int) -> None:
    """Rotary dimensions pair up, heads keep their proportions (in steps of 8), a window is shorter than the context."""
    if isinstance(mixer, Attention):
        assert mixer.heads % mixer.kv_heads == 0
        assert mixer.head_dim % 2 == 0
    else:
        assert isinstance(mixer, LatentAttention)
        assert isinstance(official, LatentAttention)
        assert mixer.rope_dim % 2 == 0
        for part in ("nope_dim", "rope_dim"):
            assert abs(getattr(mixer, part) - getattr(official, part) / official.v_dim * mixer.v_dim) <= 4
    if mixer.window is not None:
        assert context // 8 <= mixer.window < context


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(NAMES), SIZES, CONTEXTS)
def test_the_size_is_the_one_asked_for(name: str, total: int, context: int) -> None:
    assert parameters(scaled(family(name).spec, total, context=context)).total == pytest.approx(total, rel=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_more_parameters_never_make_a_smaller_model(name: str) -> None:
    spec = family(name).spec
    sizes = [parameters(scaled(spec, int(2e6 * 1.5**step), context=256)).total for step in range(17)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("name", NAMES)
def test_the_official_size_gives_the_official_model(name: str) -> None:
    """The dial ends at the published architecture."""
    spec = family(name).spec
    assert scaled(spec, parameters(spec).total, context=spec.context) == spec


def test_a_tokenizer_decides_the_vocabulary() -> None:
    assert scaled(family("vaetki").spec, 3_000_000, context=256, vocab=1234).vocab == 1234


def test_the_vocabulary_shrinks_with_the_model() -> None:
    spec: ModelSpec = family("solar-open").spec
    assert scaled_vocab(spec, 1) == 512
    assert 512 < scaled_vocab(spec, 3_000_000) < scaled_vocab(spec, 300_000_000) < spec.vocab
    assert scaled_vocab(spec, 10**12) == spec.vocab
