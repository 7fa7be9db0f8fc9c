"""VAETKI 100B-A10B (NC AI): repository wbl-ncai/VAETKI.

Latent attention and experts as in DeepSeek-V3, a zero-centred RMSNorm before and after each half-layer, five layers
with a 512-token window to one global layer, whose positions are stretched by 8 on their own RoPE base. No router bias.
"""

from ..spec import MLP, PERI, LatentAttention, Layer, Linear, ModelSpec, MoE, Rope, Router
from .family import ChatFormat, Family, Release


def _attention(rope: Rope, window: int | None) -> LatentAttention:
    return LatentAttention(heads=24, q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128, rope=rope,
                           window=window)


_local = _attention(Rope(theta=10_000, layout="interleaved"), window=512)
_global = _attention(Rope(theta=1_000_000, layout="interleaved", scaling=Linear(8.0)), window=None)
_dense = MLP(width=18432)
_moe = MoE(experts=128, active=8, shared=1, width=2048, router=Router(bias=False, scale=2.5))

FAMILY = Family(
    name="vaetki",
    title="VAETKI",
    company="NC AI",
    releases=(Release(
        spec=ModelSpec(
            name="vaetki-112b-a10b",
            vocab=137_216,
            width=3072,
            layers=tuple(Layer(_global if i % 6 == 5 else _local, _dense if i < 3 else _moe, PERI) for i in range(48)),
            context=131_072,
            norm_eps=1e-5,
            norm_zero_centred=True,
            unverified=("window and the place of global layers (third party)", "norm_eps",
                        "context (trained to 32,768)"),
        ),
        repository="NC-AI-consortium-VAETKI/VAETKI",
        licence="MIT",
        source="wbl-ncai/VAETKI vllm_plugin; exact match of the published parameter total",
        total=112_191_900_672,
    ),),
    reference="tests/parity/vaetki_reference.py",
    chat=ChatFormat(
        user="<|START|><|role_user|>", assistant="<|START|><|role_assistant|>", end="<|END|>", between="\n",
        special=("<|START|>", "<|role_user|>", "<|role_assistant|>", "<|END|>"),
    ),
)
