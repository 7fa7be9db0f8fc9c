"""The text part of models that see or hear too: read from their published files, equal to the published class, and
written without its towers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import assert_close
from published_weights import randomise
from safetensors.torch import load_file, save_file
from test_parity_exaone_4 import fields as exaone_4
from test_parity_gemma_3 import config as gemma_3
from test_parity_hyperclova import config as hyperclova_x
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Exaone4_5_Config,
    Exaone4_5_ForConditionalGeneration,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    HyperCLOVAXVisionV2Config,
    HyperCLOVAXVisionV2ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

import dokja
from dokja.errors import DokjaError
from dokja.models.checkpoint.multimodal import text_config
from dokja.models.families import family

SIGHT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8,
         "patch_size": 4}
SIGHT_QWEN = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "patch_size": 4,
              "fullatt_block_indexes": [0]}


def gemma(seed: int) -> PreTrainedModel:
    return Gemma3ForConditionalGeneration(Gemma3Config(
        text_config=gemma_3(seed), vision_config=SIGHT, mm_tokens_per_image=4, tie_word_embeddings=seed != 3))


def hyperclova(seed: int) -> PreTrainedModel:
    text = hyperclova_x(seed)
    sight = {"model_type": "qwen2_5_vl_vision", **SIGHT_QWEN, "out_hidden_size": 24}
    return HyperCLOVAXVisionV2ForConditionalGeneration(HyperCLOVAXVisionV2Config(
        text_config=text, vision_config=sight, tie_word_embeddings=text.tie_word_embeddings))


def exaone(seed: int) -> PreTrainedModel:
    text = exaone_4(seed)
    sight = {**SIGHT_QWEN, "num_key_value_heads": 1, "out_hidden_size": text["hidden_size"]}
    return Exaone4_5_ForConditionalGeneration(Exaone4_5_Config(
        text_config={"model_type": "exaone4", **text}, vision_config=sight,
        tie_word_embeddings=text["tie_word_embeddings"]))


def randomised(model: PreTrainedModel, seed: int, *, zero_centred: bool = False) -> PreTrainedModel:
    with torch.no_grad():
        randomise(model.state_dict(), seed, zero_centred=zero_centred)
    return model.eval()


def edit(folder: Path, change: Callable[[str], str], config: Callable[[dict[str, Any]], Mapping[str, Any]] = dict,
         more: Mapping[str, Tensor] | None = None) -> None:
    """Rename the tensors of a folder, add some, and change its config.json."""
    tensors = {change(name): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file({**tensors, **(more or {})}, folder / "model.safetensors")
    path = folder / "config.json"
    path.write_text(json.dumps(config(json.loads(path.read_text()))))


def check(reference: PreTrainedModel, folder: Path, towers: str, name: str | None, *,
          again: Any = AutoModelForCausalLM) -> dokja.Model:
    """Assert that the text part of the files in folder/theirs computes what `reference` does, and so do our files."""
    with pytest.warns(UserWarning, match=rf"its text part alone is loaded, without {towers}") as told:
        model = dokja.load(folder / "theirs")
    assert len(told) == 1
    assert model.family is (family(name) if name else None)
    ids = torch.randint(0, model.spec.vocab, (2, 23), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference(input_ids=ids, use_cache=False).logits
        assert_close(model.decoder(ids), expected, "whole sequences")
        dokja.save(model, folder / "ours")
        written, info = again.from_pretrained(folder / "ours", dtype=torch.float32, output_loading_info=True)
        # Exaone4_5 has a tower in any case: one without layers, as our config.json says.
        assert all(key.startswith("model.visual.") and ".blocks." not in key for key in info["missing_keys"])
        assert not info["unexpected_keys"]
        assert_close(written(input_ids=ids, use_cache=False).logits, expected, "our files read by transformers")
    return model


@pytest.mark.parametrize("seed", [0, 3])
def test_gemma_3(seed: int, tmp_path: Path) -> None:
    reference = randomised(gemma(seed), seed, zero_centred=True)
    reference.save_pretrained(tmp_path / "theirs")
    names = set(load_file(tmp_path / "theirs" / "model.safetensors"))
    assert any(name.startswith("language_model.model.layers.0.") for name in names)  # as the releases have them
    check(reference, tmp_path, r"multi_modal_projector \(2 tensors\), vision_tower \(\d+ tensors\)", "gemma-3")


def test_gemma_3_under_the_names_of_its_modules(tmp_path: Path) -> None:
    """transformers from 4.52 on wrote its own modules' names for a while."""
    reference = randomised(gemma(0), 0, zero_centred=True)
    reference.save_pretrained(tmp_path / "theirs")
    edit(tmp_path / "theirs", lambda name: "model." + name.replace("language_model.model.", "language_model."))
    check(reference, tmp_path, "multi_modal_projector .*, vision_tower", "gemma-3")


# The text_config of google/gemma-3-4b-it and -27b-it: what is the class's default is not said.
GEMMA_4B = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}
GEMMA_27B = {**GEMMA_4B, "hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62, "head_dim": 128,
             "num_attention_heads": 32, "num_key_value_heads": 16, "query_pre_attn_scalar": 168}


@pytest.mark.parametrize(("published", "name"), [(GEMMA_4B, "gemma-3-4b"), (GEMMA_27B, "gemma-3-27b")])
def test_what_gemma_3_leaves_unsaid_is_the_default_of_its_class(published: dict[str, Any], name: str) -> None:
    found, layout = family("gemma-3"), family("gemma-3").checkpoint
    assert layout is not None
    spec = layout.read(text_config({"model_type": "gemma3", "text_config": published}), ())
    release = next(one.spec for one in found.releases if one.spec.name == name)
    assert spec.to_dict() | {"name": ""} == release.to_dict() | {"name": ""}


@pytest.mark.parametrize("seed", [0, 3])
def test_hyperclova_x_seed_think(seed: int, tmp_path: Path) -> None:
    reference = randomised(hyperclova(seed), seed)
    reference.save_pretrained(tmp_path / "theirs")
    check(reference, tmp_path, r"vision_model \(\d+ tensors\), vision_projector \(2 tensors\)",
          "hyperclova-x-seed-think")


def test_hyperclova_x_seed_think_as_released(tmp_path: Path) -> None:
    """The hub's model type and names, which transformers reads too."""
    reference = randomised(hyperclova(1), 1)
    reference.save_pretrained(tmp_path / "theirs")

    def released(name: str) -> str:
        head = name.startswith("model.language_model.lm_head.")
        return name if head else name.replace("language_model.", "language_model.model.")

    edit(tmp_path / "theirs", released, lambda config: {
        **config, "model_type": "vlm", "architectures": ["HCXVisionV2ForCausalLM"]})
    check(reference, tmp_path, "vision_model .*, vision_projector", "hyperclova-x-seed-think")


def omni(folder: Path) -> PreTrainedModel:
    """A Llama inside the files of HyperCLOVA X SEED Omni, beside one tensor of each of its other parts."""
    reference = randomised(LlamaForCausalLM(LlamaConfig(
        vocab_size=101, hidden_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, head_dim=8,
        intermediate_size=72, max_position_embeddings=64)), 0)
    reference.save_pretrained(folder)
    parts = ("vision_model", "mm_projector", "discrete_vision_model", "audio_model", "audio_projector",
             "discrete_audio_model", "video_audio_compressor")
    edit(folder, lambda name: f"model.language_model.{name}",
         lambda config: {"model_type": "vlm", "architectures": ["HCXVisionV2ForCausalLM"], "text_config": config},
         {f"model.{part}.weight": torch.ones(2) for part in parts})
    return reference


def test_hyperclova_x_seed_omni(tmp_path: Path) -> None:
    reference = omni(tmp_path / "theirs")
    told = "audio_model .1 tensor., audio_projector .*, discrete_audio_model .*, discrete_vision_model .*, " \
           "mm_projector .*, video_audio_compressor .*, vision_model"
    check(reference, tmp_path, told, None)  # of no family: its own sizes alone tell Omni from any Llama


@pytest.mark.parametrize("seed", [0, 1])
def test_exaone_4_5(seed: int, tmp_path: Path) -> None:
    reference = randomised(exaone(seed), seed)
    reference.save_pretrained(tmp_path / "theirs")
    check(reference, tmp_path, r"visual \(\d+ tensors\)", "exaone-4.5", again=AutoModelForImageTextToText)


def test_an_unknown_prefix_is_told_with_what_is_there(tmp_path: Path) -> None:
    omni(tmp_path)
    edit(tmp_path, lambda name: name.replace("model.language_model.", "thinker.llm."))
    with pytest.raises(DokjaError, match=r"unknown prefix, where language_model\. is due: its tensors are .*"
                                         r"model\.audio_model \(1 tensor\).*thinker\.llm \(21 tensors\)$"):
        dokja.load(tmp_path)


def test_a_tensor_under_two_names_is_told(tmp_path: Path) -> None:
    omni(tmp_path)
    edit(tmp_path, str, more={"lm_head.weight": torch.ones(101, 48)})
    with pytest.raises(DokjaError, match=r"twice, as .*lm_head\.weight and as .*lm_head\.weight"):
        dokja.load(tmp_path)


@pytest.mark.filterwarnings("ignore:.*its text part alone")
def test_a_tensor_of_an_unknown_part_is_not_left_out_silently(tmp_path: Path) -> None:
    omni(tmp_path)
    edit(tmp_path, lambda name: name.replace("mm_projector", "adapter"))
    with pytest.raises(DokjaError, match=r"1 unexpected \(model\.adapter\.weight\)"):
        dokja.load(tmp_path)


def test_a_text_part_of_an_unknown_class_is_told(tmp_path: Path) -> None:
    omni(tmp_path)
    edit(tmp_path, str, lambda config: {**config, "text_config": {**config["text_config"], "model_type": "qwen9"}})
    with pytest.raises(DokjaError, match="model_type = 'vlm' with a text part of model_type = 'qwen9'"):
        dokja.load(tmp_path)
