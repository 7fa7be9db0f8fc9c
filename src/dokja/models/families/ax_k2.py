"""A.X K2 688B-A33B (SK Telecom): arXiv 2608.30181, checkpoint class `AXK2ForCausalLM`.

A.X K1 with 256 experts and, in place of its norm after every mixture, gates: on the output of each head and on the
norms before attention and before mixtures. An indexer added late in training makes attention sparse: each token reads
the 2,048 positions that the indexer scores highest.
"""

from collections.abc import Collection
from dataclasses import replace

from ...errors import DokjaError
from ..chat.syntax import THINK_HERMES
from ..chat.template import ChatTemplate
from ..checkpoint import deepseek, llama
from ..checkpoint.config import expect, need
from ..checkpoint.layout import Checkpoint, Config
from ..spec import MLP, PRE, Indexer, LatentAttention, Layer, ModelSpec, MoE, Rope, Router, Yarn
from .family import CHATML, Family, Release

_NAMES = llama.with_parts(deepseek.NAMES, parts={
    f"{ours}.{mine}": f"{theirs}.{published}"
    for ours, theirs, tensors in (
        ("mixer_in", "input_layernorm", {"norm": "norm", "down": "W_down", "up": "W_up"}),
        ("ffn_in", "post_attention_layernorm", {"norm": "norm", "down": "W_down", "up": "W_up"}),
        ("mixer.indexer", "self_attn.indexer", {"q_up": "wq_b", "k": "wk", "k_norm": "k_norm",
                                                "weights": "weights_proj"}))
    for mine, published in ((f"{a}.weight", f"{b}.weight") for a, b in tensors.items())
} | {"mixer.indexer.k_norm.bias": "self_attn.indexer.k_norm.bias"})


def _gated(layer: Layer, mixer: LatentAttention, rank: int) -> Layer:
    """A layer of DeepSeek-V3 as A.X K2 has it."""
    mixture = isinstance(layer.ffn, MoE)
    return replace(layer, mixer=mixer, norms=replace(PRE, mixer_gate=rank, ffn_gate=rank if mixture else 0))


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    expect(config, "rope_interleave", True)
    spec = deepseek.read({"first_k_dense_replace": 1, **config}, ())
    mixer = spec.layers[0].mixer
    assert isinstance(mixer, LatentAttention)
    # Before its long-context stage the model has no indexer, and its files none of the tensors.
    indexer = Indexer(need(config, "index_n_heads"), need(config, "index_head_dim"), need(config, "index_topk")) if any(
        ".indexer." in name for name in tensors) else None
    mixer = replace(mixer, gate=True, indexer=indexer)

    def softened(layer: Layer) -> Layer:
        if not isinstance(layer.ffn, MoE) or layer.ffn.router.groups == 1:
            return layer
        return replace(layer, ffn=replace(layer.ffn, router=replace(layer.ffn.router, soft_groups=True)))

    rank = need(config, "gated_norm_rank")
    return replace(spec, layers=tuple(_gated(softened(layer), mixer, rank) for layer in spec.layers))


def _write(spec: ModelSpec) -> Config:
    mixer, rank = spec.layers[0].mixer, spec.layers[0].norms.mixer_gate
    if not (isinstance(mixer, LatentAttention) and mixer.gate and rank) or any(
            layer != _gated(layer, mixer, rank) for layer in spec.layers):
        raise DokjaError(f"{spec.name} is no kin of A.X K2, which gates its heads and its norms, and cannot be written "
                         "as such")
    # The class always has an indexer: one that may take all positions chooses none of them away.
    indexer = mixer.indexer or Indexer(1, mixer.rope_dim, spec.context)
    return {**deepseek.write(spec), "gated_norm_rank": rank, "index_n_heads": indexer.heads,
            "index_head_dim": indexer.dim, "index_topk": indexer.top}


_attention = LatentAttention(
    heads=64, q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128,
    rope=Rope(theta=1_000_000, layout="interleaved",  # raised at 32K (report, section 3.4)
              scaling=Yarn(factor=2.0, original_context=131_072, mscale=1.0)),  # native context, mscale: the report's
    latent_eps=deepseek.LATENT_EPS,
    gate=True,
    indexer=Indexer(heads=64, dim=128, top=2048),  # top: the report's; dim: AXK2Config's default
)
_moe = MoE(experts=256, active=8, shared=1, width=2048,  # report, table 1
           router=Router(bias=True, groups=8, groups_kept=4, scale=2.5, soft_groups=True))  # section 3.6

FAMILY = Family(
    name="ax-k2",
    title="A.X K2",
    company="SK Telecom",
    releases=(Release(
        spec=ModelSpec(
            name="a.x-k2-688b-a33b",
            vocab=163_840,
            width=7168,
            layers=tuple(_gated(Layer(_attention, ffn), _attention, 16)  # rank: AXK2Config's default
                         for ffn in (MLP(width=18432), *(_moe,) * 60)),
            context=262_144,
            norm_eps=1e-6,
            unverified=("ranks of the latents, dimensions of the heads and number of the indexer's (third party; the "
                        "total fits the size of the published files)", "YaRN's factor and betas", "chat markers"),
        ),
        repository="skt/A.X-K2",
        licence="Apache-2.0",
        source="arXiv 2608.30181, tables and sections 2.2, 3.4, 3.6 (second hand); transformers 5.23.0 axk2; SGLang's "
               "AXK2Config",
    ),),
    reference="transformers AXK2ForCausalLM",
    checkpoint=Checkpoint(("axk2",), "AXK2ForCausalLM", _read, _write, _NAMES),
    chat=CHATML,
    template=ChatTemplate(
        "ax-k2", "chatml",
        # An answer without thinking follows the closing tag alone (report, section 4.1).
        {"on": {"enable_thinking": True}, "off": {"enable_thinking": False, "no_thought": "</think>"}}, "on",
        THINK_HERMES, unverified=("turn markers", "line ends around think tags", "wording of the tool preamble"),
    ),
    note="The published matrix of queries and gates reads the normalised and the raw latent but is half zeros: queries "
         "use only the one, gates the other. Published totals leave those 1.9B out. Pocket models have no indexer, "
         "which is trained apart in a long-context stage; nothing here trains one.",
)
