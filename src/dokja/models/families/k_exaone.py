"""K-EXAONE 236B-A23B (LG AI Research): arXiv 2601.01739, checkpoint class `ExaoneMoEForCausalLM`.

A Llama block with a norm on each head of Q and K; three of four layers see 128 tokens and rotate, the fourth sees
everything and has no positions; every layer but the first is a 128-expert mixture; one MTP layer with a dense FFN.
"""

from ..spec import MLP, Attention, Layer, ModelSpec, MoE, Rope, Router
from .family import ChatFormat, Family

_local = Attention(heads=64, kv_heads=8, head_dim=128, window=128, rope=Rope(theta=1_000_000), qk_norm=True)
_global = Attention(heads=64, kv_heads=8, head_dim=128, rope=None, qk_norm=True)
_dense = MLP(width=18432)
_moe = MoE(experts=128, active=8, shared=1, width=2048, router=Router(bias=True, scale=2.5))

FAMILY = Family(
    name="k-exaone",
    title="K-EXAONE",
    company="LG AI Research",
    spec=ModelSpec(
        name="k-exaone-236b-a23b",
        vocab=153_600,
        width=6144,
        layers=tuple(  # layer_types LLLG x 12; first_k_dense_replace 1
            Layer(_global if i % 4 == 3 else _local, _dense if i < 1 else _moe) for i in range(48)
        ),
        mtp=(Layer(_global, _dense),),
        context=262_144,
        norm_eps=1e-5,
        unverified=("mtp attention kind (global without positions assumed)",),
    ),
    chat=ChatFormat(
        user="<|user|>\n", assistant="<|assistant|>\n", end="<|endofturn|>", between="\n",
        special=("<|user|>", "<|assistant|>", "<|endofturn|>"),
    ),
    source="LG-AI-EXAONE/K-EXAONE README; transformers 5.23.0 exaone_moe",
)
