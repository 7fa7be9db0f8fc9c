"""The mixers: grouped-query attention and multi-head latent attention. Shape letters as in `ops.py`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import native, ops
from .cache import LayerCache, MixerCache, latent_attention
from .indexer import Index, LightningIndexer
from .norm import RMSNorm
from .rope import angles, rotate, score_scale
from .spec import Attention, LatentAttention, Mixer, ModelSpec


class GroupedQueryAttention(nn.Module):
    """Attention with fewer key/value heads than query heads (Ainslie et al. 2023)."""

    def __init__(self, mixer: Attention, spec: ModelSpec) -> None:
        super().__init__()
        self.mixer = mixer
        self.scale = mixer.head_dim**-0.5 if mixer.scale is None else mixer.scale
        self.sizes = [mixer.heads * mixer.head_dim, mixer.kv_heads * mixer.head_dim, mixer.kv_heads * mixer.head_dim]
        self.qkv = nn.Linear(spec.width, sum(self.sizes), bias=mixer.bias)
        self.out = nn.Linear(self.sizes[0], spec.width, bias=mixer.out_bias)
        self.sinks = nn.Parameter(torch.zeros(mixer.heads)) if mixer.sinks else None
        self.q_norm = RMSNorm.of(spec, mixer.head_dim) if mixer.qk_norm else nn.Identity()
        self.k_norm = RMSNorm.of(spec, mixer.head_dim) if mixer.qk_norm else nn.Identity()

    def new_cache(self, batch: int, length: int, like: Tensor) -> LayerCache:
        shape = (batch, length, self.mixer.kv_heads, self.mixer.head_dim)
        return LayerCache(like.new_zeros(shape), like.new_zeros(shape))

    def forward(self, x_BTC: Tensor, cache: MixerCache | None, position_BT: Tensor | None) -> Tensor:
        mixer, qkv = self.mixer, self.qkv(x_BTC)
        if cache is None and position_BT is None and (joint := self._joint(qkv)) is not None:
            return self.out(joint.flatten(2))
        q, k, v = (part.unflatten(-1, (-1, mixer.head_dim)) for part in qkv.split(self.sizes, dim=-1))
        q, k = self.q_norm(q), self.k_norm(k)
        if mixer.rope is not None:
            length = x_BTC.shape[1] if cache is None else cache.length
            q, k = rotate(q, mixer.rope, position_BT, length), rotate(k, mixer.rope, position_BT, length)
        if cache is None:
            mixed = ops.attention(q, k, v, window=mixer.window, scale=self.scale, sinks_H=self.sinks)
        else:
            assert position_BT is not None
            mixed = cache.attend(q, k, v, position_BT, window=mixer.window, scale=self.scale, sinks_H=self.sinks)
        return self.out(mixed.flatten(2))

    def _joint(self, qkv_BTF: Tensor) -> Tensor | None:
        """Rotation and attention of a whole sequence as one step, None where no kernel serves."""
        mixer, rope = self.mixer, self.mixer.rope
        turns = rope is None or (rope.layout == "half" and rope.dims in (None, mixer.head_dim))
        if mixer.qk_norm or self.sinks is not None or not (turns and native.takes(qkv_BTF)):
            return None
        heads = qkv_BTF.unflatten(-1, (-1, mixer.head_dim))
        kv = heads[:, :, : mixer.kv_heads]
        if not native.attention_takes(heads[:, :, : mixer.heads], kv, kv):
            return None
        length, tables = qkv_BTF.shape[1], None
        if rope is not None:
            cos, sin = angles(rope, mixer.head_dim, length, qkv_BTF)
            tables = cos[:length], sin[:length]
        return native.joint_attention(heads, tables, mixer.heads, mixer.window, self.scale)


class MultiHeadLatentAttention(nn.Module):
    """Attention whose keys and values come from one cached latent (DeepSeek-V2, section 2.1)."""

    def __init__(self, mixer: LatentAttention, spec: ModelSpec) -> None:
        super().__init__()
        self.mixer = mixer
        self.scale = (mixer.nope_dim + mixer.rope_dim) ** -0.5 * score_scale(mixer.rope)
        queries = mixer.heads * (mixer.nope_dim + mixer.rope_dim + mixer.v_dim * mixer.gate)
        if mixer.q_rank is None:
            self.q = nn.Linear(spec.width, queries, bias=False)
        else:
            self.q_down = nn.Linear(spec.width, mixer.q_rank, bias=False)
            self.q_norm = RMSNorm.of(spec, mixer.q_rank, mixer.latent_eps)
            self.q_up = nn.Linear(mixer.q_rank * (1 + mixer.gate), queries, bias=False)
        self.kv_down = nn.Linear(spec.width, mixer.kv_rank + mixer.rope_dim, bias=False)
        self.kv_norm = RMSNorm.of(spec, mixer.kv_rank, mixer.latent_eps)
        self.kv_up = nn.Linear(mixer.kv_rank, mixer.heads * (mixer.nope_dim + mixer.v_dim), bias=False)
        self.out = nn.Linear(mixer.heads * mixer.v_dim, spec.width, bias=False)

    def new_cache(self, batch: int, length: int, like: Tensor) -> LayerCache:
        return LayerCache(like.new_zeros(batch, length, self.mixer.kv_rank),
                          like.new_zeros(batch, length, self.mixer.rope_dim))

    def forward(self, x_BTC: Tensor, cache: MixerCache | None, position_BT: Tensor | None) -> Tensor:
        mixer = self.mixer
        if cache is None and position_BT is None and (heads := self._native_heads(x_BTC)) is not None:
            return self.out(ops.attention(*heads, window=mixer.window, scale=self.scale).flatten(2))
        q = self.q(x_BTC) if mixer.q_rank is None else self.q_up(self.q_norm(self.q_down(x_BTC)))
        q = q.unflatten(-1, (mixer.heads, -1))
        return self.out(self.attend(q, x_BTC, cache, position_BT).flatten(2))

    def attend(self, q: Tensor, x_BTC: Tensor, cache: MixerCache | None, position_BT: Tensor | None,
               index: Index | None = None) -> Tensor:
        """What the heads return to queries [B, T, H, D] that are not yet rotated, [B, T, H, V].

        index: what chooses the only positions that each query attends to, of those that it sees; None is all.
        """
        mixer = self.mixer
        length = x_BTC.shape[1] if cache is None else cache.length
        q_nope, q_rope = q.split([mixer.nope_dim, mixer.rope_dim], dim=-1)
        q = torch.cat((q_nope, rotate(q_rope, mixer.rope, position_BT, length)), dim=-1)
        latent, k_rope = self.kv_down(x_BTC).split([mixer.kv_rank, mixer.rope_dim], dim=-1)
        latent = self.kv_norm(latent)
        k_rope = rotate(k_rope.unsqueeze(2), mixer.rope, position_BT, length).squeeze(2)
        if cache is None:
            return latent_attention(q, latent, k_rope, self.kv_up, None, mixer=mixer, scale=self.scale, index=index)
        assert position_BT is not None
        return cache.attend_latent(q, latent, k_rope, self.kv_up, position_BT, mixer=mixer, scale=self.scale,
                                   index=index)

    def _native_heads(self, x_BTC: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Queries, keys and values of a whole sequence by one kernel, None where it does not serve."""
        mixer = self.mixer
        partial = mixer.rope.dims is not None and mixer.rope.dims < mixer.rope_dim
        if mixer.q_rank is None or partial:
            return None
        layers = self.q_down, self.q_norm, self.q_up, self.kv_down, self.kv_norm, self.kv_up
        if not all(type(layer) in (nn.Linear, RMSNorm) for layer in layers):
            return None
        weights = [layer.weight for layer in layers]
        if not (native.takes(x_BTC, *weights) and native.latent_takes(x_BTC, weights)):
            return None
        its = native.Latent(mixer.heads, mixer.nope_dim, mixer.rope_dim, mixer.v_dim,
                            interleaved=mixer.rope.layout == "interleaved", offset=self.q_norm.offset,
                            q_eps=self.q_norm.eps, kv_eps=self.kv_norm.eps)
        length = x_BTC.shape[1]
        cos, sin = angles(mixer.rope, mixer.rope_dim, length, x_BTC)
        return native.latent(x_BTC, weights, cos[:length], sin[:length], its)


class SparseGatedAttention(MultiHeadLatentAttention):
    """Latent attention with an indexer, an output gate, or both (A.X K2, arXiv 2608.30181, section 2.2)."""

    def __init__(self, mixer: LatentAttention, spec: ModelSpec) -> None:
        super().__init__(mixer, spec)
        self.indexer = LightningIndexer(mixer, spec.width) if mixer.indexer else None

    def new_cache(self, batch: int, length: int, like: Tensor) -> LayerCache:
        cache = super().new_cache(batch, length, like)
        if self.mixer.indexer:
            cache.index = like.new_zeros(batch, length, self.mixer.indexer.dim)
        return cache

    def forward(self, x_BTC: Tensor, cache: MixerCache | None, position_BT: Tensor | None) -> Tensor:
        mixer = self.mixer
        raw = self.q_down(x_BTC)
        latent = self.q_norm(raw)
        length = x_BTC.shape[1] if cache is None else cache.length
        index = self.indexer(x_BTC, latent, position_BT, length) if self.indexer else None
        q = self.q_up(torch.cat((latent, raw), dim=-1) if mixer.gate else latent).unflatten(-1, (mixer.heads, -1))
        q, gate = q.tensor_split([mixer.nope_dim + mixer.rope_dim], dim=-1)
        mixed = self.attend(q, x_BTC, cache, position_BT, index)
        return self.out((mixed * ops.sigmoid(gate) if mixer.gate else mixed).flatten(2))


def build_mixer(mixer: Mixer, spec: ModelSpec) -> GroupedQueryAttention | MultiHeadLatentAttention:
    """The module of a mixer spec."""
    if isinstance(mixer, Attention):
        return GroupedQueryAttention(mixer, spec)
    if mixer.gate or mixer.indexer:
        return SparseGatedAttention(mixer, spec)
    return MultiHeadLatentAttention(mixer, spec)
