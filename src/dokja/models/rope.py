"""Rotary positions: the angles of a `Rope` spec and its scaling."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from . import ops
from .spec import Linear, Llama3, Rope, Yarn


def inverse_frequencies(rope: Rope, dim: int) -> Tensor:
    """[dim / 2] in float32, after the rope's scaling."""
    exponent = torch.arange(0, dim, 2, dtype=torch.float32) / dim
    frequencies = 1.0 / rope.theta**exponent
    match rope.scaling:
        case None:
            return frequencies
        case Linear(factor):
            return frequencies / factor
        case Llama3():
            return _llama3(frequencies, rope.scaling)
        case Yarn():
            return _yarn(frequencies, rope.theta, rope.scaling)


def _llama3(frequencies: Tensor, scaling: Llama3) -> Tensor:
    turns = scaling.original_context * frequencies / (2 * math.pi)  # over the original context
    kept = ((turns - scaling.low_freq) / (scaling.high_freq - scaling.low_freq)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)


def _yarn(frequencies: Tensor, theta: float, yarn: Yarn) -> Tensor:
    """Interpolated low frequencies blended with untouched high ones (YaRN, section 3.2)."""
    dim = 2 * len(frequencies)

    def dimension_of(rotations: float) -> float:
        """The dimension whose wave makes that many rotations over the original context."""
        return dim * math.log(yarn.original_context / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension_of(yarn.beta_fast), dimension_of(yarn.beta_slow)
    if yarn.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    ramp = ((torch.arange(dim // 2, dtype=torch.float32) - low) / max(high - low, 0.001)).clamp(0, 1)
    return frequencies / yarn.factor * ramp + frequencies * (1 - ramp)


def _mscale(factor: float, mscale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def rotation_scale(rope: Rope) -> float:
    """What cos and sin are multiplied by (`attention_factor` in config.json)."""
    yarn = rope.scaling
    if not isinstance(yarn, Yarn):
        return 1.0
    if not (yarn.mscale and yarn.mscale_all_dim):  # mscale says something only beside mscale_all_dim
        return _mscale(yarn.factor, 1.0)
    return _mscale(yarn.factor, yarn.mscale) / _mscale(yarn.factor, yarn.mscale_all_dim)


def score_scale(rope: Rope) -> float:
    """What latent attention multiplies its scores by on top of that (DeepSeek-V3, `mscale_all_dim`)."""
    yarn = rope.scaling
    return _mscale(yarn.factor, yarn.mscale_all_dim) ** 2 if isinstance(yarn, Yarn) and yarn.mscale_all_dim else 1.0


@lru_cache(maxsize=64)
def _table(rope: Rope, dim: int, length: int, device: str) -> tuple[Tensor, Tensor]:
    # The table outlives the call: made under inference mode it could not be used in training afterwards.
    with torch.inference_mode(False):
        angles = torch.outer(torch.arange(length, dtype=torch.float32), inverse_frequencies(rope, dim))
        scale = rotation_scale(rope)
        return (angles.cos() * scale).to(device), (angles.sin() * scale).to(device)


def angles(rope: Rope, dim: int, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of `dim` rotated dimensions, [>= length, dim / 2], where `like` is."""
    # A power of two as the table's length, so that sequences of many lengths share few tables.
    return _table(rope, dim, 1 << max(length - 1, 1).bit_length(), str(like.device))


def rotate(x_BTHD: Tensor, rope: Rope, position_BT: Tensor | None, length: int) -> Tensor:
    """Rotate heads by their positions: 0, 1, ... when position_BT is None, else those, all below `length`."""
    if rope.dims is not None and rope.dims < x_BTHD.shape[-1]:
        part, rest = x_BTHD.split([rope.dims, x_BTHD.shape[-1] - rope.dims], dim=-1)
        return torch.cat((rotate(part, rope, position_BT, length), rest), dim=-1)
    cos, sin = angles(rope, x_BTHD.shape[-1], length, x_BTHD)
    if position_BT is None:
        cos, sin = cos[: x_BTHD.shape[1]], sin[: x_BTHD.shape[1]]
    else:
        cos, sin = cos[position_BT], sin[position_BT]
    cos, sin = cos.to(x_BTHD.dtype), sin.to(x_BTHD.dtype)
    return ops.rotate(x_BTHD, cos, sin, interleaved=rope.layout == "interleaved")
