"""Reading a checkpoint that any number of processes wrote, through PyTorch's reader of DCP's safetensors format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex
from torch.distributed.checkpoint.planner import LoadPlan, ReadItem
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

from ..layout import Box
from .checkpoint import Ranks


def read_shards(path: Path, wanted: Mapping[str, Tensor], ranks: Ranks | None) -> dict[str, Tensor]:
    """What this process holds (all without `ranks`) of every tensor in the checkpoint, in the shapes of `wanted`.

    A tensor that the checkpoint lacks is left out; one that is not wanted, or whose whole has another shape, comes back
    empty: `Trainer.restore` says what that means. Files must have been verified.
    """
    reader = HuggingFaceStorageReader(str(path))
    stored = reader.read_metadata()
    out: dict[str, Tensor] = {}
    targets: dict[MetadataIndex, Tensor] = {}
    items: list[ReadItem] = []
    for name, whole in stored.state_dict_metadata.items():
        like = wanted.get(name)
        if like is None:
            out[name] = torch.empty(0, 0, 0, 0)
            continue
        shape, boxes = tuple(like.shape), [Box((0,) * like.ndim, tuple(like.shape), (0,) * like.ndim)]
        if ranks is not None:
            shape, boxes, _ = ranks.held(name, like)
        if tuple(whole.size) != shape:  # type: ignore[union-attr]
            out[name] = torch.empty(0, 0, 0, 0)
            continue
        out[name] = torch.empty_like(like, device="cpu")
        chunks = [ChunkStorageMetadata(torch.Size(box.offset), torch.Size(box.size)) for box in boxes]
        items += create_read_items_for_chunk_list(name, whole, chunks)  # type: ignore[arg-type]
        targets |= {MetadataIndex(name, torch.Size(box.offset)): box.of(out[name]) for box in boxes}
    plan = LoadPlan(items)
    reader.set_up_storage_reader(stored, is_coordinator=True)
    reader.read_data(plan, _Into(targets)).wait()  # type: ignore[arg-type]
    return out


class _Into:
    """What DCP's reader asks of a planner: where a piece goes."""

    def __init__(self, targets: Mapping[MetadataIndex, Tensor]) -> None:
        self.targets = targets

    def resolve_tensor(self, item: ReadItem) -> Tensor:
        tensor = self.targets[MetadataIndex(item.dest_index.fqn, item.dest_index.offset)]
        for dim, (start, length) in enumerate(zip(item.dest_offsets, item.lengths, strict=True)):
            tensor = tensor.narrow(dim, start, length)
        return tensor

    def commit_tensor(self, item: ReadItem, tensor: Tensor) -> None: ...


