"""Gemma 3 (Google DeepMind): arXiv 2503.19786, checkpoint class `Gemma3ForCausalLM`. A model to compare with.

Five of six layers see a short window and rotate with base 10,000; the sixth sees everything and rotates with base
1,000,000, stretched eightfold from the 4B on. Norms before and after each half, on each head of Q and K, and stored
around zero (1 + w); GELU instead of SiLU; the embedding, which is the head too, is multiplied by sqrt(width).
"""

from collections.abc import Collection

from ...errors import DokjaError
from ..chat.template import ChatTemplate
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
from ..spec import MLP, PERI, Attention, Layer, Linear, ModelSpec, Rope
from .family import ChatFormat, Family, Release

_PATTERN = 6  # every sixth layer is global
# Values of the published class, which the files of the 4B, the 12B and the 27B leave out where they are these.
_DEFAULTS: Config = {"vocab_size": 262_208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
                     "max_position_embeddings": 131_072}


def _model(name: str, depth: int, width: int, ffn: int, heads: tuple[int, int, int], window: int, context: int, *,
           vocab: int = 262_208, stretch: float | None = 8.0, scale: float | None = None) -> ModelSpec:
    """heads: query heads, key/value heads, head dimension; stretch: global_scale_factor."""
    local = Attention(*heads, window=window, rope=Rope(theta=10_000), qk_norm=True, scale=scale)
    everywhere = Attention(*heads, rope=Rope(theta=1_000_000, scaling=Linear(stretch) if stretch else None),
                           qk_norm=True, scale=scale)
    layers = tuple(_layer(local if (i + 1) % _PATTERN else everywhere, ffn) for i in range(depth))
    return ModelSpec(name=name, vocab=vocab, width=width, layers=layers, context=context, norm_eps=1e-6,
                     norm_zero_centred=True, tied=True, embedding_scale=width**0.5)


def _layer(mixer: Attention, ffn: int) -> Layer:
    return Layer(mixer, MLP(ffn, activation="gelu_tanh"), PERI)


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    config = {**_DEFAULTS, **config}
    expect(config, "hidden_activation", "gelu_pytorch_tanh")
    expect(config, "attention_bias", False)
    expect(config, "final_logit_softcapping", None)
    expect(config, "attn_logit_softcapping", None)
    expect(config, "use_bidirectional_attention", False, None)
    depth, pattern = need(config, "num_hidden_layers"), config.get("sliding_window_pattern", _PATTERN)
    kinds = config.get("layer_types") or ["sliding_attention" if (i + 1) % pattern else "full_attention"
                                          for i in range(depth)]
    tables = config.get("rope_parameters") or {}
    if "full_attention" in tables:  # transformers 5: one table for each kind of layer
        local = read_rope(config, parameters=tables["sliding_attention"])
        everywhere = read_rope(config, parameters=tables["full_attention"])
    else:
        local = Rope(float(config.get("rope_local_base_freq", 10_000)))
        everywhere = read_rope({"rope_theta": 1_000_000, **config})
    scalar = config.get("query_pre_attn_scalar", 256)
    scale = None if scalar == need(config, "head_dim") else scalar**-0.5
    mixers = {
        "sliding_attention": read_attention(config, window=need(config, "sliding_window"), rope=local, qk_norm=True,
                                            scale=scale),
        "full_attention": read_attention(config, rope=everywhere, qk_norm=True, scale=scale),
    }
    layers = tuple(_layer(mixers[kind], need(config, "intermediate_size")) for kind in kinds)
    return read_model(config, layers, norm_zero_centred=True, tied=config.get("tie_word_embeddings", True),
                      embedding_scale=need(config, "hidden_size") ** 0.5)


def _write(spec: ModelSpec) -> Config:
    mixers, ffn = [layer.mixer for layer in spec.layers], spec.layers[0].ffn
    local = next(mixer for mixer in mixers if mixer.window)
    everywhere = next(mixer for mixer in mixers if not mixer.window)
    assert isinstance(local, Attention)
    assert isinstance(ffn, MLP)
    assert local.rope
    assert everywhere.rope
    scalar = local.head_dim if local.scale is None else local.scale**-2
    if abs(scalar - round(scalar)) > 1e-6 or spec.width % local.heads:
        raise DokjaError(f"{spec.name} cannot be written as a Gemma 3: transformers wants a query_pre_attn_scalar "
                         f"({scalar:.6g}) that is whole and a width ({spec.width}) that {local.heads} heads divide")
    config = {
        **write_model(spec), **write_attention(local), **write_rope(everywhere.rope),
        "rope_local_base_freq": local.rope.theta, "sliding_window": local.window,
        "layer_types": layer_types(spec.layers),
        "intermediate_size": ffn.width, "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": round(scalar),
    }
    del config["hidden_act"]  # the field is called hidden_activation here
    return config


_NAMES = llama.with_parts(llama.NAMES, parts={
    "mixer_in.weight": "input_layernorm.weight",
    "mixer_out.weight": "post_attention_layernorm.weight",
    "ffn_in.weight": "pre_feedforward_layernorm.weight",
    "ffn_out.weight": "post_feedforward_layernorm.weight",
})
_LICENCE, _SOURCE = "Gemma Terms of Use", "google-deepmind/gemma gm/nn/_gemma.py; config.json of public copies"
_PAD = 64  # rows by which the published vocabulary of the larger ones exceeds the tokenizer's 262,144

FAMILY = Family(
    name="gemma-3",
    title="Gemma 3",
    company="Google DeepMind",
    releases=(  # totals: keras-hub gemma3_presets.py, which counts 262,144 tokens
        Release(_model("gemma-3-4b", 34, 2560, 10240, (8, 4, 256), 1024, 131_072),
                "google/gemma-3-4b-pt", _LICENCE, _SOURCE, total=3_880_099_328 + _PAD * 2560),
        Release(_model("gemma-3-12b", 48, 3840, 15360, (16, 8, 256), 1024, 131_072),
                "google/gemma-3-12b-pt", _LICENCE, _SOURCE, total=11_765_788_416 + _PAD * 3840),
        Release(_model("gemma-3-27b", 62, 5376, 21504, (32, 16, 128), 1024, 131_072,
                       scale=168**-0.5),  # query_pre_attn_scalar is width / heads here, not the head's dimension
                "google/gemma-3-27b-pt", _LICENCE, _SOURCE, total=27_009_002_240 + _PAD * 5376),
        Release(_model("gemma-3-270m", 18, 640, 2048, (4, 1, 256), 512, 32_768, vocab=262_144, stretch=None),
                "google/gemma-3-270m", _LICENCE, _SOURCE, total=268_098_176),
        Release(_model("gemma-3-1b", 26, 1152, 6912, (4, 1, 256), 512, 32_768, vocab=262_144, stretch=None),
                "google/gemma-3-1b-pt", _LICENCE, _SOURCE, total=999_885_952),
    ),
    reference="transformers Gemma3ForCausalLM",
    checkpoint=Checkpoint(("gemma3_text",), "Gemma3ForCausalLM", _read, _write, _NAMES),
    chat=ChatFormat(
        user="<start_of_turn>user\n", assistant="<start_of_turn>model\n", end="<end_of_turn>", between="\n",
        special=("<start_of_turn>", "<end_of_turn>"),
    ),
    template=ChatTemplate("gemma-3", "gemma-3", note="no reasoning and no tool format of its own"),
    note="From 4B on these are the text parts of models that read images too; of the published files, which hold both, "
         "only this part is read and written.",
)
