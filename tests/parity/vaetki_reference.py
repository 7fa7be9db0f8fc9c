"""VAETKI as its public description says, written down as plainly as possible.

There is no class of it in transformers; this is an independent reading of wbl-ncai/VAETKI (its vLLM plug-in), for the
comparison alone: one sequence, one head, one token at a time, every matrix un-absorbed, no cache, nothing of ours used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Config:
    """Names follow the published config.json, as the plug-in reads it."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    first_k_dense_replace: int
    intermediate_size: int
    moe_intermediate_size: int
    n_routed_experts: int
    n_shared_experts: int
    num_experts_per_tok: int
    routed_scaling_factor: float
    num_attention_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    sliding_window: int
    layer_types: tuple[str, ...]
    rope_theta: float
    rope_theta_global: float
    rms_norm_eps: float


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Every published tensor and its shape."""
    width, heads, c = config.hidden_size, config.num_attention_heads, config
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (c.vocab_size, width),
                                         "model.norm.weight": (width,), "lm_head.weight": (c.vocab_size, width)}
    for i in range(c.num_hidden_layers):
        at = f"model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm", "pre_mlp_layernorm", "post_mlp_layernorm"):
            found[f"{at}{norm}.weight"] = (width,)
        queries = heads * (c.qk_nope_head_dim + c.qk_rope_head_dim)
        if c.q_lora_rank is None:
            found[f"{at}self_attn.q_proj.weight"] = (queries, width)
        else:
            found[f"{at}self_attn.q_a_proj.weight"] = (c.q_lora_rank, width)
            found[f"{at}self_attn.q_a_layernorm.weight"] = (c.q_lora_rank,)
            found[f"{at}self_attn.q_b_proj.weight"] = (queries, c.q_lora_rank)
        found[f"{at}self_attn.kv_a_proj_with_mqa.weight"] = (c.kv_lora_rank + c.qk_rope_head_dim, width)
        found[f"{at}self_attn.kv_a_layernorm.weight"] = (c.kv_lora_rank,)
        found[f"{at}self_attn.kv_b_proj.weight"] = (heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank)
        found[f"{at}self_attn.o_proj.weight"] = (width, heads * c.v_head_dim)
        gated = {f"{at}mlp.": c.intermediate_size}
        if i >= c.first_k_dense_replace:
            found[f"{at}mlp.gate.weight"] = (c.n_routed_experts, width)
            gated = {f"{at}mlp.experts.{e}.": c.moe_intermediate_size for e in range(c.n_routed_experts)}
            gated[f"{at}mlp.shared_experts."] = c.n_shared_experts * c.moe_intermediate_size
        for place, inner in gated.items():
            found |= {f"{place}gate_proj.weight": (inner, width), f"{place}up_proj.weight": (inner, width),
                      f"{place}down_proj.weight": (width, inner)}
    return found


class Reference:
    """The logits of one sequence, in float64. `weights` take gradients."""

    def __init__(self, config: Config, weights: dict[str, Tensor]) -> None:
        self.config = config
        self.weights = {name: tensor.double().requires_grad_() for name, tensor in weights.items()}

    def logits(self, ids: list[int]) -> Tensor:
        """[len(ids), vocab]."""
        x = self.weights["model.embed_tokens.weight"][torch.tensor(ids)]
        for i in range(self.config.num_hidden_layers):
            at = f"model.layers.{i}."
            mixed = self.attention(i, self.norm(x, f"{at}input_layernorm"))
            x = x + self.norm(mixed, f"{at}post_attention_layernorm")
            fed = self.feed_forward(i, self.norm(x, f"{at}pre_mlp_layernorm"))
            x = x + self.norm(fed, f"{at}post_mlp_layernorm")
        return self.linear(self.norm(x, "model.norm"), "lm_head")

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Weights are stored around zero: x / rms(x) * (1 + w)."""
        rms = (x.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps).sqrt()
        return x / rms * (1 + self.weights[f"{name}.weight"])

    def rotated(self, x: Tensor, position: int, everywhere: bool) -> Tensor:
        """Pair (2j, 2j + 1) turned by position * frequency j; the pairs' first and second members end up apart."""
        half = self.config.qk_rope_head_dim // 2
        first, second = [], []
        for j in range(half):
            theta = self.config.rope_theta_global if everywhere else self.config.rope_theta
            frequency = theta ** (-2 * j / self.config.qk_rope_head_dim)
            if everywhere:
                frequency /= 8
            cos, sin = math.cos(position * frequency), math.sin(position * frequency)
            even, odd = x[2 * j], x[2 * j + 1]
            first.append(even * cos - odd * sin)
            second.append(odd * cos + even * sin)
        return torch.stack(first + second)

    def attention(self, layer: int, x: Tensor) -> Tensor:
        c, at = self.config, f"model.layers.{layer}.self_attn."
        everywhere = c.layer_types[layer] == "full_attention"
        length, nope, rope, heads = len(x), c.qk_nope_head_dim, c.qk_rope_head_dim, c.num_attention_heads
        if c.q_lora_rank is None:
            query = self.linear(x, f"{at}q_proj")
        else:
            query = self.linear(self.norm(self.linear(x, f"{at}q_a_proj"), f"{at}q_a_layernorm"), f"{at}q_b_proj")
        query = query.view(length, heads, nope + rope)
        compressed = self.linear(x, f"{at}kv_a_proj_with_mqa")
        latent, shared_key = compressed[:, : c.kv_lora_rank], compressed[:, c.kv_lora_rank :]
        expanded = self.linear(self.norm(latent, f"{at}kv_a_layernorm"), f"{at}kv_b_proj")
        expanded = expanded.view(length, heads, nope + c.v_head_dim)
        turned_key = [self.rotated(shared_key[t], t, everywhere) for t in range(length)]
        out = torch.zeros(length, heads, c.v_head_dim, dtype=torch.float64)
        for t in range(length):
            seen = range(0 if everywhere else max(0, t - c.sliding_window + 1), t + 1)
            for h in range(heads):
                turned_query = self.rotated(query[t, h, nope:], t, everywhere)
                scores = torch.stack([query[t, h, :nope] @ expanded[s, h, :nope] + turned_query @ turned_key[s]
                                      for s in seen]) / math.sqrt(nope + rope)
                for s, share in zip(seen, scores.softmax(0), strict=True):
                    out[t, h] += share * expanded[s, h, nope:]
        return self.linear(out.flatten(1), f"{at}o_proj")

    def gated(self, x: Tensor, at: str) -> Tensor:
        gate = self.linear(x, f"{at}gate_proj")
        return self.linear(gate * torch.sigmoid(gate) * self.linear(x, f"{at}up_proj"), f"{at}down_proj")

    def feed_forward(self, layer: int, x: Tensor) -> Tensor:
        c, at = self.config, f"model.layers.{layer}.mlp."
        if layer < c.first_k_dense_replace:
            return self.gated(x, at)
        out = self.gated(x, f"{at}shared_experts.")
        scores = torch.sigmoid(self.linear(x, f"{at}gate"))
        for t in range(len(x)):
            chosen = sorted(range(c.n_routed_experts), key=lambda e: -scores[t, e].item())[: c.num_experts_per_tok]
            total = sum(scores[t, e] for e in chosen)
            for e in chosen:
                out[t] += scores[t, e] / total * c.routed_scaling_factor * self.gated(x[t], f"{at}experts.{e}.")
        return out
