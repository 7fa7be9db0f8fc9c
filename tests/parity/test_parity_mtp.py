"""The MTP layer in published files: `Decoder.losses` against a plain reference on top of transformers' trunk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import GRADIENTS
from mtp_reference import MTPConfig, shapes, states
from published_weights import Weights, randomise
from safetensors.torch import load_file, save_file
from test_parity_exaone_4 import fields as exaone_4
from test_parity_k_exaone import config as k_exaone
from torch import Tensor, nn
from transformers import (
    Exaone4_5_Config,
    Exaone4_5_ForConditionalGeneration,
    ExaoneMoeForCausalLM,
    PreTrainedModel,
)

from dokja.models.checkpoint.layout import places
from dokja.models.checkpoint.published import read_published, write_published
from dokja.models.families import checkpoint_of


def k_exaone_pair(seed: int) -> tuple[PreTrainedModel, MTPConfig]:
    """K-EXAONE: dense, global, without positions, pre-norm."""
    c = k_exaone(seed)
    return ExaoneMoeForCausalLM(c), MTPConfig(
        c.hidden_size, c.num_attention_heads, c.num_key_value_heads, c.head_dim, c.intermediate_size, c.rms_norm_eps,
        post_norm=False)


def exaone_4_5_pair(seed: int) -> tuple[PreTrainedModel, MTPConfig]:
    """EXAONE 4.5: its block 0, with window and positions, post-norm."""
    text = exaone_4(seed)
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "num_key_value_heads": 1,
              "patch_size": 4, "out_hidden_size": text["hidden_size"], "fullatt_block_indexes": [0]}
    rope = text["rope_parameters"]
    config = Exaone4_5_Config(text_config={"model_type": "exaone4", **text}, vision_config=vision)
    return Exaone4_5_ForConditionalGeneration(config), MTPConfig(
        text["hidden_size"], text["num_attention_heads"], text["num_key_value_heads"], text["head_dim"],
        text["intermediate_size"], text["rms_norm_eps"], post_norm=True, window=text["sliding_window"],
        rope_theta=rope["rope_theta"], rope_scaling=rope if rope["rope_type"] == "llama3" else None)


CASES = [pytest.param(k_exaone_pair, 0, id="k-exaone"), pytest.param(k_exaone_pair, 3, id="k-exaone other sizes"),
         pytest.param(exaone_4_5_pair, 0, id="exaone-4.5"), pytest.param(exaone_4_5_pair, 3, id="exaone-4.5 unscaled")]


def publish(reference: PreTrainedModel, mtp: Weights, folder: Path) -> None:
    """transformers' files with the MTP layer's tensors in a second shard, as released files have them."""
    reference.save_pretrained(folder)
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    (folder / "model.safetensors").rename(folder / one)
    save_file({name: tensor.detach() for name, tensor in mtp.items()}, folder / two, metadata={"format": "pt"})
    index = dict.fromkeys(load_file(folder / one), one) | dict.fromkeys(mtp, two)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def trunk(reference: PreTrainedModel, ids: Tensor) -> Tensor:
    """The states after the final norm."""
    hidden: Tensor = reference.base_model(input_ids=ids, use_cache=False).last_hidden_state
    return hidden


@pytest.mark.filterwarnings("ignore:.*its text part alone")
@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize(("build", "seed"), CASES)
def test_losses_gradients_and_files(build: Any, seed: int, tmp_path: Path) -> None:
    reference, config = build(seed)
    reference.eval()
    reference.get_input_embeddings().padding_idx = None
    mtp = {name: torch.empty(shape) for name, shape in shapes(config).items()}
    with torch.no_grad():
        randomise(reference.state_dict(), seed)
        randomise(mtp, seed + 100)
    publish(reference, mtp, tmp_path / "theirs")
    ours = read_published(tmp_path / "theirs")
    assert len(ours.spec.mtp) == 1

    ids = torch.randint(0, ours.spec.vocab, (2, 20), generator=torch.Generator().manual_seed(seed))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    main, (further,) = ours.losses(inputs, targets)
    for tensor in mtp.values():
        tensor.requires_grad_()
    hidden, embedded = trunk(reference, inputs), reference.get_input_embeddings()(inputs)
    head = reference.get_output_embeddings()
    theirs = torch.cat([head(states(config, mtp, *row)) for row in zip(hidden, embedded, strict=True)])
    expected_main = nn.functional.cross_entropy(head(hidden).flatten(0, 1), targets.flatten())
    expected = nn.functional.cross_entropy(theirs, targets[:, 1:].flatten())
    assert abs(main - expected_main) < 1e-5 * expected_main
    assert abs(further - expected) < 1e-5 * expected

    (main + 0.3 * further).backward()
    (expected_main + 0.3 * expected).backward()
    layout = checkpoint_of(json.loads((tmp_path / "theirs" / "config.json").read_text()))
    table = places(ours.state_dict(), ours.spec, layout.names)
    found = dict(ours.named_parameters())
    for name, tensor in mtp.items():
        gradient = table[name].write(found[table[name].ours].grad)  # type: ignore[arg-type]
        error = (gradient - tensor.grad).norm() / tensor.grad.norm()  # type: ignore[union-attr,operator]
        assert error < GRADIENTS, f"gradient of {name}: relative error {error:.1e}"
    # The trunk learns from the MTP layer as well, through its final norm, its embedding and its head.
    for parameter, mine in ((reference.get_input_embeddings().weight, ours.embedding.weight),
                            (head.weight, ours.head.weight)):
        error = (mine.grad - parameter.grad).norm() / parameter.grad.norm()
        assert error < GRADIENTS, f"relative error {error:.1e}"

    write_published(tmp_path / "ours", ours, layout)
    written = load_file(tmp_path / "ours" / "model.safetensors")
    assert all(torch.equal(written[name], tensor) for name, tensor in mtp.items())
    assert read_published(tmp_path / "ours").spec == ours.spec
    again = type(reference).from_pretrained(tmp_path / "ours", dtype=torch.float32)  # which leaves out mtp.*
    assert torch.allclose(trunk(again, inputs), hidden, rtol=1e-4, atol=1e-5)


def test_a_layer_kind_in_the_config_is_read() -> None:
    """vLLM reads `mtp_layer_types`; without it the layer is global and has no positions."""
    fields = k_exaone(0).to_dict()
    layout = checkpoint_of(fields)
    (plain,) = layout.read(fields, ["mtp.fc.weight"]).mtp
    (local,) = layout.read({**fields, "mtp_layer_types": ["sliding_attention"]}, ["mtp.fc.weight"]).mtp
    assert (plain.mixer.window, plain.mixer.rope) == (None, None)  # type: ignore[union-attr]
    assert local.mixer.window == fields["sliding_window"]
    assert layout.read(fields, ["model.norm.weight"]).mtp == ()
