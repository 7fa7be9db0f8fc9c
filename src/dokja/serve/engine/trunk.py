"""A prepared decoder over a step's tokens, a native call for layers that the kernels know.

PyTorch's dispatch costs a small model more than its arithmetic when only a few tokens share a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ...models.attention import GroupedQueryAttention
from ...models.decoder import Block, Decoder, MTPLayer
from ...models.rope import angles
from .. import native
from ..quantise import ServedLinear, ServedMixture, ServedMLP, ServedNorm
from ..weights import ACTIVATIONS
from .paged import PagedCache, PagedLayer, Places


class Trunk:
    """`Decoder.hidden` and the norm behind it over paged caches, and the MTP layers. Layers that no kernel knows run as
    modules."""

    def __init__(self, decoder: Decoder, cache: PagedCache) -> None:
        self.decoder, self.cache = decoder, cache
        self.layers = cache.layers[: len(decoder.layers)]
        self.runs = _runs(zip(decoder.layers, self.layers, strict=True))
        self.whole = not decoder.spec.skips and any(isinstance(run, _Known) for run in self.runs)
        norm = decoder.norm
        last = self.runs[-1]
        known = isinstance(norm, ServedNorm) and isinstance(last, _Known) and last.mixture is None
        self.norm = _norm(norm) if known else None
        held = cache.layers[len(decoder.layers) :]  # none, where MTP layers have no pages
        self.further = [_further(mtp, layer) for mtp, layer in zip(decoder.mtp, held, strict=False)]

    def states(self, ids_N: Tensor) -> Tensor:
        """The states that the head reads, [N, C], of the tokens that the cache was told the places of."""
        at = self.cache.at
        if not self.whole:
            return self.decoder.norm(self.decoder.hidden(ids_N[None], self.layers, at.position_N[None])[0])
        x_NC = self.decoder.embed(ids_N[None])[0].contiguous()
        normed_NC = x_NC.new_empty(x_NC.shape)
        for run in self.runs[:-1]:
            x_NC = run.run(x_NC, normed_NC, at)
        x_NC = self.runs[-1].run(x_NC, normed_NC, at, self.norm)
        return self.decoder.norm(x_NC) if self.norm is None else normed_NC

    def mtp(self, depth: int, state_NC: Tensor, next_N: Tensor) -> Tensor:
        """The states that the head reads after MTP layer `depth`, [N, C], of the tokens that the cache was told of."""
        return self.further[depth].run(state_NC, self.decoder.embed(next_N[None])[0], self.cache.at)


def _runs(blocks: Iterable[tuple[nn.Module, PagedLayer]]) -> list[_Known | _Module]:
    """Layers in their order, those that one call runs together."""
    runs: list[_Known | _Module] = []
    known: list[_KnownLayer] = []
    for block, cache in blocks:
        assert isinstance(block, Block)
        if _is_known(block):
            known.append(_KnownLayer(block, cache))
            if not isinstance(block.ffn, ServedMixture):
                continue
        if known:
            runs.append(_Known(known))
            known = []
        if not _is_known(block):
            runs.append(_Module(block, cache))
    return [*runs, _Known(known)] if known else runs


class _Module:
    """A layer that no kernel knows, over its pages."""

    def __init__(self, block: Block, cache: PagedLayer) -> None:
        self.block, self.cache = block, cache

    def run(self, x_NC: Tensor, normed_NC: Tensor, at: Places, norm: native.Norm | None = None) -> Tensor:
        """The residual stream after the layer."""
        return self.block(x_NC[None], self.cache, at.position_N[None])[0].contiguous()


class _Known:
    """Layers that one call runs; the feed-forward of the last may be a mixture, which is another."""

    def __init__(self, layers: Sequence[_KnownLayer]) -> None:
        self.held = tuple(layers)
        self.layers = (native.Layer * len(layers))(*(one.layer for one in layers))
        last = layers[-1].block
        self.mixture = last if isinstance(last.ffn, ServedMixture) else None

    def run(self, x_NC: Tensor, normed_NC: Tensor, at: Places, norm: native.Norm | None = None) -> Tensor:
        """The residual stream after the layers, in its place; `normed` is overwritten, by what `norm` makes of the
        stream where it is given."""
        native.call("layers", self.layers, len(self.layers), norm, len(x_NC), at.row_N,
                    at.position_N, x_NC, normed_NC)
        if self.mixture is not None:
            given = self.mixture.ffn_out(self.mixture.ffn(normed_NC[None]))[0]
            x_NC.add_(given, alpha=self.mixture.residual_scale)
        return x_NC


def _further(mtp: nn.Module, cache: PagedLayer) -> _KnownMTP | _ModuleMTP:
    assert isinstance(mtp, MTPLayer)
    block = _runs([(mtp.get_submodule("block"), cache)])[0]
    if isinstance(block, _Known) and block.mixture is None and isinstance(mtp.projection, ServedLinear):
        return _KnownMTP(mtp, block)
    return _ModuleMTP(mtp, block)


class _ModuleMTP:
    """An MTP layer that runs as a module but for its block, perhaps."""

    def __init__(self, mtp: MTPLayer, block: _Known | _Module) -> None:
        self.mtp, self.block = mtp, block

    def run(self, state_NC: Tensor, embedding_NC: Tensor, at: Places) -> Tensor:
        """The states that the head reads."""
        x_NC = self.mtp.joined(state_NC, embedding_NC).contiguous()
        state: Tensor = self.mtp.norm(self.block.run(x_NC, torch.empty_like(x_NC), at))
        return state


class _KnownMTP:
    """An MTP layer as one call."""

    def __init__(self, mtp: MTPLayer, block: _Known) -> None:
        self.block = block
        self.joint = native.Joint(*map(_norm, (mtp.embedding_norm, mtp.hidden_norm, mtp.norm)), _matrix(mtp.projection))

    def run(self, state_NC: Tensor, embedding_NC: Tensor, at: Places) -> Tensor:
        """The states that the head reads."""
        x_NC, out_NC = torch.empty_like(state_NC), torch.empty_like(state_NC)
        native.call("mtp", self.joint, self.block.layers, len(x_NC), at.row_N, at.position_N, embedding_NC.contiguous(),
                    state_NC.contiguous(), x_NC, out_NC)
        return out_NC


class _KnownLayer:
    def __init__(self, block: Block, cache: PagedLayer) -> None:
        mixer = block.mixer
        assert isinstance(mixer, GroupedQueryAttention)
        its, (k, v), table = mixer.mixer, cache.tensors, cache.shared.tables[cache.kind]
        self.block = block
        turned = 0
        tables: tuple[Tensor | None, Tensor | None] = (None, None)
        if its.rope is not None:
            turned = its.head_dim if its.rope.dims is None else its.rope.dims
            tables = angles(its.rope, turned, cache.length, k)
        self.held = (k, v, table, tables, mixer.sinks)  # what the structure points to
        qkv, out = _matrix(mixer.qkv), _matrix(mixer.out)
        empty = native.Matrix()
        mlp = (block.ffn.gate_up.matrix, block.ffn.down.matrix) if isinstance(block.ffn, ServedMLP) else (empty, empty)
        activation = ACTIVATIONS.index(block.ffn.activation) if isinstance(block.ffn, ServedMLP) else 0
        norms = block.mixer_in, block.mixer_out, block.ffn_in, block.ffn_out, mixer.q_norm, mixer.k_norm
        self.layer = native.Layer(
            *map(_norm, norms), qkv, out, *mlp, out.outputs, its.heads, its.kv_heads, its.head_dim, its.window or 0,
            turned, its.rope is not None and its.rope.layout == "interleaved", activation, k.shape[1], table.shape[1],
            mixer.scale, block.residual_scale, *map(_address, (mixer.sinks, *tables, k, v, table)))


def _is_known(block: Block) -> bool:
    mixer, ffn = block.mixer, block.ffn
    if not isinstance(mixer, GroupedQueryAttention) or block.parallel or native.library() is None:
        return False
    norms = block.mixer_in, block.mixer_out, block.ffn_in, block.ffn_out, mixer.q_norm, mixer.k_norm
    linears: list[nn.Module] = [mixer.qkv, mixer.out]  # adapters may stand in their places
    return (all(isinstance(one, ServedLinear) and one.weights.packed is not None for one in linears)
            and isinstance(ffn, ServedMixture | ServedMLP)
            and all(type(norm) in (ServedNorm, nn.Identity) for norm in norms))


def _matrix(linear: nn.Module) -> native.Matrix:
    assert isinstance(linear, ServedLinear)
    return linear.weights.matrix


def _norm(norm: nn.Module) -> native.Norm:
    return norm.kernel if isinstance(norm, ServedNorm) else native.Norm()


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
