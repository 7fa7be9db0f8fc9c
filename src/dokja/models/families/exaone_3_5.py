"""EXAONE 3.5 and EXAONE Deep, 2.4B, 7.8B and 32B (LG AI Research): arXiv 2412.04862 and 2503.12524, checkpoint class
`ExaoneForCausalLM`.

A Llama in everything but the names of its tensors and config fields. Deep has 3.5's architecture, trained to reason.
"""

from collections.abc import Collection

from ..chat.syntax import Syntax, think
from ..chat.template import ChatTemplate
from ..checkpoint import llama
from ..checkpoint.config import expect, need
from ..checkpoint.layout import Checkpoint, Config, Names
from ..spec import MLP, Attention, Layer, Llama3, ModelSpec, Rope
from .family import ChatFormat, Family, Release

# Their names of Llama's config fields.
_FIELDS = {"num_hidden_layers": "num_layers", "rms_norm_eps": "layer_norm_epsilon", "hidden_act": "activation_function"}


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    expect(config, "activation_function", "silu")
    return llama.read({**config, **{ours: need(config, theirs) for ours, theirs in _FIELDS.items()}}, tensors)


def _write(spec: ModelSpec) -> Config:
    config = llama.write(spec)
    return {_FIELDS.get(key, key): value for key, value in config.items()}


_NAMES = Names(
    top={"embedding.weight": "transformer.wte.weight", "norm.weight": "transformer.ln_f.weight",
         "head.weight": "lm_head.weight"},
    layer="transformer.h.{i}.",
    parts={
        "mixer_in.weight": "ln_1.weight",
        "ffn_in.weight": "ln_2.weight",
        "mixer.qkv.weight": ("attn.attention.q_proj.weight", "attn.attention.k_proj.weight",
                             "attn.attention.v_proj.weight"),
        "mixer.out.weight": "attn.attention.out_proj.weight",
        "ffn.gate_up.weight": ("mlp.c_fc_0.weight", "mlp.c_fc_1.weight"),
        "ffn.down.weight": "mlp.c_proj.weight",
    },
)

_rope = Rope(theta=1_000_000, scaling=Llama3(factor=8.0, original_context=8192))  # low_freq_factor 1, high 4
_2_4B = Layer(Attention(heads=32, kv_heads=8, head_dim=80, rope=_rope), MLP(7168))
_7_8B = Layer(Attention(heads=32, kv_heads=8, head_dim=128, rope=_rope), MLP(14336))
_32B = Layer(Attention(heads=40, kv_heads=8, head_dim=128, rope=_rope), MLP(27392))

_SIZES = (  # size, width, layer, depth, tied, total (from the published dimensions), what is not confirmed
    ("2.4b", 2560, _2_4B, 30, True, 2_405_327_360, ()),
    ("7.8b", 4096, _7_8B, 32, False, 7_818_448_896, ("RoPE base and scaling (the 2.4B's and the 32B's assumed)",)),
    ("32b", 5120, _32B, 64, False, 32_003_200_000, ()),
)

_DEEP = ChatTemplate(
    "exaone-deep", "exaone-deep", {"on": {}}, "on", Syntax(think("<thought>", "</thought>")),
    note="it always reasons; without reasoning: EXAONE 3.5; LG advises against a system prompt",
)


def _release(line: str, repository: str, size: str, width: int, layer: Layer, depth: int, tied: bool, total: int,
             unverified: tuple[str, ...]) -> Release:
    return Release(
        spec=ModelSpec(name=f"exaone-{line}-{size}", vocab=102_400, width=width, layers=(layer,) * depth,
                       context=32_768, norm_eps=1e-5, tied=tied, unverified=unverified),
        repository=f"LGAI-EXAONE/{repository.format(size=size.upper())}",
        licence="EXAONE AI Model License 1.1 - NC",
        source="LG-AI-EXAONE/EXAONE-3.5 README; config.json of public derivatives (beomi/EXAONE-3.5-32B-Instruct-"
               "Llamafied); sglang 0.5.23 exaone.py",
        total=total,
        template=_DEEP if line == "deep" else None,
    )


FAMILY = Family(
    name="exaone-3.5",
    title="EXAONE 3.5 and Deep",
    company="LG AI Research",
    releases=(*(_release("3.5", "EXAONE-3.5-{size}-Instruct", *size) for size in _SIZES),
              *(_release("deep", "EXAONE-Deep-{size}", *size) for size in _SIZES)),
    reference="tests/parity/exaone_3_5_reference.py (no class in transformers)",
    checkpoint=Checkpoint(("exaone",), "ExaoneForCausalLM", _read, _write, _NAMES),
    chat=ChatFormat(user="[|user|]", assistant="[|assistant|]", end="[|endofturn|]", between="\n",
                    special=("[|system|]", "[|user|]", "[|assistant|]", "[|endofturn|]")),
    template=ChatTemplate("exaone-3.5", "exaone-3.5", note="reasoning is a checkpoint of its own: EXAONE Deep"),
)
