"""The one dial: an official architecture at any size, still recognisably that architecture.

Kept exactly: the attention pattern, query heads per key/value head, active/total experts, shared experts, expert
groups, norm placement, gates, multipliers, positions. Kept as ratios to the width: query width, ranks of latents and
of gates, feed-forward widths. Derived: depth (fifth root of the size), vocabulary (cube root), width (what the size
leaves). Left out: indexers, which no pre-training has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..errors import DokjaError
from .cost import parameters
from .spec import MLP, Attention, FeedForward, Layer, Llama3, Mixer, ModelSpec, Rope, Skip, Yarn

HEAD_DIM = 32  # the smallest head that still holds a key; official heads are 128
MIN_ACTIVE = 2  # with one expert a token, normalised weights are all 1 and the router would get no gradient
VOCAB_REFERENCE = 100e9  # the size at which a family keeps its whole vocabulary


def scaled(spec: ModelSpec, total: int, *, context: int, vocab: int | None = None) -> ModelSpec:
    """The architecture of `spec` at the width that brings its parameters nearest to `total`; from its official size
    on, the official spec.

    context: the length it is to be trained at; windows shrink with it, to no less than an eighth of it.
    vocab: the tokenizer's size; None takes `scaled_vocab`.
    """
    if total >= parameters(spec).total:
        return replace(spec, vocab=spec.vocab if vocab is None else vocab)
    vocab = scaled_vocab(spec, total) if vocab is None else vocab
    layers = _pick_layers(spec.layers, total / parameters(spec).total)
    def miss(candidate: ModelSpec) -> float:
        return abs(parameters(candidate).total / total - 1)

    best = _nearest(spec, layers, vocab, context, total, step=16)
    if miss(best) <= 0.1:
        return best
    # Pocket models grow by a third from one width to the next; finer steps are slower in vector units.
    return min(best, _nearest(spec, layers, vocab, context, total, step=8), key=miss)


def _nearest(spec: ModelSpec, layers: tuple[Layer, ...], vocab: int, context: int, total: int, step: int) -> ModelSpec:
    best: ModelSpec | None = None
    for width in range(step, spec.width + 1, step):
        candidate = _at_width(spec, layers, width, vocab, context, total)
        if best is None or abs(parameters(candidate).total - total) < abs(parameters(best).total - total):
            best = candidate
        if parameters(candidate).total > 2 * total:
            break
    assert best is not None
    return best


def scaled_vocab(spec: ModelSpec, total: int) -> int:
    """The official vocabulary times the cube root of the size over 100B, in steps of 64, never above the official."""
    share = (total / VOCAB_REFERENCE) ** (1 / 3)
    return min(spec.vocab, max(512, round(spec.vocab * share / 64) * 64))


def pattern_period(layers: Sequence[Layer]) -> int:
    """The length after which the sequence of mixers repeats (4 for LLLG)."""
    mixers = [layer.mixer for layer in layers]
    return next(p for p in range(1, len(mixers) + 1) if all(m == mixers[i % p] for i, m in enumerate(mixers)))


def _pick_layers(layers: tuple[Layer, ...], share: float) -> tuple[Layer, ...]:
    """A depth of whole pattern periods; of the layers that open the stack differently at least one stays."""
    period = pattern_period(layers)
    depth = min(len(layers), period * max(1, round(len(layers) * share**0.2 / period)))
    whole = len(layers) // period * period  # Gemma 3's patterns stop midway
    body = layers[whole - period:whole]
    opening = [layer for layer in layers if layer.ffn != layers[-1].ffn]
    kept = max(1, round(len(opening) * depth / len(layers))) if opening else 0
    picked = [body[i % period] for i in range(depth)]
    for i in range(kept):
        picked[i] = replace(layers[i], mixer=picked[i].mixer)
    return tuple(picked)


def _at_width(spec: ModelSpec, layers: tuple[Layer, ...], width: int, vocab: int, context: int,
              total: int) -> ModelSpec:
    ratio, stretch, share = width / spec.width, context / spec.context, total / parameters(spec).total

    def shrink(layer: Layer) -> Layer:
        norms = replace(layer.norms, mixer_gate=_shrink_rank(layer.norms.mixer_gate, ratio),
                        ffn_gate=_shrink_rank(layer.norms.ffn_gate, ratio))
        return replace(layer, norms=norms, mixer=_shrink_mixer(layer.mixer, spec.width, width, context, stretch),
                       ffn=_shrink_ffn(layer.ffn, ratio, share))

    # Gemma's multiplier of the embedding is the root of the width; others' are numbers of their own.
    embedding_scale = width**0.5 if spec.embedding_scale == spec.width**0.5 else spec.embedding_scale
    return replace(spec, name=f"{spec.name}@{_short(total)}", vocab=vocab, width=width, context=context,
                   embedding_scale=embedding_scale,
                   layers=tuple(map(shrink, layers)), mtp=tuple(map(shrink, spec.mtp)), unused=0,
                   skips=_shrink_skips(spec, len(layers)))


def _shrink_mixer(mixer: Mixer, official_width: int, width: int, context: int, stretch: float) -> Mixer:
    window = None if mixer.window is None else max(round(mixer.window * stretch), context // 8)
    rope = _shrink_rope(mixer.rope, stretch)
    if isinstance(mixer, Attention):
        target = mixer.heads * mixer.head_dim * width / official_width
        group = mixer.heads // mixer.kv_heads
        kv_heads = max(1, min(mixer.kv_heads, round(target / (group * HEAD_DIM))))
        head_dim = min(mixer.head_dim, _step(target / (group * kv_heads), 8))
        scale = _shrink_scale(mixer.scale, mixer.head_dim, head_dim)
        if rope is not None and rope.dims is not None:
            rope = replace(rope, dims=_step(rope.dims * head_dim / mixer.head_dim, 2))
        return replace(mixer, heads=group * kv_heads, kv_heads=kv_heads, head_dim=head_dim, window=window, rope=rope,
                       scale=scale)
    assert rope is not None
    ratio = width / official_width
    heads = max(1, min(mixer.heads, round(mixer.heads * mixer.v_dim * ratio / HEAD_DIM)))
    v_dim = min(mixer.v_dim, _step(mixer.heads * mixer.v_dim * ratio / heads, 8))
    nope_dim = _step(mixer.nope_dim * v_dim / mixer.v_dim, 8)
    # An indexer is no part of pre-training: it is added to a trained model and learns to choose what that attends to.
    return replace(mixer, heads=heads, v_dim=v_dim, nope_dim=nope_dim,
                   rope_dim=_step(mixer.rope_dim * v_dim / mixer.v_dim, 8),
                   q_rank=None if mixer.q_rank is None else max(HEAD_DIM, _step(mixer.q_rank * ratio, 8)),
                   kv_rank=max(HEAD_DIM, _step(mixer.kv_rank * ratio, 8)), window=window, rope=rope, indexer=None)


def _shrink_scale(scale: float | None, official: int, head_dim: int) -> float | None:
    """A scale that was stated follows the head; an unstated one does by itself.

    muP's is 1 / head_dim; any other is one over the root of a whole number, as configs have it (Gemma 3 27B: 168).
    """
    if scale is None or scale * official == 1:
        return scale and 1 / head_dim
    return round(scale**-2 * head_dim / official) ** -0.5


def _shrink_rank(rank: int, ratio: float) -> int:
    return _step(rank * ratio, 4) if rank else 0


def _shrink_skips(spec: ModelSpec, depth: int) -> tuple[Skip, ...]:
    """Skips at the same share of the depth; those that would span nothing go."""
    share = depth / len(spec.layers)
    moved = (replace(skip, source=int(skip.source * share), target=int(skip.target * share)) for skip in spec.skips)
    return tuple(skip for skip in moved if skip.source < skip.target)


def _shrink_rope(rope: Rope | None, stretch: float) -> Rope | None:
    if rope is None or not isinstance(rope.scaling, Yarn | Llama3):
        return rope
    original = max(1, round(rope.scaling.original_context * stretch))
    return replace(rope, scaling=replace(rope.scaling, original_context=original))


def _shrink_ffn(ffn: FeedForward, ratio: float, share: float) -> FeedForward:
    if isinstance(ffn, MLP):
        return replace(ffn, width=_step(ffn.width * ratio, 8))
    # Active experts halve with each hundredfold or so, down to the fewest whose weights still say something.
    active = max(min(ffn.active, MIN_ACTIVE), 2 ** round(math.log2(ffn.active * share**0.15)))
    return replace(ffn, experts=ffn.experts * active // ffn.active, active=active, width=_step(ffn.width * ratio, 8))


def _step(value: float, step: int) -> int:
    return max(step, round(value / step) * step)


def _short(total: int) -> str:
    return f"{total / 1e9:.3g}b" if total >= 1e9 else f"{total / 1e6:.3g}m"


def extended(spec: ModelSpec, factor: float, window: int | None = None) -> ModelSpec:
    """The same weights' architecture for contexts `factor` times as long, by YaRN (arXiv 2309.00071).

    Positions are stretched in layers that see everything; a layer with a window never sees farther than in training
    and keeps its own. window: the new window of those, None keeps it. A factor adds to one that is there already.
    """
    if factor < 1:
        raise DokjaError(f"a context cannot be extended {factor:g} times: give a factor of 1 or more")

    def stretch(layer: Layer) -> Layer:
        mixer = layer.mixer
        if mixer.window is not None:
            return replace(layer, mixer=replace(mixer, window=window or mixer.window))
        rope = mixer.rope
        if rope is None or factor == 1:
            return layer
        if rope.scaling is not None and not isinstance(rope.scaling, Yarn):
            raise DokjaError(f"{spec.name} extends its context by {type(rope.scaling).__name__} already, which YaRN "
                             "cannot be added to")
        scaling = (replace(rope.scaling, factor=rope.scaling.factor * factor) if rope.scaling
                   else Yarn(factor, spec.context))
        return replace(layer, mixer=replace(mixer, rope=replace(rope, scaling=scaling)))

    return replace(spec, context=int(spec.context * factor), layers=tuple(map(stretch, spec.layers)),
                   mtp=tuple(map(stretch, spec.mtp)))
