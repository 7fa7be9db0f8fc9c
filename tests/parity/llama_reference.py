"""A Llama written down as plainly as possible: the formulas of its paper and of Llama 3.1's rotary extension, one
sequence and one head at a time, no cache, nothing of ours used.

EXAONE 3.5 and Solar Pro Preview have no class in transformers and differ from it in names and in skip connections.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """weight * x / sqrt(mean(x^2) + eps), for [..., width]."""
    return weight * x / (x.square().mean(-1, keepdim=True) + eps).sqrt()


def frequencies(dim: int, theta: float, llama3: Mapping[str, float] | None) -> list[float]:
    """Radians a position for each pair of a head's dimensions; llama3: `rope_scaling` of that type."""
    found = []
    for pair in range(dim // 2):
        frequency = theta ** (-2 * pair / dim)
        if llama3 is not None:
            wavelength = 2 * math.pi / frequency
            longest = llama3["original_max_position_embeddings"] / llama3["low_freq_factor"]
            shortest = llama3["original_max_position_embeddings"] / llama3["high_freq_factor"]
            if wavelength > longest:
                frequency /= llama3["factor"]
            elif wavelength > shortest:
                smooth = ((llama3["original_max_position_embeddings"] / wavelength - llama3["low_freq_factor"])
                          / (llama3["high_freq_factor"] - llama3["low_freq_factor"]))
                frequency = (1 - smooth) * frequency / llama3["factor"] + smooth * frequency
        found.append(frequency)
    return found


def rotate(x: Tensor, radians: list[float]) -> Tensor:
    """Rotate each pair (i, i + dim / 2) of [positions, dim] by its angle at each position."""
    half = x.shape[1] // 2
    rows = []
    for position in range(x.shape[0]):
        angle = torch.tensor([position * radian for radian in radians], dtype=torch.float64)
        cos, sin = angle.cos().to(x), angle.sin().to(x)
        first, second = x[position, :half], x[position, half:]
        rows.append(torch.cat((first * cos - second * sin, first * sin + second * cos)))
    return torch.stack(rows)


def attend(q: Tensor, k: Tensor, v: Tensor, window: int | None = None) -> Tensor:
    """One head: each position over itself and those before it (`window` of them, itself included), [positions, dim]."""
    rows = []
    for at in range(q.shape[0]):
        first = 0 if window is None else max(0, at - window + 1)
        scores = k[first : at + 1] @ q[at] / math.sqrt(q.shape[1])
        rows.append(scores.softmax(0) @ v[first : at + 1])
    return torch.stack(rows)


def attention(x: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, *, head_dim: int,
              radians: list[float] | None, window: int | None = None,
              norms: tuple[Tensor, Tensor, float] | None = None) -> Tensor:
    """Grouped-query attention of [positions, width] with matrices [out, in]; radians: None rotates nothing.

    norms: the weights of an RMSNorm over each head of Q and of K, and its epsilon.
    """
    heads, kv_heads = q.shape[0] // head_dim, k.shape[0] // head_dim
    mixed = []
    for head in range(heads):
        shared = head // (heads // kv_heads)
        query = x @ q[head * head_dim : (head + 1) * head_dim].T
        key = x @ k[shared * head_dim : (shared + 1) * head_dim].T
        value = x @ v[shared * head_dim : (shared + 1) * head_dim].T
        if norms is not None:
            query, key = rms_norm(query, norms[0], norms[2]), rms_norm(key, norms[1], norms[2])
        if radians is not None:
            query, key = rotate(query, radians), rotate(key, radians)
        mixed.append(attend(query, key, value, window))
    return torch.cat(mixed, dim=-1) @ out.T


def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """down(silu(gate(x)) * up(x)), matrices [out, in]."""
    gated = x @ gate.T
    return (gated / (1 + torch.exp(-gated)) * (x @ up.T)) @ down.T
