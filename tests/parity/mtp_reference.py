"""The MTP layer of K-EXAONE and EXAONE 4.5 under its published names (`mtp.*`), as plainly as possible.

DeepSeek-V3 (arXiv 2412.19437), section 2.2, equations 21 to 24, with what vLLM's, sglang's and TensorRT-LLM's
implementations settle: the trunk's state comes after its final norm, the embedding stands first in the concatenation,
embedding and head are the trunk's. Nothing of ours is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from llama_reference import attention, frequencies, rms_norm, swiglu
from torch import Tensor


@dataclass(frozen=True)
class MTPConfig:
    """post_norm: EXAONE 4's block, with norms at the outputs; without it K-EXAONE's, with norms at the inputs.

    window, rope_theta: None for a layer that sees everything and has no positions.
    """

    width: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    eps: float
    post_norm: bool
    window: int | None = None
    rope_theta: float | None = None
    rope_scaling: Mapping[str, float] | None = None


def shapes(c: MTPConfig) -> dict[str, tuple[int, ...]]:
    """Every published tensor and its shape."""
    queries, keys = c.heads * c.head_dim, c.kv_heads * c.head_dim
    norms = (("post_attention_layernorm", "post_feedforward_layernorm") if c.post_norm
             else ("input_layernorm", "post_attention_layernorm"))
    block = {"self_attn.q_proj": (queries, c.width), "self_attn.k_proj": (keys, c.width),
             "self_attn.v_proj": (keys, c.width), "self_attn.o_proj": (c.width, queries),
             "self_attn.q_norm": (c.head_dim,), "self_attn.k_norm": (c.head_dim,),
             "mlp.gate_proj": (c.inner, c.width), "mlp.up_proj": (c.inner, c.width),
             "mlp.down_proj": (c.width, c.inner), **dict.fromkeys(norms, (c.width,))}
    own = {"mtp.fc": (c.width, 2 * c.width), "mtp.norm": (c.width,), "mtp.pre_fc_norm_embedding": (c.width,),
           "mtp.pre_fc_norm_hidden": (c.width,)}
    return {f"{name}.weight": shape
            for name, shape in {**own, **{f"mtp.layers.0.{part}": shape for part, shape in block.items()}}.items()}


def states(c: MTPConfig, weights: Mapping[str, Tensor], hidden: Tensor, embedded: Tensor) -> Tensor:
    """What the shared head reads, [T - 1, width]; row t predicts the token at t + 2.

    hidden, embedded: the trunk's normalised states and the embeddings of one sequence, [T, width] each.
    """
    def own(name: str) -> Tensor:
        return weights[f"mtp.{name}.weight"]

    def block(name: str) -> Tensor:
        return weights[f"mtp.layers.0.{name}.weight"]

    joined = torch.cat((rms_norm(embedded[1:], own("pre_fc_norm_embedding"), c.eps),
                        rms_norm(hidden[:-1], own("pre_fc_norm_hidden"), c.eps)), dim=-1)
    x = joined @ own("fc").T

    def attend(value: Tensor) -> Tensor:
        radians = None if c.rope_theta is None else frequencies(c.head_dim, c.rope_theta, c.rope_scaling)
        return attention(value, *(block(f"self_attn.{part}_proj") for part in "qkvo"), head_dim=c.head_dim,
                         radians=radians, window=c.window,
                         norms=(block("self_attn.q_norm"), block("self_attn.k_norm"), c.eps))

    def feed(value: Tensor) -> Tensor:
        return swiglu(value, *(block(f"mlp.{part}_proj") for part in ("gate", "up", "down")))

    if c.post_norm:
        x = x + rms_norm(attend(x), block("post_attention_layernorm"), c.eps)
        x = x + rms_norm(feed(x), block("post_feedforward_layernorm"), c.eps)
    else:
        x = x + attend(rms_norm(x, block("input_layernorm"), c.eps))
        x = x + feed(rms_norm(x, block("post_attention_layernorm"), c.eps))
    return rms_norm(x, own("norm"), c.eps)
