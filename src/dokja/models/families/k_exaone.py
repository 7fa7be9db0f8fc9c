"""K-EXAONE 236B-A23B (LG AI Research): arXiv 2601.01739, checkpoint class `ExaoneMoEForCausalLM`.

A Llama block with a norm on each head of Q and K; three of four layers see 128 tokens and rotate, the fourth sees
everything and has no positions; every layer but the first is a 128-expert mixture; one MTP layer with a dense FFN.
"""

from collections.abc import Collection

from ..chat.syntax import THINK_HERMES
from ..chat.template import ENABLE_THINKING, ChatTemplate
from ..checkpoint import llama
from ..checkpoint.config import (
    first_mlp,
    first_moe,
    layer_types,
    mixture_layers,
    need,
    read_attention,
    read_model,
    read_rope,
    read_router,
    write_attention,
    write_model,
    write_rope,
    write_router,
)
from ..checkpoint.layout import Checkpoint, Config
from ..spec import MLP, Attention, Layer, ModelSpec, MoE, Rope, Router
from .family import ChatFormat, Family, Release

_local = Attention(heads=64, kv_heads=8, head_dim=128, window=128,  # sliding_window
                   rope=Rope(theta=1_000_000), qk_norm=True)
_global = Attention(heads=64, kv_heads=8, head_dim=128, rope=None, qk_norm=True)
_dense = MLP(width=18432)  # intermediate_size
_moe = MoE(experts=128, active=8, shared=1, width=2048,  # num_experts, num_experts_per_tok, moe_intermediate_size
           router=Router(bias=True, scale=2.5))  # routed_scaling_factor


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    kinds = need(config, "layer_types")
    local = read_attention(config, window=config.get("sliding_window"), rope=read_rope(config), qk_norm=True)
    everywhere = read_attention(config, qk_norm=True)
    dense = MLP(need(config, "intermediate_size"))
    moe = MoE(need(config, "num_experts"), need(config, "num_experts_per_tok"), need(config, "moe_intermediate_size"),
              config.get("num_shared_experts", 1), read_router(config, scale=2.5))
    layers = tuple(Layer(local if kind == "sliding_attention" else everywhere, moe if mixture else dense)
                   for kind, mixture in zip(kinds, mixture_layers(config, first=1), strict=True))
    # transformers drops the MTP layer, and then the file has none of its tensors. Its kind is vLLM's field.
    kind = (config.get("mtp_layer_types") or ["full_attention"])[0]
    mtp = Layer(local if kind == "sliding_attention" else everywhere, dense)
    return read_model(config, layers, mtp=(mtp,) if any(name.startswith("mtp.") for name in tensors) else ())


def _write(spec: ModelSpec) -> Config:
    mixers = [layer.mixer for layer in spec.layers]
    local = next(mixer for mixer in mixers if isinstance(mixer, Attention) and mixer.rope)
    dense, moe = first_mlp(spec), first_moe(spec)
    assert moe
    assert local.rope
    return {
        **write_model(spec), **write_attention(local), **write_rope(local.rope),
        "sliding_window": local.window,
        "layer_types": layer_types(spec.layers),
        "intermediate_size": dense.width if dense else moe.width,
        "first_k_dense_replace": sum(isinstance(layer.ffn, MLP) for layer in spec.layers),
        "num_experts": moe.experts, "num_experts_per_tok": moe.active, "num_shared_experts": moe.shared,
        "moe_intermediate_size": moe.width, **write_router(moe.router),
        "num_nextn_predict_layers": len(spec.mtp),
        "mtp_layer_types": layer_types(spec.mtp),
    }


MTP_PARTS = {"embedding_norm.weight": "pre_fc_norm_embedding.weight", "hidden_norm.weight": "pre_fc_norm_hidden.weight",
             "projection.weight": "fc.weight", "norm.weight": "norm.weight"}
_NAMES = llama.with_parts(
    llama.NAMES,
    parts={**llama.EXPERTS, "ffn.router_bias": "mlp.e_score_correction_bias"},
    mtp="mtp.", mtp_block="mtp.layers.{i}.", mtp_parts=MTP_PARTS,  # vLLM and sglang 0.5.23 exaone_moe_mtp.py
)

FAMILY = Family(
    name="k-exaone",
    title="K-EXAONE",
    company="LG AI Research",
    releases=(Release(
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
            unverified=("MTP attention kind (global without positions, as TensorRT-LLM's modeling_exaone_moe has it)",),
        ),
        repository="LGAI-EXAONE/K-EXAONE-236B-A23B",
        licence="K-EXAONE AI Model License",
        source="LG-AI-EXAONE/K-EXAONE README; transformers 5.23.0 exaone_moe",
        total=236_571_156_352 + 528_513_280,  # trunk and MTP layer
    ),),
    reference="transformers ExaoneMoeForCausalLM; MTP: tests/parity/mtp_reference.py",
    checkpoint=Checkpoint(("exaone_moe",), "ExaoneMoEForCausalLM", _read, _write, _NAMES),
    chat=ChatFormat(
        user="<|user|>\n", assistant="<|assistant|>\n", end="<|endofturn|>", between="\n",
        special=("<|user|>", "<|assistant|>", "<|endofturn|>"),
    ),
    template=ChatTemplate(
        "k-exaone", "k-exaone", ENABLE_THINKING, "on", THINK_HERMES,
        unverified=("reasoning_content is kept after the last question (for calls in a row)",
                    "the declaration of tools stands before the system turn"),
    ),
)
