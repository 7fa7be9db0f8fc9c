"""HyperCLOVA X SEED Think 14B (NAVER Cloud): arXiv 2506.22403, checkpoint class `HyperCLOVAXForCausalLM`.

A dense Llama block with an RMSNorm on the input and on the output of each half (Peri-LN) and fixed muP multipliers.
The programme's own entry was the 32B; the 14B is taken because every dimension of it is confirmed.
"""

from ..spec import MLP, PERI, Attention, Layer, ModelSpec, Rope
from .family import ChatFormat, Family, Release

_attention = Attention(heads=48, kv_heads=8, head_dim=128, rope=Rope(theta=100_000_000), scale=1 / 128)

FAMILY = Family(
    name="hyperclova-x-seed-think",
    title="HyperCLOVA X SEED Think",
    company="NAVER Cloud",
    releases=(Release(
        spec=ModelSpec(
            name="hyperclova-x-seed-think-14b",
            vocab=110_592,
            width=6144,
            layers=tuple(Layer(_attention, MLP(width=14336), PERI) for _ in range(38)),
            context=32_768,
            norm_eps=1e-5,
            embedding_scale=10.0,
            logit_scale=0.125,
            unverified=("embedding_scale", "logit_scale", "attention scale", "rope theta"),
        ),
        repository="naver-hyperclovax/HyperCLOVAX-SEED-Think-14B",
        licence="HyperCLOVA X SEED Model License",
        source="transformers 5.23.0 hyperclovax; exact match of the published parameter total",
        total=14_748_112_896,
    ),),
    reference="transformers HyperCLOVAXForCausalLM",
    chat=ChatFormat(
        user="<|im_start|>user\n", assistant="<|im_start|>assistant\n", end="<|im_end|>", between="\n",
        special=("<|im_start|>", "<|im_end|>"),
    ),
)
