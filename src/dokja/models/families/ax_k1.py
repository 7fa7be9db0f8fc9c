"""A.X K1 519B-A33B (SK Telecom): arXiv 2601.09200, checkpoint class `AXK1ForCausalLM`.

DeepSeek-V3's latent attention with half the heads, 192 experts chosen inside the best 4 of 8 groups, and one extra
RMSNorm on the output of every mixture. The MTP layer of training is not in the released weights, so not here either.
"""

from ..spec import MLP, PRE, PRE_AND_FFN_OUT, LatentAttention, Layer, ModelSpec, MoE, Rope, Router, Yarn
from .family import ChatFormat, Family, Release

_attention = LatentAttention(
    heads=64, q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128,
    rope=Rope(theta=10_000, layout="interleaved",
              scaling=Yarn(factor=4.0, original_context=32_768, beta_fast=32, beta_slow=1, mscale=1.0)),
)
_moe = MoE(experts=192, active=8, shared=1, width=2048,
           router=Router(bias=True, groups=8, groups_kept=4, scale=2.5))

FAMILY = Family(
    name="ax-k1",
    title="A.X K1",
    company="SK Telecom",
    releases=(Release(
        spec=ModelSpec(
            name="a.x-k1-519b-a33b",
            vocab=163_840,
            width=7168,
            layers=(Layer(_attention, MLP(width=18432), PRE),
                    *(Layer(_attention, _moe, PRE_AND_FFN_OUT) for _ in range(60))),
            context=131_072,
            norm_eps=1e-6,
            unverified=("YaRN values (third party)", "chat markers"),
        ),
        repository="skt/A.X-K1",
        licence="Apache-2.0",
        source="transformers 5.23.0 axk1; SKT-AI/A.X-K1 README",
        total=None,
    ),),
    reference="transformers AXK1ForCausalLM",
    chat=ChatFormat(
        user="<|im_start|>user\n", assistant="<|im_start|>assistant\n", end="<|im_end|>", between="\n",
        special=("<|im_start|>", "<|im_end|>"),
    ),
)
