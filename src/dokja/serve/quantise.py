"""Swap a decoder's weights for those that serving reads: packed, of 32, 8 or 4 bits, one row's result apart from all
others."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, empty, empty_like, int64, nn

from ..models.decoder import Decoder
from ..models.ffn import GatedMLP, MixtureOfExperts
from ..models.indexer import LightningIndexer
from ..models.norm import GatedRMSNorm, RMSNorm
from . import native
from .weights import Experts, Kind, Weights, experts, gated_mlp

NARROW = 1024


class Kinds(NamedTuple):
    """How many bits a layer's matrices have: those before its attention, those of its feed-forward that read the
    residual stream, and those that write into it."""

    mixes: Kind
    reads: Kind
    writes: Kind


FLOAT = Kinds("fp32", "fp32", "fp32")


class ServedLinear(nn.Module):
    """`nn.Linear` over `Weights`."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        return self.weights.linear(x)


class ServedEmbedding(nn.Module):
    """`nn.Embedding` over `Weights`, perhaps the head's. `weight`, which is empty, says only dtype and device."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights, self.weight = weights, empty(0)

    def forward(self, ids: Tensor) -> Tensor:
        return self.weights.embed(ids)


class ServedNorm(nn.Module):
    """`RMSNorm` as one call: PyTorch takes longer over a few rows than a small layer over its arithmetic."""

    def __init__(self, norm: RMSNorm) -> None:
        super().__init__()
        self.weight = nn.Parameter(norm.weight.detach().float().contiguous(), requires_grad=False)
        self.kernel = native.Norm(self.weight.data_ptr(), norm.offset, norm.eps)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.float().contiguous()
        out = empty_like(rows)
        native.call("norm", self.kernel, rows, rows.numel() // len(self.weight), len(self.weight), out)
        return out


class ServedMLP(nn.Module):
    """`GatedMLP` as one call."""

    def __init__(self, mlp: GatedMLP, kinds: Kinds) -> None:
        super().__init__()
        self.activation = mlp.activation
        self.gate_up, self.down = _pack(mlp.gate_up, kinds.reads), _pack(mlp.down, kinds.writes)

    def forward(self, x: Tensor) -> Tensor:
        return gated_mlp(self.gate_up, self.down, self.activation, x)


class ServedMixture(nn.Module):
    """`MixtureOfExperts` over packed experts; the router stays in float32."""

    def __init__(self, mixture: MixtureOfExperts, kinds: Kinds) -> None:
        super().__init__()
        self.activation = mixture.moe.activation
        sides = []
        for name, kind in (("gate_up", kinds.reads), ("down", kinds.writes)):
            stacked, bias = getattr(mixture, name), getattr(mixture, f"{name}_bias")
            sides.append(Experts(Weights(stacked[e].T, None if bias is None else bias[e], kind)
                                 for e in range(len(stacked))))
            setattr(mixture, name, None)
        self.gate_up, self.down = sides
        mixture.router = ServedLinear(_pack(mixture.router, "fp32"))  # type: ignore[assignment]
        self.shared = None if mixture.shared is None else ServedMLP(mixture.shared, kinds)
        mixture.shared = None
        self.mixture = mixture
        its, bias = mixture.moe.router, mixture.router_bias
        self.bias = None if bias is None else bias.detach().float().contiguous()  # type: ignore[operator,union-attr]
        self.kernel = native.Router(
            None if self.bias is None else self.bias.data_ptr(), mixture.moe.experts, mixture.moe.active, its.groups,
            its.groups_kept, its.score == "softmax", its.soft_groups, its.scale)

    def chosen(self, x_NC: Tensor) -> tuple[Tensor, Tensor]:
        """The experts that each row takes and with what weights, [N, A]."""
        if native.library() is None:
            return self.mixture.chosen(x_NC)[:2]
        expert = empty(len(x_NC), self.mixture.moe.active, dtype=int64)
        share = empty(expert.shape)
        native.call("route", self.kernel, self.mixture.router(x_NC), len(x_NC), expert, share)
        return expert, share

    def forward(self, x_BTC: Tensor) -> Tensor:
        x = x_BTC.flatten(0, -2)
        expert, share = self.chosen(x)
        further = None if self.shared is None else self.shared(x)
        return experts(self.gate_up, self.down, self.activation, x, expert, share, further).view_as(x_BTC)


def prepare(decoder: Decoder, weights: Kind, *, narrow: int = NARROW) -> Decoder:
    """The decoder itself, with every linear layer, gated MLP and mixture swapped for a serving one.

    weights: fp32, int8 or int4. Routers, indexers, gates of norms and what latent attention makes keys and values with
    stay float32. With int4, what loses the most for its size has 8 bits: head and embedding, what makes queries, keys
    and values, the first layer and the last, and, in a model narrower than `narrow`, all that reads its residual
    stream. Each original is dropped as its replacement is made. The decoder can no longer be trained or saved.
    """
    wide: Kind = "fp32" if weights == "fp32" else "int8"
    head = _pack(decoder.head, wide)
    if decoder.spec.tied:
        decoder.embedding = ServedEmbedding(head)  # type: ignore[assignment]
    elif wide == "int8":
        decoder.embedding = ServedEmbedding(Weights(decoder.embedding.weight, None, wide))  # type: ignore[assignment]
    decoder.head = ServedLinear(head)  # type: ignore[assignment]
    ends = decoder.layers[0], decoder.layers[-1]
    most = Kinds(wide, wide if decoder.spec.width < narrow else weights, weights)
    for layer in decoder.layers:
        _swap(layer, Kinds(wide, wide, wide) if layer in ends else most)
    _swap(decoder, most)
    return decoder.float().requires_grad_(False)


def held_bytes(decoder: Decoder) -> int:
    """What the weights of a decoder that may be prepared take in memory."""
    packed = {id(one): one.bytes for module in decoder.modules() for one in _weights_of(module)}
    return sum(packed.values()) + sum(x.numel() * x.element_size() for x in decoder.parameters())


def _weights_of(module: nn.Module) -> list[Weights]:
    found: list[Weights] = []
    for value in vars(module).values():
        found += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Weights)]
    return found


def _pack(linear: nn.Linear, kind: Kind) -> Weights:
    return Weights(linear.weight, linear.bias, kind)


def _swap(module: nn.Module, kinds: Kinds) -> None:
    for name, child in list(module.named_children()):
        new: nn.Module | None = None
        if isinstance(child, MixtureOfExperts):
            new = ServedMixture(child, kinds)
        elif isinstance(child, GatedMLP):
            new = ServedMLP(child, kinds)
        elif isinstance(child, nn.Linear) and name != "kv_up":
            new = ServedLinear(_pack(child, kinds.writes if name == "out" else kinds.mixes))
        elif type(child) is RMSNorm and native.library() is not None:
            new = ServedNorm(child)
        elif not isinstance(child, ServedMixture | ServedMLP):
            _swap(child, FLOAT if isinstance(child, LightningIndexer | GatedRMSNorm) else kinds)
        if new is not None:
            setattr(module, name, new)
        del child
