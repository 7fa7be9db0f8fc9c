"""The lightning indexer of sparse attention: which positions each query attends to. Shape letters as in `ops.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from . import ops
from .rope import rotate
from .spec import LatentAttention

if TYPE_CHECKING:
    from .attention import LayerCache

KEY_EPS = 1e-6  # of the LayerNorm over the key (DeepSeek-V3.2's and A.X K2's classes)


class LightningIndexer(nn.Module):
    """The formula is in `spec.Indexer`. Its positive constants are left out: they change no order.

    Nothing flows back through a choice, so nothing here gets a gradient. Published models teach it with a loss of its
    own, against the attention that it is to replace.
    """

    def __init__(self, mixer: LatentAttention, width: int) -> None:
        super().__init__()
        assert mixer.indexer is not None
        assert mixer.q_rank is not None
        self.heads, self.top, self.window = mixer.indexer.heads, mixer.indexer.top, mixer.window
        self.rope = replace(mixer.rope, layout="half", dims=mixer.rope.dims or mixer.rope_dim)
        self.q_up = nn.Linear(mixer.q_rank, self.heads * mixer.indexer.dim, bias=False)
        self.k = nn.Linear(width, mixer.indexer.dim, bias=False)
        self.k_norm = nn.LayerNorm(mixer.indexer.dim, eps=KEY_EPS)
        self.weights = nn.Linear(width, self.heads, bias=False)

    @torch.no_grad()
    def forward(self, x_BTC: Tensor, latent_BTR: Tensor, cache: LayerCache | None,
                position_BT: Tensor | None) -> Tensor | None:
        """True for the positions chosen for each query, [B, T, S]; None while all positions fit into `top`.

        latent_BTR: the normalised latent of the queries. The new keys are written into the cache.
        """
        length = x_BTC.shape[1] if cache is None else cache.k.shape[1]
        k = rotate(self.k_norm(self.k(x_BTC)).unsqueeze(2), self.rope, position_BT, length).squeeze(2)
        query = torch.arange(x_BTC.shape[1], device=k.device)
        if cache is not None:
            assert cache.index is not None
            assert position_BT is not None
            ops.write_slots(cache.index, k, position_BT)
            if not cache.fresh:
                k, query = cache.index, position_BT
        if k.shape[1] <= self.top:
            return None
        q = rotate(self.q_up(latent_BTR).unflatten(-1, (self.heads, -1)), self.rope, position_BT, length)
        scores = torch.einsum("bthd,bsd->bths", q.float(), k.float()).relu()
        score = torch.einsum("bths,bth->bts", scores, self.weights(x_BTC).float())
        seen = ops.seen(query, k.shape[1], self.window)
        best = score.masked_fill(~seen, float("-inf")).topk(self.top, dim=-1, sorted=False).indices
        return torch.zeros_like(score, dtype=torch.bool).scatter_(-1, best, True) & seen
