"""What layers keep of the past: the interface that mixers talk to, and a contiguous cache.

A mixer hands over what it made of the new tokens and gets back what its heads return; where the past lies is the
cache's business. `serve/engine/paged.py` is the other implementation. Shape letters as in `ops.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from . import ops
from .indexer import Index
from .spec import LatentAttention


class MixerCache(Protocol):
    """The past of one layer for every row of a batch."""

    @property
    def length(self) -> int:
        """Every position lies below it."""

    def attend(self, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, position_BT: Tensor, *, window: int | None,
               scale: float, sinks_H: Tensor | None = None) -> Tensor:
        """Keep the new keys and values, then attend to all that each query sees; [B, T, H, D].

        window, scale, sinks_H: as in `ops.attention`.
        """

    def attend_latent(self, q_BTHD: Tensor, latent_BTR: Tensor, k_rope_BTP: Tensor, kv_up: nn.Linear,
                      position_BT: Tensor, *, mixer: LatentAttention, scale: float,
                      index: Index | None = None) -> Tensor:
        """The same for latent attention, [B, T, H, V].

        latent_BTR: the normalised latent; k_rope_BTP: the rotated key that all heads share; kv_up: what makes each
        head's nope_dim of key and v_dim of value from a latent (its weight may be read instead of applied); index:
        an indexer's queries and keys, of which the keys are kept.
        """


Cache = Sequence[MixerCache]


@dataclass
class LayerCache:
    """A contiguous cache: slot s of each row holds position s.

    For grouped-query attention k and v are [B, S, K, D]; for latent attention k is the latent [B, S, kv_rank] and v
    the rotated shared key [B, S, rope_dim]; index is an indexer's keys [B, S, dim]. The first tokens that it is given
    stand at 0, 1, ...; `fresh` until then.
    """

    k: Tensor
    v: Tensor
    fresh: bool = True
    index: Tensor | None = None

    @property
    def length(self) -> int:
        return self.k.shape[1]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch only."""
        self.k, self.v = self.k[rows], self.v[rows]
        self.index = None if self.index is None else self.index[rows]

    def attend(self, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, position_BT: Tensor, *, window: int | None,
               scale: float, sinks_H: Tensor | None = None) -> Tensor:
        fresh = self._write(k_BTKD, v_BTKD, position_BT)
        if fresh:  # the given tokens see one another and nothing else
            return ops.attention(q_BTHD, k_BTKD, v_BTKD, window=window, scale=scale, sinks_H=sinks_H)
        return ops.attention_cached(q_BTHD, self.k, self.v, position_BT, window=window, scale=scale, sinks_H=sinks_H)

    def attend_latent(self, q_BTHD: Tensor, latent_BTR: Tensor, k_rope_BTP: Tensor, kv_up: nn.Linear,
                      position_BT: Tensor, *, mixer: LatentAttention, scale: float,
                      index: Index | None = None) -> Tensor:
        fresh = self._write(latent_BTR, k_rope_BTP, position_BT)
        if index is not None:
            assert self.index is not None
            ops.write_slots(self.index, index.k_BSD, position_BT)
        if fresh:
            return latent_attention(q_BTHD, latent_BTR, k_rope_BTP, kv_up, None, mixer=mixer, scale=scale, index=index)
        if index is not None:
            assert self.index is not None
            index = replace(index, k_BSD=self.index)
        return latent_attention(q_BTHD, self.k, self.v, kv_up, position_BT, mixer=mixer, scale=scale, index=index)

    def _write(self, k: Tensor, v: Tensor, position_BT: Tensor) -> bool:
        """Put the entries of new tokens where they stand; whether they are the first."""
        fresh, self.fresh = self.fresh, False
        ops.write_slots(self.k, k, position_BT)
        ops.write_slots(self.v, v, position_BT)
        return fresh


def latent_attention(q_BTHD: Tensor, latent_BSR: Tensor, k_rope_BSP: Tensor, kv_up: nn.Linear,
                     position_BT: Tensor | None, *, mixer: LatentAttention, scale: float,
                     index: Index | None = None) -> Tensor:
    """Attention of queries at `position_BT` (None: 0, 1, ...) over positions 0, 1, ... of latents; [B, T, H, V]."""
    k_nope, v = kv_up(latent_BSR).unflatten(-1, (mixer.heads, -1)).split([mixer.nope_dim, mixer.v_dim], dim=-1)
    k = torch.cat((k_nope, k_rope_BSP.unsqueeze(2).expand(-1, -1, mixer.heads, -1)), dim=-1)
    if index is not None and (chosen := index.chosen(position_BT)) is not None:
        return ops.attention_chosen(q_BTHD, k, v, chosen, scale=scale)
    if position_BT is None:
        return ops.attention(q_BTHD, k, v, window=mixer.window, scale=scale)
    return ops.attention_cached(q_BTHD, k, v, position_BT, window=mixer.window, scale=scale)
