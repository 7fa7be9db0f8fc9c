"""Kanana-2 30B-A3B (Kakao): repository kakao/kanana-2, read as a DeepSeek-V3 checkpoint.

DeepSeek-V3's block at a twentieth of its size, with ungrouped routing of 6 of 128 experts beside two shared ones and
no latent for the queries. The instruct and thinking models are separate checkpoints of one architecture.
"""

from ..chat.syntax import PLAIN_HERMES, THINK_HERMES
from ..chat.template import ChatTemplate
from ..checkpoint import deepseek
from ..spec import MLP, LatentAttention, Layer, ModelSpec, MoE, Rope, Router
from .family import Family, Release

_attention = LatentAttention(heads=32, q_rank=None, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128,
                             rope=Rope(theta=1_000_000, layout="interleaved"), latent_eps=deepseek.LATENT_EPS)
_moe = MoE(experts=128, active=6, shared=2, width=768,  # README: 128 experts, 6 active, 2 shared
           router=Router(bias=True, scale=2.5))

_THINKING = ChatTemplate(
    "kanana-2-thinking", "llama-headers", {"on": {"enable_thinking": True}}, "on", THINK_HERMES,
    note="it always reasons; without reasoning: Kanana-2 Instruct",
    unverified=("turn markers (Llama-3 headers)", "that the prompt opens the thinking",
                "how tools are declared and their results written"),
)


def _release(kind: str) -> Release:
    return Release(
        spec=ModelSpec(
            name=f"kanana-2-30b-a3b-{kind}",
            vocab=128_256,  # README
            width=2048,
            layers=(Layer(_attention, MLP(width=6144)), *(Layer(_attention, _moe) for _ in range(47))),  # README: 48, 1
            context=32_768,  # README; 131,072 with the YaRN values that it gives
            norm_eps=1e-6,
            unverified=("the checkpoint class (deepseek_v3)", "width, heads, head and latent dimensions and "
                        "feed-forward widths (recalled; they give the published 30.67B and 3.6B active)",
                        "q_rank (None; 1536 would give the same four digits)", "rope theta", "norm_eps",
                        "router bias, groups and scale", "tied (untied assumed)", "chat markers"),
        ),
        repository=f"kakaocorp/kanana-2-30b-a3b-{kind}",
        licence="Kanana License",
        source="kakao/kanana-2 README",
        template=_THINKING if kind.startswith("thinking") else None,
    )


FAMILY = Family(
    name="kanana-2",
    title="Kanana-2",
    company="Kakao",
    releases=(_release("instruct-2601"), _release("thinking-2601")),
    reference="transformers DeepseekV3ForCausalLM",
    checkpoint=deepseek.CHECKPOINT,
    template=ChatTemplate(
        "kanana-2", "llama-headers", syntax=PLAIN_HERMES,
        note="reasoning is a checkpoint of its own: Kanana-2 Thinking",
        unverified=("turn markers (Llama-3 headers)", "how tools are declared and their results written"),
    ),
    note="YaRN for 131,072 tokens is a setting of the server (README: factor 4, beta 32 and 1, mscale and "
         "mscale_all_dim 1), so not in the architecture. Kanana-2 1.3B, 3B and 155B: no dimensions were published "
         "where this could be read.",
)
