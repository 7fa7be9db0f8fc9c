"""Solar Pro Preview 22B (Upstage, 2024): checkpoint class `SolarForCausalLM` (code published beside the weights).

Llama's block, made deeper by up-scaling Phi-3 medium from 40 layers to 64, with block skip connections: at some layers
the stream is blended with what it was a few layers before. The architecture of Solar Pro 2 (31B, 2025) was never
published, nor were its weights; this is not it.
"""

from collections.abc import Collection
from dataclasses import replace

from ...errors import DokjaError
from ..chat.template import ChatTemplate
from ..checkpoint import llama
from ..checkpoint.layout import Checkpoint, Config
from ..spec import MLP, Attention, Layer, ModelSpec, Rope, Skip
from .family import Family, Release

# config.json's block skip connections (bskcn); absent fields mean these. Before a layer of list 1 or 2 the stream is
# kept in the first or second of two places; before a layer of list 3 or 4 it is blended with the first or the second.
# bskcn_tv is the kept stream's share, in training and else.
_DEFAULTS = {"bskcn_1": [12, 20, 32, 44], "bskcn_2": [20, 32], "bskcn_3": [16, 24, 36, 48], "bskcn_4": [28, 40],
             "bskcn_tv": [0.9, 0.8]}


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    spec = llama.read(config, tensors)
    keep_1, keep_2, blend_1, blend_2, (training_share, share) = (
        default if config.get(name) is None else config[name] for name, default in _DEFAULTS.items())
    kept: dict[int, int] = {}
    skips = []
    for i in range(len(spec.layers)):
        for place, keep in enumerate((keep_1, keep_2)):
            if i in keep:
                kept[place] = i
        for place, blend in enumerate((blend_1, blend_2)):
            if i in blend and place not in kept:
                raise DokjaError(f"config.json blends at layer {i} (bskcn_{place + 3}) what bskcn_{place + 1} has not "
                                 "kept at any layer up to there")
            if i in blend:
                skips.append(Skip(kept[place], i, share, training_share))
    return replace(spec, skips=tuple(skips))


def _write(spec: ModelSpec) -> Config:
    lists: tuple[list[int], ...] = ([], [], [], [])
    for skip in sorted(spec.skips, key=lambda skip: skip.target):
        # A place is free again after the blend that it was kept for.
        place = next((p for p in (0, 1) if not lists[p + 2] or skip.source > lists[p + 2][-1]), None)
        if place is None:
            raise DokjaError(f"{spec.name} has more than two block skip connections at once and cannot be written as "
                             "a Solar Pro")
        lists[place].append(skip.source)
        lists[place + 2].append(skip.target)
    shares = {(skip.training_share, skip.share) for skip in spec.skips} or {(0.0, 0.0)}
    if len(shares) > 1:
        raise DokjaError(f"{spec.name} has block skip connections of several shares and cannot be written as a Solar "
                         "Pro, whose config.json holds one")
    return {**llama.write(spec), **dict(zip(_DEFAULTS, (*lists, list(*shares)), strict=True))}


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
