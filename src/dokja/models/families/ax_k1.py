"""A.X K1 519B-A33B (SK Telecom): arXiv 2601.09200, checkpoint class `AXK1ForCausalLM`.

DeepSeek-V3's latent attention with half the heads, 192 experts chosen inside the best 4 of 8 groups, and one extra
RMSNorm on the output of every mixture. The MTP layer of training is not in the released weights, so not here either.
"""

from collections.abc import Collection
from dataclasses import replace

from ..chat.syntax import THINK_HERMES
from ..chat.template import ENABLE_THINKING, ChatTemplate
from ..checkpoint import deepseek, llama
from ..checkpoint.layout import Checkpoint, Config
from ..spec import MLP, PRE, PRE_AND_FFN_OUT, LatentAttention, Layer, ModelSpec, MoE, Rope, Router, Yarn
from .family import CHATML, Family, Release

_UNUSED_NORM = "model.layers.0.post_mlp_layernorm.weight"  # dense layers have the norm in the file and skip it


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    # Published routers have no score correction; files that transformers wrote hold one, of zeros or trained on.
    bias = any(name.endswith("e_score_correction_bias") for name in tensors)
    spec = deepseek.read({"first_k_dense_replace": 1, **config}, ())
    moe = deepseek.read_mixture(config, bias=bias)
    layers = tuple(Layer(layer.mixer, moe, PRE_AND_FFN_OUT) if isinstance(layer.ffn, MoE) else layer
                   for layer in spec.layers)
    return replace(spec, layers=layers)


_attention = LatentAttention(
    heads=64, q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128,  # AXK1Config's defaults
    rope=Rope(theta=10_000, layout="interleaved",  # rope_interleave
              scaling=Yarn(factor=4.0, original_context=32_768, beta_fast=32, beta_slow=1, mscale=1.0)),
    latent_eps=1e-6,
)
_moe = MoE(experts=192, active=8, shared=1, width=2048,  # AXK1Config's defaults
           router=Router(bias=False, groups=8, groups_kept=4, scale=2.5))

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
            context=131_072,  # model card; 32,768 before YaRN
            norm_eps=1e-6,
            unused=7168,  # layer 0's post_mlp_layernorm
            unverified=("YaRN values (third party)", "chat markers"),
        ),
        repository="skt/A.X-K1",
        licence="Apache-2.0",
        source="transformers 5.23.0 axk1; SKT-AI/A.X-K1 README; exact match of the published parameter total",
        total=518_983_059_456,
    ),),
    reference="transformers AXK1ForCausalLM",
    checkpoint=Checkpoint(
        ("axk1", "AXK1"), "AXK1ForCausalLM", _read, deepseek.write,
        llama.with_parts(deepseek.NAMES, parts={"ffn_out.weight": "post_mlp_layernorm.weight"}),
        unread=(_UNUSED_NORM,),
    ),
    chat=CHATML,
    template=ChatTemplate(
        "ax-k1", "chatml", ENABLE_THINKING, "on", THINK_HERMES,
        unverified=("turn markers", "think tags", "tool format", "which value of enable_thinking is the default"),
    ),
    note="The routers of the released weights have no score correction, though config.json names noaux_tc: pocket "
         "models are trained with a balance loss instead.",
)
