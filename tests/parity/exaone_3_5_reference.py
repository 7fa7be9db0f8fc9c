"""EXAONE 3.5 under its published names (no class in transformers): the block is Llama's."""

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
    found: dict[str, tuple[int, ...]] = {"transformer.wte.weight": (config["vocab_size"], width),
                                         "transformer.ln_f.weight": (width,)}
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (config["vocab_size"], width)
    for i in range(config["num_layers"]):
        parts = {"ln_1": (width,), "ln_2": (width,), "attn.attention.q_proj": (queries, width),
                 "attn.attention.k_proj": (keys, width), "attn.attention.v_proj": (keys, width),
                 "attn.attention.out_proj": (width, queries), "mlp.c_fc_0": (inner, width),
                 "mlp.c_fc_1": (inner, width), "mlp.c_proj": (width, inner)}
        found |= {f"transformer.h.{i}.{part}.weight": shape for part, shape in parts.items()}
    return found


def forward(config: Config, weights: dict[str, Tensor], ids_BT: Tensor) -> Tensor:
    """Logits [B, T, vocab]."""
    return torch.stack([_logits(config, weights, ids) for ids in ids_BT])


def _logits(config: Config, weights: dict[str, Tensor], ids: Tensor) -> Tensor:
    eps = config["layer_norm_epsilon"]
    radians = frequencies(config["head_dim"], config["rope_theta"], config["rope_scaling"])
    x = weights["transformer.wte.weight"][ids]
    for i in range(config["num_layers"]):
        here = {name.removeprefix(f"transformer.h.{i}.").removesuffix(".weight"): tensor
                for name, tensor in weights.items() if name.startswith(f"transformer.h.{i}.")}
        q, k, v, out = (here[f"attn.attention.{part}_proj"] for part in ("q", "k", "v", "out"))
        x = x + attention(rms_norm(x, here["ln_1"], eps), q, k, v, out, head_dim=config["head_dim"], radians=radians)
        # c_fc_0 is the gate, c_fc_1 what it multiplies
        x = x + swiglu(rms_norm(x, here["ln_2"], eps), here["mlp.c_fc_0"], here["mlp.c_fc_1"], here["mlp.c_proj"])
    head = weights["transformer.wte.weight" if config["tie_word_embeddings"] else "lm_head.weight"]
    return rms_norm(x, weights["transformer.ln_f.weight"], eps) @ head.T
