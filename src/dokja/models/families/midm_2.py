"""Mi:dm 2.0 (KT): checkpoint class `LlamaForCausalLM`.

A Llama block throughout. Base is an 8B stacked deeper, to 48 layers; Mini is Base pruned in width and distilled, and
keeps Base's heads: 32 of 128 make queries of 4096 in a model 1792 wide.
"""

from ..chat.template import ChatTemplate
from ..checkpoint import llama
from ..spec import MLP, Attention, Layer, ModelSpec, Rope
from .family import ChatFormat, Family, Release

_UNVERIFIED = (
    "vocabulary (131,384 brings the count to the published file sizes within their four digits)",
    "rope theta and norm epsilon",
    "width, depth, heads and feed-forward (recalled; they agree with the published file sizes)",
)
_attention = Attention(heads=32, kv_heads=8, head_dim=128, rope=Rope(theta=8_000_000))

FAMILY = Family(
    name="midm-2",
    title="Mi:dm 2.0",
    company="KT",
    releases=(
        Release(
            spec=ModelSpec(
                name="midm-2-base-11.5b",
                vocab=131_384,
                width=4096,
                layers=(Layer(_attention, MLP(width=14336)),) * 48,
                context=32_768,  # model card
                norm_eps=1e-5,
                unverified=_UNVERIFIED,
            ),
            repository="K-intelligence/Midm-2.0-Base-Instruct",
            licence="MIT",
            source="model card; published file sizes (23.09 GB in bfloat16)",
        ),
        Release(
            spec=ModelSpec(
                name="midm-2-mini-2.3b",
                vocab=131_384,
                width=1792,
                layers=(Layer(_attention, MLP(width=4608)),) * 48,
                context=32_768,  # model card
                norm_eps=1e-5,
                tied=True,
                unverified=_UNVERIFIED,
            ),
            repository="K-intelligence/Midm-2.0-Mini-Instruct",
            licence="MIT",
            source="model card; published file sizes (4.61 GB in bfloat16)",
        ),
    ),
    reference="transformers LlamaForCausalLM",
    checkpoint=llama.CHECKPOINT,
    chat=ChatFormat(  # Llama 3's header tokens; not confirmed
        user="<|start_header_id|>user<|end_header_id|>\n\n",
        assistant="<|start_header_id|>assistant<|end_header_id|>\n\n", end="<|eot_id|>", between="",
        special=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    template=ChatTemplate(
        "midm-2", "llama-headers", note="no reasoning",
        unverified=("turn markers (Llama-3 headers)", "tool format (none here)"),
    ),
)
