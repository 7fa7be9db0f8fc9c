"""VAETKI 100B-A10B (NC AI): repository wbl-ncai/VAETKI, checkpoint class `VaetkiForCausalLM`.

Latent attention and experts as in DeepSeek-V3, a zero-centred RMSNorm before and after each half-layer, five layers
with a 512-token window to one global layer, whose positions are stretched by 8 on their own RoPE base. No router bias.
"""

from collections.abc import Collection
from dataclasses import replace

from ...errors import DokjaError
from ..chat.syntax import Syntax, think
from ..chat.template import ENABLE_THINKING, ChatTemplate
from ..checkpoint import deepseek, llama
from ..checkpoint.config import (
    expect,
    layer_types,
    mixture_layers,
    need,
    read_latent,
    read_model,
    read_rope,
    write_latent,
    write_model,
    write_rope,
)
from ..checkpoint.layout import Checkpoint, Config
from ..spec import MLP, PERI, LatentAttention, Layer, Linear, ModelSpec, MoE, Rope, Router
from .family import ChatFormat, Family, Release

_STRETCH = Linear(8.0)  # of global layers, when the config scales them by nothing else (plug-in: scale_inv_freq)


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    expect(config, "hidden_act", "silu")
    plain = {key: value for key, value in config.items() if key not in ("rope_scaling", "rope_parameters")}
    local = read_rope(plain, layout="interleaved")  # rope_scaling is for global layers only
    everywhere = read_rope({**config, "rope_theta": config.get("rope_theta_global", 1_000_000.0)},
                           layout="interleaved")
    if everywhere.scaling is None:
        everywhere = replace(everywhere, scaling=_STRETCH)
    mixers = {"sliding_attention": read_latent(config, local, window=config.get("sliding_window")),
              "full_attention": read_latent(config, everywhere)}
    dense, moe = MLP(need(config, "intermediate_size")), deepseek.read_mixture(config, bias=False)
    layers = tuple(Layer(mixers[kind], moe if mixture else dense, PERI)
                   for kind, mixture in zip(need(config, "layer_types"), mixture_layers(config, first=0), strict=True))
    return read_model(config, layers, norm_zero_centred=True)


def _write(spec: ModelSpec) -> Config:
    mixers = [layer.mixer for layer in spec.layers if isinstance(layer.mixer, LatentAttention)]
    local = next((mixer for mixer in mixers if mixer.window), None)
    everywhere = next((mixer for mixer in mixers if not mixer.window), None)
    if len(mixers) < len(spec.layers) or not local or not everywhere:
        raise DokjaError(f"{spec.name} cannot be written as a VAETKI: it takes latent attention, with and without a "
                         "window")
    table = write_rope(everywhere.rope)
    scaling = {} if everywhere.rope.scaling == _STRETCH else {"rope_scaling": table["rope_scaling"]}
    return {
        **write_model(spec), **write_latent(local), **deepseek.write_mixture(spec), **scaling,
        "rope_theta": local.rope.theta, "rope_theta_global": everywhere.rope.theta, "sliding_window": local.window,
        "layer_types": layer_types(spec.layers),
    }


def _layers(count: int, opening: int, dense: MLP, moe: MoE, heads: int, q_rank: int) -> tuple[Layer, ...]:
    """Five layers that see 512 tokens to one that sees all; the first `opening` feed-forwards are dense."""
    everywhere = LatentAttention(heads=heads, q_rank=q_rank, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128,
                                 rope=Rope(theta=1_000_000, layout="interleaved", scaling=_STRETCH))
    local = replace(everywhere, rope=Rope(theta=10_000, layout="interleaved"), window=512)
    return tuple(Layer(everywhere if i % 6 == 5 else local, dense if i < opening else moe, PERI) for i in range(count))


_100B = MoE(experts=128, active=8, shared=1, width=2048, router=Router(bias=False, scale=2.5))
_20B = replace(_100B, width=1024)
_7B = MoE(experts=64, active=5, shared=1, width=960, router=Router(bias=False, scale=1.0))

FAMILY = Family(
    name="vaetki",
    title="VAETKI",
    company="NC AI",
    releases=(
        Release(
            spec=ModelSpec(
                name="vaetki-112b-a10b",
                vocab=137_216,
                width=3072,
                layers=_layers(48, 3, MLP(width=18432), _100B, heads=24, q_rank=1536),
                context=131_072,
                norm_eps=1e-5,
                norm_zero_centred=True,
                unverified=("window and the place of global layers (third party, and the 7B; the report gives 5:1)",
                            "norm_eps", "router scale", "context (trained to 32,768)"),
            ),
            repository="NC-AI-consortium-VAETKI/VAETKI",
            licence="MIT",
            source="wbl-ncai/VAETKI technical report and vllm_plugin; exact match of the published parameter total",
            total=112_191_900_672,
        ),
        Release(
            spec=ModelSpec(
                name="vaetki-20b-a2b",
                vocab=137_216,
                width=2048,
                layers=_layers(24, 1, MLP(width=9216), _20B, heads=16, q_rank=1024),
                context=16_384,
                norm_eps=1e-5,
                norm_zero_centred=True,
                unverified=("width 2,048, query latent 1,024 and feed-forwards of 1,024 and 9,216: unpublished; of "
                            "multiples of 64 only these, with the key-value latent of 512 and a dense feed-forward as "
                            "wide as the experts of one token (as in the 112B and the 7B), give the published total",
                            "head sizes, window, place of global layers, norm_eps, router scale (the 112B's)"),
            ),
            repository="nc-ai-consortium/VAETKI-20B-A2B",
            licence="MIT",
            source="wbl-ncai/VAETKI technical report, table 1: layers, experts, heads, context; total of the "
                   "checkpoint's tensors: all else",
            total=19_596_810_240,
        ),
        Release(
            spec=ModelSpec(
                name="vaetki-7b-a1b",
                vocab=137_216,
                width=1536,
                layers=_layers(24, 1, MLP(width=5760), _7B, heads=12, q_rank=768),
                context=16_384,
                norm_eps=1e-5,
                norm_zero_centred=True,
                unverified=("window, place of global layers, norm_eps (training code of VAETKI-VL-7B-A1B, which has "
                            "this language model)",
                            "router scale (1 in that model's configuration, 2.5 in one of its training scripts)"),
            ),
            repository="nc-ai-consortium/VAETKI-7B-A1B",
            licence="MIT",
            source="wbl-ncai/VAETKI technical report, table 1; configuration of VAETKI-VL-7B-A1B in "
                   "zrohyun/Megatron-LM, vlm/bridge; exact match of the checkpoint's parameter total",
            total=7_250_296_320,
        ),
    ),
    reference="tests/parity/vaetki_reference.py",
    checkpoint=Checkpoint(
        ("vaetki",), "VaetkiForCausalLM", _read, _write,
        llama.with_parts(deepseek.NAMES, mtp="", mtp_block="", mtp_parts={}, parts={
            "mixer_in.weight": "input_layernorm.weight", "mixer_out.weight": "post_attention_layernorm.weight",
            "ffn_in.weight": "pre_mlp_layernorm.weight", "ffn_out.weight": "post_mlp_layernorm.weight"}),
    ),
    chat=ChatFormat(
        user="<|START|><|role_user|>", assistant="<|START|><|role_assistant|>", end="<|END|>", between="\n",
        special=("<|START|>", "<|role_user|>", "<|role_assistant|>", "<|END|>"),
    ),
    template=ChatTemplate(
        "vaetki", "vaetki", ENABLE_THINKING, "on", Syntax(think()),
        note="NC AI cuts the thinking at a budget by writing a sentence and </think> into it",
        unverified=("order of the markers in a turn", "newline between turns", "how thinking is switched off",
                    "tool format (none here)"),
    ),
    note="VAETKI-VL-7B-A1B is the 7B with a vision tower, which is not read here.",
)
