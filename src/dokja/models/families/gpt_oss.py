"""gpt-oss 120b and 20b (OpenAI): arXiv 2508.10925, checkpoint class `GptOssForCausalLM`. A model to compare with.

Every other layer, from the first, sees 128 tokens; every head has a sink, a learnt logit that takes part in the softmax
and adds nothing; all layers are mixtures without a shared expert, chosen by softmax over logits with a bias; the
experts' activation is clamped SwiGLU; biases everywhere but on embedding and head; YaRN over an original context
of 4096 whose ramp is not rounded to whole dimensions.
"""

from collections.abc import Collection

from ..chat.syntax import HARMONY
from ..chat.template import ChatTemplate
from ..checkpoint import llama
from ..checkpoint.config import (
    expect,
    first_moe,
    layer_types,
    need,
    read_attention,
    read_model,
    read_rope,
    write_attention,
    write_model,
    write_rope,
)
from ..checkpoint.layout import Checkpoint, Config, Interleaved
from ..spec import Attention, Layer, ModelSpec, MoE, Rope, Router, Yarn
from .family import ChatFormat, Family, Release

_ROUTER = Router(bias=False, score="softmax", logit_bias=True)
_ROPE = Rope(theta=150_000, scaling=Yarn(factor=32.0, original_context=4096, truncate=False))


def _model(name: str, layers: int, experts: int) -> ModelSpec:
    """The two sizes differ in depth and experts only (model card, table 1)."""
    attention = [Attention(heads=64, kv_heads=8, head_dim=64, window=window, rope=_ROPE, bias=True, out_bias=True,
                           sinks=True) for window in (128, None)]
    moe = MoE(experts=experts, active=4, width=2880, shared=0, router=_ROUTER, activation="clamped_silu", bias=True)
    return ModelSpec(name=name, vocab=201_088, width=2880, context=131_072, norm_eps=1e-5,
                     layers=tuple(Layer(attention[i % 2], moe) for i in range(layers)))


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    expect(config, "hidden_act", "silu")
    expect(config, "attention_bias", True)
    expect(config, "swiglu_alpha", 1.702)
    expect(config, "swiglu_limit", 7.0)
    window, rope = need(config, "sliding_window"), read_rope(config)
    moe = MoE(need(config, "num_local_experts"), need(config, "num_experts_per_tok"), need(config, "intermediate_size"),
              0, _ROUTER, "clamped_silu", bias=True)
    kinds = config.get("layer_types") or [("sliding_attention", "full_attention")[i % 2]
                                          for i in range(need(config, "num_hidden_layers"))]
    return read_model(config, tuple(
        Layer(read_attention(config, window=window if kind == "sliding_attention" else None, rope=rope, bias=True,
                             out_bias=True, sinks=True), moe) for kind in kinds))


def _write(spec: ModelSpec) -> Config:
    mixers, moe = [layer.mixer for layer in spec.layers], first_moe(spec)
    local = next(mixer for mixer in mixers if mixer.window)
    assert isinstance(local, Attention)
    assert local.rope
    assert moe
    return {
        **write_model(spec), **write_attention(local), **write_rope(local.rope), "attention_bias": True,
        "sliding_window": local.window,
        "layer_types": layer_types(spec.layers),
        "intermediate_size": moe.width, "num_local_experts": moe.experts, "num_experts_per_tok": moe.active,
        "swiglu_alpha": 1.702, "swiglu_limit": 7.0,
    }


_NAMES = llama.with_parts(llama.NAMES, parts={
    "mixer.sinks": "self_attn.sinks",
    "ffn.router.weight": "mlp.router.weight",
    "ffn.router.bias": "mlp.router.bias",
    "ffn.gate_up": Interleaved("mlp.experts.gate_up_proj"),
    "ffn.gate_up_bias": Interleaved("mlp.experts.gate_up_proj_bias"),
    "ffn.down": "mlp.experts.down_proj",
    "ffn.down_bias": "mlp.experts.down_proj_bias",
})

FAMILY = Family(
    name="gpt-oss",
    title="gpt-oss",
    company="OpenAI",
    releases=(
        Release(
            spec=_model("gpt-oss-120b", layers=36, experts=128),
            repository="openai/gpt-oss-120b",
            licence="Apache-2.0",
            source="model card, table 1; transformers 5.23.0 gpt_oss; config.json of public copies",
            total=116_829_156_672,  # model card: 116.83B; to the unit in the metadata of GGUF copies
        ),
        Release(
            spec=_model("gpt-oss-20b", layers=24, experts=32),
            repository="openai/gpt-oss-20b",
            licence="Apache-2.0",
            source="model card, table 1; transformers 5.23.0 gpt_oss; config.json of public copies",
            total=20_914_757_184,  # model card: 20.91B; to the unit in the metadata of GGUF copies
        ),
    ),
    reference="transformers GptOssForCausalLM, eager attention",
    checkpoint=Checkpoint(("gpt_oss",), "GptOssForCausalLM", _read, _write, _NAMES),
    chat=ChatFormat(
        user="<|start|>user<|message|>", assistant="<|start|>assistant<|channel|>final<|message|>", end="<|end|>",
        between="", special=("<|start|>", "<|message|>", "<|channel|>", "<|end|>"),
    ),
    template=ChatTemplate(
        "gpt-oss", "gpt-oss",
        {"on": {"reasoning_effort": "medium"}, "low": {"reasoning_effort": "low"},
         "high": {"reasoning_effort": "high"}},
        "on", HARMONY, note="it always reasons, on is medium; stop at <|call|> and <|return|>; no built-in tools",
    ),
    note="The released files hold the experts' matrices in MXFP4 (checkpoint/quantised.py).",
)
