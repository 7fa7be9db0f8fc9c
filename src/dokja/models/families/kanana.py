"""Kanana Nano and Kanana 1.5 (Kakao): arXiv 2502.18934, checkpoint class `LlamaForCausalLM`.

A Llama block throughout. What is unusual is the 2.1B's shape: pruned in width but not in heads, so that its 24 heads of
128 make queries of 3072 in a model 1792 wide.
"""

from ..chat.template import ChatTemplate
from ..checkpoint import llama
from ..spec import MLP, Attention, Layer, ModelSpec, Rope
from .family import ChatFormat, Family, Release

_LAYER_2B = Layer(Attention(heads=24, kv_heads=8, head_dim=128, rope=Rope(theta=500_000)), MLP(width=8064))
_LAYER_8B = Layer(Attention(heads=32, kv_heads=8, head_dim=128, rope=Rope(theta=500_000)), MLP(width=14336))

FAMILY = Family(
    name="kanana",
    title="Kanana",
    company="Kakao",
    releases=(
        Release(
            spec=ModelSpec(
                name="kanana-1.5-2.1b",
                vocab=128_256,
                width=1792,
                layers=(_LAYER_2B,) * 32,
                context=32_768,  # model card: 32K, 128K with YaRN
                norm_eps=1e-5,
                tied=True,
                unverified=("rope theta (that of Kanana Nano)", "every dimension (those of Kanana Nano, which agree "
                            "with the name's 2.1B)"),
            ),
            repository="kakaocorp/kanana-1.5-2.1b-base",
            licence="Apache-2.0",
            source="model card; metadata of public GGUF copies of Kanana Nano",
            total=2_086_979_328,  # counted by hand from the published shapes
        ),
        Release(
            spec=ModelSpec(
                name="kanana-nano-2.1b",
                vocab=128_256,
                width=1792,
                layers=(_LAYER_2B,) * 32,
                context=8192,
                norm_eps=1e-5,
                tied=True,
            ),
            repository="kakaocorp/kanana-nano-2.1b-base",
            licence="CC-BY-NC-4.0",
            source="metadata and tensor shapes of public GGUF copies (huihui_ai/kanana-nano-abliterated)",
            total=2_086_979_328,  # counted by hand from the published shapes
        ),
        Release(
            spec=ModelSpec(
                name="kanana-1.5-8b",
                vocab=128_256,
                width=4096,
                layers=(_LAYER_8B,) * 32,
                context=32_768,  # model card
                norm_eps=1e-5,
                unverified=("every dimension, rope theta, norm epsilon and tying (the shape of Llama 3 8B)",),
            ),
            repository="kakaocorp/kanana-1.5-8b-base",
            licence="Apache-2.0",
            source="model card for the context; the rest is recalled",
        ),
    ),
    reference="transformers LlamaForCausalLM",
    checkpoint=llama.CHECKPOINT,
    chat=ChatFormat(
        user="<|start_header_id|>user<|end_header_id|>\n\n",
        assistant="<|start_header_id|>assistant<|end_header_id|>\n\n", end="<|eot_id|>", between="",
        special=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    template=ChatTemplate(
        "kanana", "llama-headers", note="no reasoning",
        unverified=("turn markers (Llama-3 headers)", "tool format (none here)"),
    ),
    note="Kanana 1.5 15.7B-A3B is left out: neither its class nor its dimensions could be confirmed. Kanana 1.5 9.8B "
         "and 32.5B were not published. transformers 5 refuses the 2.1B's config.json, because 1792 is no multiple of "
         "24 heads; it takes the same file as a Mistral without a window.",
)
