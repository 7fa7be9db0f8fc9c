"""Weights under the names of the published classes: random ones, and their translation into ours.

The published names are those of transformers 5.23.0; VAETKI's (no class there) follow the same pattern.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dokja.models.decoder import Decoder
from dokja.models.spec import Attention, ModelSpec, MoE

Weights = dict[str, Tensor]

LLAMA_NORMS = {"mixer_in": "input_layernorm", "ffn_in": "post_attention_layernorm"}


def randomise(weights: Weights, seed: int, *, zero_centred: bool = False) -> None:
    """Fill in place so that nothing is neutral: norms in 0.5 ... 1.5, router biases that change the choice of experts,
    router scores spread over (0, 1), attention that is neither uniform nor one-hot."""
    draws = torch.Generator().manual_seed(seed)
    for name, tensor in weights.items():
        noise = torch.randn(tensor.shape, generator=draws)
        if "norm" in name:
            tensor.copy_(torch.rand(tensor.shape, generator=draws) + (-0.5 if zero_centred else 0.5))
        elif name.endswith("e_score_correction_bias"):
            tensor.copy_(0.3 * noise)
        elif name.endswith("mlp.gate.weight"):
            tensor.copy_(1.5 * noise * tensor.shape[-1] ** -0.5)
        elif name.endswith("embed_tokens.weight"):
            tensor.copy_(noise)
        else:
            tensor.copy_(1.5 * noise * tensor.shape[-1] ** -0.5)


def ours(theirs: Weights, spec: ModelSpec, norms: dict[str, str]) -> Decoder:
    """Our decoder with their weights. `norms`: our name of each norm of a layer -> theirs; a missing one is skipped."""
    state = {"embedding.weight": theirs["model.embed_tokens.weight"], "norm.weight": theirs["model.norm.weight"],
             "head.weight": theirs["lm_head.weight"]}
    for i, layer in enumerate(spec.layers):
        their, our = f"model.layers.{i}.", f"layers.{i}."
        for mine, name in norms.items():
            if getattr(layer.norms, mine):
                state[f"{our}{mine}.weight"] = theirs[f"{their}{name}.weight"]
        pieces = (_grouped_query(theirs, their + "self_attn.", layer.mixer.qk_norm)
                  if isinstance(layer.mixer, Attention) else _latent(theirs, their + "self_attn."))
        state |= {f"{our}mixer.{name}": tensor for name, tensor in pieces.items()}
        pieces = (_mixture(theirs, their + "mlp.", layer.ffn) if isinstance(layer.ffn, MoE)
                  else _gated(theirs, their + "mlp."))
        state |= {f"{our}ffn.{name}": tensor for name, tensor in pieces.items()}
    model = Decoder(spec)
    model.load_state_dict(state)  # strict: nothing of ours is left as it was
    return model.eval()


def _grouped_query(theirs: Weights, at: str, qk_norm: bool) -> Weights:
    found = {"qkv.weight": torch.cat([theirs[f"{at}{part}_proj.weight"] for part in "qkv"]),
             "out.weight": theirs[f"{at}o_proj.weight"]}
    if qk_norm:
        found |= {f"{part}_norm.weight": theirs[f"{at}{part}_norm.weight"] for part in "qk"}
    return found


def _latent(theirs: Weights, at: str) -> Weights:
    names = {"q_down": "q_a_proj", "q_norm": "q_a_layernorm", "q_up": "q_b_proj", "kv_down": "kv_a_proj_with_mqa",
             "kv_norm": "kv_a_layernorm", "kv_up": "kv_b_proj", "out": "o_proj"}
    return {f"{mine}.weight": theirs[f"{at}{name}.weight"] for mine, name in names.items()}


def _gated(theirs: Weights, at: str) -> Weights:
    return {"gate_up.weight": torch.cat([theirs[f"{at}gate_proj.weight"], theirs[f"{at}up_proj.weight"]]),
            "down.weight": theirs[f"{at}down_proj.weight"]}


def _mixture(theirs: Weights, at: str, moe: MoE) -> Weights:
    found = {"router.weight": theirs[f"{at}gate.weight"],
             "gate_up": theirs[f"{at}experts.gate_up_proj"].mT, "down": theirs[f"{at}experts.down_proj"].mT}
    if moe.router.bias:
        found["router_bias"] = theirs[f"{at}gate.e_score_correction_bias"]
    if moe.shared:
        found |= {f"shared.{name}": tensor for name, tensor in _gated(theirs, f"{at}shared_experts.").items()}
    return found


def cached_logits(model: Decoder, ids: Tensor, prefill: int) -> Tensor:
    """Logits of all places with a cache: `prefill` tokens at once, then one at a time."""
    cache = model.new_cache(ids.shape[0], ids.shape[1] + 3)
    pieces = [range(prefill), *([at] for at in range(prefill, ids.shape[1]))]
    return torch.cat([model(ids[:, list(piece)], cache, torch.tensor([list(piece)] * ids.shape[0]))
                      for piece in pieces], dim=1)


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two logits, over the largest logit."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


def state_of(model: nn.Module) -> Weights:
    """Parameters and buffers of a published model, to be written in place."""
    return {**dict(model.named_parameters()), **{name: buffer for name, buffer in model.named_buffers()
                                                 if name.endswith("e_score_correction_bias")}}
