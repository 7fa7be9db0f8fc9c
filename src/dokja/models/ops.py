"""The few operations that a decoder is made of, as plain PyTorch, with a native kernel where one serves (CPU, float32).

Shape letters: B batch, T query positions, S key positions, H query heads, K key/value heads, D head dimension,
N tokens, E experts, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import native
from .spec import Activation


def rms_norm(x: Tensor, weight: Tensor, eps: float, offset: float = 0.0) -> Tensor:
    """x / rms(x) * (weight + offset) over the last dimension (Zhang & Sennrich 2019)."""
    if native.takes(x, weight):
        return native.rms_norm(x, weight, eps, offset)
    return F.rms_norm(x, (x.shape[-1],), weight + offset if offset else weight, eps)


# PyTorch computes the last few numbers of a tensor, or of a thread's share of it, by another exponential in sigmoid,
# silu and gelu, so that a token's bits would depend on the tokens beside it. exp and tanh are the same everywhere.
# Training, which needs no such promise, takes the fused forms: they keep fewer tensors.


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(x) if torch.is_grad_enabled() else 1 / (1 + torch.exp(-x))


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return F.silu(x) if torch.is_grad_enabled() else x / (1 + torch.exp(-x))


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by its tanh formula (Hendrycks & Gimpel 2016)."""
    if torch.is_grad_enabled():
        return F.gelu(x, approximate="tanh")
    return 0.5 * x * (1 + torch.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)))


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up for [..., 2F] with the gate in the first half (Shazeer 2020); [..., F]."""
    if native.takes(gate_up):
        return native.swiglu(gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    return silu(gate) * up


def activate(gate_up: Tensor, activation: Activation) -> Tensor:
    """activation(gate) times up for [..., 2F] with the gate in the first half; the formulas are in `spec.MLP`."""
    if activation == "silu":
        return swiglu(gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    if activation == "gelu_tanh":
        return gelu_tanh(gate) * up
    gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
    return gate * sigmoid(1.702 * gate) * (up + 1)


def gated_mlp(x: Tensor, gate_up: nn.Linear, down: nn.Linear, activation: Activation) -> Tensor:
    """down(activation(gate(x)) * up(x)), gate and up in one matrix."""
    plain = activation == "silu" and gate_up.bias is None and type(gate_up) is type(down) is nn.Linear
    if plain and native.takes(x, gate_up.weight, down.weight) and native.gated_mlp_takes(x, down.weight):
        return native.gated_mlp(x, gate_up.weight, down.weight)
    return down(activate(gate_up(x), activation))  # type: ignore[no-any-return]


def rotate(x_BTHD: Tensor, cos_TR: Tensor, sin_TR: Tensor, *, interleaved: bool = False) -> Tensor:
    """Rotary positions; cos and sin are [T, D/2] or, per sequence, [B, T, D/2].

    Pairs are (i, i + D/2), or (2i, 2i + 1) when interleaved; those are brought to halves as well: Q and K share the
    order, so scores are those of rotated pairs.
    """
    if native.takes(x_BTHD, cos_TR, sin_TR):
        return native.rotate(x_BTHD, cos_TR, sin_TR, interleaved)
    cos, sin = cos_TR.unsqueeze(-2), sin_TR.unsqueeze(-2)
    if interleaved:
        x_BTHD = torch.cat((x_BTHD[..., 0::2], x_BTHD[..., 1::2]), dim=-1)
    first, second = x_BTHD.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def attention(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, *, window: int | None, scale: float,
              sinks_H: Tensor | None = None) -> Tensor:
    """Causal attention of a whole sequence over itself, [B, T, H, V]; a query sees `window` positions, itself included.

    sinks_H: a logit of each head that joins the softmax and has no value.

    A window is computed in query blocks, each against its own and the previous block of keys, so that no T x T mask
    is ever built.
    """
    length, groups = q_BTHD.shape[1], q_BTHD.shape[2] // k_BTKD.shape[2]
    if sinks_H is None and native.takes(q_BTHD, k_BTKD, v_BTKD) and native.attention_takes(q_BTHD, k_BTKD, v_BTKD):
        return native.attention(q_BTHD, k_BTKD, v_BTKD, window, scale)
    q, k, v = (x.transpose(1, 2) for x in (q_BTHD, k_BTKD, v_BTKD))
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    if window is None or window >= length:
        if sinks_H is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale).transpose(1, 2)
        # The sink is a key before the first; a query for it, thrown away, keeps the mask causal.
        q, k, v = _with_sink(F.pad(q, (0, 0, 1, 0)), k, v, sinks_H, scale)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)[:, :, 1:].transpose(1, 2)
    padding = -length % window
    q, k, v = (F.pad(x, (0, 0, 0, padding)) for x in (q, k, v))
    blocks = (length + padding) // window
    q = q.unflatten(2, (blocks, window))
    k, v = (F.pad(x, (0, 0, window, 0)).unfold(2, 2 * window, window).transpose(-1, -2) for x in (k, v))
    query = torch.arange(window, device=q.device)[:, None] + window
    key = torch.arange(2 * window, device=q.device)[None, :]
    mask = (key <= query) & (key > query - window)
    first = mask & (key >= window)  # the first block has no block before it
    masks = torch.stack([first] + [mask] * (blocks - 1))
    if sinks_H is not None:
        q, k, v = _with_sink(q, k, v, sinks_H[:, None], scale)
        masks = F.pad(masks, (1, 0), value=True)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=masks, scale=scale)
    return out.flatten(2, 3)[:, :, :length].transpose(1, 2)


def _with_sink(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v [..., positions, dim] with a key before the first whose score is `sinks` [...] and whose value is 0."""
    score = (sinks / scale)[..., None, None].to(k.dtype)
    sink = torch.cat((torch.zeros_like(k[..., :1, :]), score.expand(*k.shape[:-2], 1, 1)), dim=-1)
    q, k = F.pad(q, (0, 1), value=1.0), torch.cat((sink, F.pad(k, (0, 1))), dim=-2)
    return q, k, F.pad(v, (0, 0, 1, 0))


def seen(position_BT: Tensor, slots: int, window: int | None) -> Tensor:
    """True for the slots, of positions 0, 1, ..., that a query at each position sees, [B, T, S]; also for [T]."""
    slot = torch.arange(slots, device=position_BT.device)
    mask = slot <= position_BT[..., None]
    return mask if window is None else mask & (slot > position_BT[..., None] - window)


def write_slots(cache_BS: Tensor, new_BT: Tensor, position_BT: Tensor) -> None:
    """Put the entries of new tokens, of any further dimensions, into the slots of their positions."""
    cache_BS[torch.arange(new_BT.shape[0], device=new_BT.device)[:, None], position_BT] = new_BT


def attention_cached(q_BTHD: Tensor, k_BSKD: Tensor, v_BSKD: Tensor, position_BT: Tensor, *, window: int | None,
                     scale: float, sinks_H: Tensor | None = None) -> Tensor:
    """Attention of new queries at `position_BT` over a cache whose slot s holds position s; [B, T, H, V]."""
    groups = q_BTHD.shape[2] // k_BSKD.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q_BTHD, k_BSKD, v_BSKD))
    mask = seen(position_BT, k.shape[2], window)
    if sinks_H is not None:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        q, k, v = _with_sink(q, k, v, sinks_H, scale)
        mask, groups = F.pad(mask, (1, 0), value=True), 1
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None], scale=scale, enable_gqa=groups > 1)
    return out.transpose(1, 2)


def attention_chosen(q_BTHD: Tensor, k_BSHD: Tensor, v_BSHD: Tensor, chosen_BTS: Tensor, *, scale: float) -> Tensor:
    """Attention of each query over the positions chosen for it, which hold at least one; [B, T, H, V]."""
    q, k, v = (x.transpose(1, 2) for x in (q_BTHD, k_BSHD, v_BSHD))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=chosen_BTS[:, None], scale=scale).transpose(1, 2)


def grouped_linear(x_ND: Tensor, weight_EDF: Tensor, load_E: Tensor) -> Tensor:
    """x @ weight[e] for rows sorted by expert: the first load[0] rows belong to expert 0, and so on; [N, F]."""
    if torch.is_autocast_enabled(x_ND.device.type):  # which does not know this product
        dtype = torch.get_autocast_dtype(x_ND.device.type)
        x_ND, weight_EDF = x_ND.to(dtype), weight_EDF.to(dtype)
    ends = load_E.cumsum(0).to(torch.int32)
    if torch.compiler.is_compiling() and weight_EDF.dtype is not torch.bfloat16:
        return _grouped_mm(x_ND, weight_EDF, ends)
    return F.grouped_mm(x_ND, weight_EDF, offs=ends)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _grouped_mm(x_ND: Tensor, weight_EDF: Tensor, ends_E: Tensor) -> Tensor:
    """Outside of torch.compile, which knows this product in bfloat16 alone."""
    return F.grouped_mm(x_ND, weight_EDF, offs=ends_E)


def experts(x_NC: Tensor, gate_up_ECF: Tensor, down_EFC: Tensor, expert_NA: Tensor, weight_NA: Tensor,
            load_E: Tensor, *, activation: Activation = "silu", gate_up_bias_EF: Tensor | None = None,
            down_bias_EC: Tensor | None = None, further_NC: Tensor | None = None) -> Tensor:
    """Each token through the experts that it chose, summed with its weights, and with `further`; [N, C].

    gate_up: [E, C, 2F]; down: [E, F, C]; load_E: how many tokens chose each expert.
    """
    plain = activation == "silu" and gate_up_bias_EF is None
    given = [x_NC, gate_up_ECF, down_EFC, weight_NA] + ([] if further_NC is None else [further_NC])
    if plain and native.takes(*given) and native.experts_take(gate_up_ECF):
        return native.experts(x_NC, gate_up_ECF, down_EFC, expert_NA, weight_NA, further_NC)
    order = expert_NA.flatten().argsort(stable=True)
    token = order // expert_NA.shape[1]
    expert = expert_NA.flatten()[order]
    gate_up = grouped_linear(x_NC[token], gate_up_ECF, load_E)
    hidden = activate(gate_up if gate_up_bias_EF is None else gate_up + gate_up_bias_EF[expert], activation)
    out = grouped_linear(hidden, down_EFC, load_E)
    out = (out if down_bias_EC is None else out + down_bias_EC[expert]) * weight_NA.flatten()[order, None].to(out.dtype)
    mixed = torch.zeros_like(x_NC).index_add(0, token, out.to(x_NC.dtype))
    return mixed if further_NC is None else mixed + further_NC


def linear_cross_entropy(hidden_NC: Tensor, weight_VC: Tensor, target_N: Tensor, share_N: Tensor | None = None, *,
                         scale: float = 1.0, bias_V: Tensor | None = None, z_weight: float = 0.0) -> Tensor:
    """Sum of -log p(target) in nats under the logits scale * (hidden @ weight.T + bias), which need not exist all at
    once.

    Targets of -100 do not count; share_N: what each row's loss is multiplied by, 1 without it.
    z_weight: the gradients are also those of z_weight * logsumexp(logits)^2 (PaLM, arXiv 2204.02311, section 5), which
    the value leaves out.
    """
    if bias_V is None and native.takes(hidden_NC, weight_VC):
        return native.linear_cross_entropy(hidden_NC, weight_VC, target_N, scale, share_N, z_weight)
    logits = F.linear(hidden_NC, weight_VC, bias_V)
    logits = (logits if scale == 1.0 else logits * scale).float()
    losses = F.cross_entropy(logits, target_N, ignore_index=-100, reduction="none")
    if z_weight:
        z = z_weight * logits.logsumexp(-1).square() * (target_N != -100)
        losses = losses + (z - z.detach())
    return (losses if share_N is None else losses * share_N).sum()
