"""EXAONE 4.0 against transformers' Exaone4ForCausalLM, 4.5's language model against its Exaone4_5 class, on random
small configurations; 4.5's MTP layer is in test_parity_mtp.py."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import check
from official import check_nothing_is_neutral, check_text, published_size
from published_weights import randomise
from transformers import Exaone4_5_Config, Exaone4_5_ForConditionalGeneration, Exaone4Config, Exaone4ForCausalLM

from dokja.errors import DokjaError
from dokja.models.cost import parameters
from dokja.models.families import FAMILIES
from dokja.models.families.exaone_4 import read


def fields(seed: int) -> dict[str, Any]:
    """A small text configuration, every size drawn; seed 1 has no window, as the 1.2B."""
    draw = random.Random(seed)
    kv, pattern = draw.choice((1, 2)), draw.choice(("LLLG", "LG", "LLG"))
    window = None if seed == 1 else draw.choice((3, 6))
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 16} if seed < 3 else {"rope_type": "default"}
    return {
        "vocab_size": 97, "hidden_size": 16 * draw.choice((2, 3)), "num_hidden_layers": len(pattern) + 1,
        "num_attention_heads": kv * draw.choice((2, 3)), "num_key_value_heads": kv, "head_dim": draw.choice((8, 16)),
        "layer_types": ["sliding_attention" if kind == "L" and window else "full_attention" for kind in pattern + "L"],
        "sliding_window": window, "intermediate_size": draw.choice((40, 64)), "max_position_embeddings": 64,
        "rms_norm_eps": draw.choice((1e-5, 1e-3)), "tie_word_embeddings": seed == 1,
        "rope_parameters": {**scaling, "rope_theta": draw.choice((1e3, 1e6))},
    }


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    ours = check(Exaone4ForCausalLM(Exaone4Config(**fields(seed))), tmp_path, length=23, seed=seed)
    if seed < 2:
        check_text(tmp_path, ours)


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_in_the_comparison_is_neutral(seed: int) -> None:
    reference = Exaone4ForCausalLM(Exaone4Config(**fields(seed))).eval()
    with torch.no_grad():
        randomise(reference.state_dict(), seed)
    check_nothing_is_neutral(reference, torch.arange(46).view(2, 23))


@pytest.mark.parametrize("one", FAMILIES["exaone-4"].releases, ids=lambda one: one.spec.name)
def test_the_official_sizes_are_those_of_the_published_class(one: Any) -> None:
    assert published_size(FAMILIES["exaone-4"], one) == parameters(one.spec).total


def test_a_window_without_kinds_of_layers_is_refused() -> None:
    config = {"model_type": "exaone4", **fields(0), "layer_types": None}
    with pytest.raises(DokjaError, match="lacks 'layer_types'"):
        read(config, ())


@pytest.mark.filterwarnings("ignore:.*its text part alone")
@pytest.mark.parametrize("seed", [0, 3])
def test_the_language_model_of_exaone_4_5(seed: int, tmp_path: Path) -> None:
    text = fields(seed)
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "num_key_value_heads": 1,
              "patch_size": 4, "out_hidden_size": text["hidden_size"], "fullatt_block_indexes": [0]}
    config = Exaone4_5_Config(text_config={"model_type": "exaone4", **text}, vision_config=vision,
                              tie_word_embeddings=seed == 3)
    check(Exaone4_5_ForConditionalGeneration(config), tmp_path, length=23, seed=seed)
