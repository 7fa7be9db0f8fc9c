"""Solar Pro Preview under its published names (no class in transformers): Llama's block, and block skip connections as
sglang's solar.py and the released SolarConfig describe them."""

from __future__ import annotations

from typing import Any

import torch
from llama_reference import attention, frequencies, rms_norm, swiglu
from torch import Tensor

Config = dict[str, Any]


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Every published tensor and its shape."""
    width, dim, inner = config["hidden_size"], config["head_dim"], config["intermediate_size"]
    queries, keys = config["num_attention_heads"] * dim, config["num_key_value_heads"] * dim
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], width),
                                         "model.norm.weight": (width,), "lm_head.weight": (config["vocab_size"], width)}
    for i in range(config["num_hidden_layers"]):
        parts = {"input_layernorm": (width,), "post_attention_layernorm": (width,),
                 "self_attn.q_proj": (queries, width), "self_attn.k_proj": (keys, width),
                 "self_attn.v_proj": (keys, width), "self_attn.o_proj": (width, queries),
                 "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)}
        found |= {f"model.layers.{i}.{part}.weight": shape for part, shape in parts.items()}
    return found


def forward(config: Config, weights: dict[str, Tensor], ids_BT: Tensor, *, training: bool = False) -> Tensor:
    """Logits [B, T, vocab]."""
    return torch.stack([_logits(config, weights, ids, training) for ids in ids_BT])


def _logits(config: Config, weights: dict[str, Tensor], ids: Tensor, training: bool) -> Tensor:
    eps, dim = config["rms_norm_eps"], config["head_dim"]
    radians = frequencies(dim, config["rope_theta"], None)
    kept = config["bskcn_tv"][0 if training else 1]
    x = weights["model.embed_tokens.weight"][ids]
    first = second = x
    for i in range(config["num_hidden_layers"]):
        here = {name.removeprefix(f"model.layers.{i}.").removesuffix(".weight"): tensor
                for name, tensor in weights.items() if name.startswith(f"model.layers.{i}.")}
        if i in config["bskcn_1"]:
            first = x
        if i in config["bskcn_2"]:
            second = x
        if i in config["bskcn_3"]:
            x = first * kept + x * (1 - kept)
        if i in config["bskcn_4"]:
            x = second * kept + x * (1 - kept)
        q, k, v, out = (here[f"self_attn.{part}_proj"] for part in "qkvo")
        x = x + attention(rms_norm(x, here["input_layernorm"], eps), q, k, v, out, head_dim=dim, radians=radians)
        x = x + swiglu(rms_norm(x, here["post_attention_layernorm"], eps),
                       *(here[f"mlp.{part}_proj"] for part in ("gate", "up", "down")))
    return rms_norm(x, weights["model.norm.weight"], eps) @ weights["lm_head.weight"].T
