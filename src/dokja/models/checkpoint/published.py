"""Published checkpoints in safetensors: a folder with config.json and one or many shards."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ..decoder import Decoder
from ..families import checkpoint_of
from .layout import Checkpoint, places


def read_published(path: Path, *, dtype: torch.dtype = torch.float32) -> Decoder:
    """The model in a published folder, its tensors copied one by one into their places."""
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    layout = checkpoint_of(config)
    shards = sorted(path.glob("*.safetensors"))
    names: set[str] = set()
    for shard in shards:
        with safe_open(shard, "pt") as file:
            names |= set(file.keys())
    spec = layout.read(config, names)
    with torch.device("meta"):
        model = Decoder(spec)
    model.to_empty(device="cpu").to(dtype)
    if spec.tied:  # to_empty gave them memory of their own
        model.head.weight = model.embedding.weight
    state = model.state_dict()
    wanted = places(model, spec, layout.names)
    for shard in shards:
        with safe_open(shard, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                wanted[name].read(state[wanted[name].ours], file.get_tensor(name))
    return model.eval()


def write_published(path: Path, model: Decoder, layout: Checkpoint) -> None:
    """Write a published folder."""
    path.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    save_file({name: place.write(state[place.ours]) for name, place in places(model, model.spec, layout.names).items()},
              path / "model.safetensors", metadata={"format": "pt"})
    config = {"model_type": layout.model_types[0], "architectures": [layout.architecture], **layout.write(model.spec)}
    (path / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
