"""EXAONE 4.5 33B (LG AI Research): arXiv 2604.08644, checkpoint class `Exaone4_5_ForConditionalGeneration`.

EXAONE 4.0 32B with K-EXAONE's vocabulary, a longer context, one MTP layer and a vision tower. Here is its language
model alone: the tower's tensors are not read, and written files have none.
"""

from collections.abc import Collection
from dataclasses import replace

from ..chat.syntax import THINK_HERMES
from ..chat.template import ENABLE_THINKING, ChatTemplate
from ..checkpoint import llama
from ..checkpoint.config import need
from ..checkpoint.layout import Checkpoint, Config
from ..spec import ModelSpec
from . import exaone_4
from .family import Family, Release
from .k_exaone import MTP_PARTS


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    # Tying is said once, for the whole model.
    text = {**need(config, "text_config"), "tie_word_embeddings": config.get("tie_word_embeddings", False)}
    spec = exaone_4.read(text, tensors)
    # transformers drops the MTP layer, and then the file has none of its tensors; vLLM builds it like layer 0.
    return replace(spec, mtp=spec.layers[:1] if any(name.startswith("mtp.") for name in tensors) else ())


def _write(spec: ModelSpec) -> Config:
    # Without a vision_config the class would build a tower of 1.2 billion random weights; this one has no layers.
    tower = {"depth": 0, "hidden_size": 16, "num_heads": 1, "num_key_value_heads": 1, "out_hidden_size": spec.width,
             "fullatt_block_indexes": []}
    return {"text_config": {"model_type": "exaone4", **exaone_4.write(spec)}, "vision_config": tower,
            "tie_word_embeddings": spec.tied, "num_nextn_predict_layers": len(spec.mtp)}


_NAMES = llama.with_parts(
    exaone_4.NAMES,
    top={"embedding.weight": "model.language_model.embed_tokens.weight",
         "norm.weight": "model.language_model.norm.weight", "head.weight": "lm_head.weight"},
    layer="model.language_model.layers.{i}.",
    mtp="mtp.", mtp_block="mtp.layers.{i}.", mtp_parts=MTP_PARTS,  # vLLM exaone4_5_mtp.py
)

FAMILY = Family(
    name="exaone-4.5",
    title="EXAONE 4.5",
    company="LG AI Research",
    releases=(Release(
        spec=ModelSpec(
            name="exaone-4.5-33b", vocab=153_600, width=5120,
            layers=tuple(exaone_4.EVERYWHERE if i % 4 == 3 else exaone_4.LOCAL for i in range(64)),
            mtp=(exaone_4.LOCAL,), context=262_144, norm_eps=1e-5,
            unverified=("number of layers, window, RoPE base and scaling (EXAONE 4.0 32B's assumed)",
                        "MTP attention kind (window and rotary positions, as vLLM's exaone4_5_mtp.py builds it)"),
        ),
        repository="LGAI-EXAONE/EXAONE-4.5-33B",
        licence="EXAONE AI Model License 1.2 - NC",
        source="transformers 5.23.0 exaone4_5 and its documentation (vocabulary, context, MTP)",
    ),),
    reference="transformers Exaone4_5_ForConditionalGeneration, text; MTP: tests/parity/mtp_reference.py",
    checkpoint=Checkpoint(("exaone4_5",), "Exaone4_5_ForConditionalGeneration", _read, _write, _NAMES),
    chat=exaone_4.CHAT,
    template=ChatTemplate(
        "exaone-4.5", "k-exaone", ENABLE_THINKING, "on", THINK_HERMES,
        note="the turns of K-EXAONE, as ollama's renderer for EXAONE 4.5 writes them",
        unverified=("reasoning_content is kept after the last question",),
    ),
    note="The language model of a vision-language model; pictures are not read.",
)
