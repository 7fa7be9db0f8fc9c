"""HyperCLOVA X SEED Think (NAVER Cloud): arXiv 2506.22403 (14B), 2601.03286 (32B), class `HyperCLOVAXForCausalLM`.

A Llama block with an RMSNorm on the input and, optionally, on the output of each half (Peri-LN) and four fixed muP
multipliers. The programme's own entry was the 32B; the 14B comes first because every dimension of it is confirmed.
"""

from collections.abc import Collection

from ...errors import DokjaError
from ..chat.syntax import HCX_TURNS, THINK_KEY_VALUE
from ..chat.template import ChatTemplate
from ..checkpoint import llama
from ..checkpoint.config import (
    expect,
    need,
    read_attention,
    read_model,
    read_rope,
    write_attention,
    write_model,
    write_rope,
)
from ..checkpoint.layout import Checkpoint, Config
from ..spec import MLP, PERI, PRE, Attention, Layer, ModelSpec, Rope
from .family import CHATML, Family, Release


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    expect(config, "hidden_act", "silu")
    expect(config, "attention_bias", False)
    expect(config, "mlp_bias", False)
    # Where config.json is silent the tensors say it: transformers' default is True, NAVER's own code's False.
    peri = config.get("use_post_norm")
    if peri is None:
        peri = any(name.endswith("post_norm1.weight") for name in tensors)
    mixer = read_attention(config, rope=read_rope(config))
    scale = config.get("attention_multiplier")
    if scale is not None and scale != mixer.head_dim**-0.5:
        mixer = read_attention(config, rope=read_rope(config), scale=float(scale))
    layer = Layer(mixer, MLP(need(config, "intermediate_size")), PERI if peri else PRE)
    return read_model(config, (layer,) * need(config, "num_hidden_layers"),
                      embedding_scale=float(config.get("embedding_multiplier", 1.0)),
                      residual_scale=float(config.get("residual_multiplier", 1.0)),
                      logit_scale=float(config.get("logits_scaling", 1.0)))  # a factor, where Granite divides


def _write(spec: ModelSpec) -> Config:
    layer = spec.layers[0]
    mixer, ffn = layer.mixer, layer.ffn
    if not (isinstance(mixer, Attention) and mixer.rope and isinstance(ffn, MLP) and set(spec.layers) == {layer}
            and layer.norms in (PRE, PERI)):
        raise DokjaError(f"{spec.name} cannot be written as a HyperCLOVA X: its layers differ or have other parts")
    return {
        **write_model(spec), **write_attention(mixer), **write_rope(mixer.rope), "intermediate_size": ffn.width,
        "use_post_norm": layer.norms == PERI, "attention_bias": False, "mlp_bias": False,
        "attention_multiplier": mixer.head_dim**-0.5 if mixer.scale is None else mixer.scale,
        "embedding_multiplier": spec.embedding_scale, "residual_multiplier": spec.residual_scale,
        "logits_scaling": spec.logit_scale,
    }


_attention = Attention(heads=48, kv_heads=8, head_dim=128, rope=Rope(theta=100_000_000), scale=1 / 128)
_attention_32b = Attention(heads=40, kv_heads=8, head_dim=128,  # attention_multiplier 0.0883... is 128 ** -0.5
                           rope=Rope(theta=50_000_000))

FAMILY = Family(
    name="hyperclova-x-seed-think",
    title="HyperCLOVA X SEED Think",
    company="NAVER Cloud",
    releases=(
        Release(
            spec=ModelSpec(
                name="hyperclova-x-seed-think-14b",
                vocab=110_592,
                width=6144,
                layers=tuple(Layer(_attention, MLP(width=14336), PERI) for _ in range(38)),
                context=32_768,
                norm_eps=1e-5,
                embedding_scale=10.0,
                logit_scale=0.125,
                unverified=("embedding_scale", "logit_scale", "attention scale", "rope theta", "norm_eps"),
            ),
            repository="naver-hyperclovax/HyperCLOVAX-SEED-Think-14B",
            licence="HyperCLOVA X SEED Model License",
            source="transformers 5.23.0 hyperclovax; exact match of the published parameter total",
            total=14_748_112_896,
            template=ChatTemplate(
                "hyperclova-x-seed-think-14b", "hyperclova-x-seed-think-14b",
                {"on": {"force_reasoning": True}, "off": {"skip_reasoning": True}}, None, HCX_TURNS,
                note="without a value the model decides by itself; stop at <|endofturn|> and <|stop|>",
                unverified=("tools are declared as bare functions",),
            ),
        ),
        Release(
            spec=ModelSpec(
                name="hyperclova-x-seed-think-32b",  # its text part: a vision tower comes before it
                vocab=128_256,
                width=5120,
                layers=tuple(Layer(_attention_32b, MLP(width=24192), PRE) for _ in range(72)),
                context=131_072,
                norm_eps=1e-5,
                unverified=("use_post_norm (False assumed, the default of NAVER's own code)",
                            "tied (untied assumed)", "all other values of the text part (third party; they give the "
                            "published 33B with the vision tower)"),
            ),
            repository="naver-hyperclovax/HyperCLOVAX-SEED-Think-32B",
            licence="HyperCLOVA X SEED Model License",
            source="third-party notes on the published config.json",
            template=ChatTemplate(
                "hyperclova-x-seed-think-32b", "hyperclova-x-seed",
                {"on": {"thinking": True}, "off": {"thinking": False}}, "off", THINK_KEY_VALUE, note="text only",
            ),
        ),
    ),
    reference="transformers HyperCLOVAXForCausalLM",
    checkpoint=Checkpoint(
        ("hyperclovax",), "HyperCLOVAXForCausalLM", _read, _write,
        llama.with_parts(llama.NAMES, parts={"mixer_out.weight": "post_norm1.weight",
                                             "ffn_out.weight": "post_norm2.weight"}),
    ),
    chat=CHATML,
    note="The 32B is published as a vision model, of which only this text part is read and written.",
)
