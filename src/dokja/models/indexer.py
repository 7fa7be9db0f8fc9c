"""The lightning indexer of sparse attention: which positions each query attends to. Shape letters as in `ops.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from . import ops
from .rope import rotate
from .spec import LatentAttention

KEY_EPS = 1e-6  # of the LayerNorm over the key (DeepSeek-V3.2's and A.X K2's classes)


@dataclass(frozen=True)
class Index:
    """Queries [B, T, heads, dim] and their heads' weights [B, T, heads] over the keys of positions 0, 1, ...,
    [B, S, dim]; `top` positions are chosen of those that a query sees."""

    q_BTHD: Tensor
    k_BSD: Tensor
    weight_BTH: Tensor
    top: int
    window: int | None

    @torch.no_grad()
    def chosen(self, position_BT: Tensor | None) -> Tensor | None:
        """True for the positions chosen for the queries at `position_BT` (None: 0, 1, ...), [B, T, S]; None while all
        positions fit into `top`."""
        if self.k_BSD.shape[1] <= self.top:
            return None
        scores = torch.einsum("bthd,bsd->bths", self.q_BTHD.float(), self.k_BSD.float()).relu()
        score = torch.einsum("bths,bth->bts", scores, self.weight_BTH.float())
        query = torch.arange(score.shape[1], device=score.device) if position_BT is None else position_BT
        seen = ops.seen(query, score.shape[2], self.window)
        best = score.masked_fill(~seen, float("-inf")).topk(self.top, dim=-1, sorted=False).indices
        return torch.zeros_like(score, dtype=torch.bool).scatter_(-1, best, True) & seen


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
    def forward(self, x_BTC: Tensor, latent_BTR: Tensor, position_BT: Tensor | None, length: int) -> Index:
        """What the tokens at `position_BT` (None: 0, 1, ...; all below `length`) choose by and are chosen by.

        latent_BTR: the normalised latent of the queries.
        """
        k = rotate(self.k_norm(self.k(x_BTC)).unsqueeze(2), self.rope, position_BT, length).squeeze(2)
        q = rotate(self.q_up(latent_BTR).unflatten(-1, (self.heads, -1)), self.rope, position_BT, length)
        return Index(q, k, self.weights(x_BTC), self.top, self.window)
