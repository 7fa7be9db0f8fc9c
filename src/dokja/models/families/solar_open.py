"""Solar Open 100B (Upstage): arXiv 2601.07022, checkpoint class `SolarOpenForCausalLM`.

Ordinary grouped-query attention without QK-norm; every feed-forward is a 128-expert sigmoid mixture with one shared
expert and a router scale of 1.
"""

from ..spec import Attention, Layer, ModelSpec, MoE, Rope, Router, Yarn
from .family import ChatFormat, Family, Release

_attention = Attention(heads=64, kv_heads=8, head_dim=128,
                       rope=Rope(theta=1_000_000, scaling=Yarn(factor=2.0, original_context=65_536)))
_moe = MoE(experts=128, active=8, shared=1, width=1280, router=Router(bias=True, scale=1.0))

FAMILY = Family(
    name="solar-open",
    title="Solar Open",
    company="Upstage",
    releases=(Release(
        spec=ModelSpec(
            name="solar-open-102b-a12b",
            vocab=196_608,
            width=4096,
            layers=tuple(Layer(_attention, _moe) for _ in range(48)),
            context=131_072,
            norm_eps=1e-5,
        ),
        repository="upstage/Solar-Open-100B",
        licence="Solar-Apache License 2.0",
        source="transformers 5.23.0 solar_open; model card",
        total=102_651_799_552,
    ),),
    reference="transformers SolarOpenForCausalLM",
    chat=ChatFormat(
        user="<|begin|>user<|content|>", assistant="<|begin|>assistant<|content|>", end="<|end|>", between="",
        special=("<|begin|>", "<|content|>", "<|end|>"),
    ),
)
