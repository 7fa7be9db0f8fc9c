"""EXAONE 4.0 32B and 1.2B (LG AI Research): arXiv 2507.11407, checkpoint class `Exaone4ForCausalLM`.

Llama's halves with the norms at their outputs instead of their inputs, and a norm on each head of Q and K. In the 32B
three of four layers see 4,096 tokens and rotate, the fourth sees everything and has no positions; in the 1.2B every
layer sees everything and rotates.
"""

from collections.abc import Collection

from ...errors import DokjaError
from ..chat.syntax import THINK_HERMES
from ..chat.template import ENABLE_THINKING, ChatTemplate
from ..checkpoint import llama
from ..checkpoint.config import (
    expect,
    layer_types,
    need,
    read_attention,
    read_model,
    read_rope,
    write_attention,
    write_model,
    write_rope,
)
from ..checkpoint.layout import Checkpoint, Config
from ..spec import MLP, POST, Attention, Layer, Llama3, ModelSpec, Rope
from .family import ChatFormat, Family, Release


def read(config: Config, tensors: Collection[str]) -> ModelSpec:
    """The text config, which EXAONE 4.5 shares."""
    expect(config, "hidden_act", "silu")
    rope, window, depth = read_rope(config), config.get("sliding_window"), need(config, "num_hidden_layers")
    mlp = MLP(need(config, "intermediate_size"))
    local = Layer(read_attention(config, window=window, rope=rope, qk_norm=True), mlp, POST)
    # Beside layers with a window the global ones have no positions; without a window all rotate.
    everywhere = Layer(read_attention(config, rope=None if window else rope, qk_norm=True), mlp, POST)
    kinds = need(config, "layer_types") if window else ["full_attention"] * depth
    return read_model(config, tuple(local if kind == "sliding_attention" else everywhere for kind in kinds))


def write(spec: ModelSpec) -> Config:
    """The text config of a spec of this family; one without any rotating layer raises DokjaError."""
    mixers = [layer.mixer for layer in spec.layers]
    rotating = next((mixer for mixer in mixers if isinstance(mixer, Attention) and mixer.rope), None)
    ffn = spec.layers[0].ffn
    if rotating is None or not isinstance(ffn, MLP) or rotating.rope is None:
        raise DokjaError(f"{spec.name} has no layer with rotary positions and cannot be written as an EXAONE 4.0")
    return {
        **write_model(spec), **write_attention(rotating), **write_rope(rotating.rope),
        "sliding_window": rotating.window, "intermediate_size": ffn.width,
        "layer_types": layer_types(spec.layers),
    }


NAMES = llama.with_parts(llama.NAMES, parts={"mixer_out.weight": "post_attention_layernorm.weight",
                                             "ffn_out.weight": "post_feedforward_layernorm.weight"})

_rope = Rope(theta=1_000_000, scaling=Llama3(factor=16.0, original_context=8192))  # low_freq_factor 1, high 4
LOCAL = Layer(Attention(heads=40, kv_heads=8, head_dim=128, window=4096, rope=_rope, qk_norm=True), MLP(27392), POST)
EVERYWHERE = Layer(Attention(heads=40, kv_heads=8, head_dim=128, qk_norm=True), MLP(27392), POST)
_small = Layer(Attention(heads=32, kv_heads=8, head_dim=64, rope=_rope, qk_norm=True), MLP(4096), POST)

CHAT = ChatFormat(user="[|user|]\n", assistant="[|assistant|]\n", end="[|endofturn|]", between="\n",
                  special=("[|system|]", "[|user|]", "[|assistant|]", "[|tool|]", "[|endofturn|]"))

FAMILY = Family(
    name="exaone-4",
    title="EXAONE 4.0",
    company="LG AI Research",
    releases=(
        Release(
            spec=ModelSpec(
                name="exaone-4.0-32b", vocab=102_400, width=5120,
                layers=tuple(EVERYWHERE if i % 4 == 3 else LOCAL for i in range(64)),  # sliding_window_pattern LLLG
                context=131_072, norm_eps=1e-5,
            ),
            repository="LGAI-EXAONE/EXAONE-4.0-32B",
            licence="EXAONE AI Model License 1.2 - NC",
            source="LG-AI-EXAONE/EXAONE-4.0 README; arXiv 2507.11407; TensorRT-LLM's test of modeling_exaone4",
            total=32_003_216_384,
        ),
        Release(
            spec=ModelSpec(
                name="exaone-4.0-1.2b", vocab=102_400, width=2048, layers=(_small,) * 30, context=65_536,
                norm_eps=1e-5, tied=True,
                unverified=("RoPE scaling (the 32B's llama3 scheme, factor 16, assumed)",),
            ),
            repository="LGAI-EXAONE/EXAONE-4.0-1.2B",
            licence="EXAONE AI Model License 1.2 - NC",
            source="LG-AI-EXAONE/EXAONE-4.0 README; arXiv 2507.11407",
            total=1_279_391_488,
        ),
    ),
    reference="transformers Exaone4ForCausalLM",
    checkpoint=Checkpoint(("exaone4",), "Exaone4ForCausalLM", read, write, NAMES),
    chat=CHAT,
    template=ChatTemplate(
        "exaone-4", "exaone-4", ENABLE_THINKING, "off", THINK_HERMES,
        note="earlier reasoning is always left out, as by the published template's default skip_think",
    ),
)
