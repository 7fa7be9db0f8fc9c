"""Solar Pro Preview 22B (Upstage, 2024): checkpoint class `SolarForCausalLM` (code published beside the weights).

Llama's block, made deeper by up-scaling Phi-3 medium from 40 layers to 64, with block skip connections: at some layers
the stream is blended with what it was a few layers before. The architecture of Solar Pro 2 (31B, 2025) was never
published, nor were its weights; this is not it.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import product

from ...errors import DokjaError
from ..chat.template import ChatTemplate
from ..checkpoint import llama
from ..checkpoint.layout import Checkpoint, Config
from ..spec import MLP, Attention, Layer, ModelSpec, Rope, Skip
from .family import Family, Release

# config.json's block skip connections (bskcn); absent fields mean these. Before a layer of list 1 or 2 the stream is
# kept in the first or second of two places; before a layer of list 3 or 4 it is blended with the first or the second.
# bskcn_tv is the kept stream's share, in training and else.
_DEFAULTS: Config = {"bskcn_1": [12, 20, 32, 44], "bskcn_2": [20, 32], "bskcn_3": [16, 24, 36, 48], "bskcn_4": [28, 40],
                     "bskcn_tv": [0.9, 0.8]}


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    spec = llama.read(config, tensors)
    *lists, (training_share, share) = (default if config.get(name) is None else config[name]
                                       for name, default in _DEFAULTS.items())
    return replace(spec, skips=tuple(Skip(source, target, share, training_share)
                                     for source, target in _connections(lists, len(spec.layers))))


def _connections(lists: Sequence[Collection[int]], depth: int) -> list[tuple[int, int]]:
    """(source, target) of each blend, in the order in which they are made."""
    kept: dict[int, int] = {}
    found = []
    for i in range(depth):
        kept |= {place: i for place in (0, 1) if i in lists[place]}
        for place in (0, 1):
            if i in lists[place + 2]:
                if place not in kept:
                    raise DokjaError(f"config.json blends at layer {i} (bskcn_{place + 3}) what bskcn_{place + 1} "
                                     "keeps at no layer up to there")
                found.append((kept[place], i))
    return found


def _write(spec: ModelSpec) -> Config:
    skips = sorted(spec.skips, key=lambda skip: skip.target)
    shares = {(skip.training_share, skip.share) for skip in skips} or {(0.0, 0.0)}
    # Each connection goes through one of two places; of all ways that mean the same, the one that keeps most often.
    ways = []
    for places in product((0, 1), repeat=len(skips)):
        through = [[skip for skip, place in zip(skips, places, strict=True) if place == p] for p in (0, 1)]
        lists = [*(sorted({skip.source for skip in some}) for some in through),
                 *([skip.target for skip in some] for some in through)]
        if _connections(lists, len(spec.layers)) == [(skip.source, skip.target) for skip in skips]:
            ways.append(lists)
    if not ways or len(shares) > 1:
        raise DokjaError(f"{spec.name} has block skip connections that a Solar Pro's config.json cannot say: at most "
                         "two at once, and one share for all")
    best = max(ways, key=lambda lists: len(lists[0]) + len(lists[1]))
    return {**llama.write(spec), **dict(zip(_DEFAULTS, (*best, list(*shares)), strict=True))}


_layer = Layer(Attention(heads=40, kv_heads=10, head_dim=128, rope=Rope(theta=10_000)), MLP(17920))

FAMILY = Family(
    name="solar-pro",
    title="Solar Pro Preview",
    company="Upstage",
    releases=(Release(
        spec=ModelSpec(
            name="solar-pro-preview-22b", vocab=32_128, width=5120, layers=(_layer,) * 64, context=4096,
            norm_eps=1e-5,
            skips=tuple(Skip(source, target, share=0.8, training_share=0.9)  # bskcn_1 to bskcn_4, bskcn_tv
                        for source, target in ((12, 16), (20, 24), (20, 28), (32, 36), (32, 40), (44, 48))),
            unverified=(
                "widths and heads (Phi-3 medium's, from which it was up-scaled; they give the published 22.1B)",
                "vocabulary (Phi-3's 32,064 with chat markers, rounded up)",
                "norm epsilon and RoPE base (Phi-3 medium's)",
                "sliding_window 2047 of the config class is not read by sglang's implementation, nor here",
            ),
        ),
        repository="upstage/solar-pro-preview-instruct",
        licence="MIT",
        source="its model card; SolarConfig and sglang's test of the released skip connections; sglang 0.5.23 solar.py",
    ),),
    reference="tests/parity/solar_pro_reference.py (no class in transformers)",
    checkpoint=Checkpoint(("solar",), "SolarForCausalLM", _read, _write, llama.NAMES),
    template=ChatTemplate(
        "solar-pro", "chatml", note="the preview, which does not reason",
        unverified=("turn markers (ChatML)", "whether a system turn is understood"),
    ),
    note="Solar Pro 2's own architecture was never published; Solar Pro Preview is the last Solar Pro that was.",
)
