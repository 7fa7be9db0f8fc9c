"""How a family's published files are laid out: the data that every family file fills in.

Tensor names are a table from ours to theirs. Our modules hold Q, K and V in one matrix, gate and up in one, and a
layer's experts stacked; the table says which published tensors are the pieces of each, and `places` turns it into
views, so that one table serves reading (copy into the view) and writing (copy from it).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..spec import Attention, Layer, ModelSpec, MoE

if TYPE_CHECKING:  # family files import this one, and what is only arithmetic on their specs starts without torch
    from torch import Tensor

Config = dict[str, Any]


@dataclass(frozen=True)
class Interleaved:
    """A published tensor [E, C, 2F] or [E, 2F] of all experts, gate and up alternating (gpt-oss)."""

    name: str


@dataclass(frozen=True)
class Stacked:
    """Published tensors [E, out, in] of all experts, the pieces of one of ours in order (GGUF)."""

    names: tuple[str, ...]


Published = str | tuple[str, ...] | Interleaved | Stacked


@dataclass(frozen=True)
class Names:
    """Published tensor names. Keys are the names of our tensors.

    top: tensors outside the layers. layer: prefix of layer {i}. parts: within a layer; a tuple names the pieces that we
    hold as one, in order; a name with {e} is one tensor an expert. mtp: prefix of MTP layer {i}'s own tensors, where
    {n} is the number of trunk layers plus i; mtp_block: prefix of its block; mtp_parts: its own tensors.
    """

    top: Mapping[str, str]
    layer: str
    parts: Mapping[str, Published]
    mtp: str = ""
    mtp_block: str = ""
    mtp_parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A family's published files.

    model_types: values of `model_type` in config.json that mean this layout; the first is written.
    architecture: the class name that is written.
    read: config.json and the names of the tensors beside it -> spec; what the architecture cannot mean raises
    DokjaError. write: spec -> the fields of config.json.
    unread: patterns (fnmatch) of published tensors that the published computation does not read either.
    optional: patterns of published tensors that may be absent and are zero then.
    """

    model_types: tuple[str, ...]
    architecture: str
    read: Callable[[Config, Collection[str]], ModelSpec]
    write: Callable[[ModelSpec], Config]
    names: Names
    unread: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where one published tensor lives in our model: `view` of our tensor `ours`, as it is published in `shape`."""

    ours: str
    shape: tuple[int, ...]
    view: Callable[[Tensor], Tensor]

    def read(self, into: Tensor, published: Tensor) -> None:
        """Copy a published tensor into its place in our tensor, to whose precision it is rounded."""
        view = self.view(into)
        view.copy_(published.view(view.shape))

    def write(self, ours: Tensor) -> Tensor:
        """Our tensor's part as it is published, contiguous."""
        return self.view(ours).reshape(self.shape).contiguous()


def places(tensors: Mapping[str, Tensor], spec: ModelSpec, names: Names) -> dict[str, Place]:
    """Every published tensor of a model and its place in ours.

    tensors: the state of our model, or some of it; the meta device will do. A tensor of ours
    that the table does not name raises KeyError: the family file is incomplete.
    """
    out: dict[str, Place] = {}
    for name, tensor in tensors.items():
        if spec.tied and name == "head.weight":
            continue
        group, _, rest = name.partition(".")
        if group not in ("layers", "mtp"):
            out[names.top[name]] = Place(name, tuple(tensor.shape), _whole)
            continue
        index, _, leaf = rest.partition(".")
        layer = (spec.layers if group == "layers" else spec.mtp)[int(index)]
        prefix, table = names.layer, names.parts
        if group == "mtp" and leaf.startswith("block."):
            leaf, prefix = leaf.removeprefix("block."), names.mtp_block
        elif group == "mtp":
            prefix, table = names.mtp, names.mtp_parts
        prefix = prefix.format(i=index, n=len(spec.layers) + int(index))
        for published, shape, view in _pieces(table[leaf], leaf, tensor, layer):
            out[prefix + published] = Place(name, shape, view)
    return out


def _whole(tensor: Tensor) -> Tensor:
    return tensor


_Piece = tuple[str, tuple[int, ...], "Callable[[Tensor], Tensor]"]


def _pieces(published: Published, leaf: str, tensor: Tensor, layer: Layer) -> list[_Piece]:
    if isinstance(published, Interleaved):
        return [(published.name, tuple(tensor.shape), lambda whole: whole.unflatten(-1, (2, -1)).transpose(-1, -2))]
    if isinstance(published, Stacked):
        size = tensor.shape[-1] // len(published.names)
        return [(name, (tensor.shape[0], size, *tensor.shape[1:-1]), _Slice(-1, i * size, size, transposed=True))
                for i, name in enumerate(published.names)]
    pieces = (published,) if isinstance(published, str) else published
    expert = isinstance(layer.ffn, MoE) and "{e}" in pieces[0]
    axis = tensor.ndim - 1 if expert else 0  # experts lie [E, in, out], ours; [out, in] each, theirs
    sizes = _sizes(leaf, tensor.shape[axis], len(pieces), layer)
    out: list[_Piece] = []
    start = 0
    for piece, size in zip(pieces, sizes, strict=True):
        if expert:
            for e in range(tensor.shape[0]):
                view = _Slice(-1, start, size, e)
                out.append((piece.format(e=e), (size, *tensor.shape[1:-1]), view))
        else:
            out.append((piece, (size, *tensor.shape[1:]), _Slice(0, start, size)))
        start += size
    return out


def _sizes(leaf: str, total: int, pieces: int, layer: Layer) -> list[int]:
    if leaf.startswith("mixer.qkv") and isinstance(layer.mixer, Attention) and pieces == 3:
        mixer = layer.mixer
        return [mixer.heads * mixer.head_dim, mixer.kv_heads * mixer.head_dim, mixer.kv_heads * mixer.head_dim]
    return [total // pieces] * pieces


@dataclass(frozen=True)
class _Slice:
    """Rows `start` to `start + size` of an axis; of one expert's matrix, or of all where `transposed`, transposed."""

    axis: int
    start: int
    size: int
    expert: int | None = None
    transposed: bool = False

    def __call__(self, tensor: Tensor) -> Tensor:
        part = (tensor if self.expert is None else tensor[self.expert]).narrow(self.axis, self.start, self.size)
        if self.transposed:
            return part.mT if part.ndim == 3 else part
        return part.mT if self.expert is not None and part.ndim == 2 else part
