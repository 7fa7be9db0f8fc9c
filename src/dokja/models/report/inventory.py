"""What a model is made of: its parameters by component."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..cost import ffn_matrices, ffn_vectors, mixer_matrices, mixer_vectors, norm_parameters, norms_parameters
from ..spec import MLP, Attention, Layer, Mixer, ModelSpec

COMPONENTS = ("embedding", "attention", "dense feed-forward", "routed experts", "shared experts", "routers", "norms",
              "head", "MTP layers", "unused")
# What is quantised when weights are: the matrices of the layers. Tables, routers and norms keep 16 bits, as the recipes
# of DeepSeek-V3 (arXiv 2412.19437, section 3.3.1), GPTQ and AWQ do.
QUANTISED = ("attention", "dense feed-forward", "routed experts", "shared experts")


@dataclass(frozen=True)
class Component:
    """One kind of weights: how many parameters, how many of them one token meets, how many are in matrices.

    A table or head that another component shares has none of its own, and says so in `note`.
    """

    name: str
    parameters: int
    active: int
    matrices: int
    note: str = ""


def inventory(spec: ModelSpec) -> tuple[Component, ...]:
    """The components that a model has, in the order that a token meets them; they sum to `parameters(spec)`."""
    total, active, matrices = _layers(spec.layers, spec)
    table, norm = spec.vocab * spec.width, norm_parameters(spec)
    head = 0 if spec.tied else table
    total["embedding"] = active["embedding"] = matrices["embedding"] = table
    total["norms"] += norm
    active["norms"] += norm
    total["head"] = active["head"] = head + (spec.vocab if spec.head_bias else 0)
    matrices["head"] = head
    if spec.mtp:
        inside, _, inside_matrices = _layers(spec.mtp, spec)
        total["MTP layers"] = sum(inside.values()) + len(spec.mtp) * (2 * spec.width**2 + 3 * norm)
        matrices["MTP layers"] = sum(inside_matrices.values()) + len(spec.mtp) * 2 * spec.width**2
    total["unused"] = spec.unused
    notes = {"head": "the embedding table again (tied)" if spec.tied else "",
             "MTP layers": "beside the trunk: drafts tokens, not met by one",
             "unused": "in the published file, read by no published code"}
    return tuple(Component(name, total[name], active[name], matrices[name], notes.get(name, ""))
                 for name in COMPONENTS if total[name] or (name == "head" and spec.tied))


def _layers(layers: tuple[Layer, ...], spec: ModelSpec) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Parameters, those active and those in matrices, by component."""
    total: Counter[str] = Counter()
    active: Counter[str] = Counter()
    matrices: Counter[str] = Counter()
    for layer, times in Counter(layers).items():
        for name, (held, met, inside) in _layer(layer, spec).items():
            total[name] += times * held
            active[name] += times * met
            matrices[name] += times * inside
    return total, active, matrices


def _layer(layer: Layer, spec: ModelSpec) -> dict[str, tuple[int, int, int]]:
    width, ffn, place = spec.width, layer.ffn, layer.norms
    mixer, inner = mixer_matrices(layer.mixer, width), _inner_norms(layer.mixer)
    attention = mixer + mixer_vectors(layer.mixer, width) - inner
    norms = inner + norms_parameters(place, spec)
    out = {"attention": (attention, attention, mixer), "norms": (norms, norms, 0)}
    if isinstance(ffn, MLP):
        dense = ffn_matrices(ffn, width)
        held = dense + ffn_vectors(ffn, width)
        return {**out, "dense feed-forward": (held, held, dense)}
    expert = 3 * width * ffn.width
    held = expert + (2 * ffn.width + width if ffn.bias else 0)
    router = width * ffn.experts + (ffn.router.bias + ffn.router.logit_bias) * ffn.experts
    return {**out, "routed experts": (ffn.experts * held, ffn.active * held, ffn.experts * expert),
            "shared experts": (ffn.shared * held, ffn.shared * held, ffn.shared * expert),
            "routers": (router, router, width * ffn.experts)}


def _inner_norms(mixer: Mixer) -> int:
    """Parameters of the norms inside the mixer: of each head of Q and K, or of the latents and an indexer's key."""
    if isinstance(mixer, Attention):
        return 2 * mixer.head_dim if mixer.qk_norm else 0
    return mixer_vectors(mixer, 0)
