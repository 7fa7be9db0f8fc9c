"""LoRA adapters (Hu et al. 2021, arXiv 2106.09685) in PEFT's format, several at once, chosen by request.

An adapter adds scale * B A to matrices of its model. A and B stay apart from the weights, quantised or not, and are
applied to the rows of a step whose requests chose it, in float32. Each row's result is its own, bit for bit.

PEFT names published tensors; the family's table (`checkpoint.layout.Names`) says which of our matrices, and which
rows of it, each of them is, so that adapters of Q, K, V, gate and up find their parts of the joined ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...errors import DokjaError
from ...models import ops
from ...models.checkpoint import llama
from ...models.checkpoint.layout import Names, Place, places
from ...models.decoder import Decoder
from ...models.ffn import GatedMLP
from ...models.model import Model
from ...models.spec import ModelSpec
from ..quantise import ServedLinear, ServedMLP
from ..weights import Weights

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
UNSERVED = (".router", ".kv_up")
PREFIX = "base_model.model."
# What changes the formula, and the only value of each that means scale * B A; a field that is absent means that too.
PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",), "bias": ("none",), "use_dora": (False,), "fan_in_fan_out": (False,), "lora_bias": (False,),
    "modules_to_save": (None, []), "trainable_token_indices": (None, []), "target_parameters": (None, []),
    "layer_replication": (None, []), "alora_invocation_tokens": (None, []), "use_qalora": (False,),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),  # the others change the base's weights
}


@dataclass(frozen=True)
class Delta:
    """What an adapter adds to outputs start..start + up.outputs of a linear layer: up(down(x)), the scale in `up`."""

    start: int
    down: Weights
    up: Weights

    def add(self, x: Tensor, out: Tensor) -> None:
        """Add it to the layer's output [n, F] of rows [n, K], in place."""
        out[:, self.start : self.start + self.up.outputs] += self.up.linear(self.down.linear(x))


class Step:
    """Which rows of the running step belong to which adapter; the swapped layers read it."""

    def __init__(self) -> None:
        self.rows: dict[str, Tensor] = {}
        self.others: Tensor | None = None  # rows without an adapter

    def place(self, adapters: Sequence[str | None]) -> None:
        """Announce the adapter of each token of the next step."""
        names = dict.fromkeys(name for name in adapters if name is not None)
        self.rows = {name: torch.tensor([i for i, one in enumerate(adapters) if one == name]) for name in names}
        self.others = torch.tensor([i for i, one in enumerate(adapters) if one is None], dtype=torch.long)


class AdaptedLinear(nn.Module):
    """A linear layer, and what each adapter adds to it."""

    def __init__(self, base: nn.Module, deltas: Mapping[str, Sequence[Delta]], step: Step) -> None:
        super().__init__()
        self.base, self.deltas, self.step = base, deltas, step

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x)
        flat, rows = out.flatten(0, -2), x.flatten(0, -2)
        for name, index in self.step.rows.items():
            if name in self.deltas:
                own = flat[index]
                for delta in self.deltas[name]:
                    delta.add(rows[index], own)
                flat[index] = own
        return flat.view_as(out)


class AdaptedMLP(nn.Module):
    """A gated MLP, whose base may be one call, with what each adapter adds to its two layers."""

    def __init__(self, base: GatedMLP | ServedMLP, deltas: tuple[Mapping[str, Sequence[Delta]], ...],
                 step: Step) -> None:
        super().__init__()
        self.base, self.deltas, self.step = base, deltas, step

    def forward(self, x: Tensor) -> Tensor:
        touched = [name for name in self.step.rows if any(name in side for side in self.deltas)]
        if not touched:
            out: Tensor = self.base(x)
            return out
        rows = x.flatten(0, -2)
        rest = [index for name, index in self.step.rows.items() if name not in touched]
        assert self.step.others is not None
        plain = torch.cat([self.step.others, *rest])
        mixed = rows.new_empty(rows.shape)
        if len(plain):
            mixed[plain] = self.base(rows[plain])
        for name in touched:
            index = self.step.rows[name]
            hidden = ops.activate(self._side(0, name, rows[index]), self.base.activation)
            mixed[index] = self._side(1, name, hidden)
        return mixed.view_as(x)

    def _side(self, side: int, name: str, rows: Tensor) -> Tensor:
        layer = (self.base.gate_up, self.base.down)[side]
        out: Tensor = layer.linear(rows) if isinstance(layer, Weights) else layer(rows)
        for delta in self.deltas[side].get(name, ()):
            delta.add(rows, out)
        return out


class Adapters:
    """The adapters of one model. `install` them into its decoder once it is prepared, `step.place` before each step.

    folders: by the name that requests say, each with adapter_config.json and adapter_model.safetensors. Raises
    DokjaError for a file that is missing or broken, an adapter that is no plain LoRA, a tensor that the model lacks or
    that has another shape, and matrices that cannot be adapted.
    """

    def __init__(self, model: Model, folders: Mapping[str, Path]) -> None:
        checkpoint = model.family.checkpoint if model.family is not None else None
        where = _places(model.spec, checkpoint.names if checkpoint is not None else llama.NAMES)
        self.step = Step()
        self._deltas: dict[str, dict[str, list[Delta]]] = {}  # by our layer's name, by adapter
        self.names = tuple(folders)
        for name, folder in folders.items():
            for layer, delta in _read(Path(folder), where, model.spec.name):
                self._deltas.setdefault(layer, {}).setdefault(name, []).append(delta)

    def install(self, decoder: Decoder) -> None:
        """Swap the layers that any adapter changes; those of `serve.quantise` as well as the decoder's own."""
        for name, deltas in self._deltas.items():
            parent_name, _, leaf = name.rpartition(".")
            parent = decoder.get_submodule(parent_name)
            if isinstance(parent, AdaptedMLP):
                continue  # swapped with its other side
            if isinstance(parent, GatedMLP | ServedMLP):
                sides = tuple(self._deltas.get(f"{parent_name}.{side}", {}) for side in ("gate_up", "down"))
                outer, _, own = parent_name.rpartition(".")
                setattr(decoder.get_submodule(outer), own, AdaptedMLP(parent, sides, self.step))
            else:
                layer = getattr(parent, leaf)
                assert isinstance(layer, nn.Linear | ServedLinear), name
                setattr(parent, leaf, AdaptedLinear(layer, deltas, self.step))


def _places(spec: ModelSpec, names: Names) -> dict[str, Place]:
    with torch.device("meta"):
        return places(Decoder(spec).state_dict(), spec, names)


def _read(folder: Path, where: Mapping[str, Place], model: str) -> Iterable[tuple[str, Delta]]:
    """An adapter's parts, each with the name of our layer that it changes."""
    config = _config(folder)
    path = folder / TENSORS
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise DokjaError(f"{path} cannot be read ({error}): an adapter is a folder that PEFT saved") from error
    if not tensors:
        raise DokjaError(f"{path} holds no tensor: there is nothing to adapt")
    for name in tensors:
        if not name.startswith(PREFIX) or not name.endswith((".lora_A.weight", ".lora_B.weight")):
            raise DokjaError(f"{path}: {name} is no LoRA matrix of a linear layer, the only kind that can be served")
    for module in sorted({name.removeprefix(PREFIX).rpartition(".lora_")[0] for name in tensors}):
        yield _delta(path, module, tensors, config, where, model)


def _delta(path: Path, module: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any],
           where: Mapping[str, Place], model: str) -> tuple[str, Delta]:
    down, up = (tensors.get(f"{PREFIX}{module}.lora_{side}.weight") for side in "AB")
    if down is None or up is None:
        raise DokjaError(f"{path}: {module} has only one of lora_A and lora_B")
    place = where.get(f"{module}.weight")
    if place is None:
        raise DokjaError(f"{path} adapts {module}, which {model} does not have: it belongs to another model")
    layer = place.ours.removesuffix(".weight")
    linear = layer.startswith("layers.") and layer != place.ours and len(place.shape) == 2
    if not linear or layer.endswith(UNSERVED):
        raise DokjaError(f"{path} adapts {module}: embeddings, heads, routers, experts and what latent attention makes "
                         "keys and values with cannot be adapted while serving; merge the adapter into the weights "
                         "instead")
    rank = _pattern(config, "rank_pattern", module, config["r"])
    if down.shape[0] != rank or up.shape[-1] != rank:
        raise DokjaError(f"{path}: the matrices of {module} have rank {down.shape[0]} and {up.shape[-1]}, the "
                         f"configuration says {rank}")
    if (up.shape[0], down.shape[1]) != place.shape:
        raise DokjaError(f"{path}: {module} is {tuple(place.shape)} in {model} and the adapter changes "
                         f"{(up.shape[0], down.shape[1])}: it belongs to another model")
    alpha = _pattern(config, "alpha_pattern", module, config.get("lora_alpha", 8))
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    start = int(getattr(place.view, "start", 0))
    return layer, Delta(start, Weights(down, None, "fp32"), Weights(up * scale, None, "fp32"))


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DokjaError(f"{path} cannot be read ({error}): an adapter is a folder that PEFT saved") from error
    if not isinstance(config, dict) or not isinstance(config.get("r"), int) or config["r"] < 1:
        raise DokjaError(f"{path} gives no rank `r`: it is no LoRA configuration")
    for key, plain in PLAIN.items():
        if key in config and config[key] not in plain:
            raise DokjaError(f"{path}: `{key}` is {config[key]!r}, and only plain LoRA can be served: merge the "
                             "adapter into the weights instead")
    return config


def _pattern(config: Mapping[str, Any], field: str, module: str, default: float) -> Any:
    """The entry of a pattern table for a module: keys match its last parts, the whole of each (PEFT)."""
    for key, value in (config.get(field) or {}).items():
        if re.fullmatch(rf"(.*\.)?({key})", module):
            return value
    return default
