"""One decoder for every spec: token ids in, logits out.

Single-device code; precision, compilation and sharding are applied from outside. Shape letters as in `ops.py`;
C is the model width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import ops
from .attention import build_mixer
from .cache import Cache, LayerCache, MixerCache
from .ffn import build_ffn
from .norm import build_norm, join
from .places import Places, separate
from .spec import Layer, ModelSpec


class Block(nn.Module):
    """One residual layer, with the norms that its spec places."""

    def __init__(self, layer: Layer, spec: ModelSpec) -> None:
        super().__init__()
        place = layer.norms
        self.mixer_in = build_norm(spec, place.mixer_gate) if place.mixer_in else nn.Identity()
        self.mixer = build_mixer(layer.mixer, spec)
        self.mixer_out = build_norm(spec) if place.mixer_out else nn.Identity()
        self.ffn_in = build_norm(spec, place.ffn_gate) if place.ffn_in else nn.Identity()
        self.ffn = build_ffn(layer.ffn, spec.width)
        self.ffn_out = build_norm(spec) if place.ffn_out else nn.Identity()
        self.nothing = nn.Identity()
        self.parallel, self.residual_scale = layer.parallel, spec.residual_scale

    def forward(self, x_BTC: Tensor, cache: MixerCache | None, position_BT: Tensor | None) -> Tensor:
        if self.parallel:
            normed = self.mixer_in(x_BTC)
            return x_BTC + self._scaled(self.mixer(normed, cache, position_BT) + self.ffn(normed))
        mixed = self.mixer(self.mixer_in(x_BTC), cache, position_BT)
        if self.residual_scale == 1.0:
            x_BTC, normed = join(x_BTC, mixed, self.mixer_out, self.ffn_in)
            return join(x_BTC, self.ffn(normed), self.ffn_out, self.nothing)[0]
        x_BTC = x_BTC + self._scaled(self.mixer_out(mixed))
        return x_BTC + self._scaled(self.ffn_out(self.ffn(self.ffn_in(x_BTC))))

    def _scaled(self, x: Tensor) -> Tensor:
        return x if self.residual_scale == 1.0 else x * self.residual_scale


class MTPLayer(nn.Module):
    """Multi-token prediction (DeepSeek-V3, section 2.2): from the state that the head reads at t and the token at
    t + 1, the state from which the shared head predicts the token at t + 2. States are normalised in and out: vLLM
    and TensorRT-LLM hand over what comes after the final norm."""

    def __init__(self, layer: Layer, spec: ModelSpec) -> None:
        super().__init__()
        self.embedding_norm = build_norm(spec)
        self.hidden_norm = build_norm(spec)
        self.projection = nn.Linear(2 * spec.width, spec.width, bias=False)
        self.block = Block(layer, spec)
        self.norm = build_norm(spec)

    def forward(self, hidden_BTC: Tensor, next_embedding_BTC: Tensor, cache: MixerCache | None = None,
                position_BT: Tensor | None = None) -> Tensor:
        return self.norm(self.block(self.joined(hidden_BTC, next_embedding_BTC), cache, position_BT))

    def joined(self, hidden_BTC: Tensor, next_embedding_BTC: Tensor) -> Tensor:
        """What the block reads."""
        both = torch.cat((self.embedding_norm(next_embedding_BTC), self.hidden_norm(hidden_BTC)), dim=-1)
        out: Tensor = self.projection(both)
        return out


class Decoder(nn.Module):
    """The network of a spec. `forward` gives logits [B, T, V]; with a cache, for the new tokens only."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = nn.Embedding(spec.vocab, spec.width)
        self.layers = nn.ModuleList(Block(layer, spec) for layer in spec.layers)
        self.norm = build_norm(spec)
        self.head = nn.Linear(spec.width, spec.vocab, bias=spec.head_bias)
        if spec.tied:
            self.head.weight = self.embedding.weight
        self.mtp = nn.ModuleList(MTPLayer(layer, spec) for layer in spec.mtp)

    def forward(self, ids_BT: Tensor, cache: Cache | None = None, position_BT: Tensor | None = None) -> Tensor:
        """Logits of the given tokens.

        cache: keys and values so far; None runs a whole sequence from position 0. position_BT: where the given tokens
        stand, needed with a cache, the first time 0, 1, ...; slots behind a row's position are never looked at.
        """
        return self.logits(self.hidden(ids_BT, cache, position_BT))

    def hidden(self, ids_BT: Tensor, cache: Cache | None = None, position_BT: Tensor | None = None) -> Tensor:
        """The trunk's states before the final norm, [B, T, C]."""
        x_BTC = self.embed(ids_BT)
        saved: dict[int, Tensor] = {}
        for i, layer in enumerate(self.layers):
            if any(skip.source == i for skip in self.spec.skips):
                saved[i] = x_BTC
            for skip in self.spec.skips:
                if skip.target == i:
                    share = skip.training_share if self.training else skip.share
                    x_BTC = share * saved[skip.source] + (1 - share) * x_BTC
            x_BTC = layer(x_BTC, cache[i] if cache is not None else None, position_BT)
        return x_BTC

    def states(self, places: Places) -> Tensor:
        """What the head reads at each place, [N, C]."""
        states: Tensor = self.norm(self.hidden(places.ids, [places] * len(self.layers), places.position))
        return states[0]

    def logits(self, hidden_BTC: Tensor) -> Tensor:
        """Logits of the trunk's states."""
        return self.read(self.norm(hidden_BTC))

    def read(self, state_BTC: Tensor) -> Tensor:
        """Logits of states after the final norm (or of an MTP layer's)."""
        logits = self.head(state_BTC)
        return logits if self.spec.logit_scale == 1.0 else logits * self.spec.logit_scale

    def losses(self, ids_BT: Tensor, target_BT: Tensor, share_BT: Tensor | None = None, *, z_weight: float = 0.0,
               end_of_text: int | None = None) -> tuple[Tensor, list[Tensor]]:
        """Mean cross-entropy in nats of the next token, and of each MTP layer's further token.

        target_BT: the token after each of ids, -100 where it does not count; share_BT: how much each of them counts in
        the mean, the same without it. z_weight: see `ops.linear_cross_entropy`. end_of_text: documents that this token
        opens do not see one another, and their positions begin at 0 (Llama 3, arXiv 2407.21783, section 3.2); without
        it a token sees all that stands before it in its row.
        """
        if end_of_text is None:
            hidden = self.norm(self.hidden(ids_BT))
        else:
            hidden = self.states(separate(ids_BT, end_of_text)).unflatten(0, ids_BT.shape)
        main = self._loss(hidden, target_BT, share_BT, z_weight)
        further = []
        for depth, layer in enumerate(self.mtp, start=1):
            # State t joins the token at t + depth and predicts the one after it; the last `depth` places have none.
            joined = hidden[:, :-1], self.embed(ids_BT[:, depth:])
            if end_of_text is None:
                hidden = layer(*joined)
            else:
                shape, places = joined[0].shape, separate(ids_BT[:, :-depth], end_of_text)
                flat = (x_BTC.reshape(1, -1, shape[-1]) for x_BTC in joined)
                hidden = layer(*flat, places, places.position).reshape(shape)
            share = None if share_BT is None else share_BT[:, depth:]
            further.append(self._loss(hidden, target_BT[:, depth:], share, z_weight))
        return main, further

    def _loss(self, hidden_BTC: Tensor, target_BT: Tensor, share_BT: Tensor | None, z_weight: float) -> Tensor:
        """Mean cross-entropy of normalised states through the head, without ever holding all logits."""
        counts = (target_BT != -100).float()
        share = counts if share_BT is None else counts * share_BT
        total = ops.linear_cross_entropy(hidden_BTC.flatten(0, 1), self.head.weight, target_BT.flatten(),
                                         None if share_BT is None else share.flatten(), scale=self.spec.logit_scale,
                                         bias_V=self.head.bias, z_weight=z_weight)
        return total / share.sum().clamp(min=1)

    def embed(self, ids_BT: Tensor) -> Tensor:
        """What the first layer reads, [B, T, C]."""
        x_BTC = self.embedding(ids_BT)
        return x_BTC if self.spec.embedding_scale == 1.0 else x_BTC * self.spec.embedding_scale

    def new_cache(self, batch: int, length: int) -> list[LayerCache]:
        """An empty cache for `batch` sequences of up to `length` tokens."""
        weight = self.embedding.weight
        return [block.mixer.new_cache(batch, length, weight) for block in self.layers]  # type: ignore[union-attr,operator,misc]
