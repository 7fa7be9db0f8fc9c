"""DeepSeek-V3.1 671B-A37B (DeepSeek): arXiv 2412.19437, checkpoint class `DeepseekV3ForCausalLM`.

Not Korean: the model that A.X K1, VAETKI and Kanana-2 build on, and one of those they are compared with. Latent
attention of 128 heads; after three dense layers, 256 experts chosen inside the best 4 of 8 groups; one MTP layer.
"""

from ..chat.syntax import DEEPSEEK_TOKENS
from ..chat.template import ChatTemplate
from ..checkpoint import deepseek
from ..spec import MLP, LatentAttention, Layer, ModelSpec, MoE, Rope, Router, Yarn
from .family import ChatFormat, Family, Release

_attention = LatentAttention(
    heads=128, q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128,  # DeepseekV3Config's defaults
    rope=Rope(theta=10_000, layout="interleaved",  # rope_scaling of the published config.json
              scaling=Yarn(factor=40.0, original_context=4096, beta_fast=32, beta_slow=1, mscale=1.0,
                           mscale_all_dim=1.0)),
    latent_eps=deepseek.LATENT_EPS,
)
_moe = MoE(experts=256, active=8, shared=1, width=2048,  # DeepseekV3Config's defaults
           router=Router(bias=True, groups=8, groups_kept=4, scale=2.5))

FAMILY = Family(
    name="deepseek-v3",
    title="DeepSeek-V3",
    company="DeepSeek",
    releases=(Release(
        spec=ModelSpec(
            name="deepseek-v3.1",
            vocab=129_280,
            width=7168,
            layers=(*(Layer(_attention, MLP(width=18432)) for _ in range(3)),  # first_k_dense_replace
                    *(Layer(_attention, _moe) for _ in range(58))),
            mtp=(Layer(_attention, _moe),),  # num_nextn_predict_layers
            context=163_840,
            norm_eps=1e-6,
            unverified=("chat markers",),
        ),
        repository="deepseek-ai/DeepSeek-V3.1",
        licence="MIT",
        source="transformers 5.23.0 deepseek_v3; the published config.json of its quantised copies",
    ),),
    reference="transformers DeepseekV3ForCausalLM",
    checkpoint=deepseek.CHECKPOINT,
    chat=ChatFormat(
        user="<｜User｜>", assistant="<｜Assistant｜>", end="<｜end▁of▁sentence｜>", between="",
        special=("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
    ),
    template=ChatTemplate(
        "deepseek-v3.1", "deepseek-v3.1", {"on": {"thinking": True}, "off": {"thinking": False}}, "off",
        DEEPSEEK_TOKENS, note="after a tool's result the answer goes on without thinking, as in the published template",
    ),
)
