"""HyperCLOVA X SEED 8B Omni (NAVER Cloud): arXiv 2601.01792; the language model in the middle of it.

A Llama whose vocabulary holds, beside text, the codes of speech and pictures that it reads and writes. Encoders and
decoders of sound and pictures are not part of this project.
"""

from ..chat.syntax import THINK_KEY_VALUE
from ..chat.template import ChatTemplate
from ..checkpoint import llama
from ..spec import MLP, Attention, Layer, ModelSpec, Rope
from .family import CHATML, Family, Release

_attention = Attention(heads=32, kv_heads=8, head_dim=128, rope=Rope(theta=500_000))

FAMILY = Family(
    name="hyperclova-x-seed-omni",
    title="HyperCLOVA X SEED Omni",
    company="NAVER Cloud",
    releases=(Release(
        spec=ModelSpec(
            name="hyperclova-x-seed-omni-8b",
            vocab=200_704,  # 128,606 for text, 6,561 of speech, 65,536 of pictures, one spare
            width=4096,
            layers=(Layer(_attention, MLP(width=12288)),) * 36,
            context=32_768,
            norm_eps=1e-5,
            unverified=("vocab (derived from the token map)", "width and depth (third party)",
                        "heads and feed-forward width (recalled)", "rope theta", "norm_eps", "tied (untied assumed)",
                        "the plain Llama block: multipliers and output norms are taken to be absent"),
        ),
        repository="naver-hyperclovax/HyperCLOVAX-SEED-Omni-8B",
        licence="HyperCLOVA X SEED Model License",
        source="OmniServe and vLLM-Omni source code; third-party notes",
    ),),
    reference="transformers LlamaForCausalLM",
    checkpoint=llama.CHECKPOINT,
    chat=CHATML,
    template=ChatTemplate(
        "hyperclova-x-seed-omni", "hyperclova-x-seed",
        {"on": {"skip_reasoning": False}, "off": {"skip_reasoning": True}}, "on", THINK_KEY_VALUE, note="text only",
    ),
    note="Published inside a larger model, of which only this text part is read and written.",
)
