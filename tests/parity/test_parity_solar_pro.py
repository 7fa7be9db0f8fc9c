"""Solar Pro Preview against a plain reference, on random small configurations."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import assert_close
from plain import check_plain, random_files
from solar_pro_reference import forward, shapes

from dokja.errors import DokjaError
from dokja.models.checkpoint.published import read_published
from dokja.models.families import FAMILIES, checkpoint_of
from dokja.models.spec import Skip

# Lists 1 to 4: as released, in short; a kept stream blended twice; both places at one layer; none.
LISTS = (([1, 3, 5], [3], [2, 4, 6], [5]), ([0], [1], [2, 4], [3]), ([0, 3], [1], [4], [3, 4]), ([], [], [], []))


def config(seed: int) -> dict[str, Any]:
    """A small published config.json, every size drawn."""
    draw = random.Random(seed)
    kv = draw.choice((1, 2))
    return {
        "model_type": "solar", "architectures": ["SolarForCausalLM"], "hidden_act": "silu", "vocab_size": 61,
        "hidden_size": 8 * draw.choice((3, 4)), "num_hidden_layers": 7 if seed == 0 else 5, "head_dim": 8,
        "num_attention_heads": kv * draw.choice((2, 3)), "num_key_value_heads": kv, "intermediate_size": 20,
        "rms_norm_eps": draw.choice((1e-5, 1e-3)), "max_position_embeddings": 64, "rope_theta": draw.choice((1e2, 1e4)),
        "tie_word_embeddings": False, "bskcn_tv": [0.9, draw.choice((0.8, 0.3))],
        **{f"bskcn_{n}": one for n, one in enumerate(LISTS[seed], start=1)},
    }


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    fields = config(seed)
    check_plain(fields, shapes(fields), partial(forward, fields), tmp_path, length=17, seed=seed)


@torch.no_grad()
def test_in_training_the_kept_stream_has_another_share(tmp_path: Path) -> None:
    fields, ids = config(0), torch.arange(18).view(2, 9)
    weights = random_files(tmp_path, fields, shapes(fields), 0)
    model = read_published(tmp_path)
    assert_close(model.train()(ids), forward(fields, weights, ids, training=True), "training")
    assert not torch.allclose(model(ids), model.eval()(ids), rtol=1e-2)


def test_the_released_lists_are_written_as_they_were_read() -> None:
    found = FAMILIES["solar-pro"]
    assert found.checkpoint is not None
    written = found.checkpoint.write(found.spec)
    assert [written[f"bskcn_{n}"] for n in (1, 2, 3, 4)] == [[12, 20, 32, 44], [20, 32], [16, 24, 36, 48], [28, 40]]
    assert written["bskcn_tv"] == [0.9, 0.8]
    absent = {"model_type": "solar", **{name: value for name, value in written.items() if "bskcn" not in name}}
    assert checkpoint_of(absent).read(absent, ()).skips == found.spec.skips  # the config class's defaults


def test_what_the_config_cannot_say_is_refused() -> None:
    found = FAMILIES["solar-pro"]
    assert found.checkpoint is not None
    three = tuple(Skip(source, source + 9, 0.8, 0.9) for source in (0, 1, 2))
    with pytest.raises(DokjaError, match="at most two at once"):
        found.checkpoint.write(replace(found.spec, skips=three))
    with pytest.raises(DokjaError, match="one share for all"):
        found.checkpoint.write(replace(found.spec, skips=(Skip(0, 1, 0.8, 0.9), Skip(2, 3, 0.5, 0.9))))
    fields = {**config(0), "bskcn_1": [], "bskcn_3": [2]}
    with pytest.raises(DokjaError, match="blends at layer 2"):
        found.checkpoint.read(fields, ())
