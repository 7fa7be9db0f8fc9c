"""Weights that are published in eight or four bits, as the numbers they stand for.

FP8 in blocks: `name` in F8_E4M3 and `name_scale_inv` with one factor a block (DeepSeek-V3, README_WEIGHTS.md).
MXFP4: `name_blocks` with two E2M1 numbers a byte, the low half first, and `name_scales` with one power of two, biased
by 127, for 32 of them (OCP Microscaling Formats 1.0, section 5; gpt-oss).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import DokjaError
from .layout import Place
from .shards import Reader, Stored, listing

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)


@dataclass(frozen=True)
class Weight:
    """A published tensor of plain floating-point numbers. first: the stored tensor by whose place it is read."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    first: str

    def read(self, place: Place, ours: Tensor, reader: Reader) -> None:
        """Copy it into its place in our tensor."""
        place.read(ours, reader.tensor(self.name))


@dataclass(frozen=True)
class BlockScaled(Weight):
    """FP8 with one factor for each block of rows and columns."""

    scale: str
    block: tuple[int, int]

    def read(self, place: Place, ours: Tensor, reader: Reader) -> None:
        scale = reader.tensor(self.scale).clone()  # it may lie in another shard
        place.read(ours, from_blocks(reader.tensor(self.name), scale, self.block))


@dataclass(frozen=True)
class Microscaled(Weight):
    """MXFP4 of all experts, read expert by expert."""

    scales: str

    def read(self, place: Place, ours: Tensor, reader: Reader) -> None:
        scales, blocks = reader.tensor(self.scales).clone(), reader.tensor(self.first)
        view = place.view(ours)
        for e in range(len(blocks)):
            view[e].copy_(from_mxfp4(blocks[e], scales[e]).mT.reshape(view[e].shape))


def from_blocks(weight: Tensor, scale: Tensor, block: tuple[int, int]) -> Tensor:
    """[rows, columns] in float32; the last blocks of an axis may be cut short."""
    rows, columns = weight.shape
    factor = scale.float().repeat_interleave(block[0], 0)[:rows].repeat_interleave(block[1], 1)[:, :columns]
    return weight.float() * factor


def from_mxfp4(blocks: Tensor, scales: Tensor) -> Tensor:
    """[rows, groups, 16] bytes and [rows, groups] -> [rows, 32 groups] in float32."""
    table = torch.tensor(_E2M1)
    values = torch.stack((table[(blocks & 15).int()], table[(blocks >> 4).int()]), dim=-1).flatten(-2)
    return torch.ldexp(values, scales[..., None].int() - 127).flatten(-2)


def weights(stored: Mapping[str, Stored], config: Mapping[str, Any]) -> dict[str, Weight]:
    """The published tensors under the names that they have when nothing is quantised.

    Integers and quantised formats other than the two above raise DokjaError.
    """
    quantisation = config.get("quantization_config") or {}
    method = quantisation.get("quant_method") if isinstance(quantisation, dict) else quantisation
    if method not in (None, "fp8", "mxfp4"):
        raise DokjaError(f"config.json says that the weights are quantised by {method!r}: read are plain weights, "
                         "FP8 in blocks and MXFP4, so take the unquantised release")
    size = quantisation.get("weight_block_size") or (128, 128)
    out: dict[str, Weight] = {}
    wrong: list[str] = []
    for name, tensor in stored.items():
        if name.endswith("_scale_inv") and name.removesuffix("_scale_inv") in stored:
            continue
        if name.endswith("_scales") and name.removesuffix("_scales") + "_blocks" in stored:
            continue
        base = name.removesuffix("_blocks")
        if tensor.dtype in FLOATS:
            out[name] = Weight(name, tensor.shape, FLOATS[tensor.dtype], name)
        elif tensor.dtype == "F8_E4M3" and f"{name}_scale_inv" in stored and len(tensor.shape) == 2:
            _check_grid(name, tensor.shape, stored[f"{name}_scale_inv"].shape, size)
            out[name] = BlockScaled(name, tensor.shape, torch.bfloat16, name, f"{name}_scale_inv", (size[0], size[1]))
        elif base != name and tensor.dtype == "U8" and f"{base}_scales" in stored and len(tensor.shape) == 4:
            experts, rows, groups, _ = tensor.shape
            if stored[f"{base}_scales"].shape != tensor.shape[:3] or tensor.shape[3] != 16:
                raise DokjaError(f"the MXFP4 tensor {name} does not fit {base}_scales: {tensor.shape} beside "
                                 f"{stored[f'{base}_scales'].shape}")
            out[base] = Microscaled(base, (experts, 32 * groups, rows), torch.bfloat16, name, f"{base}_scales")
        else:
            wrong.append(f"{name} ({tensor.dtype})")
    if wrong:
        raise DokjaError("the weights must be floating-point numbers (F32, F16, BF16, or FP8 with its scales), but "
                         f"stored otherwise {'are' if len(wrong) > 1 else 'is'} {listing(wrong)}")
    return out


def _check_grid(name: str, shape: tuple[int, ...], grid: tuple[int, ...], block: Any) -> None:
    due = tuple(-(-size // step) for size, step in zip(shape, block, strict=True))
    if grid != due:
        raise DokjaError(f"{name}_scale_inv has shape {grid}, where {due} is due for {shape} in blocks of {block}")
