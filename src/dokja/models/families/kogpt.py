"""KoGPT 6B (Kakao Brain, KoGPT6B-ryan1.5b): checkpoint class `GPTJForCausalLM`.

GPT-J's block (Wang & Komatsuzaki 2021): attention and a plain two-matrix GELU MLP side by side behind one LayerNorm
with a bias; as many key/value heads as query heads; only the first 64 of a head's 256 dimensions rotate, in
interleaved pairs; biases on the MLP and on the head.
"""

from collections.abc import Collection

from ...errors import DokjaError
from ..checkpoint.config import expect, need, read_model
from ..checkpoint.layout import Checkpoint, Config, Names
from ..spec import MLP, Attention, Layer, ModelSpec, Norms, Rope
from .family import Family, Release

_ONE_NORM = Norms(ffn_in=False)
_THETA = 10_000  # fixed in the published class


def _layer(heads: int, head_dim: int, rotary: int, width: int) -> Layer:
    return Layer(Attention(heads, heads, head_dim, rope=Rope(_THETA, "interleaved", dims=rotary)),
                 MLP(width, activation="gelu_tanh", gated=False, bias=True), _ONE_NORM, parallel=True)


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    expect(config, "activation_function", "gelu_new", "gelu_pytorch_tanh")
    width, heads = need(config, "n_embd"), need(config, "n_head")
    layer = _layer(heads, width // heads, need(config, "rotary_dim"), config.get("n_inner") or 4 * width)
    shared = {**config, "hidden_size": width, "max_position_embeddings": need(config, "n_positions")}
    return read_model(shared, (layer,) * need(config, "n_layer"), norm="layer",
                      norm_eps=float(config.get("layer_norm_epsilon", 1e-5)), head_bias=True)


def _write(spec: ModelSpec) -> Config:
    mixer, ffn = spec.layers[0].mixer, spec.layers[0].ffn
    assert isinstance(mixer, Attention)
    assert isinstance(ffn, MLP)
    assert mixer.rope
    if mixer.heads * mixer.head_dim != spec.width:
        raise DokjaError(f"{spec.name} has {mixer.heads} heads of {mixer.head_dim} in a width of {spec.width}, and "
                         "GPT-J's config.json can only say heads that fill the width")
    return {
        "vocab_size": spec.vocab, "n_positions": spec.context, "n_embd": spec.width, "n_layer": len(spec.layers),
        "n_head": mixer.heads, "rotary_dim": mixer.rope.dims, "n_inner": ffn.width, "activation_function": "gelu_new",
        "layer_norm_epsilon": spec.norm_eps, "tie_word_embeddings": spec.tied,
    }


_NAMES = Names(
    top={"embedding.weight": "transformer.wte.weight", "norm.weight": "transformer.ln_f.weight",
         "norm.bias": "transformer.ln_f.bias", "head.weight": "lm_head.weight", "head.bias": "lm_head.bias"},
    layer="transformer.h.{i}.",
    parts={
        "mixer_in.weight": "ln_1.weight", "mixer_in.bias": "ln_1.bias",
        "mixer.qkv.weight": ("attn.q_proj.weight", "attn.k_proj.weight", "attn.v_proj.weight"),
        "mixer.out.weight": "attn.out_proj.weight",
        "ffn.up.weight": "mlp.fc_in.weight", "ffn.up.bias": "mlp.fc_in.bias",
        "ffn.down.weight": "mlp.fc_out.weight", "ffn.down.bias": "mlp.fc_out.bias",
    },
)

FAMILY = Family(
    name="kogpt",
    title="KoGPT",
    company="Kakao Brain",
    releases=(Release(
        spec=ModelSpec(
            name="kogpt-6b",
            vocab=64_512,
            width=4096,
            layers=(_layer(heads=16, head_dim=256, rotary=64, width=16384),) * 28,
            context=2048,
            norm="layer",
            norm_eps=1e-5,  # config.json of MrBananaHuman/kogpt_6b_fp16, a copy
            head_bias=True,
        ),
        repository="kakaobrain/kogpt",
        licence="CC-BY-NC-ND-4.0",
        source="kakaobrain/kogpt README; config.json of a public copy; transformers 5.23.0 gptj",
        total=6_166_502_400,  # README
    ),),
    reference="transformers GPTJForCausalLM",
    checkpoint=Checkpoint(("gptj",), "GPTJForCausalLM", _read, _write, _NAMES,
                          unread=("*.attn.bias", "*.attn.masked_bias")),  # masks that older versions stored
    note="A base model of 2021, without a chat template: models that are trained here write turns in ChatML.",
)
