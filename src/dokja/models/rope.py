"""Rotary positions: the angles of a `Rope` spec, with YaRN and position interpolation."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from . import ops
from .spec import Rope, Yarn


def inverse_frequencies(rope: Rope, dim: int) -> Tensor:
    """[dim / 2] in float32; YaRN blends interpolated low frequencies with untouched high ones (section 3.2)."""
    exponent = torch.arange(0, dim, 2, dtype=torch.float32) / dim
    frequencies = 1.0 / rope.theta**exponent / rope.divisor
    if rope.yarn is None:
        return frequencies
    yarn = rope.yarn

    def dimension_of(rotations: float) -> float:
        """The dimension whose wave makes that many rotations over the original context."""
        return dim * math.log(yarn.original_context / (rotations * 2 * math.pi)) / (2 * math.log(rope.theta))

    low = max(math.floor(dimension_of(yarn.beta_fast)), 0)
    high = min(math.ceil(dimension_of(yarn.beta_slow)), dim - 1)
    ramp = ((torch.arange(dim // 2, dtype=torch.float32) - low) / max(high - low, 0.001)).clamp(0, 1)
    return frequencies / yarn.factor * ramp + frequencies * (1 - ramp)


def _mscale(factor: float, mscale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def rotation_scale(yarn: Yarn | None) -> float:
    """What cos and sin are multiplied by (`attention_factor` in config.json)."""
    return _mscale(yarn.factor, yarn.mscale) / _mscale(yarn.factor, yarn.mscale_all_dim) if yarn else 1.0


def score_scale(yarn: Yarn | None) -> float:
    """What latent attention multiplies its scores by on top of that (DeepSeek-V3, `mscale_all_dim`)."""
    return _mscale(yarn.factor, yarn.mscale_all_dim) ** 2 if yarn and yarn.mscale_all_dim else 1.0


@lru_cache(maxsize=64)
def _table(rope: Rope, dim: int, length: int, device: str) -> tuple[Tensor, Tensor]:
    # The table outlives the call: made under inference mode it could not be used in training afterwards.
    with torch.inference_mode(False):
        angles = torch.outer(torch.arange(length, dtype=torch.float32), inverse_frequencies(rope, dim))
        scale = rotation_scale(rope.yarn)
        return (angles.cos() * scale).to(device), (angles.sin() * scale).to(device)


def rotate(x_BTHD: Tensor, rope: Rope, position_BT: Tensor | None, length: int) -> Tensor:
    """Rotate heads by their positions: 0, 1, ... when position_BT is None, else those, all below `length`."""
    # A power of two as the table's length, so that sequences of many lengths share few tables.
    cos, sin = _table(rope, x_BTHD.shape[-1], 1 << max(length - 1, 1).bit_length(), str(x_BTHD.device))
    if position_BT is None:
        cos, sin = cos[: x_BTHD.shape[1]], sin[: x_BTHD.shape[1]]
    else:
        cos, sin = cos[position_BT], sin[position_BT]
    cos, sin = cos.to(x_BTHD.dtype), sin.to(x_BTHD.dtype)
    return ops.rotate(x_BTHD, cos, sin, interleaved=rope.layout == "interleaved")
