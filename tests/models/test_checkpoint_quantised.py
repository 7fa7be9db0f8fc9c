"""Weights in eight and four bits are read as the numbers that transformers reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pocket import pocket_model
from safetensors.torch import load_file, save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

import dokja
from dokja.errors import DokjaError
from dokja.models.checkpoint.layout import Interleaved, Place
from dokja.models.checkpoint.quantised import Microscaled, from_blocks, from_mxfp4, weights
from dokja.models.checkpoint.shards import SINGLE, Reader, stored_tensors
from dokja.models.families import family


def to_blocks(weight: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix in FP8 with one factor a block, blocks cut short at the edges."""
    rows, columns = (-(-size // block) for size in weight.shape)
    scale = torch.rand(rows, columns) * 0.02 + 0.001
    grid = scale.repeat_interleave(block, 0).repeat_interleave(block, 1)[: weight.shape[0], : weight.shape[1]]
    return (weight / grid).clamp(-448, 448).to(torch.float8_e4m3fn), scale


def test_blocks_of_eight_bits_are_what_transformers_reads() -> None:
    torch.manual_seed(0)
    weight, scale = to_blocks(torch.randn(256, 384), 128)
    expected = Fp8Dequantize(None)._dequantize_one(weight, scale, torch.float32)
    assert torch.equal(from_blocks(weight, scale, (128, 128)), expected)


def test_blocks_that_are_cut_short() -> None:
    weight, scale = torch.ones(3, 5).to(torch.float8_e4m3fn), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    expected = torch.tensor([[1.0, 1, 2, 2, 3], [1, 1, 2, 2, 3], [4, 4, 5, 5, 6]])
    assert torch.equal(from_blocks(weight, scale, (2, 2)), expected)


def test_four_bits_are_what_transformers_reads() -> None:
    draws = torch.Generator().manual_seed(0)
    blocks = torch.randint(256, (3, 10, 2, 16), generator=draws, dtype=torch.uint8)
    scales = torch.randint(100, 140, (3, 10, 2), generator=draws, dtype=torch.uint8)
    expected = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)  # [E, columns, rows]
    found = torch.stack([from_mxfp4(blocks[e], scales[e]).mT for e in range(3)])
    assert torch.equal(found, expected)


def test_experts_in_four_bits_go_to_their_places(tmp_path: Path) -> None:
    """gpt-oss: gate and up alternate in the file, and lie one after the other in ours."""
    draws = torch.Generator().manual_seed(0)
    state = {"g_blocks": torch.randint(256, (3, 10, 2, 16), generator=draws, dtype=torch.uint8),
             "g_scales": torch.randint(120, 130, (3, 10, 2), generator=draws, dtype=torch.uint8)}
    save_file(state, tmp_path / SINGLE)
    stored = stored_tensors(tmp_path)
    weight = weights(stored, {"quantization_config": {"quant_method": "mxfp4"}})["g"]
    assert isinstance(weight, Microscaled)
    assert weight.shape == (3, 64, 10)
    ours = torch.zeros(3, 64, 10)
    name = Interleaved("g").name
    weight.read(Place("x", (3, 64, 10), lambda whole: whole.unflatten(-1, (2, -1)).transpose(-1, -2)), ours,
                Reader(stored))
    expected = convert_moe_packed_tensors(state[f"{name}_blocks"], state[f"{name}_scales"], dtype=torch.float32)
    assert torch.equal(ours, torch.cat((expected[..., 0::2], expected[..., 1::2]), dim=-1))


def test_a_published_model_in_eight_bits(tmp_path: Path) -> None:
    """Matrices in FP8, scales in another shard; saved again it is plain, and says so."""
    torch.manual_seed(1)
    model = pocket_model("k-exaone")
    dokja.save(dokja.Model(model, family=family("k-exaone")), tmp_path / "m")
    state, scales, expected = load_file(tmp_path / "m" / SINGLE), {}, {}
    for name, tensor in list(state.items()):
        expected[name] = tensor
        if name.endswith("_proj.weight"):
            state[name], scales[f"{name}_scale_inv"] = to_blocks(tensor, 128)
            expected[name] = from_blocks(state[name], scales[f"{name}_scale_inv"], (128, 128))
    save_file(state, tmp_path / "m" / "a.safetensors")
    save_file(scales, tmp_path / "m" / "b.safetensors")
    (tmp_path / "m" / SINGLE).unlink()
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    loaded = dokja.load(tmp_path / "m", dtype="float32")
    dokja.save(loaded, tmp_path / "plain")
    found = load_file(tmp_path / "plain" / SINGLE)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert "quantization_config" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    name = next(iter(scales))
    save_file(scales | {name: torch.ones(7, 7)}, tmp_path / "m" / "b.safetensors")
    with pytest.raises(DokjaError, match=f"{name} has shape"):
        dokja.load(tmp_path / "m")
