"""A prepared decoder over a step's tokens, a native call for each layer that the kernels know.

PyTorch's dispatch costs a small model more than its arithmetic when only a few tokens share a step.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ...models.attention import GroupedQueryAttention
from ...models.decoder import Block, Decoder, MTPLayer
from ...models.norm import RMSNorm
from ...models.rope import angles
from .. import native
from ..quantise import ServedLinear, ServedMixture, ServedMLP
from ..weights import ACTIVATIONS
from .paged import PagedCache, PagedLayer, Places

Run = Callable[[Tensor, Tensor, Tensor], Tensor]


class Trunk:
    """`Decoder.hidden` over paged caches, and its MTP layers. Layers that no kernel knows run as modules."""

    def __init__(self, decoder: Decoder, cache: PagedCache) -> None:
        self.decoder, self.cache = decoder, cache
        self.layers = cache.layers[: len(decoder.layers)]
        self.blocks = [_Block(block, layer) for block, layer in zip(decoder.layers, self.layers, strict=True)]
        self.whole = not decoder.spec.skips and any(block.known for block in self.blocks)
        held = cache.layers[len(decoder.layers) :]  # none, where MTP layers have no pages
        self.further = [_Block(mtp.get_submodule("block"), layer)
                        for mtp, layer in zip(decoder.mtp, held, strict=False)]

    def hidden(self, ids_N: Tensor) -> Tensor:
        """The states after the trunk's layers, [N, C], of the tokens that the cache was told the places of."""
        at = self.cache.at
        if not self.whole:
            return self.decoder.hidden(ids_N[None], self.layers, at.position_N[None])[0]
        x_NC = self.decoder.embed(ids_N[None])[0].contiguous()
        normed_NC = x_NC.new_empty(x_NC.shape)
        for block in self.blocks:
            x_NC = block.run(x_NC, normed_NC, at)
        return x_NC

    def mtp(self, depth: int, state_NC: Tensor, next_N: Tensor) -> Tensor:
        """The states that the head reads after MTP layer `depth`, [N, C], of the tokens that the cache was told of."""
        layer = self.decoder.mtp[depth]
        assert isinstance(layer, MTPLayer)
        x_NC = layer.joined(state_NC, self.decoder.embed(next_N[None])[0]).contiguous()
        state: Tensor = layer.norm(self.further[depth].run(x_NC, x_NC.new_empty(x_NC.shape), self.cache.at))
        return state


class _Block:
    """A layer over its pages: a native call where the kernels know it, else the module."""

    def __init__(self, block: nn.Module, cache: PagedLayer) -> None:
        assert isinstance(block, Block)
        self.block, self.cache = block, cache
        self.known = _KnownLayer(block, cache) if _is_known(block) else None

    def run(self, x_NC: Tensor, normed_NC: Tensor, at: Places) -> Tensor:
        """The residual stream after the layer, perhaps in the place of the one before; `normed` is overwritten."""
        if self.known is None:
            return self.block(x_NC[None], self.cache, at.position_N[None])[0].contiguous()
        self.known.run(x_NC, normed_NC, at.row_N, at.position_N)
        return x_NC


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

    def run(self, x_NC: Tensor, normed_NC: Tensor, row_N: Tensor, position_N: Tensor) -> None:
        """The layer, in place."""
        native.call("layer", self.layer, len(x_NC), row_N, position_N, x_NC, normed_NC)
        if isinstance(self.block.ffn, ServedMixture):
            given = self.block.ffn_out(self.block.ffn(normed_NC[None]))[0]
            x_NC.add_(given, alpha=self.block.residual_scale)


def _is_known(block: Block) -> bool:
    mixer, ffn = block.mixer, block.ffn
    if not isinstance(mixer, GroupedQueryAttention) or block.parallel or native.library() is None:
        return False
    norms = block.mixer_in, block.mixer_out, block.ffn_in, block.ffn_out, mixer.q_norm, mixer.k_norm
    linears: list[nn.Module] = [mixer.qkv, mixer.out]  # adapters may stand in their places
    return (all(isinstance(one, ServedLinear) and one.weights.packed is not None for one in linears)
            and isinstance(ffn, ServedMixture | ServedMLP)
            and all(type(norm) in (RMSNorm, nn.Identity) for norm in norms))


def _matrix(linear: nn.Module) -> native.Matrix:
    assert isinstance(linear, ServedLinear)
    return linear.weights.matrix


def _norm(norm: nn.Module) -> native.Norm:
    return native.Norm(norm.weight.data_ptr(), norm.offset, norm.eps) if isinstance(norm, RMSNorm) else native.Norm()


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
